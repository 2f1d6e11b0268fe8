"""Tokens that outlast the server: a file of them that only its owner can read, so that addresses stay the same.

The file holds the tokens themselves, as `~/.ssh` holds keys: whoever runs the server can tell everybody their address
again, and the operating system keeps others out. Of a token that was ended only its digest is kept, by which its page
can be told so.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from heed.errors import HeedError
from heed.runs.files import sync_folder
from heed.web.people import People, digest_of


@dataclass(frozen=True)
class Tokens:
    """Where tokens are kept, and whose are changed now.

    Args:
        path: a file that is made with mode 600, and refused if others can read it.
        rotate: who gets a new token; the old one is ended.
        revoke: whose token is ended; they get none until `rotate` names them.
    """

    path: Path
    rotate: Sequence[str] = ()
    revoke: Sequence[str] = ()

    def people(self, judging: Sequence[str], watchers: Sequence[str] = ()) -> People:
        """Those among these names whose login was not revoked, each with the token that they had, or a fresh one.

        Raises:
            HeedError: as `read` says, or a file that cannot be written.
        """
        people, keep = self.read(judging, watchers)
        keep()
        return people

    def read(self, judging: Sequence[str], watchers: Sequence[str] = ()) -> tuple[People, Callable[[], None]]:
        """The same, with nothing written, and what writes it: to be called once these people are let in.

        Raises:
            HeedError: names that cannot be, one to rotate or revoke that nobody has, nobody left, or a file that holds
                no tokens or one twice, or that others can read.
        """
        kept = self._read()
        tokens, revoked, ended = dict(kept["tokens"]), set(kept["revoked"]), set(kept["ended"])
        known = {*tokens, *revoked, *judging, *watchers}
        for option, names in (("--rotate", self.rotate), ("--revoke", self.revoke)):
            for name in names:
                if name not in known:
                    raise HeedError(f"nobody is called '{name}'", option, f"take of {', '.join(sorted(known))}")
                if name in tokens:
                    ended.add(digest_of(tokens.pop(name)))
        if both := sorted(set(self.rotate) & set(self.revoke)):
            raise HeedError(f"'{both[0]}' cannot get a new login and lose it", "--rotate, --revoke", "give one of them")
        revoked = (revoked | set(self.revoke)) - set(self.rotate)
        people = People.named(
            [name for name in judging if name not in revoked],
            [name for name in watchers if name not in revoked],
            tokens,
            frozenset(ended),
        )
        if not any(person.judges for person in people.all):
            raise HeedError("nobody is left who could judge", "--revoke", "name others, or --rotate one of them")
        tokens |= {person.name: people.token_of(person.name) for person in people.all}
        return people, partial(self._write, {"tokens": tokens, "revoked": sorted(revoked), "ended": sorted(ended)})

    def _read(self) -> dict[str, Any]:
        where = str(self.path)
        try:
            with self.path.open(encoding="utf-8") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                if mode & 0o077:
                    raise HeedError(f"others can read the tokens (mode {mode:o})", where, f"chmod 600 {where}")
                kept = json.load(file)
        except FileNotFoundError:
            return {"tokens": {}, "revoked": [], "ended": []}
        except (OSError, ValueError) as error:
            raise HeedError(f"the tokens cannot be read: {error}", where, "give another file") from error
        if not _holds_tokens(kept):
            raise HeedError("this is no file of tokens", where, "give one that heed made, or a new name")
        whose = dict[str, str]()
        for name, token in kept["tokens"].items():
            if (other := whose.setdefault(token, name)) != name:
                raise HeedError(
                    f"'{other}' and '{name}' have the same token", where, "take one of them out of the file"
                )
        return kept

    def _write(self, content: dict[str, Any]) -> None:
        """Whole or not at all, and never readable for others; where the path is a link, the file that it leads to."""
        try:
            path = self.path.resolve()
            temporary = path.with_name(f".{path.name}.tmp")
            temporary.unlink(missing_ok=True)
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(content, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            where = "free or choose a folder"
            raise HeedError(f"the tokens cannot be written: {error.strerror}", str(self.path), where) from error


def tokens_from(path: str | None, rotate: Sequence[str], revoke: Sequence[str]) -> Tokens | None:
    """What the options of a command ask for; None if they ask for fresh tokens.

    Raises:
        HeedError: somebody is to be rotated or revoked, and nothing would last.

    >>> tokens_from(None, ["ada"], [])
    Traceback (most recent call last):
    heed.errors.HeedError: each start gives everybody a fresh token (--rotate): give --tokens FILE too, or leave it out
    """
    if path is not None:
        return Tokens(Path(path), rotate, revoke)
    for option, names in (("--rotate", rotate), ("--revoke", revoke)):
        if names:
            fix = "give --tokens FILE too, or leave it out"
            raise HeedError("each start gives everybody a fresh token", option, fix)
    return None


def people_with(
    tokens: Tokens | None, judging: Sequence[str], watchers: Sequence[str] = ()
) -> tuple[People, Callable[[], None]]:
    """People with the tokens that are kept, or with fresh ones, and what writes the tokens down.

    That is for when they are served: a command that is refused leaves everybody's address as it was.

    Raises:
        HeedError: as `Tokens.read` and `People.named` say.
    """
    return (People.named(judging, watchers), lambda: None) if tokens is None else tokens.read(judging, watchers)


def _holds_tokens(kept: Any) -> bool:
    if not isinstance(kept, dict) or kept.keys() != {"tokens", "revoked", "ended"}:
        return False
    tokens, lists = kept["tokens"], (kept["revoked"], kept["ended"])
    texts = isinstance(tokens, dict) and all(isinstance(token, str) and len(token) >= 16 for token in tokens.values())
    return texts and all(isinstance(each, list) and all(isinstance(text, str) for text in each) for each in lists)

"""One command's parser: flags as people type them, and a refusal in one line."""

from __future__ import annotations

import json
import re
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from heed.errors import HeedError

NUMBERS = ("preference", "weights", "ideal", "nadir")
WORDS = ("world_objectives", "methods")
"""Options that take several values with commas between."""


def numbers(text: str) -> list[float]:
    """Numbers with commas between.

    >>> numbers(".7,.3")
    [0.7, 0.3]
    """
    try:
        return [float(part) for part in text.strip("[]").split(",")]
    except ValueError:
        raise ArgumentTypeError(f"'{text}' is not a list of numbers such as .7,.3") from None


def words(text: str) -> list[str]:
    """Words with commas between, and spaces if wanted.

    >>> words("gapo:p=1, mgda,")
    ['gapo:p=1', 'mgda']
    """
    return [part.strip() for part in text.split(",") if part.strip()]


class Command:
    """One command's parser.

    Args:
        name: the command.
        description: one sentence.
        epilog: what --help says last.
    """

    def __init__(self, name: str, description: str, epilog: str | None = None) -> None:
        self.parser = ArgumentParser(prog=f"heed {name}", description=description, epilog=epilog, exit_on_error=False)

    def add(self, *names: str, **options: Any) -> None:
        """Add one option."""
        self.parser.add_argument(*names, **options)

    def parse(self, arguments: Sequence[str], **how: Any) -> Namespace:
        """Read the arguments; ``--some-flag`` and ``--some_flag`` are the same.

        Args:
            arguments: as typed.
            how: passed on to jsonargparse.

        Raises:
            HeedError: an unknown flag or a value of the wrong kind.
        """
        try:
            return self.parser.parse_args(_spelt(arguments), **how)
        except (ArgumentError, ArgumentTypeError) as error:
            raise self.refused(error, self.parser.prog) from None

    def refused(self, error: Exception, where: str) -> HeedError:
        """What jsonargparse says, as one line of heed's own."""
        reason = " ".join(str(error).split())
        wrong = re.search(r'Parser key "(\w+)".*(?:Got|Given) value: (.*)$', reason)
        if wrong is not None:
            reason = f"{wrong[1]} cannot be '{wrong[2]}'"
        return HeedError(reason, where, f"see {self.parser.prog} --help")


def _spelt(arguments: Sequence[str]) -> list[str]:
    """The arguments as jsonargparse reads them: flags with underscores, lists as JSON."""
    found: list[str] = []
    flag = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("--"):
            flag = name[2:].replace("-", "_")
            found.append(f"--{flag}{equals}{_json(flag, value)}" if equals else f"--{flag}")
        else:
            found.append(_json(flag, argument))
            flag = ""
    return found


def _json(flag: str, text: str) -> str:
    found = listed(flag, text)
    return found if isinstance(found, str) else json.dumps(found)


def listed(name: str, text: str) -> Any:
    """The value of a flag that takes several with commas between, as a list; any other as it is."""
    if name in NUMBERS:
        return numbers(text)
    return words(text) if name in WORDS and not text.startswith("[") else text


def out_folder(given: str | None, stem: str) -> Path:
    """The run folder: as given, or a new one below runs/."""
    if given is not None:
        return Path(given)
    root = Path("runs")
    number = next(n for n in range(1, 1_000_000) if not (root / f"{stem}-{n}").exists())
    return root / f"{stem}-{number}"

"""Who may see and who may judge: names, each with a secret token of its own."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from heed.errors import HeedError


@dataclass(frozen=True)
class Person:
    """Somebody with a token.

    Args:
        name: what judgements call them.
        judges: whether they may judge; else they only watch.
    """

    name: str
    judges: bool = True


@dataclass
class People:
    """Tokens and whose they are. Tokens are compared in constant time, and shown nowhere.

    >>> people = People.named(["ada", "bob"], watchers=["eve"])
    >>> people.whose(people.token_of("ada")), people.whose("guess"), people.whose(people.token_of("eve")).judges
    (Person(name='ada', judges=True), None, False)
    """

    _tokens: dict[str, Person] = field(default_factory=dict, repr=False)
    _ended: frozenset[str] = field(default_factory=frozenset, repr=False)

    @classmethod
    def named(
        cls,
        judging: Iterable[str],
        watchers: Iterable[str] = (),
        tokens: Mapping[str, str] | None = None,
        ended: frozenset[str] = frozenset(),
    ) -> People:
        """A token for each name: a fresh one, unless there is one already.

        Args:
            judging: who may judge.
            watchers: who may only look.
            tokens: those that are there already, by name (`heed.web.Tokens` keeps them).
            ended: digests of tokens that were valid once (`digest_of`).

        Raises:
            HeedError: a name twice, an empty one, or one longer than the store takes.
        """
        made = cls(_ended=ended)
        for name, judges in [*((name, True) for name in judging), *((name, False) for name in watchers)]:
            if not 0 < len(name) <= 100 or any(person.name == name for person in made._tokens.values()):
                raise HeedError(f"'{name}' cannot be a person's name", "--people", "give different, short names")
            made._tokens[(tokens or {}).get(name) or secrets.token_urlsafe(24)] = Person(name, judges)
        return made

    def token_of(self, name: str) -> str:
        """A person's token, to be handed to them alone.

        Raises:
            KeyError: nobody is called so.
        """
        return {person.name: token for token, person in self._tokens.items()}[name]

    @property
    def all(self) -> list[Person]:
        """Everybody."""
        return list(self._tokens.values())

    def whose(self, token: str) -> Person | None:
        """Whose token this is; None if nobody's. Every token is compared, each in constant time."""
        given, found = token.encode(), None
        for known, person in self._tokens.items():
            if hmac.compare_digest(known.encode(), given):
                found = person
        return found

    def ended(self, token: str) -> bool:
        """Whether this was somebody's token, and is no longer."""
        return digest_of(token) in self._ended


def digest_of(token: str) -> str:
    """What is kept of a token that was ended. It needs no salt: nobody can try all random tokens of 192 bits."""
    return hashlib.sha256(token.encode()).hexdigest()

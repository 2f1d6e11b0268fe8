"""The few words that customers and apothecaries speak: prompts and replies as text, and back.

A reply is one to three prescriptions and at most one warning:
``willow 2 , mint 1 . beware thirst .`` is two doses of willow, one of mint, and a warning. The language is terse on
purpose: what a reply means takes few tokens, so that training on it takes seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

from heed.worlds.apothecary.pharmacy import COMPLAINTS, MOST_DOSES, MOST_PRESCRIPTIONS, REMEDIES

SIDE_EFFECTS = ("drowsiness", "thirst", "chills", "tremor")
WORDS_PER_PRESCRIPTION = 3
WORDS_PER_WARNING = 3

_WORD = re.compile(r"\w+|[^\w\s]")
_PRESCRIPTION = re.compile("(" + "|".join(REMEDIES) + ") ([1-3])")
_REPLY = re.compile(
    rf"({_PRESCRIPTION.pattern}(?: , {_PRESCRIPTION.pattern}){{0,2}}) \.(?: beware ({'|'.join(SIDE_EFFECTS)}) \.)?"
)


class Reply(NamedTuple):
    """A well-formed reply: its prescriptions in order, as (remedy index, doses), and its side effect or None."""

    prescriptions: tuple[tuple[int, int], ...]
    side_effect: str | None

    @property
    def word_count(self) -> int:
        """Words and punctuation marks of the rendered reply."""
        warning = WORDS_PER_WARNING if self.side_effect else 0
        return WORDS_PER_PRESCRIPTION * len(self.prescriptions) + warning


def words(text: str) -> list[str]:
    """Split a text into words and punctuation marks.

    >>> words("mint 1.")
    ['mint', '1', '.']
    """
    return _WORD.findall(text)


def vocabulary() -> tuple[str, ...]:
    """Every word and mark that prompts and replies are made of, in a fixed order."""
    grammar = ("and", "?", ",", ".", "beware")
    counts = tuple(str(count) for count in range(1, MOST_DOSES + 1))
    return (*grammar, *counts, *COMPLAINTS, *REMEDIES, *SIDE_EFFECTS)


@lru_cache(maxsize=1 << 16)
def parse_reply(text: str) -> Reply | None:
    """Read a reply; None where it is malformed, which an empty one is.

    >>> parse_reply("nettle 2 . beware thirst .")
    Reply(prescriptions=((1, 2),), side_effect='thirst')
    >>> parse_reply("beware thirst .") is None
    True
    """
    match = _REPLY.fullmatch(" ".join(words(text)))
    if match is None:
        return None
    prescriptions = tuple((REMEDIES.index(name), int(doses)) for name, doses in _PRESCRIPTION.findall(match[1]))
    return Reply(prescriptions, match[match.re.groups])


def render_reply(reply: Reply) -> str:
    """Write a reply down; the inverse of `parse_reply`.

    >>> render_reply(Reply(((0, 1),), None))
    'willow 1 .'
    """
    if not 1 <= len(reply.prescriptions) <= MOST_PRESCRIPTIONS:
        raise ValueError(f"a reply has 1 to {MOST_PRESCRIPTIONS} prescriptions, not {len(reply.prescriptions)}")
    prescribed = " , ".join(f"{REMEDIES[remedy]} {doses}" for remedy, doses in reply.prescriptions)
    return f"{prescribed} ." + (f" beware {reply.side_effect} ." if reply.side_effect else "")


def render_prompt(complaints: Sequence[int]) -> str:
    """What a customer with these complaints (indices) says.

    >>> render_prompt((0, 1, 2))
    'cough , fever and gout ?'
    """
    names = [COMPLAINTS[complaint] for complaint in complaints]
    return f"{' , '.join(names[:-1])} and {names[-1]} ?"


def render_shares(shares: Sequence[float]) -> str:
    """Numbers in [0, 1] as what may stand before a prompt: one of 27 levels each, in three digits of 1 to 3.

    >>> render_shares((0.0, 0.5, 1.0))
    '1 1 1 , 2 2 2 , 3 3 3 . '
    """
    levels = (min(max(round(26 * share), 0), 26) for share in shares)
    return f"{' , '.join(f'{1 + level // 9} {1 + level // 3 % 3} {1 + level % 3}' for level in levels)} . "


def customers() -> list[tuple[int, ...]]:
    """The 84 sets of two or three complaints, as indices, in a fixed order."""
    return [chosen for count in (2, 3) for chosen in combinations(range(len(COMPLAINTS)), count)]

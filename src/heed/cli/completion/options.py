"""What a command's ``--help`` lists, read back: its options, the values that each may have, and what stands alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPTION = re.compile(r"^  (?:-h, )?(--[\w.-]+)((?: (?:\{[^}]*\}|\S+))*)(?:\s{2,}(\S.*))?$", flags=re.MULTILINE)
_POSITIONAL = re.compile(r"^  (\w+)\s{2,}\S", flags=re.MULTILINE)


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Args:
        flag: as it is typed.
        about: its help.
        value: whether one follows.
        several: whether more may follow, spaces between.
        choices: of the value; none where it may be anything.
    """

    flag: str
    about: str
    value: bool
    several: bool = False
    choices: tuple[str, ...] = ()

    @property
    def number(self) -> bool:
        """Whether its value is a number, or several."""
        return re.search(r"\((required, )?(whole )?numbers?\b", self.about) is not None


def options_in(text: str) -> list[Option]:
    r"""The options of a help whose lines are not broken.

    >>> options_in("options:\n  --quick  a short run\n  --mode {a,b}  which (default: a)")[1]
    Option(flag='--mode', about='which (default: a)', value=True, several=False, choices=('a', 'b'))
    """
    found = []
    for flag, value, about in _OPTION.findall(text):
        choices = tuple(value.strip(" {}").split(",")) if "{" in value else ()
        found.append(Option(flag, about, bool(value), "..." in value, choices))
    return found


def positionals_in(text: str) -> list[str]:
    r"""What stands without a flag.

    >>> positionals_in("positional arguments:\n  config  a file\n\noptions:\n  --quick  a short run")
    ['config']
    """
    return _POSITIONAL.findall(text.partition("positional arguments:\n")[2].partition("\n\n")[0])

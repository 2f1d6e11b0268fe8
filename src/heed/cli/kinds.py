"""Commands of several kinds: their overview, and a refusal that names the nearest."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

from heed.errors import HeedError


def show_kinds(command: str, kinds: Mapping[str, str]) -> None:
    """Print what a command of several kinds can do, and end the program.

    Args:
        command: its name.
        kinds: by name, each with one sentence.
    """
    width = max(map(len, kinds)) + 2
    print(f"usage: heed {command} KIND ...\n")
    for name, about in kinds.items():
        print(f"  {name:<{width}}{about}")
    print(f"\nheed {command} KIND --help tells a kind's options.")
    raise SystemExit(0)


def refused_kind(what: str, command: str, kinds: Collection[str], arguments: Sequence[str]) -> HeedError:
    """What to say where a command of several kinds was given none that there is.

    Args:
        what: is asked.
        command: its name.
        kinds: that there are.
        arguments: as typed.

    >>> str(refused_kind("what shall be compared?", "compare", ["align", "guard"], ["gaurd"]))
    'what shall be compared? (heed compare gaurd): did you mean heed compare guard?'
    """
    typed = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    close = difflib.get_close_matches(typed, kinds, n=1)
    fix = f"did you mean heed {command} {close[0]}?" if close else f"heed {command} {', '.join(kinds)}"
    return HeedError(what, f"heed {command} {typed}".strip(), fix)

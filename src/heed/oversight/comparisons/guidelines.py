"""What people are asked, in words: a file of Markdown with a heading for each objective, and general guidelines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heed.errors import HeedError

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@dataclass(frozen=True)
class Guidelines:
    """What people are to judge by, as Markdown.

    Args:
        general: of all pairs.
        definitions: what each objective means; one may lack.
    """

    general: str = ""
    definitions: Mapping[str, str] = field(default_factory=dict)


def read_guidelines(path: str | Path, objectives: Sequence[str]) -> Guidelines:
    """Read guidelines from a file of Markdown.

    A heading that is an objective's name, in capitals or not, begins its definition, which ends at the next heading of
    the same or a higher level. All else is general.

    Args:
        path: the file.
        objectives: whose definitions are looked for.

    Raises:
        HeedError: no file of text, nothing in it, or an objective that is defined twice or by nothing.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise HeedError(f"the guidelines cannot be read: {error.strerror}", str(path), "give a file of text") from error
    except UnicodeDecodeError as error:
        raise HeedError("the guidelines are no UTF-8 text", str(path), "give a file of Markdown") from error
    if not text.strip():
        raise HeedError("the guidelines are empty", str(path), "write a heading for each objective")
    return guidelines_in(text, objectives, str(path))


def guidelines_in(text: str, objectives: Sequence[str], where: str = "") -> Guidelines:
    r"""Guidelines in a text of Markdown, as `read_guidelines` reads a file.

    >>> guidelines_in("Be fair.\n# Help\nIt cures.\n# Sources\nNone.", ["help", "harmless"])
    Guidelines(general='Be fair.\n# Sources\nNone.', definitions={'help': 'It cures.'})
    """
    names = {name.casefold(): name for name in objectives}
    general: list[str] = []
    found: dict[str, list[str]] = {}
    into, level, fence = general, 0, ""
    for line in text.splitlines():
        heading = None if fence else _HEADING.match(line)
        fence = _fence_after(line, fence)
        if heading is not None and (into is general or len(heading[1]) <= level):
            name = names.get(heading[2].strip("*_`").casefold())
            if name in found:
                raise HeedError(f"'{name}' is defined twice", where, "leave one of its headings out")
            into = general
            if name is not None:
                into, level = found.setdefault(name, []), len(heading[1])
                continue
        into.append(line)
    definitions = {name: "\n".join(lines).strip() for name, lines in found.items()}
    for name, words in definitions.items():
        if not words:
            raise HeedError(f"'{name}' has a heading and no words", where, "write what it means below it")
    return Guidelines("\n".join(general).strip(), definitions)


def _fence_after(line: str, fence: str) -> str:
    """What opened the code that the next line lies in; "" if it lies in none."""
    mark = _FENCE.match(line)
    if mark is None:
        return fence
    if not fence:
        return mark[1]
    closes = mark[1].startswith(fence) and not line.strip().strip(fence[0])
    return "" if closes else fence

"""The pages of docs/evidence: each has its command, the runs beside it as lines of a file, and the tables they make.

python tests/evidence/pages.py            # write every page's tables anew
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "evidence"
BEGIN, END = "<!-- made by the command above -->", "<!-- end -->"
MADE = re.compile(rf"```sh\n(heed (?:compare|front) [^`]*)\n```\n\n{BEGIN}\n\n(.*?)\n\n{END}", flags=re.DOTALL)


def pages() -> list[Path]:
    """Those that hold tables."""
    return sorted(page for page in FOLDER.glob("*.md") if MADE.search(page.read_text()))


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """A page's commands, and what stands below each."""
    yield from MADE.findall(page.read_text())


def printed(command: str) -> str:
    """The tables that a command prints of the runs that are kept; none is made."""
    from heed.cli import compare, front

    def none_is_made(tasks: object, *_: object) -> list[object]:
        if tasks:
            raise AssertionError(f"runs are missing in the file of: {command}\n{tasks}")
        return []

    _, name, *arguments = shlex.split(command.replace("\\\n", " "))
    run, runs = {
        "compare": (compare.run, "heed.compare.methods.run_all"),
        "front": (front.run, "heed.compare.front.run_all"),
    }[name]
    results = arguments.index("--results") + 1
    arguments[results] = str(ROOT / arguments[results])
    with tempfile.TemporaryDirectory() as folder, mock.patch(runs, none_is_made):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            run([*arguments, "--out", f"{folder}/table"])
    return "\n".join(line for line in said.getvalue().splitlines() if folder not in line).strip()  # not the report's


def write(page: Path) -> None:
    """Put what each command prints below it."""

    def anew(found: re.Match[str]) -> str:
        return f"```sh\n{found[1]}\n```\n\n{BEGIN}\n\n{printed(found[1])}\n\n{END}"

    page.write_text(MADE.sub(anew, page.read_text()))


if __name__ == "__main__":
    for each in pages():
        write(each)
        print(each.relative_to(ROOT), file=sys.stderr)

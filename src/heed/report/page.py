"""One self-contained page for any run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from heed.errors import HeedError
from heed.report.common.blocks import Page
from heed.report.common.gather import RunRecord, gather
from heed.runs.files import write_whole

PAGES: dict[str, str] = {
    "align": "heed.report.align.run_page:align_page",
    "guard": "heed.report.guard.run_page:guard_page",
    "front": "heed.report.align.front_page:front_page",
    "compare": "heed.report.compare_page:compare_page",
    "demo": "heed.report.demo_page:demo_page",
    "real": "heed.report.real_page:real_page",
}
"""Kind of run: the function from a `RunRecord` to its `Page`. A new kind is a line here; a page is imported when it is
made, so that the page of one half needs nothing of the other."""


def write_report(path: Path | str) -> Path:
    """Write the page of a run, finished or not, into its folder.

    Args:
        path: a run folder, or its path.

    Returns:
        The page, ``report.html``: one file that opens offline, on a phone, and prints.

    Raises:
        HeedError: if the folder holds no run, a file in it is malformed, its kind is unknown, or the page cannot
            be written.
    """
    page, file = report_of(path), Path(path) / "report.html"
    try:
        write_whole(file, page)
    except OSError as error:
        raise HeedError(
            f"the page cannot be written: {error.strerror}", str(file), "free or choose a folder"
        ) from error
    return file


def report_of(path: Path | str) -> str:
    """Make the page of a run, finished or not, and leave its folder as it is.

    Args:
        path: a run folder, or its path.

    Returns:
        The page as HTML.

    Raises:
        HeedError: if the folder holds no run, a file in it is malformed, or its kind is unknown.
    """
    run = gather(path)
    if run.kind not in PAGES:
        fix = f"give a run of kind {', '.join(PAGES)}"
        raise HeedError(f"there is no page for a run of kind {run.kind!r}", where=str(path), fix=fix)
    return render(page_of(run.kind)(run), command=f"heed report {run.path.resolve().name}")


def page_of(kind: str) -> Callable[[RunRecord], Page]:
    """The function that makes the page of a kind of run, one of `PAGES`.

    >>> page_of("compare").__name__
    'compare_page'
    """
    module, _, name = PAGES[kind].partition(":")
    made: Callable[[RunRecord], Page] = getattr(importlib.import_module(module), name)
    return made


def render(page: Page, command: str = "") -> str:
    """Render a page as HTML; every text in it is escaped.

    Args:
        page: what to show.
        command: how to make it again, for its foot.
    """
    environment = Environment(
        loader=PackageLoader("heed.report.common"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(page=page, command=command)

"""The moments that people marked while they watched a run."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from heed.errors import HeedError, RunFailed
from heed.oversight.store.store import MARK, Judgement, open_store
from heed.report.common.blocks import Section, Table


def marks_sections(run: Path) -> list[Section]:
    """A section with the marked moments of a run, by whom, when, at which step and with what note; none without any.

    Args:
        run: the run's folder; its own ``judgements.db`` is read, and no store elsewhere.
    """
    marks = _marks(run / "judgements.db")
    if not marks:
        return []
    rows = [
        [
            f"{mark.at:%Y-%m-%d %H:%M:%S}",
            mark.person,
            f"{mark.shown['episode'] + 1:,}",
            f"{mark.shown['step'] + 1:,}",
            str(mark.shown["phase"]),
            mark.verdict["note"],
        ]
        for mark in marks
    ]
    caption = "Moments that people marked at the page, with the key X; times are in UTC. Nothing is learnt from a mark."
    return [
        Section(
            "Marked moments",
            [Table(["when", "who", "episode", "step", "phase", "note"], rows, caption, text=[1, 4, 5])],
        )
    ]


def _marks(place: Path) -> list[Judgement]:
    if not place.is_file():
        return []
    try:
        with closing(open_store(str(place), "the run's store", new=False)) as store:
            return store.effective(MARK)
    except (HeedError, RunFailed):  # a report is of what can be read
        return []

"""The page of a comparison: methods in rows, measures in columns."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from heed.report.align.front_plots import plot_comparison, spans
from heed.report.align.run_page import config_block, facts, warnings
from heed.report.common.blocks import Block, Figure, Key, Note, Page, Section, Table
from heed.report.common.efficiency import efficiency_blocks
from heed.report.common.formats import counted, interval
from heed.report.common.gather import RunRecord
from heed.report.common.plot_style import SOFT, colour_of, css_colour, draw

CAPTION = "Mean over seeds, and its interval in brackets."
PAIRS = "Share of the pairs of seeds in which the row's is better, and its interval in brackets."


def compare_page(run: RunRecord) -> Page:
    """Compose the report of a comparison.

    Args:
        run: with ``compare.json``: ``{"title", "columns": [...], "rows": [{"method", column: {"mean", "low", "high",
            "n"}}], "notes": [...]}``.

    Returns:
        The page.
    """
    table = run.compare
    columns, rows = [str(column) for column in table.get("columns", [])], table.get("rows", [])
    seeds = {cell["n"] for row in rows for cell in row.values() if isinstance(cell, dict) and cell.get("n")}
    runs = ""
    if seeds:
        runs = f", {min(seeds)} to {max(seeds)} seeds" if len(seeds) > 1 else f", {counted(min(seeds), 'seed')} each"
    measures = f"{len(columns)} {'measure' if len(columns) == 1 else 'measures'}"
    return Page(
        kicker="heed · compare",
        title=str(table.get("title") or "Comparison of methods"),
        deck=f"{len(rows)} methods by {measures}{runs}.",
        facts=facts(run),
        warnings=warnings(run) if run.summary else [],
        sections=[
            Section("The table", table_blocks(columns, rows)),
            Section("The same, drawn", [dots_block(columns, rows)]),
            *rounds_sections(table),
            *improvement_sections(table),
            *efficiency_sections(run),
            Section("Notes", [Note(str(note)) for note in table.get("notes", [])] or [Note("None.", missing=True)]),
            Section("What the run was told", [config_block(run)]),
        ],
    )


def rounds_sections(table: Mapping[str, Any]) -> list[Section]:
    """Show how fast each method gets where it gets, where the comparison has told it."""
    told = table.get("rounds")
    if not isinstance(told, Mapping) or not told.get("rows"):
        return []
    notes = [Note(f"{note[0].upper()}{note[1:]}.") for note in map(str, told.get("notes", []))]
    return [Section(str(told["title"]), [*table_blocks(list(told["columns"]), list(told["rows"])), *notes])]


def improvement_sections(table: Mapping[str, Any]) -> list[Section]:
    """Show how probably each method is better than each other, where the comparison has told it."""
    told = table.get("improvement")
    if not isinstance(told, Mapping) or len(told.get("rows", [])) < 2:
        return []
    note = Note(f"{told['title']}: of a run of the row's method over one of the column's, with a bootstrap's interval.")
    return [Section("Which is better", [note, *table_blocks(list(told["columns"]), list(told["rows"]), PAIRS)])]


def efficiency_sections(run: RunRecord) -> list[Section]:
    """Show what guards come to by steps and by judgements, where the comparison has told it."""
    if not run.efficiency:
        return []
    return [Section("Sample efficiency", efficiency_blocks(run.efficiency, run.compare.get("efficiency", [])))]


def table_blocks(columns: list[str], rows: list[dict[str, object]], caption: str = CAPTION) -> list[Block]:
    """Tabulate means and intervals."""
    if not rows or not columns:
        return [Note("No results yet: compare.json has no rows.", missing=True)]
    cells = [[str(row["method"]), *(interval(row.get(column)) for column in columns)] for row in rows]  # type: ignore[arg-type] # JSON
    return [Table(["method", *columns], cells, caption)]


def dots_block(columns: list[str], rows: list[dict[str, object]]) -> Block:
    """Draw each measure's means with their intervals."""
    shown = [column for column in columns if any(spans(row.get(column))[0] is not None for row in rows)]
    if not shown:
        return Note("No numbers to draw.", missing=True)
    picture = draw(partial(plot_comparison, columns=shown, rows=rows), "comparison", "Methods by measure")
    caption = (
        "One panel a measure, each on its own scale; methods in the order of the table. Where two intervals overlap "
        "widely, the seeds do not tell the two methods apart. An arrow at a panel's edge marks a mean that "
        "lies far beyond it."
    )
    key = [Key(css_colour(colour_of(0)), "mean over seeds", "dot"), Key(css_colour(SOFT), "interval")]
    return Figure(picture, "Means with intervals.", caption, key)

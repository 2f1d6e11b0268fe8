"""The page that the demo ends with: two policies from one warm start side by side, and a guarded agent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heed.errors import HeedError
from heed.guard.run.counts import read_decisions
from heed.report.align.plots import Path2D
from heed.report.align.run_page import (
    config_block,
    facts,
    numbers_table,
    objectives_figure,
    one_each,
    plane_figure,
    reply,
    warnings,
)
from heed.report.common.blocks import Block, Card, Cards, Exchange, Exchanges, Links, Note, Page, Section, Table
from heed.report.common.changes import ends_in_words
from heed.report.common.formats import MISSING, number, percent, signed
from heed.report.common.gather import RunRecord, gather
from heed.report.common.plot_style import colour_of, css_colour
from heed.report.guard.run_page import catastrophes_figure

SHOWN_PROMPTS = 5


def demo_page(run: RunRecord) -> Page:
    """Compose the demo's report.

    Args:
        run: with ``demo.json``: ``{"runs": [{"label", "path"}], "headline": str, "judges": {name: accuracy}, "guard":
            None or {"runs", "headline"}}``, paths relative to the demo's folder.

    Returns:
        The page.
    """
    runs, lost = open_runs(run, run.demo.get("runs", []))
    halves = (run.demo, run.demo.get("guard") or {})
    headlines = [str(half["headline"]) for half in halves if half.get("headline")]
    sections = [
        Section("What changed", change_blocks(runs)),
        Section("Against the exact front", [plane_block(run, runs)]),
        *(
            Section(f"Over the steps: {label}", [objectives_figure(record, f"run-{index}"), numbers_table(record)])
            for index, (label, record) in enumerate(runs)
        ),
        Section("The same customers, three answers", [replies_block(runs)]),
        Section("How good the learnt judges are", [judges_block(run.demo.get("judges") or {})]),
        *guard_sections(run),
        Section("The runs themselves", [links_block(run.path, runs)]),
        Section("What the demo was told", [config_block(run)]),
    ]
    return Page(
        kicker="heed · demo",
        title="A model that minds two objectives, an agent that looks before it leaps",
        deck=". ".join(headlines) or "Two runs from one warm start.",
        facts=facts(run),
        warnings=lost + (warnings(run) if run.summary else []),
        sections=sections,
    )


def open_runs(demo: RunRecord, named: Sequence[dict[str, Any]]) -> tuple[list[tuple[str, RunRecord]], list[str]]:
    """Read the runs that the demo names; returns them, and a sentence for each that cannot be read."""
    runs, lost = [], []
    for item in named:
        try:
            runs.append((str(item["label"]), gather(demo.path / item["path"])))
        except HeedError as error:
            lost.append(f"The run {item['label']} cannot be shown: {error.what}.")
    return runs, lost


def guard_sections(demo: RunRecord) -> list[Section]:
    """Show the second half: catastrophes of the guarded agent beside those of the others."""
    half = demo.demo.get("guard")
    if not half:
        return []
    runs, lost = open_runs(demo, half["runs"])
    blocks: list[Block] = [Note(f"{half['headline']}."), *(Note(line, missing=True) for line in lost)]
    rows = []
    for label, record in runs:
        catastrophes, goals = record.summary.get("catastrophes", {}), record.summary.get("goals", {})
        steps, alone = record.summary.get("env_steps"), record.summary.get("autonomy_steps")
        watched = None if steps is None or alone is None else steps - alone
        counts = (watched, catastrophes.get("oversight"), alone, catastrophes.get("autonomy"), goals.get("autonomy"))
        written = [MISSING if count is None else f"{count:,}" for count in counts]
        rows.append([label, *written, number(record.summary.get("return_mean"))])
    under, alone_too = ["steps before", "catastrophes before"], ["steps alone", "catastrophes alone", "goals alone"]
    columns = ["agent", *under, *alone_too, "return, last episodes"]
    caption = "Before, a last-moment overseer watches, without a say where there is no guard; then all are alone."
    blocks.append(Table(columns, rows, caption, strong=[0]))
    decisions = read_decisions(runs[0][1].path) if runs else None
    if decisions is not None:
        blocks.append(catastrophes_figure(runs[0][1], decisions))
    return [Section("An agent that looks before it leaps", [*blocks, links_block(demo.path, runs[:1])])]


def change_blocks(runs: Sequence[tuple[str, RunRecord]]) -> list[Block]:
    """Show what each run did to each objective, as cards of the first run and a table of all."""
    if not runs:
        return [Note("The demo names no runs.", missing=True)]
    label, first = runs[0]
    shown = [
        Card(
            f"{o.name}, {label}",
            signed(o.end - o.start),
            ends_in_words(first, o),
            css_colour(colour_of(i)),
        )
        for i, o in enumerate(first.objectives())
        if o.start is not None and o.end is not None
    ]
    names = list(dict.fromkeys(name for _, record in runs for name in record.judged_names))
    starts = {o.name: o.start for o in first.objectives()}
    rows = [["warm start", *(number(starts.get(name)) for name in names)]]
    for title, record in runs:
        ends = {o.name: o.end for o in record.objectives()}
        rows.append([title, *(number(ends.get(name)) for name in names)])
    gold = all(o.gold_end is not None for o in first.objectives()) and bool(first.judged_names)
    judge = "Gold values: what the world says the replies are worth." if gold else "No gold values: learnt rewards."
    cards: list[Block] = [Cards(shown)] if shown else []
    return [*cards, Table(["policy", *names], rows, judge, strong=[1])]


def plane_block(demo: RunRecord, runs: Sequence[tuple[str, RunRecord]]) -> Block:
    """Show all runs in the plane of gold values."""
    exact = demo.exact or next((record.exact for _, record in runs if record.exact), None)
    if exact is None or len(exact.names) < 2:
        return Note(
            "No exact front of two or more objectives: none of the runs has a world that knows it.", missing=True
        )
    paths: list[Path2D] = []
    for label, record in runs:
        points = record.trajectory(exact.names)
        if len(points):
            paths.append(Path2D(label, points, colour_of(len(exact.names) + len(paths))))
    if not paths:
        return Note("No gold values were logged, so no run can be placed against the exact front.", missing=True)
    caption = (
        "Both runs set out from the same warm start (grey dot). A run that trades one objective away leaves the plot; "
        "the arrow says where it ends."
    )
    return plane_figure(exact, paths, "Both runs in the plane of their objectives.", caption)


def replies_block(runs: Sequence[tuple[str, RunRecord]]) -> Block:
    """Show the replies of the warm start and of each run to the same prompts."""
    kept = [(label, {c.prompt: c for c in one_each(record.after)}) for label, record in runs if record.after]
    first = runs[0][1] if runs else None
    if first is None or not first.before or not kept:
        return Note("No completions were kept by these runs.", missing=True)
    exchanges = [
        Exchange(
            before.prompt,
            [reply("warm start", before), *(reply(label, after.get(before.prompt)) for label, after in kept)],
        )
        for before in one_each(first.before)[:SHOWN_PROMPTS]
    ]
    return Exchanges(exchanges, "The first prompts of the file, not picked.")


def judges_block(judges: dict[str, Any]) -> Block:
    """Tabulate how often each learnt reward model agrees with held-out comparisons."""
    if not judges:
        return Note("The demo does not say how accurate its reward models are.", missing=True)
    rows = [[name, percent(accuracy, 1)] for name, accuracy in judges.items()]
    caption = (
        "Share of held-out comparisons on which the learnt reward model prefers the reply that the judge preferred. "
        "The policies never see the gold values, only these reward models."
    )
    return Table(["objective", "agreement"], rows, caption)


def links_block(folder: Path, runs: Sequence[tuple[str, RunRecord]]) -> Block:
    """Link to the page of each run, which lies beside the run."""
    if not runs:
        return Note("No runs to link to.", missing=True)
    links = []
    for label, record in runs:
        address = os.path.relpath(record.path / "report.html", folder)
        there = (record.path / "report.html").is_file()
        remark = (
            f"{record.steps:,} steps" if there else f"no page yet: heed report {address.removesuffix('/report.html')}"
        )
        links.append((label, address, remark))
    return Links(links)

"""The page of a real model aligned to people's judgements: methods, judges, refusals, answers side by side."""

from __future__ import annotations

from typing import Any

from heed.report.align.run_page import config_block, facts, warnings
from heed.report.common.blocks import Block, Exchange, Exchanges, Links, Note, Page, Reply, Section, Table
from heed.report.common.formats import counted, interval, percent
from heed.report.common.gather import RunRecord
from heed.report.compare_page import dots_block, table_blocks


def real_page(run: RunRecord) -> Page:
    """Compose the report of ``heed demo --real``.

    Args:
        run: with ``real.json``: the model, its sources and size, ``judges`` (agreement by name), ``table`` as in
            ``compare.json``, ``refusals`` (rows with a cell for each kind of prompt) and ``answers``.

    Returns:
        The page.
    """
    real = run.real
    table = real.get("table") or {}
    columns, rows = [str(column) for column in table.get("columns", [])], table.get("rows", [])
    size = real.get("size") or {}
    return Page(
        kicker="heed · demo, real",
        title=f"{real.get('model', 'A model')}, aligned to people's judgements of two kinds",
        deck=f"{counted(len(rows), 'method')}, {counted(size.get('seeds', 0), 'seed')} each, "
        f"{counted(size.get('rounds', 0), 'round')}; "
        "judged by judges that they were trained by, and by judges that they never saw.",
        facts=facts(run),
        warnings=warnings(run) if run.summary else [],
        sections=[
            Section("What changed", table_blocks(columns, rows)),
            Section("The same, drawn", [dots_block(columns, rows)]),
            Section("How far the judges agree with people", [judges_block(real.get("judges") or {})]),
            Section("Who declines what", [refusals_block(real.get("refusals") or [])]),
            Section("The same prompts, answers side by side", [answers_block(real.get("answers") or [])]),
            Section("Notes", [Note(str(note)) for note in table.get("notes", [])] or [Note("None.", missing=True)]),
            Section("The runs themselves", [Links([("all runs, and their table", "compare/report.html", "")])]),
            Section("What the run was told", [config_block(run)]),
        ],
    )


def judges_block(judges: dict[str, Any]) -> Block:
    """Tabulate each judge's agreement beside that of length."""
    if not judges:
        return Note("The run does not say how far its judges agree with people.", missing=True)
    rows = [
        [
            name,
            f"{percent(told['share'], 1)} [{percent(told['low'], 1)}, {percent(told['high'], 1)}]",
            percent(told["longer"], 1),
            f"{told['of']:,}",
        ]
        for name, told in judges.items()
    ]
    caption = (
        "Share of comparisons, of prompts that no judge has learnt from, in which the judge prefers what people "
        "preferred, with its exact 95% interval; and in how many the longer answer is what they preferred: a judge "
        "that does no better than that, or than 50%, is worth little. Those that are held out learnt from other "
        "prompts than those that policies are trained by; those of words alone are linear in an answer's n-grams. The "
        "interval takes comparisons for independent, though some are of one prompt."
    )
    return Table(["judge", "agreement", "of length", "comparisons"], rows, caption)


def refusals_block(rows: list[dict[str, Any]]) -> Block:
    """Tabulate the shares of prompts that are declined."""
    if not rows:
        return Note("The run does not say what was declined.", missing=True)
    kinds = [name for name in rows[0] if name != "method"]
    cells = [[str(row["method"]), *(interval(row.get(kind)) for kind in kinds)] for row in rows]
    caption = (
        "Share of evaluated prompts whose answer begins by declining, told by its words, with 95% intervals over "
        "seeds and prompts. To decline benign prompts is over-refusal."
    )
    return Table(["method", *(f"{kind} prompts" for kind in kinds)], cells, caption)


def answers_block(answers: list[dict[str, Any]]) -> Block:
    """Show the answers to the same prompts, before and after each method."""
    if not answers:
        return Note("No answers were kept.", missing=True)
    exchanges = [
        Exchange(
            f"{asked['prompt']} ({asked['kind']})",
            [Reply(label, text, []) for label, text in asked["answers"].items()],
        )
        for asked in answers
    ]
    return Exchanges(exchanges, "The first prompts of the evaluation in turn, not picked; each method's first seed.")

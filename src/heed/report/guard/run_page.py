"""The page of one guarded run."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from heed.errors import HeedError
from heed.guard.run.causes import advice, collapse, in_words, shares
from heed.guard.run.counts import LATE_EPISODES, Counts, Decisions, percentiles, read_decisions
from heed.guard.run.methods import guarded as has_guard
from heed.report.align.run_page import config_block, facts
from heed.report.common.blocks import Block, Card, Cards, Figure, Key, Note, Page, Section, Share, Shares, Table
from heed.report.common.formats import MISSING, interval, joined, method_title, number, percent
from heed.report.common.gather import RunRecord, gather
from heed.report.common.plot_style import FILL, INK, SOFT, colour_of, css_colour, draw
from heed.report.guard.marks import marks_sections
from heed.report.guard.models import models_blocks
from heed.report.guard.plots import (
    EARLY,
    MISSED,
    NEEDLESS,
    WINDOW,
    Curve,
    plot_blocks,
    plot_catastrophes,
    plot_latency,
    plot_learning,
)
from heed.report.guard.snapshots import snapshots_block
from heed.runs.statistics import mean_interval, rate_interval

SOURCES = {
    "planner": "the planner",
    "fallback": "the fallback: no safe plan was found, or something failed",
    "blocker": "the declared safe action",
    "person": "the overseer's own",
    "recovery": "the recovery policy",
}


def guard_page(run: RunRecord) -> Page:
    """Compose the report of one guarded run.

    Args:
        run: what `gather` read.

    Returns:
        The page; a note stands for each part that the run lacks.
    """
    env = str(run.config.get("env") or "an environment")
    title = method_title(run.method) if run.method else run.path.resolve().name
    decisions = read_decisions(run.path)
    sections = [
        Section("What happened", [Note("No decisions.parquet in this run: it ended before its first step.", True)])
    ]
    if decisions is not None:
        sections = [
            Section("What happened", [cards(run, decisions), phases_table(run, decisions), *finished_blocks(run)]),
            Section("Catastrophes over the run", [catastrophes_figure(run, decisions)]),
            *([Section("Looking before the leap", [snapshots_block(run)])] if guarded(run) else []),
            Section("Learning", [learning_figure(run, decisions)]),
        ]
        if guarded(run):
            sections += [
                Section("Blocks", [blocks_figure(run, decisions), *sources_blocks(decisions)]),
                Section("How far the judges can be trusted", models_blocks(run)),
                Section("How long a decision takes", [latency_block(decisions)]),
            ]
    return Page(
        kicker="heed · guard",
        title=f"{title[:1].upper()}{title[1:]} on {env}",
        deck=headline(run, decisions),
        facts=identity(run),
        warnings=warnings(run, decisions),
        sections=[*sections, *marks_sections(run.path), Section("What the run was told", [config_block(run)])],
    )


def guarded(run: RunRecord) -> bool:
    """Whether there was a guard at all."""
    return has_guard(run.method)


def identity(run: RunRecord) -> list[tuple[str, str]]:
    """List what identifies the run."""
    handed_over = run.summary.get("handed_over_at")
    named = [("environment", run.config.get("env")), ("overseer", run.config.get("overseer") if guarded(run) else None)]
    known = [(name, str(value)) for name, value in named if value]
    return [*known, *([("handed over", f"at step {handed_over:,}")] if handed_over is not None else []), *facts(run)]


def headline(run: RunRecord, decisions: Decisions | None) -> str:
    """Sum the run up in one sentence."""
    if decisions is None:
        return "Nothing has happened in this run yet."
    whole, alone, overseen = (decisions.counts(phase) for phase in (None, "autonomy", "oversight"))
    if not guarded(run):
        return f"Nobody judged: {_catastrophes(whole)} in {whole.steps:,} steps, and {_many(whole.goals, 'goal')}."
    rate = _rate(alone)
    if rate is None:
        return (
            f"Autonomy was never begun: the overseer judged all {whole.steps:,} steps, blocked {whole.blocks:,} of "
            f"them, and {_catastrophes(whole)} happened all the same."
        )
    return (
        f"After {overseen.steps:,} steps of oversight with {_catastrophes(overseen)}, the guard looked for itself: "
        f"{_catastrophes(alone)} in {alone.steps:,} steps, {number(rate[0])} in 10,000 "
        f"(95% interval {number(rate[1])} to {number(rate[2])}). {cost(decisions)}"
    )


def cost(decisions: Decisions) -> str:
    """Say in a sentence what safety costs: the blocks of autonomy, and its returns beside those of oversight.

    An episode that was begun under oversight and ended alone is of neither.

    Args:
        decisions: of a run that took over.
    """
    alone = decisions.counts("autonomy")
    said = f"It blocks {number(alone.blocks_per_100)} actions in 100"
    if alone.blocks and alone.needless is not None:
        said += f", {percent(alone.needless / alone.blocks)} of them needlessly"
    before, late = (decisions.whole_returns(phase)[-LATE_EPISODES:] for phase in ("oversight", "autonomy"))
    if not len(late):
        return f"{said}; no episode of its own has ended."
    returned = f"its last {_many(len(late), 'episode')} returned {_mean(late)} each"
    beside = f"; the last {len(before)} of oversight {_mean(before)}" if len(before) else ""
    return f"{said}, and {returned}{beside}."


def warnings(run: RunRecord, decisions: Decisions | None) -> list[str]:
    """List what a reader must know before trusting the page."""
    found = []
    steps = 0 if decisions is None else len(decisions)
    if not run.summary.get("completed"):
        found.append(f"This run is not complete: it stands at step {steps:,}. The page shows what is there so far.")
    if guarded(run) and decisions is not None and not decisions.alone.any():
        fix = "allow more steps, or a larger --eps or --cap; heed guard says at each try what stood against it"
        found.append(f"Autonomy was never begun, so nothing here tells what the guard is worth: {fix}.")
    if guarded(run) and decisions is not None:
        causes = decisions.causes()
        found += [said for said in (collapse(run.summary), advice(int(decisions.alone.sum()), causes)) if said]
    faults: dict[str, int] = run.summary.get("faults") or {}
    found += [f"{what} ({'once' if count == 1 else f'{count:,} times'})" for what, count in faults.items()]
    return found


def cards(run: RunRecord, decisions: Decisions) -> Block:
    """Show the numbers that matter in large type."""
    whole, alone, overseen = (decisions.counts(phase) for phase in (None, "autonomy", "oversight"))
    shown_how = f", {whole.demonstrations:,} steps demonstrated" if whole.demonstrations else ""
    judged = ("judgements asked", f"{whole.judgements:,}", f"{overseen.blocks:,} blocks in oversight{shown_how}")
    goals = ("goals", f"{whole.goals:,}", f"in {whole.steps:,} steps")
    shown = [("catastrophes in oversight", f"{overseen.catastrophes:,}", f"in {overseen.steps:,} steps")]
    if not guarded(run):
        shown = [("catastrophes", f"{whole.catastrophes:,}", f"{_per_10_000(whole)} in 10,000 steps"), goals]
    elif not alone.steps:
        shown += [judged, goals]
    else:
        shown.append(("catastrophes alone", f"{alone.catastrophes:,}", f"in {alone.steps:,} steps of autonomy"))
        if alone.needless is None:
            shown.append(("blocks alone", f"{alone.blocks:,}", f"{number(alone.blocks_per_100)} in 100 steps"))
        else:
            share = percent(alone.needless / alone.blocks) if alone.blocks else MISSING
            note = f"{alone.needless:,} of {alone.blocks:,}, {alone.early:,} of them early; {alone.missed:,} missed"
            shown.append(("needless blocks", share, note))
        shown.append(judged)
        if _evaluated(run) and all(_measured(run, kind) for kind in _KINDS):
            guarded_count = _evaluated_catastrophes(run, "guarded")
            note = f"in {_many(run.summary['evaluation_episodes'], 'episode')}; with it {guarded_count}"
            shown[-1] = ("catastrophes, guard off", _evaluated_catastrophes(run, "unguarded"), note)
    colours = (css_colour(colour_of(index)) for index in (1, 0, 4, 2))
    return Cards([Card(*card, colour) for card, colour in zip(shown, colours, strict=False)])


def phases_table(run: RunRecord, decisions: Decisions) -> Block:
    """Tabulate what happened in each phase."""
    rows = []
    for name, counts in (("oversight", decisions.counts("oversight")), ("autonomy", decisions.counts("autonomy"))):
        rate = _rate(counts)
        per_10_000 = MISSING if rate is None else f"{number(rate[0])} [{number(rate[1])}, {number(rate[2])}]"
        blocks = [f"{counts.blocks:,}", number(counts.blocks_per_100 if counts.steps else None)]
        known = [MISSING if value is None else f"{value:,}" for value in (counts.needless, counts.early, counts.missed)]
        ends = [f"{counts.goals:,}", f"{counts.judgements:,}"]
        rows.append([name, f"{counts.steps:,}", f"{counts.catastrophes:,}", per_10_000, *blocks, *known, *ends])
    columns = [
        "phase",
        "steps",
        "catastrophes",
        "in 10,000 steps",
        "blocks",
        "in 100 steps",
        "needless",
        "early",
        "missed",
    ]
    caption = (
        "In brackets the exact 95% interval of a rare event's rate (Poisson). A block is needless where the brake "
        "would still have stopped in time after the proposed action, and early where it would have had more than a "
        "step at full speed to spare; one is missed where the action led into a catastrophe, or to where nothing helps "
        "any more. A dash where no oracle knows."
    )
    if any(causes := decisions.causes()):
        caption += f" Blocked in autonomy for: {in_words(shares(causes))}."
    if not guarded(run):
        rows = [[name, *cells[:3], cells[8]] for name, *cells in rows]
        columns = [*columns[:4], "goals"]
        caption = (
            "Nobody judged. The steps are parted as those of a guarded run with the same settings are, so that the "
            "same steps are compared. In brackets the exact 95% interval of a rare event's rate (Poisson)."
        )
        return Table(columns, rows, caption)
    return Table([*columns, "goals", "judgements"], rows, caption)


def finished_blocks(run: RunRecord) -> list[Block]:
    """Tabulate the finished policy with its guard on and off."""
    if not _evaluated(run):
        return [Note("The finished policy was not evaluated.", missing=True)]
    alone = run.summary.get("handed_over_at") is not None
    kinds = [("guard on" if alone else "overseer on", "guarded"), ("guard off" if alone else "nobody", "unguarded")]
    kinds = kinds if guarded(run) else [("no guard", "unguarded")]
    kinds = [(name, key) for name, key in kinds if _measured(run, key)]
    rows = [
        [
            name,
            _return(run, key),
            *(f"{run.summary[f'{what}_{key}']:,}" for what in ("catastrophes", "goals")),
        ]
        for name, key in kinds
    ]
    episodes = int(run.summary["evaluation_episodes"])
    caption = f"The finished policy without exploration, in {_many(episodes, 'episode')}"
    caption += ", the same ones in each row." if guarded(run) else "."
    caption += " In brackets the 95% interval of the mean over them." if any("[" in row[1] for row in rows) else ""
    return [Table(["the finished policy", "return", "catastrophes", "goals"], rows, caption)]


def catastrophes_figure(run: RunRecord, decisions: Decisions) -> Block:
    """Show catastrophes so far over the steps, against the runs beside this one."""
    curves = [Curve(method_title(run.method) or "this run", decisions, INK, guarded(run))]
    absent = []
    for label, folder in run.siblings:
        try:
            other, others = gather(folder), read_decisions(folder)
        except HeedError:
            others = None
        if others is None:
            absent.append(label)
        else:
            curves.append(Curve(label, others, colour_of(len(curves) - 1), guarded(other)))
    picture = draw(partial(plot_catastrophes, curves=curves), "catastrophes", "Catastrophes so far over the steps")
    key = [Key(css_colour(curve.colour), curve.label) for curve in curves]
    caption = "Every catastrophe is a step upwards."
    if guarded(run):
        key += _oversight_key(run)
        caption += (
            " In oversight the overseer sees every action; what a last-moment overseer cannot prevent is counted there."
        )
    if any(curve.overseen and curve.decisions.alone.any() for curve in curves):
        key.append(Key(css_colour(SOFT), "the guard takes over", "dot"))
        caption += " Where a line is flat afterwards, what the guard has learnt holds."
    caption += f" Not shown, having no decisions: {joined(absent)}." if absent else ""
    return Figure(picture, "Catastrophes so far.", caption, key)


def learning_figure(run: RunRecord, decisions: Decisions) -> Block:
    """Show return and goals over the steps."""
    if not len(decisions.episodes()[0]):
        return Note("No episode has ended in this run.", missing=True)
    picture = draw(
        partial(plot_learning, decisions=decisions, overseen=guarded(run)),
        "learning",
        "Return and goals over the steps",
    )
    caption = "Dots are episodes, by the step in which they end"
    caption += ", with all that the guard did in them" if guarded(run) else ""
    caption += f"; lines their moving average over {WINDOW} episodes."
    caption += "" if decisions.goal.any() else " No goal was reached, or the environment tells of none."
    return Figure(picture, "Return and goals.", caption, _oversight_key(run))


def blocks_figure(run: RunRecord, decisions: Decisions) -> Block:
    """Show blocks over the steps, needless and missed ones where an oracle knows."""
    if not decisions.blocked.any():
        return Note("Nothing was blocked in this run.", missing=True)
    key = [Key(css_colour(SOFT), "blocks", "area")]
    caption = "In oversight the blocks and the misses are the overseer's, afterwards the guard's."
    if decisions.judged_by_oracle:
        kinds = (("needless", NEEDLESS), ("early", EARLY), ("missed", MISSED))
        key += [Key(css_colour(colour), name, "area") for name, colour in kinds]
    else:
        caption += " No oracle knows this environment, so that nobody can say which blocks were needless or missed."
    picture = draw(partial(plot_blocks, decisions=decisions, overseen=True), "blocks", "Blocks over the steps")
    return Figure(picture, "Blocks in 100 steps.", caption, key + _oversight_key(run))


def sources_blocks(decisions: Decisions) -> list[Block]:
    """Show who chose the executed action where autonomy blocked, and how many plans were safe."""
    sources = decisions.sources()
    total = sum(count for _, count in sources)
    if not total:
        return [Note("Autonomy blocked nothing.", missing=True)]
    parts = [
        Share(
            SOURCES.get(name, name), count / total, f"{count:,}, {percent(count / total)}", css_colour(colour_of(index))
        )
        for index, (name, count) in enumerate(sources)
    ]
    planned = decisions.feasible[decisions.plans()]
    caption = f"Who chose the action in place of the {total:,} that autonomy blocked."
    caption += (
        f" A plan was searched {len(planned):,} times and was safe in {percent(planned.mean())}."
        if len(planned)
        else ""
    )
    return [Shares(parts, caption)]


def latency_block(decisions: Decisions) -> Block:
    """Show how long decisions and plans take."""
    planned = decisions.alone & np.isfinite(decisions.feasible)
    kinds = [("a decision", decisions.latency_ms[decisions.alone]), ("of that, a plan", decisions.plan_ms[planned])]
    groups = [(name, values[np.isfinite(values)]) for name, values in kinds]
    groups = [(name, values) for name, values in groups if len(values)]
    if not groups:
        return Note("No decision of autonomy, so none to time.", missing=True)
    picture = draw(partial(plot_latency, groups=groups), "latency", "Milliseconds of decisions and plans")
    sentences = [
        f"{name} takes {number(times['p50'])} ms in the median, {number(times['p99'])} ms at the 99th percentile of "
        f"{len(values):,}"
        for name, values, times in ((name, values, percentiles(values)) for name, values in groups)
    ]
    sentence = "; ".join(sentences)
    caption = f"{sentence[0].upper()}{sentence[1:]}. Dashed: these two. "
    caption += "As it was in the run, beside whatever else the machine did."
    return Figure(picture, "Latency in autonomy.", caption)


def _oversight_key(run: RunRecord) -> list[Key]:
    return [Key(css_colour(FILL), "oversight", "area")] if guarded(run) else []


_KINDS = ("guarded", "unguarded")
"""Of episodes of the finished policy."""


def _evaluated(run: RunRecord) -> bool:
    return bool(run.summary.get("evaluation_episodes")) and any(_measured(run, kind) for kind in _KINDS)


def _measured(run: RunRecord, kind: str) -> bool:
    summary: dict[str, Any] = run.summary
    return all(summary.get(f"{what}_{kind}") is not None for what in ("return", "catastrophes", "goals"))


def _return(run: RunRecord, kind: str) -> str:
    """The mean return of the finished policy, with its interval where the episodes' own are known."""
    returns: list[float] = run.summary.get(f"returns_{kind}") or []
    return _mean(returns) if len(returns) > 1 else number(run.summary[f"return_{kind}"])


def _mean(returns: ArrayLike) -> str:
    """The mean of returns with its interval, of which nothing is rounded before it is written."""
    return interval(dict(zip(("mean", "low", "high"), mean_interval(returns), strict=True)))


def _evaluated_catastrophes(run: RunRecord, kind: str) -> str:
    return f"{run.summary[f'catastrophes_{kind}']:,}"


def _catastrophes(counts: Counts) -> str:
    return _many(counts.catastrophes, "catastrophe")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _rate(counts: Counts) -> tuple[float, float, float] | None:
    """Catastrophes in 10,000 steps with their interval; None without a step."""
    return rate_interval(counts.catastrophes, counts.exposure)


def _per_10_000(counts: Counts) -> str:
    rate = _rate(counts)
    return MISSING if rate is None else number(rate[0])

"""The quality of a guarded run's models: thresholds over the fits, the dynamics' error, the blockers' reliability."""

from __future__ import annotations

from functools import partial

import numpy as np

from heed.report.common.blocks import Block, Figure, Key, Note, Table
from heed.report.common.formats import MISSING, number, percent
from heed.report.common.gather import RunRecord
from heed.report.common.plot_style import colour_of, css_colour, draw
from heed.report.guard.plots import drifts, plot_dynamics, plot_fits, plot_reliability, shown_variables
from heed.report.guard.scene import variable_names
from heed.runs.config import setting


def models_blocks(run: RunRecord) -> list[Block]:
    """Show the thresholds, the dynamics' error and the blockers' reliability.

    Args:
        run: a guarded run; a note stands for each part that it lacks.
    """
    return [*fits_blocks(run), dynamics_block(run), reliability_block(run)]


def fits_blocks(run: RunRecord) -> list[Block]:
    """Show the threshold and what it flags after every fit.

    Args:
        run: with ``fits`` in its summary.
    """
    fits = run.summary.get("fits") or []
    if not fits:
        return [Note("No fit of the judges is told in summary.json.", missing=True)]
    rows = [
        [
            str(index),
            number(fit.get("threshold")),
            percent(fit.get("flagged"), 1),
            percent(fit.get("promise"), 1),
            MISSING if fit.get("blocks") is None else f"{fit['blocks']:,}",
            str(fit.get("reason") or "the danger is known"),
        ]
        for index, fit in enumerate(fits, start=1)
    ]
    table = Table(
        ["fit", "threshold", "flagged", "may miss", "blocks", "what came of it"],
        rows,
        "May miss: of blocks like those known, the share that the threshold misses at most; an estimate where "
        "something else than calibration has moved it. Blocks: those known at the time.",
        text=[-1],
    )
    learnt = any(fit.get("flagged") is not None for fit in fits)
    if not learnt:
        return [table]
    cap = setting(run.config, "models.cap")
    picture = draw(partial(plot_fits, fits=fits, cap=cap), "fits", "Threshold and flagged share over the fits")
    caption = "The danger from which a step is unsafe, and the share of the steps let pass that this flags"
    caption += f"; dashed, the most that a refit may flag ({percent(cap)})." if cap is not None else "."
    return [Figure(picture, "The threshold over the fits.", caption), table]


def dynamics_block(run: RunRecord) -> Block:
    """Show how far imagination drifts from what happened.

    Args:
        run: with ``dynamics`` in its ``judges.json``.
    """
    reported = run.diagnostics.get("dynamics")
    if reported is None:
        return Note(f"The dynamics' error cannot be told: {_why(run, 'dynamics')}.", missing=True)
    names = variable_names(str(run.config.get("env", "")), len(reported["spread"]))
    shown, last = shown_variables(reported), drifts(reported)[-1]
    picture = draw(partial(plot_dynamics, reported=reported), "dynamics", "Error and calibration of the dynamics")
    steps = int(reported["steps"])
    key = [Key(css_colour(colour_of(index)), names[variable]) for index, variable in enumerate(shown)]
    caption = (
        f"Tested on {reported['transitions']:,} steps that followed a fit, before the model learnt from them too, in "
        f"{reported['windows']:,} stretches. Left: every member follows its own expectation for up to {steps} "
        f"{'step' if steps == 1 else 'steps'}, told the actions alone; root mean square error, as a share of each "
        f"variable's standard deviation there{_worst(names, last)}. Right: how often the truth lies in the model's "
        f"central intervals; below the diagonal it is too sure of itself (mean distance {number(reported['gap'])})."
    )
    if len(shown) < len(names):
        caption += f" Of {len(names)} variables the {len(shown)} worst predicted are shown."
    return Figure(picture, "The error of the dynamics.", caption, key)


def reliability_block(run: RunRecord) -> Block:
    """Show whether the blockers' probabilities can be taken at their word.

    Args:
        run: with ``blockers`` in its ``judges.json``.
    """
    reported = run.diagnostics.get("blockers")
    if reported is None:
        return Note(f"The blockers' reliability cannot be told: {_why(run, 'blockers')}.", missing=True)
    picture = draw(partial(plot_reliability, reported=reported), "reliability", "Reliability of the blockers")
    caption = (
        f"On the {reported['labels']:,} labels, {reported['blocks']:,} of them blocks, each as the blocker tells it "
        "that has not learnt from its episode. Left: of those that are called dangerous with some probability, the "
        "share that was blocked, blocks counting by the weight that they have in the fit; perfect ones lie on the "
        f"diagonal (mean distance {number(reported['gap'])}). Right: how many labels each probability has."
    )
    return Figure(picture, "The reliability of the blockers.", caption)


def _worst(names: list[str], shares: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    """The worst predicted variable, in words."""
    if not np.isfinite(shares).any():
        return ""
    worst = int(np.nanargmax(shares))
    return f" (at the end {names[worst]} is worst, with {percent(float(shares[worst]), 1)})"


def _why(run: RunRecord, part: str) -> str:
    missing = run.diagnostics.get("missing") or {}
    return str(missing.get(part) or "this run has no judges.json")

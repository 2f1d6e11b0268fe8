"""How much a method learns and breaks by the steps that it takes and by the judgements that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heed.guard.run.counts import LATE_EPISODES, Decisions, read_decisions
from heed.runs.statistics import quartiles

Floats = NDArray[np.float64]
Counted = Callable[[Decisions, Floats], NDArray[np.int64]]

POINTS = 100
"""Places along an axis at which curves are told, and one more for its start."""
QUARTERS = (0.25, 0.5, 0.75, 1.0)
"""Shares of an axis that tables tell of."""


def curves_of(folders: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """The curves of several methods, each over its seeds, from the runs' files of decisions.

    At a number of steps stand the mean return of the latest episodes (`LATE_EPISODES` at most) that were over by then,
    and the catastrophes so far. At a number of judgements stands how far a run came on so many: what was true at its
    last step at which it had asked no more. So a method that asks nobody is told by its end, everywhere; and one that
    is overseen and then acts alone jumps, where the judgements end, to what came of it alone.

    Args:
        folders: of each method's runs; one without decisions is left out.

    Returns:
        ``{"steps": axis, "judgements": axis}`` with an axis as ``{"at": [m], "methods": {method: {"return": band,
        "catastrophes": band}}}`` and a band as the quartiles over seeds, ``{"low": [m], "median": [m], "high": [m]}``,
        NaN where no seed has ended an episode. Empty where no run has decisions.
    """
    runs = {
        method: [found for folder in each if (found := read_decisions(folder)) is not None and len(found)]
        for method, each in folders.items()
    }
    runs = {method: found for method, found in runs.items() if found}
    everyone = [decisions for found in runs.values() for decisions in found]
    if not everyone:
        return {}
    steps = _grid(max(len(decisions) for decisions in everyone))
    judgements = _grid(max(int(decisions.asked.sum()) for decisions in everyone))
    return {
        "steps": _axis(runs, steps, steps_until),
        "judgements": _axis(runs, judgements, steps_with),
    }


def steps_until(decisions: Decisions, at: Floats) -> NDArray[np.int64]:
    """How many steps of a run count at so many steps [m]: all of them, as far as it went, [m]."""
    return np.minimum(at, len(decisions)).astype(np.int64)


def steps_with(decisions: Decisions, at: Floats) -> NDArray[np.int64]:
    """How many steps a run could take on so many judgements [m], [m]."""
    return np.searchsorted(np.cumsum(decisions.asked), at, side="right").astype(np.int64)


def returns_after(decisions: Decisions, steps: NDArray[np.int64]) -> Floats:
    """The mean return of the latest episodes that were over after so many steps [m]; NaN before the first was, [m]."""
    ends, returns, _ = decisions.episodes()
    total = np.concatenate([[0.0], np.cumsum(returns)])
    over = np.searchsorted(ends, steps, side="right")
    first = np.maximum(0, over - LATE_EPISODES)
    with np.errstate(invalid="ignore"):
        return np.asarray((total[over] - total[first]) / (over - first), np.float64)


def catastrophes_after(decisions: Decisions, steps: NDArray[np.int64]) -> Floats:
    """Catastrophes in so many steps [m], [m]."""
    return np.concatenate([[0.0], np.cumsum(decisions.catastrophe)])[steps]


def efficiency_tables(curves: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each method's return and catastrophes at each quarter of each axis on which anything moves.

    Args:
        curves: as `curves_of` tells them.

    Returns:
        ``{"title", "columns", "rows", "notes"}``, in whose cells ``{"mean", "low", "high"}`` the mean is a median and
        the interval the quartiles.
    """
    tables = []
    for axis, told in curves.items():
        at, methods = told["at"], told["methods"]
        if len(at) < 2:
            continue
        places = dict.fromkeys(round(share * (len(at) - 1)) for share in QUARTERS)
        columns = {f"{measure} at {at[i]:,.0f}": (measure, i) for measure in ("return", "catastrophes") for i in places}
        rows = [
            {"method": method} | {name: _at(bands[measure], i) for name, (measure, i) in columns.items()}
            for method, bands in methods.items()
        ]
        tables.append({"title": f"By {axis}", "columns": list(columns), "rows": rows, "notes": []})
    return tables


def _grid(last: int) -> Floats:
    """Whole numbers from 0 to the last, evenly spread; 0 alone where there is nothing to spread."""
    return np.unique(np.linspace(0, last, POINTS + 1).round())


def _axis(runs: Mapping[str, Sequence[Decisions]], at: Floats, counted: Counted) -> dict[str, Any]:
    methods = {
        method: {
            "return": _band([returns_after(decisions, counted(decisions, at)) for decisions in found]),
            "catastrophes": _band([catastrophes_after(decisions, counted(decisions, at)) for decisions in found]),
        }
        for method, found in runs.items()
    }
    return {"at": at.tolist(), "methods": methods}


def _at(band: Mapping[str, Sequence[float]], place: int) -> dict[str, float]:
    return {"mean": band["median"][place], "low": band["low"][place], "high": band["high"][place]}


def _band(values: Sequence[Floats]) -> dict[str, list[float]]:
    """The quartiles over seeds [n][m], of the seeds that have a value."""
    low, median, high = zip(*(quartiles(column) for column in np.array(values).T), strict=True)
    return {"low": list(low), "median": list(median), "high": list(high)}

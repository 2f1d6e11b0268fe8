"""How fast methods get where they get: the scaled average after so many rounds, and what a gain costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from heed.runs.statistics import mean_cell
from heed.worlds.apothecary import ExactFront

GAIN = 0.1
"""Of the scaled average, the unit in which costs are told."""
COSTS = ("seconds per .1", "1,000 tokens per .1")


def by_rounds(
    came: Mapping[str, Sequence[Mapping[str, Any]]], names: Sequence[str], front: ExactFront
) -> dict[str, Any]:
    """A table of the scaled average at each evaluation, and of the seconds and tokens that a tenth of it took.

    A cost is that of all seeds together over their gain from the warm start; a row has none where they gained nothing.

    Args:
        came: of each method, what its runs came to (`heed.compare.results.outcome`), one for each seed.
        names: of the objectives.
        front: of the world, exact.
    """
    rows = []
    for method, runs in came.items():
        averages = [
            {point["step"]: float(front.scale([point[name] for name in names]).mean()) for point in one["curve"]}
            for one in runs
        ]
        shared = sorted(set.intersection(*(set(each) for each in averages)))
        row: dict[str, Any] = {"method": method}
        row |= {str(step): mean_cell([each[step] for each in averages]) for step in shared}
        gained = sum(each[shared[-1]] - each[shared[0]] for each in averages)
        spent = (sum(one["seconds"] for one in runs), sum(one["tokens"] for one in runs) / 1000)
        if gained > 0:
            row |= {name: mean_cell([GAIN * each / gained]) for name, each in zip(COSTS, spent, strict=True)}
        rows.append(row)
    columns = list(dict.fromkeys(key for row in rows for key in row if key not in ("method", *COSTS)))
    return {
        "title": "Scaled average by rounds",
        "columns": [*sorted(columns, key=int), *COSTS],
        "rows": rows,
        "notes": ["costs: of all seeds together, for a tenth of the scaled average above the warm start's"],
    }

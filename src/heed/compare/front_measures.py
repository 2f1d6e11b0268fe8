"""What a front is worth: how much it covers, how evenly, and how well it follows the preferences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray

from heed.runs.statistics import mean_cell, rank_correlation
from heed.worlds.apothecary import Apothecary, hypervolume

Array = NDArray[np.float64]

MEASURES = {
    "igd_plus": "distance of the exact optima at the same preferences from the front (IGD+)",
    "fit": "distance of each policy from the exact optimum at its own preference",
    "spacing": "deviation of the distances between neighbours",
}
"""In units of the exact front's ranges; of each, less is better."""


def summarise(
    names: Sequence[str], grid: Sequence[Sequence[float]], points: list[dict[str, Any]], settings: dict[str, Any]
) -> dict[str, Any]:
    """Hypervolumes and rank correlations of each method's fronts, one front a seed.

    With a world the volumes are also shares: of the exact front's, and of the exact optima's at the same preferences.
    """
    front = Apothecary(settings["world_seed"], tuple(names)).front() if settings["world"] else None
    values = np.array([point["values"] for point in points])
    if front is not None:
        references = [np.asarray(r) for r in front.references]
    else:
        low, high = values.min(0), values.max(0)
        references = [low - 0.1 * (high - low + 1e-9)]
    methods = list(dict.fromkeys(point["method"] for point in points))
    seeds = sorted({point["seed"] for point in points})
    summary: dict[str, Any] = {
        "kind": "front",
        "names": list(names),
        "points": points,
        "seeds": len(seeds),
        "steps": settings["steps"],
        "seconds": sum(point["seconds"] for point in points),
        "reference_point": references[0].tolist(),
        "hypervolume": {},
        "exact_hypervolume": None if front is None else front.hypervolume(front.vertices, references[0], hull=True),
        "methods": {},
    }
    for method in methods:
        fronts = [_values(points, method, seed) for seed in seeds]
        optima = {} if front is None else exact_optima(front, method.rpartition(":")[2], grid)
        rows: dict[str, Any] = {"follows": [follows(grid, found) for found in fronts], "volumes": []}
        for which, reference in enumerate(references):
            for hull in (False, True):
                volumes = [hypervolume(found, reference, hull=hull) for found in fronts]
                row = {"reference": which, "hull": hull, "volumes": volumes}
                if front is not None:
                    row["of_exact_front"] = [front.share(found, reference, hull) for found in fronts]
                    for name, best in optima.items():
                        whole = hypervolume(best, reference, hull=hull)
                        row[f"of_{name}"] = [v / whole for v in volumes]
                rows["volumes"].append(row)
        if front is not None:
            rows["measures"] = [measures(front, method, grid, found) for found in fronts]
            rows["optima"] = {name: best.tolist() for name, best in optima.items()}
        rows["pooled"] = follows(list(grid) * len(seeds), np.concatenate(fronts))
        summary["methods"][method] = rows
        summary["hypervolume"][method] = float(np.mean(rows["volumes"][0]["volumes"]))
    return summary


def front_table(summary: dict[str, Any]) -> dict[str, Any]:
    """The fronts of a summary as a table: columns, rows of cells over seeds, notes.

    On a world the volumes are shares of those of the exact Tchebycheff optima at the same preferences.
    """
    rows = []
    for method, found in summary["methods"].items():
        row: dict[str, Any] = {"method": method}
        for which in found["volumes"]:
            name = f"{'hull' if which['hull'] else 'staircase'}, reference {which['reference'] + 1}"
            shares = which.get("of_tchebycheff_optima", which["volumes"])
            row |= {name: mean_cell(shares), f"{name}, worst seed": mean_cell([min(shares)])}
        row["rank correlation"] = mean_cell([min(each) for each in found["follows"]])
        row |= {name: mean_cell([each[name] for each in found["measures"]]) for name in MEASURES if "measures" in found}
        seconds = [p["seconds"] for p in summary["points"] if p["method"] == method]
        row["minutes"] = mean_cell([sum(seconds) / summary["seeds"] / 60])
        rows.append(row)
    count = len({tuple(point["preference"]) for point in summary["points"]})
    notes = [
        f"{count} preferences, {summary['seeds']} seeds, {summary['steps']} rounds a run; 95% t-intervals over seeds; "
        "minutes: of training a front, of one seed, rounds that its runs share counted in each"
    ]
    if summary["exact_hypervolume"] is not None:
        notes += ["staircase and hull: hypervolume as a share of the exact optima's at the same preferences"]
        notes += [f"in units of the exact front's ranges: {'; '.join(f'{n}, {told}' for n, told in MEASURES.items())}"]
    notes += ["rank correlation: of an objective's value with its weight, of the objective that follows least"]
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "method"))
    return {"columns": columns, "rows": rows, "notes": notes}


def values_table(summary: dict[str, Any]) -> dict[str, Any]:
    """The objectives' values of each method at each preference, over seeds; on a world beside the exact optima's."""
    rows = []
    for method, found in summary["methods"].items():
        points = [point for point in summary["points"] if point["method"] == method]
        for index, preference in enumerate(dict.fromkeys(tuple(point["preference"]) for point in points)):
            values = np.array([point["values"] for point in points if tuple(point["preference"]) == preference])
            row: dict[str, Any] = {"method": f"{method} at {', '.join(f'{x:g}' for x in preference)}"}
            row |= {name: mean_cell(column) for name, column in zip(summary["names"], values.T, strict=True)}
            if optima := found.get("optima"):
                best = optima.get("linear_optima", optima["tchebycheff_optima"])[index]
                row |= {f"{name}, exact": mean_cell([x]) for name, x in zip(summary["names"], best, strict=True)}
            rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "method"))
    return {"columns": columns, "rows": rows, "notes": []}


def measures(front: Any, method: str, grid: Sequence[Sequence[float]], found: Array) -> dict[str, float]:
    """How near a front comes to the exact optima at the same preferences, and how evenly it is spread: `MEASURES`.

    IGD+ is that of Ishibuchi et al. (2015), spacing that of Schott (1995).

    Args:
        front: the world's exact one.
        method: whose front it is; of linear and conditioned:linear a policy's own optimum is that of the weighted sum,
            of all others that of Tchebycheff, which IGD+ takes for every method.
        grid: preferences, [N, K].
        found: values at them, [N, K].
    """
    best = exact_optima(front, method.rpartition(":")[2], grid)
    scaled, optima = front.scale(found), front.scale(best["tchebycheff_optima"])
    own = front.scale(best.get("linear_optima", best["tchebycheff_optima"]))
    apart = np.abs(scaled[:, None] - scaled[None]).sum(-1)
    nearest = (apart + np.where(np.eye(len(found)), np.inf, 0.0)).min(1)
    return {
        "igd_plus": float(moocore.igd_plus(scaled, ref=optima, maximise=True)),
        "fit": float(np.linalg.norm(scaled - own, axis=1).mean()),
        "spacing": float(nearest.std(ddof=1)),
    }


def hypervolume_rows(
    summary: dict[str, Any], grid: Sequence[Sequence[float]], world: Apothecary | None
) -> list[dict[str, Any]]:
    """The volumes at the first reference point as a table: each method's with its interval over seeds.

    On a world also those of the exact front and of the exact optima at the same preferences. The front's
    staircase is its hull, because mixtures of its policies are policies on it.
    """
    rows = []
    for method, found in summary["methods"].items():
        volumes = {row["hull"]: row["volumes"] for row in found["volumes"] if row["reference"] == 0}
        row = {"label": method, "staircase": mean_cell(volumes[False]), "hull": mean_cell(volumes[True])}
        told = found.get("measures", ())
        rows.append(row | {name: mean_cell([each[name] for each in told]) for name in MEASURES if told})
    if world is not None:
        front, reference = world.front(), summary["reference_point"]
        for name, values in exact_optima(front, ",".join(summary["methods"]), grid).items():
            kind = "" if name.startswith("tchebycheff") else " of the weighted sum"
            staircase, hull = (mean_cell([hypervolume(values, reference, hull=h)]) for h in (False, True))
            label = f"exact optima{kind} at the same preferences"
            rows.append({"label": label, "staircase": staircase, "hull": hull})
        whole = mean_cell([summary["exact_hypervolume"]])
        rows.append({"label": "exact front", "staircase": whole, "hull": whole})
    return rows


def exact_optima(front: Any, method: str, grid: Sequence[Sequence[float]]) -> dict[str, Array]:
    """The exact optima at the same preferences.

    The points of the front where each objective's weighted gap is equal (Tchebycheff), and for the linear method also
    the maxima of the weighted sum itself.
    """
    optima = {"tchebycheff_optima": np.array([front.tchebycheff(p) for p in grid])}
    if "linear" in method.split(","):
        optima["linear_optima"] = np.array([front.optimum(p) for p in grid])
    return optima


def follows(grid: Sequence[Sequence[float]], values: Array) -> list[float]:
    """Rank correlation (Spearman) of each objective's value with its weight in the preference, [K].

    >>> follows([[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]], np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]))
    [1.0, 1.0]
    """
    weights, found = np.asarray(grid), []
    for k in range(weights.shape[1]):
        correlation = rank_correlation(weights[:, k], values[:, k])
        found.append(0.0 if correlation is None else round(correlation, 6))  # a constant follows nothing
    return found


def _values(points: list[dict[str, Any]], method: str, seed: int) -> Array:
    return np.array([p["values"] for p in points if p["method"] == method and p["seed"] == seed])

"""The page of a front run: a family of policies along preferences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from heed.report.align.front_plots import MARKS, MethodPoints, distinct, plot_achieved, plot_front
from heed.report.align.run_page import config_block, facts, warnings
from heed.report.common.blocks import Block, Figure, Key, Note, Page, Section, Table
from heed.report.common.formats import interval, joined, method_title, number
from heed.report.common.gather import Exact, RunRecord
from heed.report.common.plot_style import FILL, INK, Floats, colour_of, css_colour, draw
from heed.runs.statistics import rank_correlation


def front_page(run: RunRecord) -> Page:
    """Compose the report of a family of policies.

    Args:
        run: with ``front.json``: ``{"names", "preferences", "adapters": [{"preference", "method", "seed",
            "values", "adapter"}]}``; optionally ``"optima": [{"preference", "values"}]`` and ``"hypervolume":
            {"reference", "rows": [{"label", "staircase", "hull"}]}`` with means and intervals.

    Returns:
        The page.
    """
    names = [str(name) for name in run.front.get("names", run.names)]
    methods, optima = method_points(run.front, len(names)), exact_optima(run.front)
    key = [
        Key(css_colour(colour_of(index)), method.method, f"mark-{MARKS[index % len(MARKS)]}")
        for index, method in enumerate(methods)
    ]
    if run.exact is not None:
        key += [Key(css_colour(INK), "exact front"), Key(css_colour(FILL), "within reach", "area")]
    if len(optima):
        key.append(Key(css_colour(INK), "the exact front's Tchebycheff point", "ring"))
    return Page(
        kicker="heed · front",
        title=f"A family of policies between {joined(names)}" if names else "A family of policies",
        deck=deck(methods, len(names)),
        facts=facts(run),
        warnings=[text for text in warnings(run) if "one objective" not in text],
        sections=[
            Section("The front", [front_figure(names, methods, run.exact, optima, key)]),
            Section("Hypervolume", hypervolume_blocks(run)),
            Section("Does the value follow the preference?", achieved_blocks(names, methods, run.exact, optima, key)),
            Section("The policies", [policies_table(run.front, names)]),
            Section("What the run was told", [config_block(run)]),
        ],
    )


def method_points(front: dict[str, Any], count: int) -> list[MethodPoints]:
    """Group the adapters of ``front.json`` by method, in the order in which they first appear.

    Args:
        front: the file.
        count: how many objectives there are.
    """
    adapters = [a for a in front.get("adapters", []) if _whole(a.get("values"), count)]
    return [
        MethodPoints(
            method_title(method),
            np.array([a["preference"] for a in adapters if a["method"] == method], dtype=np.float64),
            np.array([a["values"] for a in adapters if a["method"] == method], dtype=np.float64),
            np.array([a.get("seed", 0) for a in adapters if a["method"] == method], dtype=np.float64),
        )
        for method in dict.fromkeys(a["method"] for a in adapters)
    ]


def exact_optima(front: dict[str, Any]) -> Floats:
    """Read the exact front's Tchebycheff point of each preference, [P, K].

    Args:
        front: the file; it has ``optima`` where the run's world knows its front.
    """
    optima = [item["values"] for item in front.get("optima", [])]
    return np.array(optima, dtype=np.float64).reshape(-1, len(front.get("names", [])) or 1)


def deck(methods: Sequence[MethodPoints], count: int) -> str:
    """Describe the family: how many policies, of which methods, along how many preferences."""
    if not methods:
        return "No policy of this front has been trained yet."
    policies = sum(len(method.values) for method in methods)
    preferences = len(distinct(np.concatenate([method.preferences for method in methods])))
    seeds = len(np.unique(np.concatenate([method.seeds for method in methods])))
    return (
        f"{policies} policies for {count} objectives: {joined([method.method for method in methods])}, "
        f"each along {preferences} preferences with {seeds} {'seed' if seeds == 1 else 'seeds'}."
    )


def front_figure(
    names: list[str], methods: Sequence[MethodPoints], exact: Exact | None, optima: Floats, key: list[Key]
) -> Block:
    """Show the policies in the plane of their values."""
    if len(names) < 2 or not methods:
        return Note("No front to show: front.json has no trained policies of two or more objectives.", missing=True)
    caption = "Each mark is one policy at one preference and seed. "
    if exact is None:
        caption += "No exact front: this run has no world whose best policies are known."
    else:
        caption += (
            "The curve is the exact front: nothing lies above and to the right of it, mixtures of policies included. "
            "Open circles are the exact front's Tchebycheff points of the same preferences, where every objective's "
            "weighted gap to its best value is equal: what the smooth Tchebycheff method aims at. Other methods aim at "
            "other points for the same preference; the linear method's own are a row of the table of hypervolumes."
        )
    picture = draw(
        partial(plot_front, names=names, methods=methods, exact=exact, optima=optima),
        "front",
        "Policies of each method",
    )
    return Figure(picture, "Every policy against the exact front.", caption, key)


def hypervolume_blocks(run: RunRecord) -> list[Block]:
    """Tabulate the hypervolume of each method's front, as staircase and as hull."""
    volumes = run.front.get("hypervolume") or {}
    reference = volumes.get("reference") or run.summary.get("reference_point")
    where = f" Reference point: ({', '.join(number(value) for value in reference)})." if reference else ""
    if volumes.get("rows"):
        rows = [
            [_label(row["label"]), interval(row.get("staircase")), interval(row.get("hull"))] for row in volumes["rows"]
        ]
        caption = (
            "Mean over seeds with its interval. The staircase counts what single policies dominate; the hull also "
            f"counts mixtures of them, which are policies too.{where}"
        )
        near = [
            [_label(row["label"]), *(interval(row[name]) for name in ("igd_plus", "fit", "spacing"))]
            for row in volumes["rows"]
            if "igd_plus" in row
        ]
        about = (
            "In units of the exact front's ranges, less is better: how far the exact optima at the same preferences "
            "lie from the front (IGD+), how far each policy from the optimum at its own preference, and how unevenly "
            "neighbours lie apart."
        )
        tables: list[Block] = [Table(["front", "staircase", "hull"], rows, caption)]
        return tables + ([Table(["front", "IGD+", "preference fit", "spacing"], near, about)] if near else [])
    by_method = run.summary.get("hypervolume") or {}
    if not by_method:
        return [Note("No hypervolume was computed for this run.", missing=True)]
    rows = [[_label(method), number(volume)] for method, volume in by_method.items()]
    if run.summary.get("exact_hypervolume") is not None:
        rows.append(["exact front", number(run.summary["exact_hypervolume"])])
    return [Table(["front", "hypervolume"], rows, f"What the policies of each method dominate.{where}")]


def achieved_blocks(
    names: list[str], methods: Sequence[MethodPoints], exact: Exact | None, optima: Floats, key: list[Key]
) -> list[Block]:
    """Show the values against the preferences, and their rank correlation."""
    if not methods or not names:
        return [Note("No trained policies, so no values to hold against the preferences.", missing=True)]
    picture = draw(
        partial(plot_achieved, names=names, methods=methods, exact=exact, optima=optima),
        "achieved",
        "Value of each objective against the preference for it",
    )
    caption = (
        "The more one asks for an objective, the more of it one should get. Marks are single policies, lines join the "
        "means over seeds. A method that slides to the ends of the front shows two levels with a jump between them."
    )
    rows = [[method.method, *(number(follows(method, index)) for index in range(len(names)))] for method in methods]
    table = Table(
        ["method", *names],
        rows,
        "Rank correlation (Spearman) of the value with the preference over all policies: 1 follows it exactly.",
    )
    return [
        Figure(
            picture,
            "Value against preference.",
            caption,
            [k for k in key if k.mark.startswith("mark-") or k.mark == "ring"],
        ),
        table,
    ]


def follows(method: MethodPoints, objective: int) -> float | None:
    """Rank correlation of an objective's value with the preference for it; None where either is constant.

    Args:
        method: its policies.
        objective: index of the objective.
    """
    return rank_correlation(method.preferences[:, objective], method.values[:, objective])


def policies_table(front: dict[str, Any], names: list[str]) -> Block:
    """List every policy with the adapter that a server can load."""
    adapters = front.get("adapters", [])
    if not adapters:
        return Note("No adapters are listed in front.json.", missing=True)
    rows = [
        [
            ", ".join(f"{weight:g}" for weight in adapter["preference"]),
            method_title(adapter["method"]),
            str(adapter.get("seed", "")),
            *(number(value) for value in adapter.get("values") or [None] * len(names)),
            str(adapter.get("adapter") or ""),
        ]
        for adapter in adapters
    ]
    return Table(
        ["preference", "method", "seed", *names, "adapter"],
        rows,
        "front.json lists the same for programs.",
        text=[1, -1],
    )


def _whole(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(value is not None for value in values)


def _label(label: str) -> str:
    return label if " " in label else method_title(label)

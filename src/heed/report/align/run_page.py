"""The page of one align run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from heed.errors import HeedError
from heed.report.align.plots import (
    POLICY_METRICS,
    Path2D,
    conflict_colour,
    objective_colour,
    plot_conflict,
    plot_objectives,
    plot_plane,
    plot_policy,
)
from heed.report.common.blocks import (
    Block,
    Card,
    Cards,
    Exchange,
    Exchanges,
    Figure,
    Key,
    Listing,
    Note,
    Page,
    Reply,
    Section,
    Share,
    Shares,
    Table,
)
from heed.report.common.changes import beyond_chance, change_in_words, change_of, ends_in_words
from heed.report.common.formats import duration, joined, method_title, number, percent, signed
from heed.report.common.gather import Completion, Exact, Objective, RunRecord, gather
from heed.report.common.plot_style import FILL, INK, SOFT, colour_of, css_colour, draw
from heed.runs import to_yaml

SHOWN_PROMPTS = 8


def align_page(run: RunRecord) -> Page:
    """Compose the report of one align run.

    Args:
        run: what `gather` read.

    Returns:
        The page; a note stands for each part that the run lacks.
    """
    title = f"{run_title(run)} on {joined(run.names)}" if run.names else run_title(run)
    return Page(
        kicker="heed · align",
        title=title,
        deck=headline(run),
        facts=facts(run),
        warnings=warnings(run),
        sections=[
            Section("What changed", [*cards(run), numbers_table(run), *along_table(run)]),
            Section("Objectives over the run", [objectives_figure(run)]),
            Section("Against the exact front", [plane_block(run)]),
            Section("Conflict between the objectives", [conflict_block(run)]),
            Section("The policy", [policy_block(run)]),
            Section("Replies before and after", [replies_block(run)]),
            Section("Where the time went", time_blocks(run)),
            Section("What the run was told", [config_block(run)]),
        ],
    )


def run_title(run: RunRecord) -> str:
    """Name a run by its method."""
    return method_title(run.method, run.p) if run.method else run.path.resolve().name


def headline(run: RunRecord) -> str:
    """Sum up in one sentence how the objectives changed."""
    known = [o for o in run.objectives() if o.start is not None and o.end is not None]
    if not known:
        return "No objective was logged at the start and at the end of this run."
    judge = "as the world's gold values judge it" if known[0].gold_end is not None else "by the rewards it learnt from"
    sure = {o.name: beyond_chance(run, o) for o in known}
    changes = [
        f"{o.name} {_verb(o) if sure[o.name] else 'went'} from {number(o.start)} to {number(o.end)}" for o in known
    ]
    unsure = joined([name for name, told in sure.items() if not told])
    within = f" The prompts do not tell the change of {unsure} from chance." if unsure else ""
    return f"Over {run.steps:,} steps, {joined(changes)}, {judge}.{within}"


def facts(run: RunRecord) -> list[tuple[str, str]]:
    """List what identifies the run."""
    summary = run.summary
    listed = [
        ("run", run.path.resolve().name),
        ("steps", f"{run.steps:,}" if run.steps else None),
        ("seed", _seeds(summary)),
        ("time", duration(summary["seconds"]) if summary.get("seconds") is not None else None),
        ("heed", summary.get("version")),
        ("config", summary.get("config_hash")),
    ]
    return [(name, value) for name, value in listed if value]


def warnings(run: RunRecord) -> list[str]:
    """List what a reader must know before trusting the page."""
    found = []
    if not run.summary.get("completed"):
        found.append(f"This run is not complete: it stands at step {run.steps:,}. The page shows what is there so far.")
    if len(run.names) == 1:
        found.append("This run has one objective: there is no conflict to balance.")
    return found


def cards(run: RunRecord) -> list[Block]:
    """Show each objective's change in large type."""
    shown = [
        Card(
            name=objective.name,
            value=signed(objective.end - objective.start),
            note=ends_in_words(run, objective),
            colour=css_colour(colour_of(index)),
        )
        for index, objective in enumerate(run.objectives())
        if objective.end is not None and objective.start is not None
    ]
    return [Cards(shown)] if shown else []


def numbers_table(run: RunRecord) -> Block:
    """Tabulate the run's headline numbers."""
    if not run.judged_names:
        return Note("No objectives: neither summary.json nor metrics.jsonl names one.", missing=True)
    rows = []
    for o in run.objectives():
        gold = None if o.gold_end is None or o.gold_start is None else o.gold_end - o.gold_start
        proxy = None if o.proxy_end is None or o.proxy_start is None else o.proxy_end - o.proxy_start
        told = (change_in_words(gold, change_of(run, o, "gold")), change_in_words(proxy, change_of(run, o, "rewards")))
        ends = [number(o.gold_start), number(o.gold_end), told[0]]
        rows.append([o.name, *ends, number(o.proxy_start), number(o.proxy_end), told[1]])
    columns = ["objective", "gold at start", "gold at end", "change", "reward at start", "reward at end", "change"]
    caption = (
        "Gold is the world's own value of a reply; the reward is what the policy was trained on, in its own units."
    )
    if all(o.gold_end is None for o in run.objectives()):
        columns, rows = [columns[0], *columns[4:]], [[row[0], *row[4:]] for row in rows]
        caption = (
            "No gold values: this run has no world. The reward is what the policy was trained on, in its own units."
        )
    if any("[" in cell for row in rows for cell in row[1:]):
        caption += " In brackets the 95% interval of the change over the prompts; another seed may differ by more."
    return Table(columns, rows, caption)


def along_table(run: RunRecord) -> list[Block]:
    """Tabulate what one policy gives at each preference that it may be told; nothing of another run."""
    along = run.summary.get("along")
    if not along:
        return []
    names = list(along[0]["values"])
    rows = [
        [" / ".join(f"{weight:g}" for weight in point["preference"]), *(number(point["values"][n]) for n in names)]
        for point in along
    ]
    caption = "One policy, told each preference by its adapter or its prompts. Everything else is of equal weights."
    return [Table(["preference", *names], rows, caption)]


def objectives_figure(run: RunRecord, name: str = "objectives") -> Block:
    """Show every objective over the steps.

    Args:
        run: the run.
        name: of the plot, unique on its page.
    """
    judged = [f"{judge}/{name}/mean" for judge in ("rewards", "gold") for name in run.judged_names]
    judged += [f"eval/{judge}/{name}" for judge in ("rewards", "gold") for name in run.judged_names]
    if not any(run.has(metric) for metric in judged):
        return Note("No objective was logged over the steps of this run.", missing=True)
    gold = any("gold" in metric and run.has(metric) for metric in judged)
    caption = "Faint lines are the mean of each step's batch, strong ones their moving average over nine steps. "
    own = "prompts of their own" if run.config.get("eval_data") else "the first prompts of the data, trained on as well"
    caption += f"Dots are evaluations, always of the same prompts ({own}); the dashed line is the value at the start. "
    if gold:
        caption += "The upper row is what the world says the replies are worth, the lower row what the reward models "
        caption += "say: a reward that climbs while gold falls is over-optimised."
    else:
        caption += "No gold values: this run has no world to judge the replies by."
    picture = draw(partial(plot_objectives, run=run), name, "Objectives over the steps of the run")
    key = [*objective_keys(run, run.judged_names), Key(css_colour(SOFT), "value at the start", "dashed")]
    return Figure(picture, "Each objective over the steps.", caption, key)


def plane_block(run: RunRecord) -> Block:
    """Show the run's way through the plane of gold values."""
    if run.exact is None:
        return Note("No exact front: this run has no world whose best policies are known.", missing=True)
    paths, absent = plane_paths(run, run.exact.names)
    if not any(len(path.points) for path in paths):
        return Note("No gold values were logged, so the run cannot be placed against the exact front.", missing=True)
    if len(run.exact.names) < 2:
        return Note("One objective: a front needs two.", missing=True)
    caption = (
        "Each run goes from the warm start (grey dot) to its last policy (large dot); small dots are evaluations on "
        "the way. Up and to the right is better for everybody."
    )
    caption += "".join(f" {label} is not shown: its folder has no gold values." for label in absent)
    return plane_figure(run.exact, paths, "The run in the plane of its objectives.", caption)


def plane_figure(exact: Exact, paths: Sequence[Path2D], title: str, caption: str) -> Figure:
    """Show runs against an exact front.

    Args:
        exact: the front.
        paths: the runs.
        title: of the figure.
        caption: what this page says of the runs.
    """
    front = (
        "The curve is the exact front: no policy, mixed ones included, lies above and to the right of it; the shaded "
        "part is within reach. "
    )
    key = [Key(css_colour(INK), "exact front"), Key(css_colour(FILL), "within reach", "area")]
    key += [Key(css_colour(path.colour), path.label, "dot") for path in paths]
    picture = draw(partial(plot_plane, exact=exact, paths=paths), "plane", "Runs against the exact front")
    return Figure(picture, title, front + caption, key)


def plane_paths(run: RunRecord, names: list[str]) -> tuple[list[Path2D], list[str]]:
    """Gather the ways of this run and its siblings, and the labels of siblings that have none."""
    paths, absent = [Path2D(run_title(run), run.trajectory(names), colour_of(len(names)))], []
    for label, folder in run.siblings:
        try:
            points = gather(folder).trajectory(names)
        except HeedError:
            points = np.empty((0, len(names)))
        if len(points):
            # Colours after those of the objectives, so that no colour means two things on a page
            paths.append(Path2D(label, points, colour_of(len(names) + len(paths))))
        else:
            absent.append(label)
    return paths, absent


def conflict_block(run: RunRecord) -> Block:
    """Show what the weighting saw."""
    pairs = [f"cosine/{a}~{b}" for a, b in combinations(run.names, 2)]
    metrics = pairs + [f"{kind}/{name}" for kind in ("weights", "norm", "signal") for name in run.names]
    if len(run.names) == 1:
        return Note("No conflict between gradients: one objective has nothing to conflict with.", missing=True)
    if not any(run.has(metric) for metric in metrics):
        return Note("No conflict between gradients was logged.", missing=True)
    caption = (
        "Cosine of the angle between the objectives' gradients: below zero, in the shaded part, a step for one is a "
        "step against the other. Weight: what each raw gradient is multiplied by in the update. Gradient norm: "
        "objectives on larger scales pull harder unless they are rescaled. Signal share: the part of the squared norm "
        "that is not sampling noise, 1 is pure signal, 0 pure noise."
    )
    conflicting = [float((run.series(pair)[1] < 0).mean()) for pair in pairs if run.has(pair)]
    if conflicting:
        caption += f" The gradients conflicted in {percent(float(np.mean(conflicting)))} of the steps."
    key = objective_keys(run, run.names)
    if len(pairs) == 1:
        key.append(Key(css_colour(INK), f"{run.names[0]} ~ {run.names[1]}"))
    else:
        key += [
            Key(
                css_colour(conflict_colour(run, index)),
                f"cosine {pair.removeprefix('cosine/').replace('~', ' ~ ')}",
            )
            for index, pair in enumerate(pairs)
        ]
    picture = draw(partial(plot_conflict, run=run), "conflict", "Conflict between the objectives over the steps")
    return Figure(picture, "What the weighting saw.", caption, key)


def policy_block(run: RunRecord) -> Block:
    """Show the health of the policy."""
    if not any(run.has(metric) for metric, _, _ in POLICY_METRICS):
        return Note("Neither KL, entropy, length nor well-formedness was logged.", missing=True)
    lacking = [title for metric, title, _ in POLICY_METRICS if not run.has(metric)]
    caption = (
        "How far the policy has moved from the reference, how much choice it keeps, and what its replies look like."
    )
    caption += f" Not logged: {joined(lacking)}." if lacking else ""
    picture = draw(partial(plot_policy, run=run), "policy", "KL, entropy, length and well-formedness over the steps")
    return Figure(picture, "The policy over the steps.", caption)


def replies_block(run: RunRecord) -> Block:
    """Show the same prompts answered before and after."""
    if not run.before and not run.after:
        return Note("No completions were kept by this run.", missing=True)
    exchanges = [
        Exchange(
            prompt=(after or before or Completion("", "", {}, {})).prompt,
            replies=[reply("before", before), reply("after", after)],
        )
        for before, after in _pairs(one_each(run.before), one_each(run.after))[:SHOWN_PROMPTS]
    ]
    caption = "The first prompts of the file, not picked. Bold numbers are rewards; gold values follow where known."
    return Exchanges(exchanges, caption)


def one_each(completions: Sequence[Completion]) -> list[Completion]:
    """Keep the first completion of every prompt: an evaluation samples each prompt several times."""
    return list({completion.prompt: completion for completion in reversed(completions)}.values())[::-1]


def reply(label: str, completion: Completion | None) -> Reply:
    """Show one completion with what it scored."""
    if completion is None:
        return Reply(label, "(not kept)", [])
    names = dict.fromkeys([*completion.rewards, *completion.gold])
    scores = [
        (name, number(completion.rewards.get(name)), number(completion.gold[name]) if name in completion.gold else "")
        for name in names
    ]
    return Reply(label, completion.text or "(empty reply)", scores)


def time_blocks(run: RunRecord) -> list[Block]:
    """Show how a step's time divides, and how fast replies were generated."""
    step = run.series("seconds/step")[1]
    if len(step) == 0:
        return [Note("The time of the steps was not logged.", missing=True)]
    total = float(step.sum())
    parts = [("generation", "seconds/generation"), ("gradients", "seconds/gradients")]
    known = [(name, float(run.series(metric)[1].sum())) for name, metric in parts if run.has(metric)]
    known.append(("everything else", max(0.0, total - sum(seconds for _, seconds in known))))
    shares = [
        Share(
            name, seconds / total, f"{duration(seconds)}, {percent(seconds / total)}", css_colour(colour_of(5 + index))
        )
        for index, (name, seconds) in enumerate(known)
        if total > 0
    ]
    speed = run.summary.get("generated_tokens_per_second") or run.last("tokens_per_second")
    caption = f"{duration(total)} in {len(step):,} logged steps, {duration(total / len(step))} each"
    caption += f"; {number(speed)} tokens generated per second." if speed else "."
    return [Shares(shares, caption)]


def config_block(run: RunRecord) -> Block:
    """Show the config as it was written."""
    if not run.config:
        return Note("No config.yaml in this run.", missing=True)
    return Listing("config.yaml", to_yaml(run.config))


def objective_keys(run: RunRecord, names: list[str]) -> list[Key]:
    """Give the key of some objectives' colours."""
    return [Key(css_colour(objective_colour(run, name)), name) for name in names]


def _seeds(summary: dict[str, Any]) -> str | None:
    """The seed of a run, or the first and the last of several runs'."""
    first, count = summary.get("seed"), summary.get("seeds")
    if first is None:
        return None
    return f"{first} to {first + count - 1}" if count is not None and count > 1 else str(first)


def _verb(objective: Objective) -> str:
    change = (objective.end or 0.0) - (objective.start or 0.0)
    return "rose" if change > 0 else "fell" if change < 0 else "stayed"


def _pairs(before: list[Completion], after: list[Completion]) -> list[tuple[Completion | None, Completion | None]]:
    """Put replies to the same prompt side by side; either list may be empty or shorter."""
    length = max(len(before), len(after))
    padded = [[*side, *[None] * (length - len(side))] for side in (before, after)]
    return list(zip(*padded, strict=True))

"""Several ways of balancing the same objectives, side by side: one budget, several seeds, intervals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from heed.align.advantages import check_groups
from heed.align.run.apothecary import SetupProgress
from heed.align.run.job import SEE, TYPES, check_source, defaults, in_sections, record_in_sections, split_settings
from heed.align.run.weighting import config_class_of, method_of, refuse_unused, settings_of_method
from heed.balance import methods_with, settings_of
from heed.balance.methods.running.lagrangian import levels_of
from heed.compare.align_runs import prepare_world
from heed.compare.crews.base import Workers
from heed.compare.one_policy import is_of_one_policy
from heed.compare.own_model import compare_own, names_of
from heed.compare.pool import OnFinished, OnProgress, folder_of_runs, run_all
from heed.compare.results import EARLY, Results, outcomes
from heed.compare.rounds import by_rounds
from heed.compare.soups import SOUPS
from heed.compare.tables import TableJob, tasks_of, write_table
from heed.compare.tasks import Task
from heed.errors import HeedError
from heed.runs.sections import full_name, typed
from heed.runs.statistics import improvement_cell, interquartile_cell, mean_cell, share_cell
from heed.worlds.apothecary import Apothecary, ExactFront

VALUES = (
    "average raw",
    "average scaled",
    "interquartile mean, scaled",
    "worst objective, scaled",
    "share of exact hypervolume",
)
"""Columns of the table beside the objectives: of the values at the end; then of how the runs went."""
CONDUCT = ("least readable", "KL", "minutes")
FELL = "runs that fell"
READABLE = 0.5
"""A run fell if in some round less than this share of its completions was readable."""
TUNING_SEED = 1000
TUNING_GRID = (0.3, 0.5, 0.7, 0.85)
"""Weights of the first objective that `linear:tuned` tries, on scaled values, with a seed that the table never uses."""

PAPER_TABLE = (
    "single:help",
    "single:harmless",
    "linear",
    "linear:scaled",
    "linear:tuned",
    "mgda",
    "gapo:p=1",
    "gapo:p=2",
)


def table_of(settings: Mapping[str, Any]) -> list[str]:
    """The methods that are compared by default: the paper's table on its world, else those that ask for no world."""
    if settings["world"]:
        return list(PAPER_TABLE)
    return [*(f"single:{name}" for name in names_of(settings)), "linear", "mgda", "gapo:p=1"]


@dataclass
class MethodsJob(TableJob):
    """What `heed compare align` runs.

    Args:
        methods: NAME or NAME:key=value:key=value; linear (raw), linear:scaled and linear:tuned; single:OBJECTIVE.
        seeds: runs of each; their seeds count up from the settings' seed.
        workers: runs at once.
        settings: everything else, as `heed align` takes it; in ``weighting`` those of all methods.
    """

    methods: list[str] = field(default_factory=lambda: list(PAPER_TABLE))
    seeds: int = 5
    workers: Workers = 2
    settings: dict[str, Any] = field(default_factory=lambda: defaults("apothecary", "paper") | {"rewards": "gold"})

    def __post_init__(self) -> None:
        """Put the methods' settings in their section."""
        super().__post_init__()
        self.settings = in_sections(self.settings)

    def folders(self, method: str, out: Path) -> list[Path]:
        """The folders of a method's runs in a comparison's."""
        return [out / "runs" / f"{_slug(method)}-seed{seed}" for seed in self.seeds_from(self.settings["seed"])]

    @classmethod
    def upgraded(cls, record: dict[str, Any]) -> dict[str, Any]:
        """What a folder records, with the methods' settings in their section."""
        return record_in_sections(record)


def method_settings(method: str, names: Sequence[str], ranges: Sequence[float]) -> dict[str, Any]:
    """The settings that a method of the table stands for: its own in the section ``weighting``, any other beside it.

    Args:
        method: as `MethodsJob.methods` names it.
        names: of the objectives.
        ranges: of the objectives' values on the exact front.

    >>> method_settings("gapo:p=2", ["help", "harmless"], [9.0, 1.5])
    {'method': 'gapo', 'weighting': {'p': 2}}
    >>> method_settings("linear:scaled", ["help", "harmless"], [8.0, 2.0])
    {'method': 'linear', 'weighting': {'weights': [0.0625, 0.25]}}

    Raises:
        HeedError: settings that cannot be read, or that there are none of.
    """
    if method == "linear":
        return {"method": "linear", "weighting": {"weights": [1 / len(names)] * len(names)}}
    if method == "linear:scaled":
        return scaled_linear([1 / len(names)] * len(names), ranges)
    name, texts = method_of(method)
    own = settings_of(config_class_of(name))
    kinds = {key: kind for key, kind in TYPES.items() if key not in ("method", "seed")}
    settings: dict[str, Any] = {"method": name, "weighting": {}}
    for key, text in texts.items():
        value = yaml.safe_load(text)
        last = key.removeprefix("weighting.")
        if last in own or (key not in kinds and methods_with(last)):  # another method's is refused where it is built
            settings["weighting"][last] = value
        else:
            full = full_name(key, [*kinds, *(f"weighting.{each}" for each in own)], f"--methods {method}", SEE)
            settings[full] = typed(value, kinds[full], key, f"--methods {method}")
    return settings


def scaled_linear(preference: Sequence[float], ranges: Sequence[float]) -> dict[str, Any]:
    """Linear weights for objectives that are first divided by their range on the exact front."""
    weights = [w / r for w, r in zip(preference, ranges, strict=True)]
    return {"method": "linear", "weighting": {"weights": weights}}


def of_method(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The table's settings as one of its methods takes them, with its own over them."""
    given = settings_of_method(changes["method"], settings["weighting"])
    return {**settings, **changes, "weighting": given | changes["weighting"]}


def compare_methods(
    job: MethodsJob,
    out: Path,
    on_progress: OnProgress | None = None,
    resumed: bool = False,
    on_stage: SetupProgress | None = None,
    results: Results | None = None,
) -> dict[str, Any]:
    """Run the table.

    Args:
        job: what to run: on a world, judged by its gold values, or on a model of one's own, by its judges.
        out: the run folder; each run lies below ``runs/``.
        on_progress: follows the runs; may raise `Stopped`.
        resumed: go on with what ``out`` holds.
        on_stage: follows the preparation of the world, which is made once before the runs; may raise `Stopped`.
        results: runs of a world that are done, which are not made again; gets those that are made.

    Returns:
        The content of ``compare.json``.

    Raises:
        HeedError: no table can be made of this; results of runs with a model of one's own, which are told by files.
    """
    settings = dict(job.settings)
    record = job.record(settings)
    if not settings["world"]:
        if results is not None:
            what = "runs with a model of your own are told by their completions, which lie in their folders"
            raise HeedError(what, "--results", "leave it out, and keep the run folder; --resume goes on with it")
        return _compare_own(job, record, out, on_progress, resumed)
    names = list(settings["world_objectives"])
    world = Apothecary(settings["world_seed"], tuple(names))
    front = world.front()
    ranges = [float(r) for r in front.ranges]
    _check(job, names, ranges, world)
    with folder_of_runs(out, record, "compare", resumed) as run:
        chosen: dict[str, dict[str, Any]] = {}
        notes, seconds = [], 0.0

        def make(tasks: Sequence[Task], told: OnFinished | None) -> list[dict[str, Any]]:
            if tasks:
                prepare_world(settings, run, on_stage)
            return run_all(tasks, job.workers, on_progress, told)

        for method in job.methods:
            if method == "linear:tuned":
                tuning = _tuning_tasks(job, out, names, ranges)
                tried = outcomes(tuning, results, make)
                scores = [float(front.scale(_gold(each, names)).mean()) for each in tried]
                best = TUNING_GRID[int(np.argmax(scores))]
                seconds += sum(each["seconds"] for each in tried)
                chosen[method] = scaled_linear(_leaning(best, len(names)), ranges)
                gave = ", ".join(f"{w:g} gave {s:.3f}" for w, s in zip(TUNING_GRID, scores, strict=True))
                notes.append(
                    f"linear:tuned is weight {best:g} on scaled {names[0]}; tried on seed {TUNING_SEED}: {gave}"
                )
            else:
                chosen[method] = method_settings(method, names, ranges)
        each = {method: of_method(settings, changes) for method, changes in chosen.items()}
        tasks = tasks_of(each, job.seeds_from(settings["seed"]), out, _slug, "align")
        done = outcomes(tasks, results, make)
        came = {method: done[number * job.seeds : (number + 1) * job.seeds] for number, method in enumerate(chosen)}
        seconds += sum(one["seconds"] for one in done)
        notes += _notes(job, tasks, done, seconds)
        levels = _constraints(each.values()) if settings["rewards"] == "gold" else []  # levels of gold
        table = _table(names, came, front, levels, notes)
        write_table(run, record, table, seconds)
    return table


def _notes(job: MethodsJob, tasks: Sequence[Task], done: Sequence[Mapping[str, Any]], seconds: float) -> list[str]:
    """What a table's reader needs to know of the runs, and of the columns."""
    settings = job.settings
    replies = settings["prompts_per_step"] * settings["completions_per_prompt"]
    return [
        f"{job.seeds} seeds, {settings['steps']} rounds of {replies} replies, "
        f"advantage {settings['advantage']}, {settings['gram']} Gram matrix, {settings['rewards']} rewards, "
        f"{seconds / 3600:.2f} hours of training in all; 95% t-intervals over seeds, but a bootstrap's of the "
        "interquartile mean",
        *(
            f"{task.label} failed once ({one['failed_once']}) and went on from its last checkpoint"
            for task, one in zip(tasks, done, strict=True)
            if "failed_once" in one
        ),
        "made with " + " and ".join(sorted({one["made"] for one in done})),
        "scaled: 0 is an objective's worst value on the exact front, 1 its best; least readable: the smallest "
        f"share of well-formed replies in any round after the first {EARLY:.0%}; a run fell if it was below "
        f"{READABLE:.0%}; KL: nats a token to the reference in the last round",
    ]


def _table(
    names: Sequence[str],
    came: Mapping[str, Sequence[Mapping[str, Any]]],
    front: ExactFront,
    levels: Sequence[str],
    notes: Sequence[str],
) -> dict[str, Any]:
    """The table of what each method's runs came to, beside the exact optima.

    Args:
        names: of the objectives.
        came: `outcome` of each method's runs, one for each seed.
        front: of the world.
        levels: constraints whose exact optimum is shown.
        notes: below the table.
    """
    values = {method: np.array([_gold(one, names) for one in runs]) for method, runs in came.items()}
    untagged = next((method for method in came if not is_of_one_policy(method)), next(iter(came)))
    start = np.array([[one["objectives"][name]["start"] for name in names] for one in came[untagged]])
    rows = [_row("warm start", start, names, front)]
    rows += [_row(method, values[method], names, front) | _conduct(runs) for method, runs in came.items()]
    rows.append(_row("exact: best scaled average", front.optimum(1 / front.ranges)[None], names, front))
    rows += [_row(f"exact: {each}", front.constrained(levels_of(each))[None], names, front) for each in levels]
    return {
        "title": "Balancing " + " and ".join(names),
        "columns": [*names, *VALUES, FELL, *CONDUCT],
        "rows": rows,
        "notes": list(notes),
        "rounds": by_rounds(came, names, front),
        "improvement": improvement({m: [float(front.scale(v).mean()) for v in f] for m, f in values.items()}),
    }


def _compare_own(
    job: MethodsJob, record: dict[str, Any], out: Path, on_progress: OnProgress | None, resumed: bool
) -> dict[str, Any]:
    """The table of a model, prompts and judges of one's own."""
    check_source(split_settings({**job.settings, "method": "linear"}, "--methods")[0])
    names = names_of(job.settings)
    for method in job.methods:
        if method in ("linear:scaled", "linear:tuned"):
            what = "the range of each objective is known on a world alone"
            raise HeedError(what, f"--methods {method}", "give weights: linear:weights=[...]")
    _check(job, names, [1.0] * len(names), None)
    each = {method: of_method(job.settings, method_settings(method, names, [])) for method in job.methods}
    with folder_of_runs(out, record, "compare", resumed) as run:
        tasks = tasks_of(each, job.seeds_from(job.settings["seed"]), out, _slug, "align")
        table, seconds = compare_own(tasks, list(each), names, job.workers, on_progress)
        write_table(run, record, table, seconds)
    return table


def _check(job: MethodsJob, names: Sequence[str], ranges: Sequence[float], world: Apothecary | None) -> None:
    """Refuse whatever no run could be begun with."""
    given = job.settings["weighting"]
    if not job.settings["eval_prompts"]:
        raise HeedError("nothing is evaluated, so nothing can be compared", "--eval-prompts", "give at least 1")
    if SOUPS in job.methods:
        what = f"{SOUPS} mixes the policies of other runs along preferences"
        raise HeedError(what, f"--methods {SOUPS}", f"take heed front --methods {SOUPS}")
    if given.get("weights") is not None:
        raise HeedError("the table's linear methods bring their own weights", "--weights", "leave it out")
    chosen = [
        method_settings("linear:scaled" if method == "linear:tuned" else method, names, ranges)
        for method in job.methods
    ]
    refuse_unused(given, [changes["method"] for changes in chosen])
    for changes in chosen:
        tried, config = split_settings(of_method(job.settings, changes), "--methods")
        check_source(tried)
        check_groups(tried.build_weighting(names, world), config)


def _tuning_tasks(job: MethodsJob, out: Path, names: Sequence[str], ranges: Sequence[float]) -> list[Task]:
    """Runs of scaled linear with each weight of the grid, on a seed of their own."""
    tasks = []
    for weight in TUNING_GRID:
        changes = scaled_linear(_leaning(weight, len(names)), ranges) | {"seed": TUNING_SEED}
        tuned = of_method(job.settings, changes)
        tasks.append(Task(f"tuning {weight:g}", tuned, out / "runs" / f"tuning-{weight:g}"))
    return tasks


def _leaning(weight: float, K: int) -> list[float]:
    """Weights of objectives, the first's given and the others' alike."""
    return [weight, *[(1 - weight) / (K - 1)] * (K - 1)]


def _constraints(settings: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the methods are to keep, each once."""
    asked = (each["weighting"].get("constraints") for each in settings if each["method"] == "lagrangian")
    return list(dict.fromkeys(constraints for constraints in asked if constraints))


def _gold(summary: Mapping[str, Any], names: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([summary["objectives"][name]["gold"] for name in names], dtype=float)


def _row(method: str, values: Any, names: Sequence[str], front: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method}
    row |= {name: mean_cell(values[:, k]) for k, name in enumerate(names)}
    scaled = [front.scale(v) for v in values]
    means = [float(each.mean()) for each in scaled]
    told = (values.mean(1), means, None, [float(each.min()) for each in scaled], [front.share(v[None]) for v in values])
    row |= {name: mean_cell(found) for name, found in zip(VALUES, told, strict=True) if found is not None}
    row[VALUES[2]] = interquartile_cell(means)
    return row


def _conduct(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How a method's runs went."""
    fell = sum(one["conduct"][CONDUCT[0]] < READABLE for one in runs)
    told = {name: mean_cell([one["conduct"][name] for one in runs]) for name in CONDUCT}
    return {FELL: share_cell(fell, len(runs), len(runs))} | told


def improvement(values: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """A table of how probable it is that a run of the row's method is better than one of the column's.

    Args:
        values: of each method, one for each seed.
    """
    rows = [
        {"method": ours, **{other: improvement_cell(values[ours], values[other]) for other in values if other != ours}}
        for ours in values
    ]
    return {"title": "Probability of a better scaled average", "columns": list(values), "rows": rows, "notes": []}


def _slug(method: str) -> str:
    return re.sub(r"[^\w.]+", "-", method)

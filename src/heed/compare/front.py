"""A family of policies along preferences, and how much of the front it covers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import heed
from heed.align.advantages import check_groups
from heed.align.conditioning.tags import write_tag
from heed.align.objectives.base import ObjectiveSet
from heed.align.objectives.spec import parse_objective
from heed.align.run.apothecary import SetupProgress
from heed.align.run.job import check_source, defaults, in_sections, record_in_sections, split_settings
from heed.align.run.weighting import config_class_of, refuse_unused, settings_of_method, weighting_of
from heed.align.updates.schedules import entropy_weight, learning_rate
from heed.balance import PREFERENCE_METHODS, settings_of
from heed.balance.preferences import spread_preferences as spread_preferences
from heed.compare.align_runs import prepare_world
from heed.compare.crews.base import Workers
from heed.compare.front_measures import Array as Array
from heed.compare.front_measures import exact_optima as exact_optima
from heed.compare.front_measures import follows as follows
from heed.compare.front_measures import hypervolume_rows, summarise
from heed.compare.one_policy import inner_of, is_of_one_policy, one_policy_points, one_policy_settings
from heed.compare.pool import OnFinished, OnProgress, folder_of_runs, recorded, run_all
from heed.compare.results import Make, Results, newest_adapter, outcomes
from heed.compare.soups import SOUPS, refuse_whole_models, single_settings, soup_points
from heed.compare.tasks import Task, summary_of
from heed.errors import HeedError, flag_of
from heed.runs.config import config_hash
from heed.worlds.apothecary import Apothecary


@dataclass
class FrontJob:
    """What `heed front` makes.

    Args:
        methods: those that follow a preference: tchebycheff, pgapo, linear, ...; conditioned:NAME and ric, which train
            one policy for all; and soups, which mixes policies of one objective each.
        preferences: points of the simplex, evenly spread, for K = 2 from .1 to .9.
        seeds: runs of every point; their seeds count up from the settings' seed.
        workers: runs at once.
        settings: everything else, as `heed align` takes it; in ``weighting`` those of all methods.
    """

    methods: list[str] = field(default_factory=lambda: ["tchebycheff"])
    preferences: int = 5
    seeds: int = 1
    workers: Workers = 2
    settings: dict[str, Any] = field(default_factory=lambda: defaults("apothecary", "paper"))

    def __post_init__(self) -> None:
        """Put the methods' settings in their section."""
        self.settings = in_sections(self.settings)


def resumed_front(out: Path, workers: Workers, wanted: dict[str, Any]) -> FrontJob:
    """The job that a front's folder records, to go on with it.

    Args:
        out: its folder.
        workers: runs at once.
        wanted: what was asked for now; must be the run's own.

    Raises:
        HeedError: no front there, or other settings.
    """
    record = recorded(out, "front", wanted, record_in_sections)
    methods, preferences, seeds = (record.pop(name) for name in ("methods", "preferences", "seeds"))
    return FrontJob(methods, preferences, seeds, workers, record)


def run_front(
    job: FrontJob,
    out: Path,
    on_progress: OnProgress | None = None,
    resumed: bool = False,
    on_stage: SetupProgress | None = None,
    results: Results | None = None,
) -> dict[str, Any]:
    """Train every point and judge the fronts.

    Args:
        job: what to train.
        out: the run folder; each run lies below ``runs/``.
        on_progress: follows the runs; may raise `Stopped`.
        resumed: go on with what ``out`` holds.
        on_stage: follows the preparation of a world, which is made once before the runs; may raise `Stopped`.
        results: runs of a world that are done, which are not made again; gets those that are made.

    Returns:
        The summary, also in ``summary.json``; ``front.json`` names the adapters by preference.

    Raises:
        HeedError: no front can be made of this; results of what is told by folders: models of one's own, soups.
    """
    settings = dict(job.settings)
    record = {**settings, "methods": job.methods, "preferences": job.preferences, "seeds": job.seeds}
    names = _names(settings)
    grid = _checked_grid(job, settings, names)
    world = Apothecary(settings["world_seed"], tuple(names)) if settings["world"] else None
    if results is not None and (world is None or SOUPS in job.methods):
        what = f"{SOUPS if world is not None else 'runs with a model of your own'} need what lies in folders"
        raise HeedError(what, "--results", "leave it out, and keep the run folder; --resume goes on with it")
    with folder_of_runs(out, record, "front", resumed) as run:
        if world is not None:
            run.write_json("exact.json", world.front().to_record())

        def make(tasks: Sequence[Task], told: OnFinished | None) -> list[dict[str, Any]]:
            if world is not None and (tasks or results is None):
                prepare_world(settings, run, on_stage)
            return run_all(tasks, job.workers, on_progress, told)

        scale, anchors = _extremes(job, out, settings, names, make, results)
        settings["weighting"] = settings["weighting"] | scale
        trunks = _trunks(job, out, settings)
        tasks, points = [], []
        for method, preference, seed in itertools.product(_trained(job), grid, _seeds(job)):
            label = f"{method}-{'-'.join(f'{x:g}' for x in preference)}-seed{seed}"
            chosen = _of_method(settings, method, preference) | {"seed": seed}
            trunk = trunks.get((method, seed))
            tasks.append(Task(label, chosen, out / "runs" / label, None if trunk is None else trunk.folder))
            points.append({"preference": preference, "method": method, "seed": seed})
        waiting = {task.trunk for task in (tasks if results is None else results.missing(tasks))}
        make([trunk for trunk in trunks.values() if trunk.folder in waiting], None if results is None else results.add)
        came = make(tasks, None) if results is None else outcomes(tasks, results, make)
        for point, task, summary in zip(points, tasks, came, strict=True):
            point["values"] = [_value(summary, name) for name in names]
            point["seconds"] = summary["seconds"]
            point["adapter"] = newest_adapter(task.folder, out)
        for method in filter(is_of_one_policy, dict.fromkeys(job.methods)):
            write = write_tag if world is None else world.write_tag
            points += one_policy_points(settings, method, names, grid, _seeds(job), out, make, write, results)
        if SOUPS in job.methods:
            alone = {**job.settings, "weighting": {}}
            points += soup_points(alone, names, grid, _seeds(job), out, job.workers, on_progress)
        summary = summarise(names, grid, points, settings)
        # Every branch's seconds hold those of its trunk, which ran once; the anchors are no points.
        shared = sum(_seconds(trunk, results) for trunk in trunks.values())
        summary["seconds"] += sum(anchor["seconds"] for anchor in anchors) - shared * (len(grid) - 1)
        summary |= {"method": ",".join(job.methods), "seed": settings["seed"], "completed": True}
        summary |= {"version": heed.__version__, "config_hash": config_hash(record)}
        found = {"names": names, "preferences": grid, "adapters": points}
        found["hypervolume"] = {"reference": summary["reference_point"], "rows": hypervolume_rows(summary, grid, world)}
        if world is not None:
            found["optima"] = [{"preference": p, "values": world.front().tchebycheff(p).tolist()} for p in grid]
        run.write_json("front.json", found, indent=1)
        run.write_summary(summary)
    return summary


def _seconds(trunk: Task, results: Results | None) -> float:
    """Of a trunk that was made here, or that the file knows."""
    if (trunk.folder / "summary.json").exists():
        return float(summary_of(trunk)["seconds"])
    known = None if results is None else results.of(trunk)
    return 0.0 if known is None else float(known["seconds"])


def _trunks(job: FrontJob, out: Path, settings: dict[str, Any]) -> dict[tuple[str, int], Task]:
    """Runs of the rounds that all of a seed's preferences have in common: Tchebycheff's with equal shares.

    There are none where the branches would not be what they are alone: where what changes by plan (the learning rate,
    the entropy bonus) goes another way over so many rounds, or the trunk's last evaluation is not one of theirs.
    """
    if "tchebycheff" not in job.methods:
        return {}
    K = len(_names(settings))
    alone = _of_method(settings, "tchebycheff", [1 / K] * K)
    config = weighting_of("tchebycheff", alone["weighting"], "config")
    rounds, every = int(vars(config)["settle"]), settings["eval_every"]
    if not 0 < rounds < settings["steps"]:
        return {}
    common = alone | {"steps": rounds, "cooldown_steps": 0}
    (_, whole), (_, trunk) = split_settings(alone), split_settings(common)
    plans = (learning_rate, entropy_weight)
    alike = all(plan(whole, step) == plan(trunk, step) for plan in plans for step in range(rounds))
    evaluated = whole.eval_prompts == 0 or (every > 0 and rounds % every == 0)
    if not (alike and evaluated):
        return {}
    tasks = [
        Task(f"trunk-seed{seed}", common | {"seed": seed}, out / "runs" / f"trunk-seed{seed}") for seed in _seeds(job)
    ]
    return {("tchebycheff", seed): task for seed, task in zip(_seeds(job), tasks, strict=True)}


def _of_method(settings: dict[str, Any], method: str, preference: Sequence[float]) -> dict[str, Any]:
    """The settings as one of several methods takes them, along a preference."""
    own = settings_of_method(method, settings["weighting"])
    return settings | {"method": method, "weighting": own | {"preference": list(preference)}}


def _trained(job: FrontJob) -> list[str]:
    """The methods that train a policy for every preference, each once."""
    return [method for method in dict.fromkeys(job.methods) if method != SOUPS and not is_of_one_policy(method)]


def _seeds(job: FrontJob) -> range:
    return range(job.settings["seed"], job.settings["seed"] + job.seeds)


def _value(summary: dict[str, Any], name: str) -> float:
    found = summary["objectives"][name]
    return float(found["gold"] if found["gold"] is not None else found["proxy"])


def _names(settings: dict[str, Any]) -> list[str]:
    if settings["world"]:
        return list(settings["world_objectives"])
    if not settings["objectives"]:
        raise HeedError("there is nothing to train", "--objectives", "give --model, --data, --objectives, or --world")
    return list(ObjectiveSet([parse_objective(text) for text in settings["objectives"]]).names)


def _checked_grid(job: FrontJob, settings: dict[str, Any], names: Sequence[str]) -> list[list[float]]:
    """The preferences; refuses whatever no run could be begun with."""
    for flag, value, least in (("--preferences", job.preferences, 2), ("--seeds", job.seeds, 1)):
        if value < least:
            raise HeedError(f"{value} is too little", flag, f"give at least {least}")
    if len(names) < 2:
        raise HeedError("a front needs two objectives", "--objectives", "give two, or take heed align")
    for method in _trained(job):
        if "preference" not in settings_of(config_class_of(method)):
            choice = ", ".join((*PREFERENCE_METHODS, "conditioned:NAME", "ric", SOUPS))
            raise HeedError(f"{method} follows no preference", "--methods", f"take {choice}")
    alone = [method for method in dict.fromkeys(job.methods) if is_of_one_policy(method)]
    if SOUPS in job.methods:
        refuse_whole_models(settings)
    for method in [*alone, *({SOUPS} & set(job.methods))]:
        if settings["eval_prompts"] == 0:
            raise HeedError(f"points of {method} are judged by evaluation alone", "--eval-prompts", "give some")
    given = settings["weighting"]
    if given.get("preference") is not None:
        raise HeedError("a front has preferences of its own", "--preference", "leave it out; --preferences counts them")
    if given and job.methods == [SOUPS]:
        raise HeedError(f"{SOUPS} has no {next(iter(given))}", flag_of(next(iter(given))), "leave it out")
    refuse_unused(given, [*_trained(job), *alone, *filter(None, map(inner_of, alone))])
    grid = spread_preferences(job.preferences, len(names))
    told = any(given.get(name) is not None for name in ("ideal", "nadir"))
    scale = {} if told else {"ideal": [1.0] * len(names), "nadir": [0.0] * len(names)}
    chosen = [_of_method(settings | {"weighting": given | scale}, method, grid[0]) for method in _trained(job)]
    chosen += [one_policy_settings(settings | {"weighting": given | scale}, m, job.preferences) for m in alone]
    if SOUPS in job.methods:
        chosen += single_settings(settings, names)
    for each in chosen:
        tried, config = split_settings(each)
        check_source(tried)
        check_groups(tried.build_weighting(names), config)
    return grid


def _extremes(
    job: FrontJob, out: Path, settings: dict[str, Any], names: list[str], make: Make, results: Results | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Tchebycheff's scale where nothing is known of the front, and the summaries of the runs that told it.

    K runs each lean on one objective: P-GAPO at .9 gives that one's best value, and the others' where it leads.
    """
    known = settings["weighting"].get("ideal") is not None or (settings["world"] and settings["rewards"] == "gold")
    if known or "tchebycheff" not in (*job.methods, *map(inner_of, job.methods)):
        return {}, []
    K = len(names)
    tasks = []
    for k in range(K):
        preference = [0.9 if j == k else 0.1 / (K - 1) for j in range(K)]
        chosen = _of_method(settings, "pgapo", preference) | {"seed": 0}
        tasks.append(Task(f"anchor-{names[k]}", chosen, out / "runs" / f"anchor-{names[k]}"))
    anchors = make(tasks, None) if results is None else outcomes(tasks, results, make)
    values = np.array([[summary["objectives"][n]["proxy"] for n in names] for summary in anchors])
    if (np.ptp(values, axis=0) == 0).any():
        raise HeedError(
            "runs that lean on one objective each ended at the same value of one, which tells nothing of the front",
            "--ideal, --nadir",
            "give both, or train longer",
        )
    return {"ideal": values.max(0).tolist(), "nadir": values.min(0).tolist()}, anchors

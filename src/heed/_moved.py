"""Modules that moved and names that changed: the old ones still import, with a warning that says what is now.

They go with 0.2. Importing `heed` puts the finder in place. What an old module held may lie in several new ones; a name
is looked for in each. Old pickles, such as a learner's ``.zip``, are read the same way.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import warnings
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from types import ModuleType
from typing import Any

MOVED: dict[str, tuple[str, ...]] = {
    "heed.align.clipping": ("heed.align.updates.clipping",),
    "heed.align.conversations": ("heed.align.data.conversations",),
    "heed.align.critics": ("heed.align.models.critics",),
    "heed.align.estimators": ("heed.align.advantages",),
    "heed.align.job": (
        "heed.align.run.train",
        "heed.align.run.job",
    ),
    "heed.align.job_weighting": ("heed.align.run.weighting", "heed.balance.methods.tchebycheff"),
    "heed.align.objective_spec": ("heed.align.objectives.spec",),
    "heed.align.pair_scores": ("heed.align.labelling.margins",),
    "heed.align.pairing": ("heed.align.labelling.pairs",),
    "heed.align.policy": ("heed.align.models.policy", "heed.align.models.sequences"),
    "heed.align.preferences.reward_job": ("heed.align.run.reward_job", "heed.align.run.reward"),
    "heed.align.preparation": ("heed.align.run.apothecary",),
    "heed.align.pretrained": ("heed.align.models.pretrained",),
    "heed.align.reward_models": ("heed.align.objectives.reward_models",),
    "heed.align.reward_service": ("heed.align.objectives.reward_service",),
    "heed.align.schedules": ("heed.align.updates.schedules",),
    "heed.align.speaker": ("heed.align.labelling.sampling_model",),
    "heed.align.tables": ("heed.align.data.tables",),
    "heed.balance.classical": (
        "heed.balance.adapters",
        "heed.balance.weightings.nash_mtl",
        "heed.balance.weightings.pcgrad",
    ),
    "heed.balance.weightings.aligned_mtl": ("heed.balance.methods.aligned_mtl",),
    "heed.balance.weightings.cagrad": ("heed.balance.methods.cagrad",),
    "heed.balance.weightings.dual_cone": ("heed.balance.methods.dual_cone",),
    "heed.balance.weightings.fairgrad": ("heed.balance.methods.fairgrad",),
    "heed.balance.weightings.imtl_g": ("heed.balance.methods.imtl_g",),
    "heed.balance.weightings.krum": ("heed.balance.methods.krum",),
    "heed.balance.tchebycheff": ("heed.balance.weightings.tchebycheff", "heed.balance.observing"),
    "heed.bench.killed_pages": ("heed.bench.pages.killed_pages",),
    "heed.bench.killed_servers": ("heed.bench.pages.killed_servers",),
    "heed.bench.kills": ("heed.bench.pages.kills",),
    "heed.bench.oversight": ("heed.bench.pages.oversight",),
    "heed.bench.watching_pages": ("heed.bench.pages.watching_pages",),
    "heed.compare.bench_coverage": ("heed.bench.coverage",),
    "heed.compare.bench_gradients": ("heed.bench.gradients",),
    "heed.compare.bench_kills": ("heed.bench.pages.kills",),
    "heed.compare.bench_model": ("heed.bench.gradient_model", "heed.bench.shapes"),
    "heed.compare.bench_oversight": ("heed.bench.pages.oversight",),
    "heed.compare.bench_plan": ("heed.bench.plan",),
    "heed.compare.bench_timing": ("heed.bench.timing",),
    "heed.compare.killed_pages": ("heed.bench.pages.killed_pages",),
    "heed.compare.killed_servers": ("heed.bench.pages.killed_servers",),
    "heed.compare.watching_pages": ("heed.bench.pages.watching_pages",),
    "heed.guard.agent": (
        "heed.guard.learners.sb3",
        "heed.guard.learners.replay",
    ),
    "heed.guard.balanced": ("heed.guard.learners.balanced_sac",),
    "heed.guard.blockers": ("heed.guard.models.blockers",),
    "heed.guard.deciding": ("heed.guard.intervention",),
    "heed.guard.diagnostics": ("heed.guard.run.diagnostics",),
    "heed.guard.dynamics": ("heed.guard.models.dynamics",),
    "heed.guard.ensemble": ("heed.guard.models.ensemble",),
    "heed.guard.environment": ("heed.guard.run.environment",),
    "heed.guard.faults": ("heed.guard.run.env_checks",),
    "heed.guard.foresight": ("heed.guard.evaluation",),
    "heed.guard.imagination": (
        "heed.guard.planning.imagination",
        "heed.guard.models.support",
        "heed.guard.planning.lookahead",
    ),
    "heed.guard.imagined": ("heed.guard.learners.mbpo",),
    "heed.guard.job": (
        "heed.guard.run.train",
        "heed.guard.run.build",
        "heed.guard.run.progress",
    ),
    "heed.guard.judges": ("heed.guard.models.models", "heed.guard.models.unseen"),
    "heed.guard.memory": ("heed.guard.labels",),
    "heed.guard.methods": ("heed.guard.run.methods",),
    "heed.guard.moments": ("heed.guard.run.snapshots",),
    "heed.guard.planner": ("heed.guard.planning.planner",),
    "heed.guard.recall": ("heed.guard.stored_labels",),
    "heed.guard.rewards": ("heed.guard.models.rewards",),
    "heed.guard.risk": ("heed.guard.planning.risk",),
    "heed.guard.searches": ("heed.guard.planning.optimizers",),
    "heed.guard.settings": ("heed.guard.run.config",),
    "heed.guard.summary": ("heed.guard.run.summary", "heed.guard.run.counts"),
    "heed.guard.termination": ("heed.guard.models.termination",),
    "heed.guard.thresholds": ("heed.guard.models.calibration",),
    "heed.guard.transitions": ("heed.guard.models.transitions",),
    "heed.oversight.assignment": ("heed.oversight.comparisons.assignment",),
    "heed.oversight.browser": (
        "heed.oversight.overseers.human",
        "heed.oversight.control.view",
    ),
    "heed.oversight.chain": ("heed.oversight.store.audit_chain",),
    "heed.oversight.compare_server": ("heed.web.compare",),
    "heed.oversight.comparing": ("heed.oversight.comparisons.session",),
    "heed.oversight.curves": ("heed.web.curves",),
    "heed.oversight.database": ("heed.oversight.store.database",),
    "heed.oversight.desk": ("heed.oversight.control.desk",),
    "heed.oversight.export": ("heed.oversight.store.export",),
    "heed.oversight.futures": ("heed.oversight.presentation",),
    "heed.oversight.gate": (
        "heed.web.connection",
        "heed.web.authentication",
        "heed.web.app",
    ),
    "heed.oversight.guarded": ("heed.oversight.overseers.fail_closed",),
    "heed.oversight.judgements": ("heed.oversight.store.store",),
    "heed.oversight.judgements_server": ("heed.web.judgements",),
    "heed.oversight.laid": ("heed.oversight.control.records",),
    "heed.oversight.noise": ("heed.oversight.overseers.noise",),
    "heed.oversight.orders": ("heed.oversight.control.records",),
    "heed.oversight.pairs": ("heed.oversight.comparisons.pairs",),
    "heed.oversight.people": ("heed.web.people",),
    "heed.oversight.reading": ("heed.oversight.store.queries",),
    "heed.oversight.recorded": ("heed.oversight.overseers.recorded",),
    "heed.oversight.run_reports": ("heed.web.run_reports",),
    "heed.oversight.run_server": ("heed.web.run",),
    "heed.oversight.run_view": ("heed.web.run_view",),
    "heed.oversight.serving": ("heed.web.serving",),
    "heed.oversight.specs": ("heed.oversight.overseers.specs",),
    "heed.oversight.watch_server": ("heed.web.watch",),
    "heed.oversight.words": ("heed.oversight.presentation",),
    "heed.report.align_page": ("heed.report.align.run_page",),
    "heed.report.blocks": ("heed.report.common.blocks",),
    "heed.report.formats": ("heed.report.common.formats",),
    "heed.report.front_page": ("heed.report.align.front_page",),
    "heed.report.front_plots": ("heed.report.align.front_plots",),
    "heed.report.gather": ("heed.report.common.gather",),
    "heed.report.guard_judges": ("heed.report.guard.models",),
    "heed.report.guard_moments": ("heed.report.guard.snapshots",),
    "heed.report.guard_page": ("heed.report.guard.run_page",),
    "heed.report.guard_plots": ("heed.report.guard.plots",),
    "heed.report.guard_run": (
        "heed.guard.run.counts",
        "heed.report.guard.plots",
        "heed.runs.statistics",
    ),
    "heed.report.guard_scene": ("heed.report.guard.scene",),
    "heed.report.labels": ("heed.report.common.plot_labels",),
    "heed.report.plot_style": ("heed.report.common.plot_style",),
    "heed.report.plots": ("heed.report.align.plots",),
    "heed.worlds.hazards": ("heed.worlds.point_hazard.geometry",),
    "heed.worlds.presets": ("heed.worlds.registry", "heed.worlds.oracle"),
    "heed.worlds.point_hazard_picture": ("heed.worlds.point_hazard.picture",),
}
"""Old module: where what it held is now."""

RENAMED = {
    "Answer": "Verdict",
    "BlockedMoment": "BlockSnapshot",
    "BlockedMoments": "BlockSnapshots",
    "BrowserOverseer": "HumanOverseer",
    "Classical": "ScaleFree",
    "Comparing": "ComparisonSession",
    "Estimator": "AdvantageEstimator",
    "Gate": "Connections",
    "Guarded": "FailClosedOverseer",
    "Imagining": "ImaginedRollouts",
    "Judges": "Models",
    "JudgesConfig": "ModelsConfig",
    "JudgesReport": "ModelsReport",
    "KnowsTheGuard": "GuardAware",
    "Laid": "DeskRecord",
    "Memory": "LabelCollector",
    "Moment": "Proposal",
    "OnStage": "SetupProgress",
    "Pairing": "PairSampling",
    "Passed": "ViewTimes",
    "Preparation": "ApothecarySetup",
    "Prepared": "PreparedApothecary",
    "Preset": "Oracle",
    "Scored": "ScoredRollout",
    "StopsOnFaults": "EnvironmentChecks",
    "Taken": "ExecutedStep",
    "TakenBack": "Retraction",
    "Wanted": "Filter",
    "any_of_us": "any_process",
    "app_of": "create_app",
    "guarded": "fail_closed",
    "heed.align.job_weighting.of_method": "settings_of_method",
    "heed.compare.bench_kills.found": "differences",
    "heed.compare.tables.interval": "mean_cell",
    "heed.guard.job.prepare": "build",
    "heed.guard.summary.told_of": "report_of_phases",
    "heed.oversight.compare_server.Compared": "SentComparison",
    "heed.oversight.comparing.Given": "ActiveComparison",
    "heed.oversight.comparing.Said": "Comparison",
    "heed.oversight.database.told": "shown_url",
    "heed.oversight.export.told": "as_row",
    "heed.oversight.judgements_server.Back": "Retracted",
    "heed.oversight.judgements_server.said_in_words": "verdict_in_words",
    "heed.oversight.watch_server.Said": "SentOrder",
    "heed.report.guard_run.Phase": "PhaseName",
    "judges_blocks": "models_blocks",
    "moment_caption": "snapshot_caption",
    "moment_picture": "snapshot_picture",
    "moments_block": "snapshots_block",
    "poisson_interval": "rate_cell",
    "preset": "registered_oracle",
    "read_moments": "read_snapshots",
    "sampled_pairs": "sample_pairs",
    "share_interval": "share_cell",
    "speaker": "load_sampling_model",
    "staged": "stage_progress",
    "with_scores": "with_margins",
}
"""Old name, with its module where it meant several things: what it is called now."""

LEFT: dict[str, tuple[str, ...]] = {
    "heed.align.distributed": (),
    "heed.align.objectives": ("heed.align.objectives.base",),
    "heed.compare.pool": ("heed.compare.tasks", "heed.compare.align_runs"),
    "heed.balance.registry": ("heed.balance.methods",),
    "heed.balance.weightings": ("heed.balance", "heed.balance.checks", "heed.balance.divisors"),
    "heed.balance.weightings.conditioned": ("heed.balance.methods.conditioned",),
    "heed.balance.weightings.cr_mogm": ("heed.balance.methods.cr_mogm",),
    "heed.balance.weightings.fixed": ("heed.balance.methods.fixed",),
    "heed.balance.weightings.gapo": ("heed.balance.methods.gapo",),
    "heed.balance.weightings.gradvac": ("heed.balance.methods.gradvac",),
    "heed.balance.weightings.mgda": ("heed.balance.methods.mgda",),
    "heed.balance.weightings.nash_mtl": ("heed.balance.methods.nash_mtl",),
    "heed.balance.weightings.pcd": ("heed.balance.methods.pcd",),
    "heed.balance.weightings.pcgrad": ("heed.balance.methods.pcgrad",),
    "heed.balance.weightings.tchebycheff": ("heed.balance.methods.tchebycheff",),
    "heed.balance.weightings.running.double_sampled": ("heed.balance.methods.running.double_sampled",),
    "heed.balance.weightings.running.lagrangian": ("heed.balance.methods.running.lagrangian",),
    "heed.balance.weightings.combinations.dvao": ("heed.balance.methods.combinations.dvao",),
    "heed.balance.weightings.combinations.gd2po": ("heed.balance.methods.combinations.gd2po",),
    "heed.balance.weightings.combinations.gdpo": ("heed.balance.methods.combinations.gdpo",),
    "heed.balance.weightings.combinations.mo_grpo": ("heed.balance.methods.combinations.mo_grpo",),
    "heed.balance.weightings.combinations.modpo": ("heed.balance.methods.combinations.modpo",),
    "heed.balance.weightings.combinations.ric": ("heed.balance.methods.combinations.ric",),
    "heed.compare.guards": ("heed.runs.statistics",),
    "heed.compare.tables": ("heed.runs.statistics",),
    "heed.guard": (
        "heed.guard.labels",
        "heed.guard.phases",
        "heed.guard.stored_labels",
        "heed.guard.run.env_checks",
        "heed.guard.models",
        "heed.guard.planning",
        "heed.guard.learners",
        "heed.guard.run.snapshots",
    ),
    "heed.guard.actions": ("heed.guard.spaces",),
    "heed.guard.decisions": ("heed.guard.decision_log",),
    "heed.guard.learners": ("heed.guard.run.learner",),
    "heed.oversight": (),
    "heed.guard.planning.config": ("heed.guard.planning.building", "heed.guard.planning.optimizers"),
    "heed.guard.phases": ("heed.guard.phases_config",),
    "heed.align.run.reward": ("heed.align.run.reward_job",),
    "heed.oversight.comparisons": ("heed.oversight.comparisons.formats",),
    "heed.oversight.overseers": ("heed.oversight.overseers.base",),
    "heed.worlds.cliff_grid": ("heed.worlds.cliff_grid.env", "heed.worlds.cliff_grid.grid"),
    "heed.worlds.lunar_lander": ("heed.worlds.lunar_lander.rules",),
    "heed.worlds.point_hazard": ("heed.worlds.point_hazard.env",),
    "heed.worlds.pong": ("heed.worlds.pong.rules",),
}
"""Module that is still there: where names that it had are now, beside those that only changed."""

_LAST = "the old name goes with 0.2"


def _found(old: str, name: str, modules: tuple[str, ...]) -> tuple[str, Any] | None:
    """Where a name of a module of old is now, as it was or renamed, and what it stands for; None if nowhere."""
    for module in modules if not name.startswith("__") else ():
        there = importlib.import_module(module)
        for known in (name, RENAMED.get(f"{old}.{name}", RENAMED.get(name, name))):
            if known in vars(there) or (module != old and known in vars(there).get("__all__", ())):  # or on demand
                return f"{module}.{known}", getattr(there, known)
    return None


def _renamed(module: str, own: Callable[[str], Any] | None, name: str) -> Any:
    """The ``__getattr__`` of a module that is still there, after its own if it has one.

    Raises:
        AttributeError: it never had such a name.
    """
    now = RENAMED.get(f"{module}.{name}", RENAMED.get(name, ""))
    for known in (name, now):  # what is imported on demand is not among a package's names
        with contextlib.suppress(AttributeError):
            if own is None:
                break
            value = own(known)
            if known == now:
                warnings.warn(f"{module}.{name} is {module}.{now} now; {_LAST}", DeprecationWarning, stacklevel=2)
            return value
    found = _found(module, name, (module, *LEFT[module]))
    if found is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(f"{module}.{name} is {found[0]} now; {_LAST}", DeprecationWarning, stacklevel=2)
    return found[1]


def _places(module: str) -> str:
    return " and ".join(MOVED[module])


class _Moved(ModuleType):
    """Stands for a module that moved; every name is the new module's own."""

    def __getattr__(self, name: str) -> Any:
        found = _found(self.__name__, name, MOVED[self.__name__])
        if found is None:
            raise AttributeError(f"{self.__name__} moved to {_places(self.__name__)}, and has no {name!r}")
        return found[1]


class _StandIn(Loader):
    """Makes a module that stands for one that moved."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module that looks elsewhere."""
        return _Moved(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Say where it is."""
        warnings.warn(
            f"{module.__name__} moved to {_places(module.__name__)}; {_LAST}", DeprecationWarning, stacklevel=2
        )


class _WithOldNames(SourceFileLoader):
    """Loads a module as it is, and lets it answer to the names that it had.

    Not by a ``__getattr__`` in the module's own file, where it would keep mypy from seeing a misspelt name.
    """

    def exec_module(self, module: ModuleType) -> None:
        """Run it, then add what it is asked for last."""
        super().exec_module(module)
        names = vars(module)
        names["__getattr__"] = functools.partial(_renamed, module.__name__, names.get("__getattr__"))


class _Finder(MetaPathFinder):
    """Finds the modules of `MOVED` and of `LEFT`."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """A spec for a module that moved or that lost names, None for any other."""
        if fullname in MOVED:
            now = find_spec(MOVED[fullname][0])  # its file is what Python names where a name is not found
            spec = ModuleSpec(fullname, _StandIn(), origin=now.origin if now else None)
            spec.has_location = True
            return spec
        if fullname not in LEFT:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and type(found.loader) is SourceFileLoader:  # not from a zip file, say
            found.loader = _WithOldNames(fullname, found.loader.path)
        return found


def find_moved_modules() -> None:
    """Put the finder in place, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())

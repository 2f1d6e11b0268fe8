"""What a guarded run is told: a job, its settings in sections next to the code that reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from heed.errors import HeedError, flag_of
from heed.guard.learners.config import LEARNER_BOUNDS, LearnerConfig
from heed.guard.models.config import ModelsConfig
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.config import PlanningConfig
from heed.guard.run.methods import method_from_name
from heed.runs.bounds import COUNT, POSITIVE, PRICE, SHARE, WHOLE, Bounds, check_bounds
from heed.runs.sections import build, full_name, leaves, named, replaced, typed

BOUNDS = {
    "overseer_timeout": POSITIVE, "catastrophe_reward": PRICE, "penalty": WHOLE, "steps": COUNT,
    "seed": Bounds(0, 2**32 - 1), "evaluation_episodes": WHOLE, "checkpoint_every": WHOLE,
}  # fmt: skip


@dataclass(frozen=True)
class BaselinesConfig:
    """Settings of the published methods that guards are compared with, each of one of them.

    Args:
        cost_limit: of sac-lagrangian: catastrophes in an episode, on average, that are put up with.
        multiplier_rate: of sac-lagrangian: of the multiplier's logarithm, for each episode.
        safe_horizon: of smbpo: steps before a catastrophe by which it is settled; its rollouts are as long.
        risk_gamma: of recovery-rl: discount of risk.
        risk_limit: of recovery-rl: risk above which the recovery policy acts.
        risk_updates: of recovery-rl: pretraining, in gradient steps on what oversight gathered.
    """

    cost_limit: float = 0.01
    multiplier_rate: float = 0.1
    safe_horizon: int = 10
    risk_gamma: float = 0.8
    risk_limit: float = 0.3
    risk_updates: int = 2000


BASELINES_BOUNDS = {
    "cost_limit": WHOLE, "multiplier_rate": POSITIVE, "safe_horizon": COUNT, "risk_gamma": SHARE, "risk_limit": SHARE,
    "risk_updates": WHOLE,
}  # fmt: skip


@dataclass
class GuardJob:
    """What is trained, where, overseen by whom.

    Args:
        env: a Gymnasium id, or module:Class.
        env_kwargs: for the environment.
        method: mbhi, none, hirl, hirl-plan, look-brake, mbhi-true-dynamics, mbhi-true-danger, mbhi-true; or a published
            baseline: sac-lagrangian, smbpo, recovery-rl.
        overseer: local, far-sighted, rule, or module:name (people: see heed oversee); with ,miss=SHARE ,false=SHARE
            ,delay=STEPS (or 300ms) or ,tire=JUDGEMENTS behind it a noisy one.
        overseer_timeout: seconds after which an overseer that says nothing has blocked.
        catastrophe: module:function (observation, info) -> bool; a registered environment knows its own.
        catastrophe_reward: added to the environment's own reward at a catastrophe, where the environment does not
            report catastrophes itself; 0 leaves the reward as it is.
        catastrophe_ends: whether such a catastrophe ends the episode.
        safe_action: module:function (observation) -> action, taken where something is blocked and nothing better is
            found; a registered environment knows its own. Without either it is the box's centre, or the first choice.
        store: where judgements are kept, a SQLAlchemy URL or a SQLite file, which runs may share; None takes the run
            folder's judgements.db.
        judgements: of earlier runs, to learn from as well: a store as above, then ,RUN for one run's alone.
        mode: what a block does: replace, penalty (replace, and the learner pays), block (take the safe action), shadow
            (nothing but record).
        penalty: what a blocked step costs the learner in mode penalty.
        steps: of the environment.
        seed: of the environment, the learner, the fits and the imagination.
        checkpoint_every: steps between two checkpoints, from which a run can be resumed; 0 writes one at the start, and
            one where it is stopped.
        evaluation_episodes: at the end, with the guard on, and with it off where the overseer is one of heed's own; 0
            leaves them out.
        learner: which learner proposes actions, and what it learns from.
        phases: when who judges.
        planning: how far ahead the guard looks, and how it plans.
        models: how what is learnt is fitted.
        baselines: settings of published baselines.
    """

    env: str = "heed/PointHazard-v0"
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    method: str = "mbhi"
    overseer: str = "local"
    overseer_timeout: float = 1.0
    catastrophe: str | None = None
    catastrophe_reward: float = -5.0
    catastrophe_ends: bool = True
    safe_action: str | None = None
    store: str | None = None
    judgements: str | None = None
    mode: Literal["replace", "penalty", "block", "shadow"] = "replace"
    penalty: float = 1.0
    steps: int = 10_000
    seed: int = 0
    checkpoint_every: int = 500
    evaluation_episodes: int = 20
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    phases: PhasesConfig = field(default_factory=PhasesConfig)
    planning: PlanningConfig = field(default_factory=PlanningConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    baselines: BaselinesConfig = field(default_factory=BaselinesConfig)

    def __post_init__(self) -> None:
        """Refuse what is no section where one belongs, such as a learner's name."""
        kinds = {"learner": LearnerConfig, "phases": PhasesConfig, "planning": PlanningConfig, "models": ModelsConfig}
        kinds["baselines"] = BaselinesConfig
        for name, kind in kinds.items():
            if not isinstance(given := getattr(self, name), kind):
                raise HeedError(f"{name} is a section, not {given!r}", "GuardJob", f"give {name}={kind.__name__}(...)")
        planner, risk = self.planning.planner.lower(), self.planning.risk.lower()  # iCEM, CVaR
        self.planning = dataclasses.replace(self.planning, planner=planner, risk=risk)
        self.method = self.method.lower()
        self.learner = dataclasses.replace(self.learner, learner=self.learner.learner.lower())  # SAC

    def check(self) -> None:
        """Refuse whatever no run could follow, before anything is made.

        Raises:
            HeedError: names the option.
        """
        check_bounds(self, BOUNDS)
        check_bounds(self.learner, LEARNER_BOUNDS)
        check_bounds(self.baselines, BASELINES_BOUNDS)
        for section in (self.phases, self.planning, self.models):
            section.check()
        if self.models.members < 2:
            fix = "give at least 2: a threshold is calibrated on what a member says of the labels that it did without"
            raise HeedError("one member learns from all labels", "--members", fix)


TYPES = leaves(GuardJob)
"""Every setting by its full name, with its type."""

SEE = "see heed guard --help"


def job_of(*settings: Mapping[str, Any], where: str = "config") -> GuardJob:
    """A job from settings; what is not among them is at its default.

    Args:
        settings: in sections or not, with names full or short; later ones go over earlier ones.
        where: they stand, for errors.

    Raises:
        HeedError: an unknown or ambiguous setting, or a value of another type.

    >>> job_of({"horizon": 5, "models": {"eps": 0.1}, "steps": 100}, {"planning.horizon": 7}).planning.horizon
    7
    """
    return build(GuardJob, settings_of(*settings, where=where))


def settings_of(*settings: Mapping[str, Any], where: str = "config") -> dict[str, Any]:
    """Settings by their full names, of the types that they have; later ones go over earlier ones.

    Raises:
        HeedError: an unknown or ambiguous setting, or a value of another type.

    >>> settings_of({"horizon": 5, "models": {"eps": 0.1}})
    {'planning.horizon': 5, 'models.eps': 0.1}
    """
    found: dict[str, Any] = {}
    for each in settings:
        found |= named(each, TYPES, where, SEE)
    return found


def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a run from those that were given, in sections, as its ``config.yaml`` says them.

    >>> complete({"horizon": 5})["planning"]["horizon"]
    5
    """
    return dataclasses.asdict(job_of(settings))


def variant(spec: str, job: GuardJob) -> GuardJob:
    """A job with a method's changes over it, as comparisons name their rows.

    Args:
        spec: NAME, or NAME:key=value:key=value, with keys full or short.
        job: what all rows have in common.

    Raises:
        HeedError: an unknown method or setting, or a value of another type.

    >>> changed = variant("mbhi:horizon=5:planning.risk=mean", GuardJob())
    >>> changed.method, changed.planning.horizon, changed.planning.risk
    ('mbhi', 5, 'mean')
    """
    name, *parts = spec.split(":")
    method_from_name(name)
    where = f"--methods {spec}"
    changes: dict[str, Any] = {"method": name}
    for pair in parts:
        key, equals, text = pair.partition("=")
        if not (key and equals and text):
            raise HeedError(f"'{pair}' is no setting of a method", where, "write NAME:key=value")
        full = full_name(key, TYPES, where, SEE)
        if full in ("method", "seed"):
            raise HeedError(f"{key} is no setting of a method", where, f"give {flag_of(key)} for all methods")
        changes[full] = typed(yaml.safe_load(text), TYPES[full], key, where)
    return replaced(job, changes)

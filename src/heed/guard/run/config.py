"""What a guarded run is told: a job, and the same as one flat dictionary, as flags, YAML and run folders speak."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from heed.errors import HeedError
from heed.guard.learners.replay import LearnsFrom
from heed.guard.models.models import ModelsConfig
from heed.guard.phases import PhasesConfig
from heed.guard.planning.config import PlanningConfig
from heed.guard.run.methods import method_from_name


@dataclass
class GuardJob:
    """What is trained, where, overseen by whom.

    Args:
        env: a Gymnasium id, or module:Class.
        env_kwargs: for the environment.
        method: mbhi, none, hirl, hirl-plan, look-brake, mbhi-true-dynamics, mbhi-true-danger, mbhi-true.
        overseer: local, far-sighted, rule, or module:name (people: see heed oversee); with ,miss=SHARE ,false=SHARE
            ,delay=STEPS (or 300ms) or ,tire=JUDGEMENTS behind it a noisy one.
        overseer_timeout: seconds after which an overseer that says nothing has blocked.
        catastrophe: module:function (observation, info) -> bool; a preset environment knows its own.
        store: where judgements are kept, a SQLAlchemy URL or a SQLite file, which runs may share; None takes the run
            folder's judgements.db.
        judgements: of earlier runs, to learn from as well: a store as above, then ,RUN for one run's alone.
        mode: what a block does: replace, penalty (replace, and the learner pays), block (take the safe action), shadow
            (nothing but record).
        penalty: what a blocked step costs the learner in mode penalty.
        learner: auto, sac, td3, dqn or ppo.
        learns_from: executed, both or proposed (see the docs, "Learners"); None takes both, proposed for ppo, and
            executed where return and safety are balanced.
        block_penalty: price of a blocked proposal, where both are learnt from.
        block_ends: a blocked proposal is learnt as the end of an episode, with the price as its reward; else as leading
            where what was executed led, for that reward and the price.
        balance: of return and safety as two objectives of sac's actor: none, gapo or pgapo.
        preference: of pgapo: weights of return and safety that sum to 1.
        imagined: rows imagined for each step of autonomy, for the learner to learn from; 0 imagines none.
        imagined_horizon: steps of an imagined rollout.
        imagined_penalty: reward of an imagined step into danger, which ends the rollout.
        real_share: of each batch that the learner learns from, where rows are imagined.
        gradient_steps: of the learner for each step of the environment.
        rollout_steps: of ppo between its updates.
        steps: of the environment.
        seed: of the environment, the learner, the fits and the imagination.
        learning_rate: of the learner.
        learning_starts: steps of random proposals.
        batch_size: of the learner.
        entropy: sac's first weight of entropy, which it tunes from there; 1, as is usual, drowns small rewards for
            long.
        gamma: the learner's discount.
        hidden: units of each of the learner's two hidden layers.
        evaluation_episodes: at the end, with the guard on, and with it off where the overseer is one of heed's own; 0
            leaves them out.
        phases: when who judges.
        planning: how far ahead the guard looks, and how it plans.
        models: how what is learnt is fitted.
    """

    env: str = "heed/PointHazard-v0"
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    method: str = "mbhi"
    overseer: str = "local"
    overseer_timeout: float = 1.0
    catastrophe: str | None = None
    store: str | None = None
    judgements: str | None = None
    mode: Literal["replace", "penalty", "block", "shadow"] = "replace"
    penalty: float = 1.0
    learner: str = "auto"
    learns_from: LearnsFrom | None = None
    block_penalty: float = -0.2
    block_ends: bool = False
    balance: Literal["none", "gapo", "pgapo"] = "none"
    preference: list[float] | None = None
    imagined: int = 0
    imagined_horizon: int = 3
    imagined_penalty: float = -5.0
    real_share: float = 0.5
    gradient_steps: int = 1
    rollout_steps: int = 512
    steps: int = 10_000
    seed: int = 0
    learning_rate: float = 1e-3
    learning_starts: int = 500
    batch_size: int = 128
    entropy: float = 0.1
    gamma: float = 0.98
    hidden: int = 128
    evaluation_episodes: int = 20
    phases: PhasesConfig = field(default_factory=PhasesConfig)
    planning: PlanningConfig = field(default_factory=PlanningConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)


PARTS: dict[type, set[str]] = {
    GuardJob: {"phases", "planning", "models"},
    PhasesConfig: set(),
    PlanningConfig: set(),
    ModelsConfig: {"dynamics", "blockers"},
}
"""The dataclasses that hold settings, each without the fields that hold another, or how ensembles are fitted."""


def names_of(kind: type) -> list[str]:
    """The settings that one of the dataclasses holds."""
    return [field.name for field in dataclasses.fields(kind) if field.name not in PARTS[kind]]


def job_of(settings: dict[str, Any]) -> GuardJob:
    """A job from flat settings; what is not among them is as it is by default.

    Raises:
        HeedError: an unknown setting.

    >>> job_of({"horizon": 5, "eps": 0.1, "steps": 100}).models.eps
    0.1
    """
    left = dict(settings)
    parts = {kind: {name: left.pop(name) for name in names_of(kind) if name in left} for kind in PARTS}
    if left:
        raise HeedError(f"no setting is called '{next(iter(left))}'", "config", "see heed guard --help")
    keys = parts[ModelsConfig].get("label_keys")
    if isinstance(keys, list):  # YAML and JSON know no tuples
        parts[ModelsConfig]["label_keys"] = tuple(keys)
    sections = (PhasesConfig(**parts[PhasesConfig]), PlanningConfig(**parts[PlanningConfig]))
    return GuardJob(
        **parts[GuardJob], phases=sections[0], planning=sections[1], models=ModelsConfig(**parts[ModelsConfig])
    )


def variant(spec: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with a method's changes over them, as comparisons name their rows.

    Args:
        spec: NAME, or NAME:key=value:key=value.
        values: all settings, flat (see `flat`).

    Raises:
        HeedError: an unknown method or setting, or a value that is none.

    >>> changed = variant("mbhi:horizon=5:risk=mean", flat(GuardJob()))
    >>> changed["method"], changed["horizon"], changed["risk"]
    ('mbhi', 5, 'mean')
    """
    name, *pairs = spec.split(":")
    method_from_name(name)
    changed = dict(values) | {"method": name}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or key not in values or key in ("method", "seed"):
            raise HeedError(f"'{pair}' is no setting of a method", f"--methods {spec}", "write NAME:key=value")
        changed[key] = yaml.safe_load(text)
        kind = (int, float) if isinstance(values[key], float) else type(values[key])
        if values[key] is not None and not isinstance(changed[key], kind):
            raise HeedError(f"{key} cannot be '{text}'", f"--methods {spec}", f"give one like {values[key]}")
    return flat(job_of(changed))


def flat(job: GuardJob) -> dict[str, Any]:
    """All settings of a job.

    >>> flat(job_of({"horizon": 5}))["horizon"], job_of(flat(GuardJob())) == GuardJob()
    (5, True)
    """
    parts = (job, job.phases, job.planning, job.models)
    return {name: getattr(part, name) for part in parts for name in names_of(type(part))}


def complete(settings: dict[str, Any]) -> dict[str, Any]:
    """All settings of a run from those that were given.

    >>> complete({"horizon": 5})["horizon"]
    5
    """
    return flat(job_of(settings))

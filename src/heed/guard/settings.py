"""What a guarded run is told: a job, and the same as one flat dictionary, as flags, YAML and run folders speak."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from heed.errors import HeedError
from heed.guard.agent import LearnsFrom
from heed.guard.judges import JudgesConfig
from heed.guard.phases import PhasesConfig


@dataclass
class GuardJob:
    """What is trained where, under whose eyes.

    Args:
        env: a Gymnasium id, or module:Class.
        env_kwargs: for the environment.
        method: mbhi, none, hirl, hirl-plan, look-brake, mbhi-true-dynamics, mbhi-true-danger, mbhi-true.
        overseer: local, far-sighted, rule, or module:name.
        overseer_timeout: seconds after which an overseer that says nothing has blocked.
        catastrophe: module:function (observation, info) -> bool; a preset environment knows its own.
        learner: auto, sac, td3 or dqn.
        learns_from: executed, both or proposed (see the docs, "What the learner learns from").
        block_penalty: reward of a blocked proposal, where both are learnt from.
        steps: of the environment.
        seed: of the environment, the learner, the fits and the imagination.
        learning_rate: of the learner.
        learning_starts: steps of random proposals.
        batch_size: of the learner.
        gamma: the learner's discount.
        hidden: units of each of the learner's two hidden layers.
        evaluation_episodes: at the end, with the guard on and with it off; 0 leaves them out.
        phases: when who judges, and how far ahead the guard looks.
    """

    env: str = "heed/PointHazard-v0"
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    method: str = "mbhi"
    overseer: str = "local"
    overseer_timeout: float = 1.0
    catastrophe: str | None = None
    learner: str = "auto"
    learns_from: LearnsFrom = "executed"
    block_penalty: float = -5.0
    steps: int = 10_000
    seed: int = 0
    learning_rate: float = 1e-3
    learning_starts: int = 500
    batch_size: int = 128
    gamma: float = 0.98
    hidden: int = 128
    evaluation_episodes: int = 20
    phases: PhasesConfig = field(default_factory=PhasesConfig)


PARTS: dict[type, set[str]] = {
    GuardJob: {"phases"},
    PhasesConfig: {"judges"},
    JudgesConfig: {"dynamics", "blockers"},
}
"""The dataclasses that hold settings, each without the fields that hold another, or how ensembles are fitted."""


def names_of(kind: type) -> list[str]:
    """The settings that one of the dataclasses holds."""
    return [field.name for field in dataclasses.fields(kind) if field.name not in PARTS[kind]]


def job_of(settings: dict[str, Any]) -> GuardJob:
    """A job from flat settings; what is not among them is as it is by default.

    Raises:
        HeedError: an unknown setting.

    >>> job_of({"horizon": 5, "eps": 0.1, "steps": 100}).phases.judges.eps
    0.1
    """
    left = dict(settings)
    parts = {kind: {name: left.pop(name) for name in names_of(kind) if name in left} for kind in PARTS}
    if left:
        raise HeedError(f"no setting is called '{next(iter(left))}'", "config", "see heed guard --help")
    keys = parts[JudgesConfig].get("label_keys")
    if isinstance(keys, list):  # YAML and JSON know no tuples
        parts[JudgesConfig]["label_keys"] = tuple(keys)
    judges = JudgesConfig(**parts[JudgesConfig])
    return GuardJob(**parts[GuardJob], phases=PhasesConfig(**parts[PhasesConfig], judges=judges))


def flat(job: GuardJob) -> dict[str, Any]:
    """All settings of a job.

    >>> flat(job_of({"horizon": 5}))["horizon"], job_of(flat(GuardJob())) == GuardJob()
    (5, True)
    """
    parts = (job, job.phases, job.phases.judges)
    return {name: getattr(part, name) for part in parts for name in names_of(type(part))}

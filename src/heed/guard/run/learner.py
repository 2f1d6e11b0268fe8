"""The learner that a job names, and what it learns from; settings that it could not follow are refused."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import PPO
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance import GAPO, PGAPO, check_preference
from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.learners.balanced_sac import BalancedSAC
from heed.guard.learners.mbpo import ImaginedRollouts, MixedReplayBuffer
from heed.guard.learners.sb3 import GuardedSAC, Learner, learner_class
from heed.guard.phases import Phases
from heed.guard.run.config import GuardJob, LearnerConfig
from heed.guard.run.methods import method_from_name

KEPT_STEPS = 1000
"""Steps of the environment whose imagined rows are kept: older ones are of a policy and a model that are no more."""


def learner_of(job: GuardJob, guard: Guard) -> Learner:
    """The learner of a job, behind its guard.

    Raises:
        HeedError: no such learner, one that cannot act there, or settings that it would not follow.
    """
    config = job.learner
    kind = learner_class(config.learner, guard.env.action_space)
    _check(job, kind)
    settings: dict[str, Any] = {
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size,
        "gamma": config.gamma,
        "policy_kwargs": {"net_arch": [config.hidden, config.hidden]},
        "seed": job.seed,
        "device": "cpu",
    }
    if issubclass(kind, PPO):
        return kind("MlpPolicy", guard, n_steps=max(2, min(config.rollout_steps, job.steps)), **settings)
    settings |= {"learning_starts": config.learning_starts, "gradient_steps": config.gradient_steps}
    if config.imagined:
        room = {"real_share": config.real_share, "kept": KEPT_STEPS * config.imagined}
        settings |= {"replay_buffer_class": MixedReplayBuffer, "replay_buffer_kwargs": room}
    if config.balance != "none":
        kind, settings["weighting"] = BalancedSAC, _weighting(config)
    if issubclass(kind, GuardedSAC):
        settings["ent_coef"] = f"auto_{config.entropy}"
    learner = kind("MlpPolicy", guard, **settings)
    learner.learns_from = config.learns_from or learner.learns_from
    learner.block_penalty, learner.block_ends = config.block_penalty, config.block_ends
    return learner


def imagining(job: GuardJob, phases: Phases | None) -> list[ImaginedRollouts]:
    """What feeds the learner of a job with imagined rollouts, where it has any."""
    config = job.learner
    if not config.imagined or phases is None:
        return []
    return [ImaginedRollouts(phases, config.imagined, config.imagined_penalty, config.imagined_horizon)]


def _check(job: GuardJob, kind: type[Learner]) -> None:
    """Refuse what the learner would not follow."""
    config = job.learner
    if issubclass(kind, PPO):
        if config.learns_from not in (None, "proposed"):
            fix = "leave it out; --mode penalty teaches it what is blocked"
            raise HeedError(
                f"ppo cannot learn from {config.learns_from} actions: it is on-policy", "--learns_from", fix
            )
        if config.rollout_steps < 2:
            raise HeedError(f"rollouts of {config.rollout_steps} steps", "--rollout_steps", "give at least 2")
        if config.imagined or config.gradient_steps != 1:
            where = "--imagined" if config.imagined else "--gradient_steps"
            raise HeedError("ppo learns from its latest rollout alone: it is on-policy", where, "leave it out")
    if config.imagined < 0 or config.gradient_steps < 1:
        raise HeedError(
            f"{config.imagined} imagined rows, {config.gradient_steps} gradient steps", "--imagined, --gradient_steps",
            "give at least 0 and 1",
        )  # fmt: skip
    if config.imagined and not method_from_name(job.method).guarded:
        raise HeedError(f"{job.method} has no models to imagine with", "--imagined", "take --method mbhi")
    if config.balance != "none" and kind is not GuardedSAC:
        raise HeedError("return and safety are balanced in sac's actor alone", "--balance", "take --learner sac")
    if (config.balance == "pgapo") != (config.preference is not None):
        raise HeedError(
            f"balance {config.balance} {'needs a' if config.preference is None else 'takes no'} preference",
            "--preference", "give --balance pgapo --preference RETURN,SAFETY, such as .7,.3",
        )  # fmt: skip


def _weighting(config: LearnerConfig) -> Weighting[PSDMatrix]:
    return GAPO(p=1) if config.preference is None else PGAPO(check_preference(config.preference, 2))

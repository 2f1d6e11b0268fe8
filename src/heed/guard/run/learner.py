"""The learner that a job names, and what it learns from; settings that it could not follow are refused."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance import GAPO, PGAPO, check_preference
from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.learners.balanced_sac import BalancedSAC
from heed.guard.learners.mbpo import ImaginedRollouts, MixedReplayBuffer
from heed.guard.learners.sb3 import GuardedSAC, Learner, learner_class
from heed.guard.phases import Phases
from heed.guard.run.config import GuardJob
from heed.guard.run.methods import method_from_name

KEPT_STEPS = 1000
"""Steps of the environment whose imagined rows are kept: older ones are of a policy and a model that are no more."""


def learner_of(job: GuardJob, guard: Guard) -> Learner:
    """The learner of a job, behind its guard.

    Raises:
        HeedError: no such learner, one that cannot act there, or settings that it would not follow.
    """
    kind = learner_class(job.learner, guard.env.action_space)
    _check(job, kind)
    settings: dict[str, Any] = {
        "learning_rate": job.learning_rate,
        "batch_size": job.batch_size,
        "gamma": job.gamma,
        "policy_kwargs": {"net_arch": [job.hidden, job.hidden]},
        "seed": job.seed,
        "device": "cpu",
    }
    if issubclass(kind, PPO):
        return kind("MlpPolicy", guard, n_steps=max(2, min(job.rollout_steps, job.steps)), **settings)
    settings |= {"learning_starts": job.learning_starts, "gradient_steps": job.gradient_steps}
    if job.imagined:
        room = {"real_share": job.real_share, "kept": KEPT_STEPS * job.imagined}
        settings |= {"replay_buffer_class": MixedReplayBuffer, "replay_buffer_kwargs": room}
    if job.balance != "none":
        kind, settings["weighting"] = BalancedSAC, _weighting(job)
    if issubclass(kind, GuardedSAC):
        settings["ent_coef"] = f"auto_{job.entropy}"
    learner = kind("MlpPolicy", guard, **settings)
    learner.learns_from = job.learns_from or learner.learns_from
    learner.block_penalty, learner.block_ends = job.block_penalty, job.block_ends
    return learner


def imagining(job: GuardJob, phases: Phases | None) -> list[BaseCallback]:
    """What feeds the learner of a job with imagined rollouts, where it has any."""
    if not job.imagined or phases is None:
        return []
    return [ImaginedRollouts(phases, job.imagined, job.imagined_penalty, job.imagined_horizon)]


def _check(job: GuardJob, kind: type[Learner]) -> None:
    """Refuse what the learner would not follow."""
    if issubclass(kind, PPO):
        if job.learns_from not in (None, "proposed"):
            fix = "leave it out; --mode penalty teaches it what is blocked"
            raise HeedError(f"ppo cannot learn from {job.learns_from} actions: it is on-policy", "--learns_from", fix)
        if job.rollout_steps < 2:
            raise HeedError(f"rollouts of {job.rollout_steps} steps", "--rollout_steps", "give at least 2")
        if job.imagined or job.gradient_steps != 1:
            where = "--imagined" if job.imagined else "--gradient_steps"
            raise HeedError("ppo learns from its latest rollout alone: it is on-policy", where, "leave it out")
    if job.imagined < 0 or job.gradient_steps < 1:
        raise HeedError(
            f"{job.imagined} imagined rows, {job.gradient_steps} gradient steps", "--imagined, --gradient_steps",
            "give at least 0 and 1",
        )  # fmt: skip
    if job.imagined and not method_from_name(job.method).guarded:
        raise HeedError(f"{job.method} has no models to imagine with", "--imagined", "take --method mbhi")
    if job.balance != "none" and kind is not GuardedSAC:
        raise HeedError("return and safety are balanced in sac's actor alone", "--balance", "take --learner sac")
    if (job.balance == "pgapo") != (job.preference is not None):
        raise HeedError(
            f"balance {job.balance} {'needs a' if job.preference is None else 'takes no'} preference", "--preference",
            "give --balance pgapo --preference RETURN,SAFETY, such as .7,.3",
        )  # fmt: skip


def _weighting(job: GuardJob) -> Weighting[PSDMatrix]:
    return GAPO(p=1) if job.preference is None else PGAPO(check_preference(job.preference, 2))

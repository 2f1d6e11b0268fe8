"""The learner that a job names, and what it learns from; settings that it could not follow are refused."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance import GAPO, PGAPO, check_preference
from heed.errors import HeedError, flag_of
from heed.guard.guard import Guard
from heed.guard.learners.balanced_sac import BalancedSAC
from heed.guard.learners.config import LearnerConfig
from heed.guard.learners.lagrangian import LagrangianSAC
from heed.guard.learners.mbpo import Imaginable, ImaginedRollouts, MixedReplayBuffer
from heed.guard.learners.recovery import RecoverySAC
from heed.guard.learners.sb3 import GuardedSAC, Learner, learner_class
from heed.guard.learners.smbpo import ABSORBED, AbsorbingReplayBuffer, AbsorbingSAC
from heed.guard.run.config import GuardJob
from heed.guard.run.methods import method_from_name

KEPT_STEPS = 1000
"""Steps of the environment whose imagined rows are kept: older ones are of a policy and a model that are no more."""
SMBPO_ROWS = 10
"""Rows that smbpo imagines for each step of autonomy where the job says of none."""


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
    brings, baselines = method_from_name(job.method).brings, job.baselines
    if imagined := imagined_rows(job):
        room = {"real_share": config.real_share, "kept": KEPT_STEPS * imagined}
        settings |= {"replay_buffer_class": MixedReplayBuffer, "replay_buffer_kwargs": room}
        if brings == "absorbing":
            kind, settings["replay_buffer_class"] = AbsorbingSAC, AbsorbingReplayBuffer
            room |= {"gamma": config.gamma, "horizon": baselines.safe_horizon}
    if brings == "multiplier":
        kind = LagrangianSAC
        settings |= {"limit": baselines.cost_limit, "rate": baselines.multiplier_rate}
    elif brings == "recovery":
        kind, settings["cost_gamma"] = RecoverySAC, baselines.risk_gamma
    elif config.balance != "none":
        kind, settings["weighting"] = BalancedSAC, _weighting(config)
    if issubclass(kind, GuardedSAC):
        settings["ent_coef"] = f"auto_{config.entropy}"
    learner = kind("MlpPolicy", guard, **settings)
    learner.learns_from = config.learns_from or learner.learns_from
    learner.block_penalty, learner.block_ends = config.block_penalty, config.block_ends
    if config.demonstration_weight is not None:
        learner.demonstration_weight = config.demonstration_weight
    return learner


def imagined_rows(job: GuardJob) -> int:
    """Rows that are imagined for each step of autonomy, 0 where none are."""
    return job.learner.imagined or (SMBPO_ROWS if method_from_name(job.method).brings == "absorbing" else 0)


def imagining(job: GuardJob, models: Imaginable) -> list[BaseCallback]:
    """What feeds the learner of a job with imagined rollouts, where it has any."""
    config, rows = job.learner, imagined_rows(job)
    if not rows:
        return []
    if method_from_name(job.method).brings == "absorbing":
        return [ImaginedRollouts(models, rows, ABSORBED, job.baselines.safe_horizon)]
    return [ImaginedRollouts(models, rows, config.imagined_penalty, config.imagined_horizon)]


def _check(job: GuardJob, kind: type[Learner]) -> None:
    """Refuse what the learner would not follow."""
    config = job.learner
    if issubclass(kind, PPO):
        if config.learns_from not in (None, "proposed"):
            fix = "leave it out; --mode penalty teaches it what is blocked"
            raise HeedError(
                f"ppo cannot learn from {config.learns_from} actions: it is on-policy", "--learns-from", fix
            )
        if config.demonstration_weight:
            fix = "leave it out, or take --learner sac or dqn"
            raise HeedError("ppo imitates nobody: it is on-policy", "--demonstration-weight", fix)
        if config.batch_size < 2:
            raise HeedError("ppo normalises its advantages over a batch of 1", "--batch-size", "give at least 2")
        if config.imagined or config.gradient_steps != 1:
            where = "--imagined" if config.imagined else "--gradient-steps"
            raise HeedError("ppo learns from its latest rollout alone: it is on-policy", where, "leave it out")
    method = method_from_name(job.method)
    if method.brings is not None:
        _check_baseline(job, kind)
    elif config.imagined and not method.guarded:
        raise HeedError(f"{job.method} has no models to imagine with", "--imagined", "take --method mbhi")
    if config.balance != "none" and kind is not GuardedSAC:
        raise HeedError("return and safety are balanced in sac's actor alone", "--balance", "take --learner sac")
    if (config.balance == "pgapo") != (config.preference is not None):
        raise HeedError(
            f"balance {config.balance} {'needs a' if config.preference is None else 'takes no'} preference",
            "--preference", "give --balance pgapo --preference RETURN,SAFETY, such as .7,.3",
        )  # fmt: skip


def _check_baseline(job: GuardJob, kind: type[Learner]) -> None:
    """Refuse what a published baseline would not follow."""
    config, usual, method = job.learner, LearnerConfig(), method_from_name(job.method)
    if kind is not GuardedSAC:
        raise HeedError(f"{job.method} is made of sac, which is for boxes", "--learner", "take sac, or another method")
    if config.balance != "none":
        raise HeedError(f"{job.method} weighs return and safety itself", "--balance", "leave it out")
    if method.brings != "absorbing" and config.imagined:
        raise HeedError(f"{job.method} has no models to imagine with", "--imagined", "take --method mbhi or smbpo")
    if method.brings == "absorbing":
        for name, instead in (("imagined_horizon", "--safe-horizon"), ("imagined_penalty", "--safe-horizon")):
            if getattr(config, name) != getattr(usual, name):
                raise HeedError(f"smbpo sets its own {name}", flag_of(name), f"leave it out; {instead} says how")
    if method.brings == "recovery" and job.judgements is not None:
        raise HeedError(f"{job.method} learns from its own run alone", "--judgements", "leave it out")
    if method.brings == "recovery" and job.mode == "block":
        raise HeedError(f"what {job.method} blocks its recovery policy replaces", "--mode block", "take replace")


def _weighting(config: LearnerConfig) -> Weighting[PSDMatrix]:
    return GAPO(p=1) if config.preference is None else PGAPO(check_preference(config.preference, 2))

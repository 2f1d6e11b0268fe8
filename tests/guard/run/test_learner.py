"""Every learner through the whole of a guarded run, and what it cannot follow is refused before one begins."""

import pyarrow.parquet as pq
import pytest
from stable_baselines3 import PPO

from heed.errors import HeedError
from heed.guard.learners.balanced_sac import BalancedSAC
from heed.guard.learners.config import LearnerConfig
from heed.guard.learners.lagrangian import LagrangianSAC
from heed.guard.learners.mbpo import MixedReplayBuffer
from heed.guard.learners.recovery import RecoveryPhases, RecoverySAC
from heed.guard.learners.sb3 import GuardedDQN, GuardedSAC, GuardedTD3
from heed.guard.learners.smbpo import ABSORBED, AbsorbingReplayBuffer, AbsorbingSAC, UnaskedModels
from heed.guard.models.config import FitConfig, ModelsConfig
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.config import PlanningConfig
from heed.guard.run.build import build
from heed.guard.run.config import GuardJob, settings_of
from heed.guard.run.train import train_guard
from heed.runs.sections import replaced

FAST = FitConfig(updates=100, check_every=50)
JOB = GuardJob(
    method="mbhi-true",
    steps=150,
    evaluation_episodes=0,
    learner=LearnerConfig(learning_starts=30, hidden=16, batch_size=32, rollout_steps=64),
    phases=PhasesConfig(oversight_steps=100),
    planning=PlanningConfig(horizon=3, particles=1, plan_samples=8, plan_iterations=1),
    models=ModelsConfig(members=2, dynamics_hidden=16, eps=0.3, dynamics=FAST, blockers=FAST),
)


def changed(**changes):
    return replaced(JOB, settings_of(changes))


GRID = {"env": "heed/CliffGrid-v0", "method": "mbhi", "overseer": "far-sighted", "steps": 160}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"learner": "sac", "evaluation_episodes": 1}, GuardedSAC),
        ({"learner": "td3", "learns_from": "both"}, GuardedTD3),
        ({"learner": "ppo", "mode": "penalty", "penalty": 2.0}, PPO),
        (GRID | {"learner": "dqn"}, GuardedDQN),
        (GRID | {"learner": "ppo"}, PPO),
        ({"balance": "gapo"}, BalancedSAC),
        ({"balance": "pgapo", "preference": [0.6, 0.4]}, BalancedSAC),
        ({"imagined": 8, "imagined_horizon": 2, "gradient_steps": 2}, GuardedSAC),
        ({"method": "sac-lagrangian", "cost_limit": 0.5}, LagrangianSAC),
        ({"method": "smbpo", "safe_horizon": 2}, AbsorbingSAC),
        ({"method": "recovery-rl", "risk_updates": 5, "evaluation_episodes": 1}, RecoverySAC),
    ],
    ids=lambda value: "-".join(str(each) for each in value.values()) if isinstance(value, dict) else "",
)
def test_each_learner_trains_under_the_guard(changes, kind, tmp_path):
    job = changed(**changes)
    summary = train_guard(job, tmp_path / "run")
    rows = pq.read_table(tmp_path / "run" / "decisions.parquet").to_pylist()
    assert summary["completed"] and summary["env_steps"] == len(rows) == job.steps
    assert not summary["faults"]
    if job.method == "mbhi-true":
        assert summary["handed_over_at"] == 100
    restored = kind.load(tmp_path / "run" / "learner.zip", device="cpu")
    assert restored.num_timesteps == job.steps and restored._n_updates > 0


def test_settings_reach_the_published_baselines():
    lagrangian = build(changed(method="sac-lagrangian", cost_limit=0.5, multiplier_rate=0.3))
    assert isinstance(lagrangian.learner, LagrangianSAC) and lagrangian.phases is None
    assert (lagrangian.learner.multiplier.limit, lagrangian.learner.multiplier.rate) == (0.5, 0.3)
    smbpo = build(changed(method="smbpo", safe_horizon=4))
    replay, rollouts = smbpo.learner.replay_buffer, smbpo.callbacks[0]
    assert isinstance(replay, AbsorbingReplayBuffer) and isinstance(smbpo.phases, UnaskedModels)
    assert (replay.horizon, replay.discount, replay.kept) == (4, 0.98, 10_000)
    assert (rollouts.per_step, rollouts.horizon, rollouts.penalty, rollouts.phases) == (10, 4, ABSORBED, smbpo.phases)
    assert smbpo.phases.models.config.survival and smbpo.phases.labels.grace == 1
    recovery = build(changed(method="recovery-rl", risk_gamma=0.7, risk_limit=0.2, risk_updates=9))
    assert isinstance(recovery.phases, RecoveryPhases) and recovery.learner.learns_from == "proposed"
    assert (recovery.learner.cost_gamma, recovery.phases.recovery.limit, recovery.phases.updates) == (0.7, 0.2, 9)
    assert recovery.guard.observers[-1] is recovery.phases and not recovery.callbacks


def test_settings_reach_the_learner():
    learner = build(changed(imagined=8, real_share=0.3, gradient_steps=3)).learner
    assert isinstance(learner.replay_buffer, MixedReplayBuffer)
    assert (learner.replay_buffer.real_share, learner.replay_buffer.kept, learner.gradient_steps) == (0.3, 8000, 3)
    assert (learner.learns_from, learner.block_penalty, learner.block_ends) == ("both", -0.2, False)
    assert learner.demonstration_weight == 0.4
    assert build(changed(learner="td3", demonstration_weight=0.0)).learner.demonstration_weight == 0.0
    assert build(changed(balance="gapo", demonstration_weight=2.5)).learner.demonstration_weight == 2.5
    assert build(changed(**GRID)).learner.demonstration_weight == 1.0  # dqn's
    learner = build(changed(balance="pgapo", preference=[0.6, 0.4])).learner
    assert learner.weighting.preference.tolist() == pytest.approx([0.6, 0.4])
    run = build(changed(learner="ppo", mode="penalty", penalty=2.0))
    assert (run.learner.n_steps, run.phases.mode, run.guard.penalty) == (64, "penalty", 2.0)
    assert build(changed(learner="ppo", learns_from="proposed")).learner.n_steps == 64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learner": "ppo", "learns_from": "executed"}, "ppo cannot learn from executed actions.*--mode penalty"),
        ({"learner": "ppo", "demonstration_weight": 0.4}, r"ppo imitates nobody.*--demonstration-weight"),
        ({"demonstration_weight": -0.1}, r"demonstration_weight is -0.1 .*at least 0"),
        ({"learner": "ppo", "imagined": 5}, "--imagined.*on-policy|on-policy.*--imagined"),
        ({"learner": "ppo", "gradient_steps": 2}, "on-policy"),
        ({"learner": "ppo", "rollout_steps": 1}, "rollout_steps is 1"),
        ({"learner": "td3", "balance": "gapo"}, "sac's actor alone"),
        ({"learner": "ppo", "balance": "gapo"}, "sac's actor alone"),
        ({"balance": "pgapo"}, "balance pgapo needs a preference"),
        ({"balance": "gapo", "preference": [0.5, 0.5]}, "balance gapo takes no preference"),
        ({"balance": "pgapo", "preference": [0.5, 0.6]}, "sums to 1.1"),
        ({"imagined": 5, "method": "none"}, "no models to imagine with"),
        ({"imagined": -1}, "imagined is -1"),
        ({"imagined": 5, "real_share": 0.0}, "real_share is 0"),
        ({"gradient_steps": 0}, "gradient_steps is 0"),
        ({"method": "sac-lagrangian", "learner": "td3"}, "sac-lagrangian is made of sac"),
        ({"method": "recovery-rl", "env": "heed/CliffGrid-v0"}, "recovery-rl is made of sac, which is for boxes"),
        ({"method": "smbpo", "balance": "gapo"}, "smbpo weighs return and safety itself"),
        ({"method": "recovery-rl", "imagined": 5}, "recovery-rl has no models to imagine with"),
        ({"method": "smbpo", "imagined_horizon": 5}, "smbpo sets its own imagined_horizon.*--safe-horizon"),
        ({"method": "smbpo", "imagined_penalty": -1.0}, "smbpo sets its own imagined_penalty"),
        ({"method": "smbpo", "safe_horizon": 0}, r"safe_horizon is 0 .*at least 1"),
        ({"method": "sac-lagrangian", "cost_limit": -1.0}, r"cost_limit is -1 .*at least 0"),
        ({"method": "recovery-rl", "risk_limit": 1.5}, r"risk_limit is 1.5 .*at most 1"),
        ({"method": "recovery-rl", "risk_updates": -1}, r"risk_updates is -1 .*at least 0"),
        ({"method": "recovery-rl", "mode": "block"}, "its recovery policy replaces"),
        ({"method": "recovery-rl", "judgements": "old.db"}, "learns from its own run alone"),
    ],
)
def test_what_a_learner_would_not_follow_is_refused_in_one_line(changes, message):
    with pytest.raises(HeedError, match=message) as refused:
        build(changed(**changes))
    assert "\n" not in str(refused.value)

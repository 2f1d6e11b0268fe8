"""A learner of Stable-Baselines3 trains on many guarded environments as it would on each."""

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from kept_runs import Ledge, surroundings
from stable_baselines3 import PPO

from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.learners.sb3 import GuardedSAC, controller
from heed.guard.learners.vec_env import GuardedVecEnv
from heed.guard.phases import Phases
from heed.guard.phases_config import PhasesConfig
from heed.guard.vector_guard import VectorGuard
from heed.oversight.overseers.base import Verdict

FAST = {"learning_starts": 20, "batch_size": 8, "policy_kwargs": {"net_arch": [8]}, "device": "cpu", "seed": 4}


class ByObservation:
    """Blocks what heads out of the ledge; looks at no environment, so that those may be in other processes."""

    name = "by observation"

    def judge(self, proposal):
        place, speed = proposal.observation
        return Verdict(bool(abs(place + (speed + 0.2 * proposal.action[0]) / 10) > 0.9))

    def reset(self, seed):
        pass


def many(count, mode=AutoresetMode.SAME_STEP, kind=SyncVectorEnv):
    return VectorGuard(kind([surroundings] * count, autoreset_mode=mode), ByObservation())


def learnt(env, guard, steps=60):
    """The decisions of a learner's first steps, and its replay."""
    told = []
    guard.observers.append(lambda step: told.append((step.stream, step.decision.decision, step.state.tolist())))
    learner = GuardedSAC("MlpPolicy", env, **FAST).learn(steps)
    replay = learner.replay_buffer
    return told, [
        column[: replay.size()].tolist() for column in (replay.next_observations, replay.rewards, replay.dones)
    ]


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_one_environment_is_learnt_in_as_behind_its_own_guard(mode):
    alone = Guard(surroundings(), ByObservation())
    expected = learnt(alone, alone)
    vector = many(1, mode)
    assert learnt(GuardedVecEnv(vector), vector) == expected
    assert {"block", "allow"} == {decision for _, decision, _ in expected[0]}


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_one_phases_sees_every_step_of_all_environments(kind):
    guard = many(3, kind=kind)
    envs = GuardedVecEnv(guard)
    learner = GuardedSAC("MlpPolicy", envs, **FAST)
    phases = Phases(guard, controller(learner), PhasesConfig(oversight_steps=10_000))
    learner.learn(90)
    seen = phases.labels.transitions.tensors()
    assert phases.steps == 90 and np.bincount(seen.streams).tolist() == [30, 30, 30]
    moved = (seen.next_states[:, 0] - seen.states[:, 0]).abs().max()
    assert moved < 0.3  # no reset is taken for a step
    envs.close()


def test_an_episode_s_end_is_told_as_stable_baselines_tells_it():
    envs = GuardedVecEnv(many(2))
    envs.seed(3)
    observations = envs.reset()
    ended = 0
    for _ in range(50):
        before = observations
        observations, _, dones, infos = envs.step(np.ones((2, 1), np.float32))
        for number in np.flatnonzero(dones):
            last, info = infos[number]["terminal_observation"], infos[number]
            assert abs(last[0] - before[number][0]) < 0.3 and not np.array_equal(last, observations[number])
            assert info["TimeLimit.truncated"] != info["catastrophe"] and info["guard"]["decision"] in (
                "allow",
                "block",
            )
            ended += 1
    assert ended >= 4
    assert [type(env) for env in envs.get_attr("unwrapped")] == [Ledge, Ledge]


def test_an_on_policy_learner_takes_them_too():
    guard = many(2)
    model = PPO("MlpPolicy", GuardedVecEnv(guard), n_steps=10, batch_size=10, device="cpu").learn(40)
    assert model.num_timesteps == 40 and guard.situations[1].episode > 0


def test_environments_that_lose_a_step_to_a_reset_are_refused_in_a_line():
    with pytest.raises(HeedError, match=r"lose a step to each reset.*\(GuardedVecEnv\): make them with"):
        GuardedVecEnv(many(2, AutoresetMode.NEXT_STEP))

"""Behind VecNormalize: replays and demonstrations keep what the environment gave, and normalise what they draw."""

import numpy as np
import pytest
import torch
from guard_worlds import CartEnv, Third
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.learners.balanced_sac import BalancedSAC
from heed.guard.learners.mbpo import MixedReplayBuffer
from heed.guard.learners.recovery import Recovery, RecoverySAC
from heed.guard.learners.sb3 import GuardedSAC
from heed.guard.learners.smbpo import AbsorbingReplayBuffer

SETTINGS = {"learning_starts": 100, "seed": 0, "device": "cpu", "buffer_size": 200, "policy_kwargs": {"net_arch": [8]}}
STEPS = 32


class Short(CartEnv):
    """Episodes of ten steps, far from 0, which pay by the hundred."""

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        self.taken = 0
        return observation + 50, info

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        self.taken += 1
        return observation + 50, 100.0 + reward, terminated, truncated or self.taken == 10, info


def learnt(kind, **settings):
    recorded = []
    env = VecNormalize(DummyVecEnv([lambda: Guard(Short(), Third(), observers=[recorded.append])]))
    model = kind("MlpPolicy", env, **SETTINGS)
    for name, value in settings.items():
        setattr(model, name, value)
    return model.learn(STEPS), recorded, env


def test_a_demonstration_is_normalised_by_the_statistics_of_the_day_it_is_drawn():
    model, recorded, env = learnt(GuardedSAC)
    states = np.stack([step.state for step in recorded[2::3]])
    assert np.array_equal(model.demonstrations.state()["observations"], states) and len(states) == 10
    env.obs_rms.mean, env.obs_rms.var = np.array([40.0, 60.0]), np.array([4.0, 16.0])
    torch.manual_seed(3)
    chosen = torch.randint(10, (6,)).tolist()
    torch.manual_seed(3)
    drawn = model.demonstrations.sample(6, env=env)[0]
    assert drawn.numpy() == pytest.approx((states[chosen] - [40, 60]) / [2, 4], abs=1e-4)
    torch.manual_seed(3)
    assert np.array_equal(model.demonstrations.sample(6)[0], states[chosen])


def test_the_policy_imitates_them_as_it_would_see_them_now():
    model, recorded, env = learnt(GuardedSAC)
    seen = []
    model.imitation = lambda observations, actions: (
        seen.append(observations),
        GuardedSAC.imitation(model, observations, actions),
    )[1]
    model._policy_optimizer.step()
    possible = {tuple(env.normalize_obs(step.state).tolist()) for step in recorded[2::3]}
    assert len(seen[0]) == model.batch_size and {tuple(row) for row in seen[0].tolist()} == possible


@pytest.mark.parametrize("ends", [True, False])
def test_a_blocked_proposal_lies_in_the_replay_in_the_units_of_the_rows_beside_it(ends):
    model, recorded, _ = learnt(GuardedSAC, learns_from="both", block_penalty=-7.0, block_ends=ends)
    kept, row = model.replay_buffer, 0
    for number, step in enumerate(recorded):
        assert kept.observations[row, 0] == pytest.approx(step.state)
        assert kept.next_observations[row, 0] == pytest.approx(step.next_state, abs=1e-3)
        assert kept.rewards[row, 0] == pytest.approx(step.reward, rel=1e-6)
        row += 1
        if number % 3 == 2:
            reward, after = (-7.0, step.state) if ends else (step.reward - 7.0, step.next_state)
            assert kept.observations[row, 0] == pytest.approx(step.state)
            assert kept.next_observations[row, 0] == pytest.approx(after, abs=1e-3)
            assert kept.rewards[row, 0] == pytest.approx(reward, rel=1e-6)
            row += 1
    assert kept.pos == row == STEPS + 10
    assert sum(step.truncated for step in recorded) == 3  # the last states of episodes are among them


def test_costs_stay_probabilities_where_rewards_are_normalised():
    model, recorded, env = learnt(BalancedSAC)
    kept = model.safety_buffer
    assert kept.observations[: kept.pos, 0][:3] == pytest.approx(np.stack([step.state for step in recorded[:3]]))
    assert np.sqrt(env.ret_rms.var) > 10
    drawn = kept.sample(200, env=env)
    assert drawn.rewards.unique().tolist() == [0, 1]
    possible = np.stack([env.normalize_obs(step.state) for step in recorded])
    assert np.abs(drawn.observations.numpy()[:, None] - possible).sum(2).min(1).max() < 1e-5


def rewards_only():
    env = VecNormalize(DummyVecEnv([CartEnv]), norm_obs=False, clip_reward=100.0)
    env.ret_rms.var = 4.0
    return env


def test_imagined_rewards_are_normalised_as_those_that_were_met():
    env = rewards_only()
    buffer = MixedReplayBuffer(10, env.observation_space, env.action_space, device="cpu")
    here = np.zeros((1, 2))
    buffer.add(here, here, np.zeros((1, 1)), np.array([6.0]), np.array([False]), [{}])
    columns = (torch.zeros(3, 2), torch.zeros(3, 1), torch.zeros(3, 2), torch.zeros(3, 1), torch.full((3, 1), 8.0))
    buffer.imagine(ReplayBufferSamples(*columns))
    batch = buffer.sample(8, env)
    assert batch.rewards.flatten().tolist() == pytest.approx([3.0] * 4 + [4.0] * 4, rel=1e-6)
    assert buffer.sample(8).rewards.flatten().tolist() == [6.0] * 4 + [8.0] * 4


def test_an_absorbing_state_is_worth_its_penalty_in_the_units_of_the_batch():
    env = rewards_only()
    spaces = (env.observation_space, env.action_space)
    buffer = AbsorbingReplayBuffer(10, *spaces, device="cpu", gamma=0.5, horizon=3)
    here = np.zeros((1, 2))
    for reward, broken in ((-0.5, False), (1.0, False), (0.0, True)):
        buffer.add(here, here, np.zeros((1, 1)), np.array([reward]), np.array([False]), [{"catastrophe": broken}])
    assert buffer.penalty == -22.0
    batch = buffer.sample(100, env)
    assert batch.rewards.unique().tolist() == pytest.approx([-11.0, -0.25, 0.5], rel=1e-6)
    assert batch.rewards.dtype == torch.float32


def test_a_risk_critic_that_would_be_asked_of_other_numbers_than_it_learns_from_is_refused():
    learner = RecoverySAC("MlpPolicy", VecNormalize(DummyVecEnv([CartEnv])), **SETTINGS)
    with pytest.raises(HeedError, match="VecNormalize stands between guard and learner"):
        Recovery(learner, limit=0.5)

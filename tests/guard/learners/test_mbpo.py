"""Imagined rollouts for a learner: true to the model, ended where it is dangerous, in the share that was asked for."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from guard_worlds import WALL, Cart, CartEnv, Wall, advance, full_ahead
from stable_baselines3 import PPO
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.learners.mbpo import ImaginedRollouts, MixedReplayBuffer, Rollouts
from heed.guard.learners.sb3 import GuardedDQN, GuardedSAC
from heed.guard.models.blockers import KnownBlockers
from heed.guard.models.config import ModelsConfig
from heed.guard.models.dynamics import KnownDynamics
from heed.guard.models.models import Models
from heed.guard.models.support import Range
from heed.guard.phases import Phase, Phases
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.config import PlanningConfig
from heed.guard.planning.imagination import Imagination
from heed.oversight.overseers.scripted import RuleOverseer

PENALTY = -9.0


def hesitant(states):
    """Full ahead in the left half, half ahead in the right."""
    return torch.where(states[..., :1] < 0, 1.0, 0.5)


def rollouts(dynamics=None, judge=None, policy=hesitant, horizon=4, **where):
    seeing = Imagination(dynamics or Cart(members=2), judge or Wall(), policy, 1, **where)
    return Rollouts(seeing, 0.5, PENALTY, horizon)


def by_hand(starts, horizon):
    """The same, one rollout at a time, as (step, rollout) to its row."""
    result = {}
    for number, state in enumerate(starts):
        for t in range(horizon):
            action = hesitant(state)
            following = advance(state, action)
            crashed = bool(following[0] >= WALL)
            reward = PENALTY if crashed else float(following[0] - state[0])
            result[t, number] = (state, action, following, float(crashed), reward)
            state = following
            if crashed:
                break
    return [result[key] for key in sorted(result)]


def test_every_row_is_a_step_of_the_model_and_the_flagged_ones_end_with_the_penalty():
    starts = torch.tensor([[-1.0, 0.5], [0.8, 0.6], [0.9, 2.0], [-0.05, 0.3], [0.7, 0.95]])
    rows, expected = rollouts().rows(starts), by_hand(starts, 4)
    assert 5 < len(rows.rewards) == len(expected) < 20
    for result, wanted in zip(zip(*rows[:5], strict=True), expected, strict=True):
        state, action, following, crashed, reward = wanted
        torch.testing.assert_close(result[0], state)
        torch.testing.assert_close(result[1], action)
        torch.testing.assert_close(result[2], following)
        assert float(result[3]) == crashed
        assert float(result[4]) == pytest.approx(reward, abs=1e-6)
    ended = rows.dones.squeeze(1).bool()
    assert 2 <= int(ended.sum()) < len(ended)
    assert torch.equal(ended, rows.next_observations[:, 0] >= WALL)
    assert rows.rewards[ended].unique().tolist() == [PENALTY]


def test_a_harmless_end_ends_a_rollout_with_its_own_reward():
    rows = rollouts(termination=lambda states: states[:, 0] >= 0.5).rows(torch.tensor([[0.35, 1.0], [-1.0, 0.0]]))
    first = rows.observations[:, 0] > 0
    assert rows.dones[first].flatten().tolist() == [0.0, 1.0] and not rows.dones[~first].any()
    assert bool((rows.rewards[first] > 0).all())


def test_where_the_model_is_lost_a_rollout_ends_as_in_danger_and_nothing_is_nan():
    class Diverged(Cart):
        def step(self, states, actions, generator=None):
            following, rewards = super().step(states, actions)
            far, gone = states[..., :1] > 0.5, states[..., 0] < -5
            return torch.where(far, torch.nan, following), torch.where(gone, torch.nan, rewards)

    starts = torch.tensor([[0.6, 0.0], [0.0, 0.0], [-6.0, 0.0], [-3.0, 0.0]])
    reach = Range(torch.tensor([-7.0, -2.0]), torch.tensor([2.0, 0.15]), torch.ones(2))
    rows = rollouts(Diverged(members=2), reach=reach, horizon=2).rows(starts)
    assert all(bool(column.isfinite().all()) for column in rows[:5])
    ends = {round(float(state[0]), 1): bool(done) for state, done in zip(rows.observations, rows.dones, strict=True)}
    assert ends[0.6] and ends[-6.0] and not ends[0.0]
    flagged = rows.dones.squeeze(1).bool()
    assert rows.rewards[flagged].unique().tolist() == [PENALTY]
    fast = rows.next_observations[:, 1] > 0.15  # out of reach in the second step
    assert bool(flagged[fast].all()) and int(fast.sum()) == 1


def test_a_rollout_keeps_its_member_and_members_share_the_rollouts():
    class Drift:
        members = 3

        def step(self, states, actions, generator=None):
            assert states.shape[0] == 3
            return states + torch.tensor([1.0, 10.0, 100.0])[:, None, None], states[..., 0]

    class Fine:
        def danger(self, states, actions, next_states):
            return torch.zeros(states.shape[:-1])

    rows = rollouts(Drift(), Fine(), policy=lambda states: torch.zeros(len(states), 1), horizon=3).rows(
        torch.arange(7.0)[:, None]
    )
    moves = (rows.next_observations - rows.observations).view(3, 7)
    assert torch.equal(moves[0], moves[1]) and torch.equal(moves[0], moves[2])
    assert sorted(moves[0].tolist()) == [1.0] * 3 + [10.0] * 3 + [100.0]


def numbered(count, reward):
    columns = (torch.zeros(count, 2), torch.zeros(count, 1), torch.zeros(count, 2), torch.zeros(count, 1))
    return ReplayBufferSamples(*columns, torch.full((count, 1), reward) + torch.arange(count)[:, None] / 1e4)


def filled(**settings):
    spaces = (CartEnv.observation_space, CartEnv.action_space)
    buffer = MixedReplayBuffer(300, *spaces, device="cpu", **settings)
    for _ in range(50):
        state = np.zeros((1, 2))
        buffer.add(state, state, np.zeros((1, 1)), np.ones(1), np.zeros(1), [{}])
    return buffer


@pytest.mark.parametrize(("share", "real"), [(0.2, 20), (0.5, 50), (0.017, 2), (0.001, 1), (1.0, 100)])
def test_batches_hold_the_real_share_exactly(share, real):
    buffer = filled(real_share=share)
    assert buffer.sample(100).rewards.flatten().tolist() == [1.0] * 100
    buffer.imagine(numbered(40, 2.0))
    batch = buffer.sample(100)
    assert [len(column) for column in batch[:5]] == [100] * 5
    assert batch.rewards[:real].flatten().tolist() == [1.0] * real
    assert bool((batch.rewards[real:] >= 2).all())
    assert batch.rewards[real:].unique().numel() >= min(20, (100 - real) / 4)


def test_the_oldest_imagined_rows_make_room():
    buffer = filled(kept=60)
    buffer.imagine(numbered(40, 2.0))
    buffer.imagine(numbered(40, 3.0))
    rewards = buffer.imagined.rewards.flatten()
    assert len(rewards) == 60
    assert torch.equal(rewards[:20], numbered(40, 2.0).rewards[20:].flatten())
    assert torch.equal(rewards[20:], numbered(40, 3.0).rewards.flatten())


class ShortCart(CartEnv):
    def reset(self, *, seed=None, options=None):
        gym.Env.reset(self, seed=seed)
        self.state = self.np_random.uniform([-1, -0.5], [0.3, 0.9]).astype(np.float32)
        self.steps = 0
        return self.state, {}

    def step(self, action):
        self.steps += 1
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self.steps >= 40, info


class Choices(ShortCart):
    action_space = gym.spaces.Discrete(3)

    def step(self, action):
        return super().step(np.array([(int(action) - 1) * 2.0], np.float32))


def guided(kind, env, known, **settings):
    """A learner under the true models, and the phases that imagine with them."""
    guard = Guard(env, RuleOverseer(lambda *_: False))
    room = {"replay_buffer_class": MixedReplayBuffer, "replay_buffer_kwargs": {"real_share": 0.25}}
    common = {"learning_starts": 10, "seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [16]}}
    learner = kind("MlpPolicy", guard, **room, **common, **settings)
    danger = KnownBlockers(lambda states: states[..., 0] >= WALL)
    config = PhasesConfig(oversight_steps=40, refit_every=10_000)
    planning = PlanningConfig(horizon=6, particles=1, planner="none")
    ahead = full_ahead if kind is GuardedSAC else lambda s: torch.tensor([0.0, 0.0, 1.0]).expand(len(s), 3)
    sizes = (guard.situations[0].state_size, guard.situations[0].actions.size)
    models = Models.from_config(ModelsConfig(), *sizes, known_dynamics=known, known_danger=danger)
    return learner, Phases(guard, ahead, config, planning, models)


def test_a_learner_learns_from_true_steps_that_the_policy_would_take_once_there_are_models():
    known = KnownDynamics(lambda s, a: (advance(s, a), advance(s, a)[..., 0] - s[..., 0]), members=2)
    learner, phases = guided(GuardedSAC, ShortCart(), known)
    imagining = ImaginedRollouts(phases, per_step=6, penalty=PENALTY, horizon=3, every=10)
    learner.learn(30, callback=imagining)
    assert phases.phase is Phase.OVERSIGHT and learner.replay_buffer.imagined is None
    learner.learn(60, callback=imagining, reset_num_timesteps=False)
    assert phases.phase is Phase.AUTONOMY
    rows = learner.replay_buffer.imagined
    rounds = 6  # at steps 40, 50, ..., 90
    assert rounds * 20 <= len(rows.rewards) <= rounds * 60
    torch.testing.assert_close(rows.next_observations, advance(rows.observations, rows.actions))
    flagged = rows.next_observations[:, 0] >= WALL
    assert torch.equal(rows.dones.squeeze(1).bool(), flagged)
    progress = (rows.next_observations - rows.observations)[:, :1]
    torch.testing.assert_close(rows.rewards, torch.where(flagged[:, None], PENALTY, progress))
    assert bool((rows.actions.abs() <= 1).all()) and float(rows.actions.std()) > 0.1  # drawn, as the learner draws
    met = {tuple(state) for state in phases.labels.transitions.tensors().states.tolist()}
    assert all(tuple(state) in met for state in rows.observations[:20].tolist())
    batch = learner.replay_buffer.sample(40)
    assert batch.actions.dtype == torch.float32 and len(batch.rewards) == 40
    phases.models.reach = Range(torch.full((2,), -50.0), torch.full((2,), -40.0), torch.full((2,), 10.0), further=10.0)
    unseen = imagining.rows()  # all lies beyond what was seen, where the most alarmed decides: here, what is known
    assert torch.equal(unseen.dones.squeeze(1).bool(), unseen.next_observations[:, 0] >= WALL)
    assert not bool(unseen.dones.all())


def test_choices_are_imagined_as_the_replay_keeps_them():
    def step(states, actions):
        push = actions @ torch.tensor([[-1.0], [0.0], [1.0]])
        following = advance(states, push)
        return following, following[..., 0] - states[..., 0]

    learner, phases = guided(GuardedDQN, Choices(), KnownDynamics(step))
    learner.learn(60, callback=ImaginedRollouts(phases, per_step=4, penalty=PENALTY, every=20))
    rows = learner.replay_buffer.imagined
    assert rows.actions.dtype == torch.int64 and rows.actions.shape[1] == 1
    pushed = rows.actions.float() - 1
    torch.testing.assert_close(rows.next_observations, advance(rows.observations, pushed))
    assert learner.replay_buffer.sample(16).actions.dtype == torch.int64


def test_what_cannot_be_is_refused():
    _, phases = guided(GuardedSAC, ShortCart(), Cart())
    for wrong in ({"per_step": 0}, {"per_step": 1, "horizon": 0}, {"per_step": 1, "every": 0}):
        with pytest.raises(HeedError, match="at least 1"):
            ImaginedRollouts(phases, penalty=PENALTY, **wrong)
    with pytest.raises(HeedError, match="at least 1"):
        rollouts(horizon=0)
    for share in (0.0, 1.5):
        with pytest.raises(HeedError, match="give a share"):
            filled(real_share=share)
    for other in (GuardedSAC("MlpPolicy", ShortCart(), device="cpu"), PPO("MlpPolicy", ShortCart(), device="cpu")):
        with pytest.raises(HeedError, match="no room for what is imagined"):
            other.learn(10, callback=ImaginedRollouts(phases, 1, PENALTY))

"""Stable-Baselines3's learners under a guard: what the replay keeps, and what the imagination hears of the policy."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from guard_worlds import CartEnv, ChoiceEnv
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.intervention import Overseen, Shadow
from heed.guard.learners.sb3 import GuardedDQN, GuardedSAC, GuardedTD3, controller, learner_class, state_values
from heed.oversight.overseers.base import Verdict


class Every:
    """Blocks every n-th action and gives another."""

    name = "every"

    def __init__(self, n, instead):
        self.n, self.instead, self.count = n, instead, 0

    def judge(self, proposal):
        self.count += 1
        return Verdict(self.count % self.n == 0, instead=self.instead)

    def reset(self, seed):
        self.count = 0


def learnt(kind, env, learns_from="executed", steps=30, instead=None, ends=True, **settings):
    recorded = []
    guard = Guard(env, overseer=Every(3, instead), observers=[recorded.append])
    model = kind("MlpPolicy", guard, learning_starts=10, seed=0, buffer_size=200, device="cpu", **settings)
    model.learns_from, model.block_penalty, model.block_ends = learns_from, -7.0, ends
    model.learn(steps)
    return model, recorded


@pytest.mark.parametrize("kind", [GuardedSAC, GuardedTD3])
def test_the_replay_keeps_the_executed_action_with_its_real_outcome(kind):
    model, recorded = learnt(kind, CartEnv(), instead=np.array([-0.5], np.float32))
    kept = model.replay_buffer
    assert kept.pos == 30 == len(recorded)
    for row, step in enumerate(recorded):
        assert kept.actions[row, 0] == pytest.approx(step.executed, abs=1e-6)
        assert (step.decision.decision == "block") == (row % 3 == 2)
        if row % 3 == 2:
            assert kept.actions[row, 0, 0] == pytest.approx(-0.25)  # a box of two half-widths
        assert kept.observations[row, 0] == pytest.approx(step.state)
        assert kept.next_observations[row, 0] == pytest.approx(step.next_state)
        assert kept.rewards[row, 0] == pytest.approx(step.reward, abs=1e-6)


def test_a_learner_that_knows_of_no_guard_would_keep_what_it_proposed():
    model, recorded = learnt(GuardedSAC, CartEnv(), "proposed", instead=np.array([-0.5], np.float32))
    for row, step in enumerate(recorded):
        assert model.replay_buffer.actions[row, 0] == pytest.approx(step.proposed, abs=1e-6)
        assert model.replay_buffer.rewards[row, 0] == pytest.approx(step.reward, abs=1e-6)


@pytest.mark.parametrize("ends", [True, False])
def test_both_keeps_a_blocked_proposal_at_its_price_beside_what_was_executed(ends):
    model, recorded = learnt(GuardedSAC, CartEnv(), "both", steps=12, instead=np.array([-0.5], np.float32), ends=ends)
    kept, row = model.replay_buffer, 0
    for number, step in enumerate(recorded):
        assert kept.actions[row, 0] == pytest.approx(step.executed, abs=1e-6)
        assert kept.rewards[row, 0] == pytest.approx(step.reward, abs=1e-6) and not kept.dones[row, 0]
        row += 1
        if number % 3 == 2:
            assert kept.actions[row, 0] == pytest.approx(step.proposed, abs=1e-6)
            assert kept.observations[row, 0] == pytest.approx(step.state)
            reward, after = (-7.0, step.state) if ends else (step.reward - 7.0, step.next_state)
            assert kept.rewards[row, 0] == pytest.approx(reward, abs=1e-5) and kept.dones[row, 0] == float(ends)
            assert kept.next_observations[row, 0] == pytest.approx(after, abs=1e-6)
            row += 1
    assert kept.pos == row == 16


def test_choices_are_kept_as_they_were_executed():
    model, recorded = learnt(GuardedDQN, ChoiceEnv(), instead=2, exploration_fraction=1.0)
    for row, step in enumerate(recorded):
        assert model.replay_buffer.actions[row, 0, 0] == step.decision.executed
        assert row % 3 != 2 or step.decision.executed == 2


def test_the_imagination_hears_the_policy_in_the_planners_units():
    env, states = CartEnv(), torch.randn(6, 2)
    sac = GuardedSAC("MlpPolicy", env, seed=1, device="cpu")
    ppo = PPO("MlpPolicy", env, seed=1, device="cpu")
    for model in (sac, ppo):
        proposed = np.stack([model.predict(state.numpy(), deterministic=True)[0] for state in states])
        torch.testing.assert_close(controller(model)(states), torch.from_numpy(proposed / 2).float().clamp(-1, 1))
    dqn = GuardedDQN("MlpPolicy", ChoiceEnv(), seed=1, device="cpu")
    chosen = [int(dqn.predict(state.numpy(), deterministic=True)[0]) for state in states]
    ppo = PPO("MlpPolicy", ChoiceEnv(), seed=1, device="cpu")
    picked = [int(ppo.predict(state.numpy(), deterministic=True)[0]) for state in states]
    for model, expected in ((dqn, chosen), (ppo, picked)):
        expected = torch.nn.functional.one_hot(torch.tensor(expected), 3).float()
        assert torch.equal(controller(model)(states), expected)


def test_the_planner_hears_what_each_learner_thinks_states_are_worth():
    states = torch.randn(6, 2)
    sac = GuardedSAC("MlpPolicy", CartEnv(), seed=1, device="cpu")
    proposed = torch.from_numpy(sac.predict(states.numpy(), deterministic=True)[0]) / 2
    least = torch.stack(sac.critic(states, proposed)).amin(0).squeeze(1)
    torch.testing.assert_close(state_values(sac)(states), least)
    dqn = GuardedDQN("MlpPolicy", ChoiceEnv(), seed=1, device="cpu")
    torch.testing.assert_close(state_values(dqn)(states), dqn.q_net(states).amax(1))
    for env in (CartEnv(), ChoiceEnv()):
        ppo = PPO("MlpPolicy", env, seed=1, device="cpu")
        expected = ppo.policy.value_net(ppo.policy.mlp_extractor(states)[1]).squeeze(1)
        torch.testing.assert_close(state_values(ppo)(states), expected)
    assert state_values(A2C("MlpPolicy", CartEnv(), device="cpu")) is None


def test_a_policy_of_normalised_observations_is_refused():
    seen = VecNormalize(DummyVecEnv([CartEnv]))
    with pytest.raises(HeedError, match="scale below the guard by numbers that stay"):
        controller(PPO("MlpPolicy", seen, device="cpu"))


def test_the_imagination_follows_the_policy_as_it_learns():
    model = GuardedSAC("MlpPolicy", CartEnv(), seed=1, device="cpu")
    act, states = controller(model), torch.randn(4, 2)
    before = act(states)
    with torch.no_grad():
        for parameter in model.actor.parameters():
            parameter.add_(0.5)
    assert not torch.allclose(act(states), before)


def test_learners_that_cannot_act_there_are_refused():
    box, choice = CartEnv.action_space, gym.spaces.Discrete(2)
    assert learner_class("auto", box) is GuardedSAC and learner_class("td3", box) is GuardedTD3
    assert learner_class("auto", choice) is GuardedDQN
    assert learner_class("ppo", box) is PPO and learner_class("ppo", choice) is PPO
    with pytest.raises(HeedError, match="cannot act"):
        learner_class("sac", choice)
    with pytest.raises(HeedError, match="cannot act"):
        learner_class("dqn", box)
    with pytest.raises(HeedError, match="no learner"):
        learner_class("a2c", box)


def test_a_shadow_keeps_nobody_from_anything_so_nothing_is_priced():
    recorded = []
    guard = Guard(CartEnv(), intervention=Shadow(Overseen(Every(3, None))), observers=[recorded.append])
    model = GuardedSAC("MlpPolicy", guard, learning_starts=10, seed=0, buffer_size=200, device="cpu")
    model.learn(12)
    assert sum(step.decision.decision == "block" for step in recorded) == 4
    assert model.replay_buffer.pos == 12

"""SAC with return and safety as two objectives of its actor: the gradients, and what safety is learnt as."""

import copy

import numpy as np
import pytest
import torch
from guard_worlds import CartEnv, Third
from stable_baselines3.common.vec_env import DummyVecEnv

from heed.balance import GAPO, PGAPO, Linear
from heed.guard.guard import Guard
from heed.guard.intervention import Off
from heed.guard.learners.balanced_sac import BalancedSAC
from heed.guard.learners.sb3 import GuardedSAC

SETTINGS = {"learning_starts": 10, "seed": 0, "device": "cpu", "buffer_size": 500, "policy_kwargs": {"net_arch": [16]}}
RATE = 0.1


class Equal(BalancedSAC):
    """Return, twice."""

    def losses(self, *given):
        return (super().losses(*given)[0],) * 2


class Opposed(BalancedSAC):
    """Return, and what is mostly against it."""

    def losses(self, *given):
        plain, costs = super().losses(*given)
        return plain, costs - 3 * plain


def learnt(kind, steps=40, **settings):
    recorded = []
    guard = Guard(CartEnv(), overseer=Third(), observers=[recorded.append])
    model = kind("MlpPolicy", guard, **SETTINGS, **settings)
    model.learn(steps)
    return model, recorded


@pytest.fixture(scope="module")
def model():
    return learnt(BalancedSAC)[0]


def actor_of(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.actor.parameters()])


def one_step(kind, model, weighting):
    """What one gradient step makes of a learner's actor, from the same chance; plain descent shows the direction."""
    twin = kind(
        "MlpPolicy",
        CartEnv(),
        learning_rate=RATE,
        **SETTINGS,
        **({} if weighting is None else {"weighting": weighting}),
    )
    kept = copy.deepcopy(model.get_parameters())  # an optimiser would share its moments
    twin.set_parameters({name: value for name, value in kept.items() if name in twin.get_parameters()})
    twin.replay_buffer, twin.log_ent_coef = model.replay_buffer, copy.deepcopy(model.log_ent_coef)
    twin.ent_coef_optimizer = torch.optim.Adam([twin.log_ent_coef], lr=RATE)
    if weighting is not None:
        twin.safety_buffer, twin.costs_seen = model.safety_buffer, True
    twin.actor.optimizer = torch.optim.SGD(twin.actor.parameters(), lr=RATE)
    twin.set_logger(model.logger)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - Stable-Baselines3 draws its batches from it
    before = actor_of(twin)
    twin.train(1, 64)
    return actor_of(twin) - before, twin


def test_without_weight_for_safety_the_step_is_sacs_own(model):
    plain, sac = one_step(GuardedSAC, model, None)
    balanced, twin = one_step(BalancedSAC, model, Linear([1.0, 0.0]))
    assert float(plain.norm()) > 0
    torch.testing.assert_close(balanced, plain, rtol=1e-5, atol=1e-7)
    for result, expected in zip(twin.critic.parameters(), sac.critic.parameters(), strict=True):
        assert torch.equal(result, expected)
    for result, expected in zip(twin.critic_target.parameters(), sac.critic_target.parameters(), strict=True):
        assert torch.equal(result, expected)
    assert twin.log_ent_coef.item() == sac.log_ent_coef.item()
    assert not torch.allclose(one_step(BalancedSAC, model, Linear([1.0, 1.0]))[0], plain, rtol=1e-2)


def test_two_equal_objectives_go_the_way_of_one(model):
    plain, _ = one_step(GuardedSAC, model, None)
    balanced, _ = one_step(Equal, model, GAPO(p=1))
    assert float(torch.nn.functional.cosine_similarity(balanced, plain, dim=0)) == pytest.approx(1, abs=1e-5)
    assert float(balanced.norm()) == pytest.approx(RATE, rel=1e-4)  # a unit gradient, times the rate


@pytest.mark.parametrize("kind", [BalancedSAC, Opposed])
def test_gapo_goes_against_neither_objective(model, kind):
    gradients = []

    class Watched(kind):
        def losses(self, *given):
            losses = super().losses(*given)
            for loss in losses:
                parts = torch.autograd.grad(loss, list(self.actor.parameters()), retain_graph=True)
                gradients.append(torch.cat([part.flatten() for part in parts]))
            return losses

    step, _ = one_step(Watched, model, GAPO(p=1))
    returned, safe = gradients
    if kind is Opposed:
        assert float(returned @ safe) < 0
    for gradient in gradients:
        assert float(-step @ gradient) >= 0
    half = (returned / returned.norm() + safe / safe.norm()) / 2
    torch.testing.assert_close(step, -RATE * half, rtol=1e-3, atol=1e-6)
    gradients.clear()
    step, _ = one_step(Watched, model, PGAPO([0.8, 0.2]))
    returned, safe = gradients
    expected = 0.8 * returned / returned.norm() + 0.2 * safe / safe.norm()
    torch.testing.assert_close(step, -RATE * expected, rtol=1e-3, atol=1e-6)


def test_until_anything_was_blocked_the_actor_follows_return_alone(model):
    plain, _ = one_step(GuardedSAC, model, None)

    class Safe(BalancedSAC):
        def train(self, *given):
            self.costs_seen = False
            super().train(*given)

    torch.testing.assert_close(one_step(Safe, model, GAPO(p=1))[0], plain, rtol=1e-5, atol=1e-7)
    free = BalancedSAC("MlpPolicy", Guard(CartEnv(), intervention=Off()), **SETTINGS)
    free.learn(12)
    assert not free.costs_seen and model.costs_seen


def test_safety_is_learnt_from_what_was_proposed_and_from_what_was_executed():
    model, recorded = learnt(BalancedSAC, steps=12)
    kept, row = model.safety_buffer, 0
    for number, step in enumerate(recorded):
        assert kept.observations[row, 0] == pytest.approx(step.state)
        assert kept.actions[row, 0] == pytest.approx(step.executed, abs=1e-6)
        assert (kept.rewards[row, 0], kept.dones[row, 0]) == (0, 0)
        assert kept.next_observations[row, 0] == pytest.approx(step.next_state)
        row += 1
        if number % 3 == 2:
            assert kept.observations[row, 0] == pytest.approx(step.state)
            assert kept.actions[row, 0] == pytest.approx(step.proposed, abs=1e-6)
            assert (kept.rewards[row, 0], kept.dones[row, 0]) == (1, 1)
            row += 1
    assert kept.pos == row == 16
    assert model.replay_buffer.pos == 12  # as without safety


def test_a_catastrophe_costs_and_ends():
    class Broken(CartEnv):
        def step(self, action):
            observation, reward, _, _, _ = super().step(action)
            return observation, reward, False, False, {"catastrophe": True}  # and the episode goes on

    model = BalancedSAC("MlpPolicy", Guard(Broken(), intervention=Off()), **SETTINGS)
    model.learn(5)
    assert model.safety_buffer.rewards[:5].tolist() == model.safety_buffer.dones[:5].tolist() == [[1.0]] * 5
    assert model.replay_buffer.dones[:5].tolist() == [[0.0]] * 5


def test_the_safety_critics_learn_the_discounted_probability_of_a_block():
    """Three states in a row, one step each: at the end half of the proposals, those above 0, are blocked.

    From the end's other half the way leads out, at no cost. So the cost there is 1 or 0 by the proposal, and before it
    gamma_c^n times the policy's share of proposals above 0.
    """
    wide = SETTINGS | {"learning_rate": 1e-2, "tau": 0.05, "policy_kwargs": {"net_arch": [64]}}
    model = BalancedSAC("MlpPolicy", CartEnv(), cost_gamma=0.8, **wide)
    draw = np.random.default_rng(0)
    for number in range(480):
        place, push = number % 3, draw.uniform(-1, 1)
        blocked = place == 2 and push > 0
        here, there = np.array([[place - 1.0, 0.0]]), np.array([[min(place, 1.0), 0.0]])
        ends = np.array([place == 2])
        model.safety_buffer.add(here, there, np.array([[push]]), np.array([float(blocked)]), ends, [{}])
    torch.manual_seed(0)
    for _ in range(1000):
        model._learn_safety(model.safety_buffer.sample(128))
    last = torch.tensor([1.0, 0.0])
    proposals = model.actor.action_log_prob(last.expand(20_000, 2))[0].detach()
    share = float((proposals > 0).float().mean())
    assert 0.2 < share < 0.8
    for place, pushes, expected in (
        (1.0, (-0.8, -0.4), 0.0),
        (1.0, (0.4, 0.8), 1.0),
        (0.0, (-0.5, 0.5), 0.8 * share),
        (-1.0, (-0.5, 0.5), 0.64 * share),
    ):
        states = torch.tensor([[place, 0.0]] * 2)
        result = model.costs(states, torch.tensor(pushes)[:, None])
        torch.testing.assert_close(result, torch.full((2,), expected), atol=0.05, rtol=0)


def test_what_is_saved_goes_on_as_it_was(model, tmp_path):
    model.save(tmp_path / "learner.zip")
    again = BalancedSAC.load(tmp_path / "learner.zip", env=Guard(CartEnv(), overseer=Third()), device="cpu")
    states, actions = torch.randn(5, 2), torch.rand(5, 1)
    assert torch.equal(again.costs(states, actions), model.costs(states, actions))
    assert again.costs_seen and again.weighting.p == 1 and again.cost_gamma == model.cost_gamma
    for name, kept in model.get_parameters().items():
        if "optimizer" not in name:
            for key, value in kept.items():
                assert torch.equal(again.get_parameters()[name][key], value), (name, key)
    again.learn(15)
    assert again.safety_buffer.pos > 0


def test_many_environments_fill_one_replay_of_costs():
    each = DummyVecEnv([lambda: Guard(CartEnv(), overseer=Third())] * 2)
    model = BalancedSAC("MlpPolicy", each, **SETTINGS)
    model.learn(12)
    kept = model.safety_buffer
    assert kept.pos == 6 + 2 and kept.rewards[:8].tolist() == [[0, 0]] * 3 + [[1, 1]] + [[0, 0]] * 3 + [[1, 1]]

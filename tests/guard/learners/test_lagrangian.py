"""SAC-Lagrangian: where the multiplier rests, what it weighs, and what an episode costs it."""

import math

import numpy as np
import pytest
import torch
from guard_worlds import CartEnv

from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.intervention import Off
from heed.guard.learners.lagrangian import FURTHEST, LagrangianSAC, Multiplier

SETTINGS = {"learning_starts": 10, "seed": 0, "device": "cpu", "buffer_size": 500, "policy_kwargs": {"net_arch": [16]}}


class Scripted(CartEnv):
    """Episodes of three steps; those whose number is in ``broken`` end in a catastrophe, which ends nothing else."""

    def __init__(self, broken, twice=False):
        self.broken, self.twice, self.episode = broken, twice, -1

    def reset(self, *, seed=None, options=None):
        self.episode, self.steps = self.episode + 1, 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        observation, reward, _, _, _ = super().step(action)
        self.steps += 1
        breaks = self.episode in self.broken and (self.steps == 2 or (self.twice and self.steps == 3))
        return observation, reward, False, self.steps == 3, {"catastrophe": breaks}


def learner(broken, **settings):
    env = Scripted(broken, settings.pop("twice", False))
    return LagrangianSAC("MlpPolicy", Guard(env, intervention=Off()), **SETTINGS, **settings)


def test_the_multiplier_rests_where_episodes_cost_the_limit():
    """Of a policy that breaks with probability exp(-lambda) the multiplier at a limit d is ln(1 / d)."""
    multiplier, draw = Multiplier(limit=0.2, rate=0.02), np.random.default_rng(0)
    late = []
    for episode in range(6000):
        multiplier.observe(float(draw.random() < math.exp(-multiplier.value)))
        late += [multiplier.value] if episode > 1000 else []
    assert np.mean(late) == pytest.approx(math.log(1 / 0.2), rel=0.05)


def test_it_grows_above_the_limit_shrinks_below_and_is_not_wound_up():
    multiplier = Multiplier(limit=0.25, rate=0.5)
    multiplier.observe(1.0)
    assert multiplier.log == pytest.approx(0.375)
    multiplier.observe(0.0)
    assert multiplier.log == pytest.approx(0.25)
    for _ in range(1000):
        multiplier.observe(1.0)
    assert multiplier.log == FURTHEST
    multiplier.observe(0.0)
    assert multiplier.log == pytest.approx(FURTHEST - 0.125)  # it turns at once
    for _ in range(1000):
        multiplier.observe(0.0)
    assert multiplier.log == -FURTHEST


def test_its_weights_are_those_of_the_lagrangian_whatever_the_gradients():
    multiplier = Multiplier(limit=0.0)
    multiplier.log = math.log(3.0)
    for gramian in (torch.eye(2), torch.tensor([[9.0, -2.0], [-2.0, 4.0]])):
        torch.testing.assert_close(multiplier(gramian), torch.tensor([0.25, 0.75]))
    assert float(multiplier(torch.eye(2))[1] / multiplier(torch.eye(2))[0]) == pytest.approx(multiplier.value)


def test_every_episode_counts_once_at_what_it_cost():
    model = learner({1, 3}, limit=0.5, rate=0.1)
    model.learn(11)  # three whole episodes, and two steps of the fourth, which breaks in its second
    assert model.multiplier.log == pytest.approx(0.1 * (1 - 3 * 0.5))
    assert model.figures() == {"multiplier": pytest.approx(math.exp(-0.05))}
    twice = learner({0}, limit=0.5, rate=0.1, twice=True)
    twice.learn(3)
    assert twice.multiplier.log == pytest.approx(0.1 * (2 - 0.5))


def test_the_multiplier_survives_saving_and_is_still_the_weighting(tmp_path):
    model = learner({0}, limit=0.5, rate=0.1)
    model.learn(12)
    model.save(tmp_path / "learner.zip")
    again = LagrangianSAC.load(tmp_path / "learner.zip", env=Guard(Scripted(set()), intervention=Off()), device="cpu")
    assert again.multiplier.log == model.multiplier.log and again.multiplier is again.weighting
    assert (again.multiplier.limit, again.multiplier.rate) == (0.5, 0.1)


@pytest.mark.parametrize(("limit", "rate"), [(-0.1, 0.1), (0.1, 0.0), (math.nan, 0.1), (0.1, math.inf)])
def test_a_bad_multiplier_is_one_line(limit, rate):
    with pytest.raises(HeedError, match=r"--cost-limit, --multiplier-rate"):
        Multiplier(limit, rate)

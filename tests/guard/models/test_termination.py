"""Harmless ends that are learnt, against worlds whose ends are known; and what they may never hide."""

import copy
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from guard_worlds import WALL, Cart, CartEnv, Wall, advance, full_ahead

from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.models.config import FitConfig, ModelsConfig
from heed.guard.models.models import Models
from heed.guard.models.support import Range
from heed.guard.models.termination import LEAST_ENDS, LearntTermination
from heed.guard.models.transitions import Transitions
from heed.guard.phases import Phase, Phases
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.building import lookout_of
from heed.guard.planning.config import PlanningConfig
from heed.guard.planning.imagination import Imagination
from heed.guard.planning.risk import Worst
from heed.oversight.overseers.scripted import LocalOverseer
from heed.worlds.cliff_grid import grid as cliff_grid

FIT = FitConfig(updates=1000, learning_rate=1e-2, weight_decay=1e-4)
EDGE = 1.0
WALK = torch.tensor([2.6, 2.0])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def walked(count, seed=0):
    """Next states [N, 2] of a walk: it ends harmlessly where the first number is beyond the edge, and badly where it is
    below the edge's mirror image; the second number is of no concern."""
    return torch.rand(count, 2, generator=seeded(seed)) * WALK - WALK / 2


def transitions_of(states, terminated, catastrophe):
    transitions = Transitions(states.shape[1], 1)
    transitions.add(states, torch.zeros(len(states), 1), states, torch.zeros(len(states)), terminated, catastrophe)
    return transitions


def walk():
    states = walked(3000)
    return transitions_of(states, states[:, 0].abs() > EDGE, states[:, 0] < -EDGE)


def learnt_from(transitions, **settings):
    ends = LearntTermination(transitions.state_size, **settings)
    return ends, ends.fit(transitions, seeded(), FIT)


def judged_by_each(ends, states):
    """The members' probabilities, as if ends were as frequent as other steps."""
    return ends.blockers.probability(states).detach()


@pytest.fixture(scope="module")
def of_walk():
    return learnt_from(walk())


def test_ends_are_recognised_on_fresh_states_and_hardly_anything_else_is(of_walk):
    ends, report = of_walk
    fresh = walked(20_000, seed=9)
    result, truth = ends(fresh), fresh[:, 0] > EDGE
    assert float((result & truth).sum() / truth.sum()) > 0.85
    assert float((result & truth).sum() / result.sum()) > 0.99
    assert not result[fresh[:, 0] < EDGE - 0.03].any()
    assert report.ends == int((walked(3000)[:, 0] > EDGE).sum())
    assert report.recognised > 0.85 * report.ends and report.precision > 0.95


def test_nothing_beyond_the_range_of_the_ends_seen_is_an_end_however_sure_the_members_are(of_walk):
    ends, _ = of_walk
    beyond = torch.tensor([[1.5, 0.0], [9.0, 0.0], [1.2, 4.0], [torch.nan, 0.0], [torch.inf, 0.0]])
    assert float(judged_by_each(ends, beyond[:2]).min()) > 0.99
    assert ends(beyond).tolist() == [False] * 5
    assert ends(torch.tensor([[1.2, 0.0]])).tolist() == [True]


def test_one_member_that_doubts_is_enough(of_walk):
    ends, _ = of_walk
    inside = torch.tensor([[1.2, 0.0]])
    bias = ends.blockers.network.biases[-1]
    kept = bias.detach().clone()
    try:
        with torch.no_grad():
            bias[3] -= 100.0
        assert not ends(inside).any() and float(judged_by_each(ends, inside).mean()) > 0.75
    finally:
        with torch.no_grad():
            bias.copy_(kept)
    assert ends(inside).all()


@pytest.mark.parametrize(("share", "ended"), [(0.5, False), (0.8, False), (0.99, True)])
def test_a_state_counts_as_an_end_where_nine_in_ten_of_its_like_were_ends(share, ended):
    """Two places; the right one is rare, and there episodes end by chance: balanced classes alone would not see it."""
    right = torch.arange(4000) % 10 == 0
    states = torch.where(right, 1.0, -1.0)[:, None] + 0.1 * torch.randn(4000, 1, generator=seeded(3))
    chance = torch.rand(4000, generator=seeded(4)) < share
    ends, _ = learnt_from(transitions_of(states, right & chance, torch.zeros(4000, dtype=torch.bool)))
    assert ends(torch.tensor([[1.0]])).tolist() == [ended]
    assert ends(torch.tensor([[-1.0]])).tolist() == [False]
    assert float(judged_by_each(ends, torch.tensor([[1.0]])).min()) > 0.8


def test_a_fit_whose_unseen_ends_are_not_borne_out_is_not_believed(monkeypatch, caplog):
    """Ends that hang on the toss of a coin, which the members are made to be sure of."""
    monkeypatch.setattr(LearntTermination, "_likely", lambda self, logits: logits >= 0)
    states = walked(1000)
    coin = torch.rand(1000, generator=seeded(1)) < 0.5
    with caplog.at_level(logging.INFO, logger="heed"):
        ends, report = learnt_from(transitions_of(states, (states[:, 0] > EDGE) & coin, torch.zeros(1000).bool()))
    assert report.recognised > 0 and report.precision < 0.9
    assert ends.reach is None and not ends(states).any()
    assert any(record.message.startswith("no imagined future ends: ") for record in caplog.records)


def test_catastrophes_and_cuts_are_no_harmless_ends():
    states = walked(500)
    ends, report = learnt_from(transitions_of(states, states[:, 0] > EDGE, states[:, 0] > EDGE))
    assert report.ends == 0 and not ends(states).any()


def test_with_too_few_ends_nothing_is_learnt_and_that_is_said_once(caplog):
    states = walked(400)
    rank = states[:, 0].argsort(descending=True)
    few = torch.zeros(400, dtype=torch.bool)
    few[rank[: LEAST_ENDS - 1]] = True
    ends, generator = LearntTermination(2), seeded()
    before = generator.get_state()
    with caplog.at_level(logging.INFO, logger="heed"):
        for _ in range(2):
            assert ends.fit(transitions_of(states, few, ~few), generator, FIT).ends == LEAST_ENDS - 1
    assert torch.equal(generator.get_state(), before)
    assert not ends(states).any()
    assert sum("harmless ends in 400 steps" in record.message for record in caplog.records) == 1


def test_what_was_learnt_is_forgotten_where_there_is_nothing_to_learn_from(of_walk):
    ends = copy.deepcopy(of_walk[0])
    assert ends(torch.tensor([[1.2, 0.0]])).all()
    states = walked(400)
    ends.fit(transitions_of(states, torch.zeros(400).bool(), torch.zeros(400).bool()), seeded(), FIT)
    assert not ends(torch.tensor([[1.2, 0.0]])).any()


def test_cliff_grid_s_goal_is_learnt_from_half_of_all_its_steps_and_no_cliff_with_it():
    ways = [end for ends in cliff_grid.transitions().values() for end in ends]
    rows = torch.tensor(np.stack([cliff_grid.observation(end) for end in ways]))
    goal = torch.from_numpy(cliff_grid.at_goal(rows))
    over = goal | torch.from_numpy(cliff_grid.over_cliff(rows))
    half = torch.rand(len(rows), generator=seeded()) < 0.5
    ends = LearntTermination(4)
    ends.fit(transitions_of(rows[half], over[half], (over & ~goal)[half]), seeded())
    learnt = ends(rows[~half])
    assert int(goal[~half].sum()) >= 10
    assert float((learnt & goal[~half]).sum() / goal[~half].sum()) > 0.8
    assert not (learnt & ~goal[~half]).any()


def test_the_bar_is_a_probability():
    with pytest.raises(HeedError, match="the bar is 1"):
        LearntTermination(2, bar=1.0)


# What a learnt end means to a future. The cart's goal lies before the wall: there episodes end, harmlessly.

GOAL = 0.5


@pytest.fixture(scope="module")
def cart_ends():
    """A cart's learnt ends: x from the goal on, at any speed."""
    states = torch.rand(3000, 2, generator=seeded()) * torch.tensor([2.0, 2.5]) - torch.tensor([1.0, 0.5])
    ended = states[:, 0] >= GOAL
    return learnt_from(transitions_of(states, ended, torch.zeros_like(ended)))[0]


def rolled(ends, danger, **settings):
    imagination = Imagination(Cart(), danger, full_ahead, particles=1, termination=ends, **settings)
    return imagination.roll(torch.tensor([0.2, 2.0]), torch.zeros(1, 6, 1))  # 0.4, 0.6: ended; then 0.8, 1.0, 1.2, 1.4


def test_a_future_that_has_ended_has_neither_danger_nor_reward_after(cart_ends):
    futures = rolled(cart_ends, Wall())
    assert futures.danger.flatten().tolist() == [0.0] * 6
    torch.testing.assert_close(futures.rewards.flatten(), torch.tensor([0.2, 0.2, 0.0, 0.0, 0.0, 0.0]))
    assert not futures.alive.any()
    goes_on = rolled(LearntTermination(2), Wall())
    assert goes_on.danger.flatten().tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0] and goes_on.alive.all()


def test_a_dangerous_or_lost_step_at_the_end_stays_dangerous(cart_ends):
    class Late:
        def danger(self, states, actions, next_states):
            return (next_states[..., 0] >= 0.55).float()

    flagged = rolled(cart_ends, Late())
    assert flagged.danger.flatten().tolist() == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert flagged.risk(Worst()).tolist() == [1.0] and not flagged.alive.any()
    reach = Range(torch.tensor([-1.0, -9.0]), torch.tensor([0.55, 9.0]), torch.ones(2))
    lost = rolled(cart_ends, Wall(), reach=reach)
    assert lost.danger.flatten().tolist() == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0] and not lost.alive.any()


# In a run.

PLANNING = PlanningConfig(horizon=10, particles=2, block_when="policy_fails", planner="none")
MODELS = ModelsConfig(
    members=3,
    dynamics_hidden=32,
    label_keys=(0,),
    eps=0.2,
    beyond=False,
    dynamics=FitConfig(updates=300, check_every=50),
    blockers=FIT,
)


class GoalCart(CartEnv):
    """Episodes begin on either side of the goal, from 0.2 to 0.5; those beyond it meet the wall, for the blockers."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        side = (-0.8, -0.1) if self.np_random.random() < 0.5 else (0.55, 0.7)
        self.state = np.array([self.np_random.uniform(*side), self.np_random.uniform(0.3, 1.2)], np.float32)
        self.steps = 0
        return self.state, {}

    def step(self, action):
        self.steps += 1
        observation, reward, crashed, _, info = super().step(action)
        ended = crashed or bool(0.2 <= observation[0] < 0.5)
        return observation, reward, ended, self.steps >= 40 and not ended, info


def models_of(choice="auto", **known):
    return Models.from_config(replace(MODELS, termination=choice), 2, 1, **known)


def phases_of(**known):
    env = GoalCart()

    def led(action):
        return advance(torch.from_numpy(env.state), torch.as_tensor(np.asarray(action)) / 2).numpy()

    guard = Guard(env, LocalOverseer(led, lambda state: state[0] >= WALL))
    return Phases(
        guard,
        full_ahead,
        PhasesConfig(oversight_steps=800, audit=0.0, ask_after=0.0, needless=1.0),
        PLANNING,
        models_of(**known),
    )


@pytest.fixture(scope="module")
def overseen():
    """Phases after 800 steps of a driver who mostly goes full ahead."""
    phases, generator = phases_of(), np.random.default_rng(0)
    phases.guard.reset(seed=0)
    for _ in range(800):
        push = 2.0 if generator.random() < 0.6 else generator.uniform(-2, 2)
        _, _, terminated, truncated, _ = phases.guard.step(np.array([push], np.float32))
        if terminated or truncated:
            phases.guard.reset()
    assert phases.phase is Phase.AUTONOMY
    return phases


def looking(phases):
    """The lookout by which a guard decides at present."""
    return phases.guard.intervention.inner.lookout


def test_where_nothing_is_given_a_run_learns_its_ends_and_no_longer_fears_what_lies_behind_them(overseen):
    state, action = torch.tensor([-0.3, 1.0]), torch.ones(1)  # full ahead: at 0.2 in five steps, at the wall in nine
    lookout = looking(overseen)
    ends = lookout.look(state, action)
    assert ends.safe and not ends.own.alive.any()
    assert not lookout.look(torch.tensor([0.6, 1.0]), action).safe  # behind the goal, before the wall
    learnt, lookout.imagination.termination = lookout.imagination.termination, None
    try:
        goes_on = lookout.look(state, action)
    finally:
        lookout.imagination.termination = learnt
    assert not goes_on.safe and goes_on.own.alive.all()


def test_a_given_reward_takes_the_learnt_one_s_place_and_next_states_stay(overseen):
    def earned(states, actions, next_states):
        return 7.0 + states[..., 0] + 2.0 * actions[..., 0] - next_states[..., 1]

    assert phases_of(reward=earned).models.reward is earned
    models, generator = overseen.models, overseen.generator
    noise, futures = generator.get_state(), []
    for reward in (None, earned):
        models.reward = reward
        lookout = lookout_of(overseen.planning, models, overseen.controllers, overseen.actions, generator)
        generator.set_state(noise)
        futures.append(lookout.look(torch.tensor([-0.8, 0.5]), torch.ones(1)).own)
    models.reward = None
    learnt, given = futures
    assert torch.equal(learnt.states, given.states) and torch.equal(learnt.danger, given.danger)
    expected = earned(given.states[:3], given.actions[:3], given.states[1:4])  # before any end
    torch.testing.assert_close(given.rewards[:3], expected)
    assert not torch.allclose(learnt.rewards[:3], expected, atol=1.0)


def test_ends_are_fitted_each_time_and_replaced_whole(overseen):
    models, before = overseen.models, overseen.models.termination
    assert looking(overseen).imagination.termination is before
    weights = before.blockers.network.weights[0].detach().clone()
    models.fit(overseen.labels, dynamics=False)  # as after a catastrophe
    assert models.termination is not before and models.termination.reach is not None
    assert torch.equal(before.blockers.network.weights[0], weights)


def test_who_says_what_ends_a_future_is_chosen():
    def given(states):
        return states[:, 0] > 0

    def chosen(choice, **known):
        return models_of(choice, **known).termination

    assert chosen("auto", termination=given) is given and chosen("given", termination=given) is given
    assert isinstance(chosen("auto"), LearntTermination)
    assert isinstance(chosen("learnt", termination=given), LearntTermination)
    assert chosen("none", termination=given) is None
    with pytest.raises(HeedError, match="nothing is known of which states end"):
        chosen("given")
    with pytest.raises(HeedError, match="'never' ends no future"):
        chosen("never")

"""The ten environments and their overseers: what overseers foresee happens, and those who block in time prevent it."""

import gymnasium as gym
import numpy as np
import pytest

from foreign import boat, ice, lava, puck, room, tanks
from foreign.overseen import overseen
from foreign.ten import OVERSEERS, TEN, named
from heed.guard.run.environment import surroundings, true_world
from heed.oversight import Proposal
from heed.oversight.overseers.specs import overseer_from_spec
from heed.worlds import CatastropheInfo, registered_oracle

BY_NAME = {foreign.name: foreign for foreign in TEN}
each = pytest.mark.parametrize("foreign", TEN, ids=lambda foreign: foreign.name)
FORESEEN = [foreign for foreign in TEN if foreign.name not in ("boat", "tanks", "lava")]
"""Those in which nothing is left to chance, or (lander) nearly nothing."""


def test_ten_environments_of_at_least_four_families_are_none_that_heed_knows():
    assert len(BY_NAME) == 10 and len({foreign.env.partition(":")[0] for foreign in TEN}) >= 4
    assert [foreign.name for foreign in TEN if registered_oracle(foreign.env) is not None] == []
    envs = {foreign.name: named(foreign.env)() for foreign in TEN}
    assert envs["tanks"].observation_space.shape == (50,)
    assert {name for name, env in envs.items() if isinstance(env.action_space, gym.spaces.Discrete)} == {"lava", "pole"}


@each
def test_the_guard_can_be_put_around_it_and_episodes_end(foreign):
    place = surroundings(foreign.env, catastrophe=foreign.catastrophe)
    observation, info = place.env.reset(seed=1)
    assert info["catastrophe"] is False and place.env.observation_space.shape == observation.shape
    assert place.env.action_space.contains(place.safe_action(observation))
    batch = place.env.unwrapped.oracle.safe_action(np.stack([observation, observation]))
    assert np.array_equal(batch[0], batch[1]) and np.array_equal(batch[0], place.safe_action(observation))
    taken, over = 0, False
    while not over:
        _, _, terminated, truncated, _ = place.env.step(_idle(place))
        taken, over = taken + 1, terminated or truncated
    assert taken == place.env.unwrapped.limit or terminated
    for kind in OVERSEERS:
        assert overseer_from_spec(foreign.overseer(kind), place.env).name == kind


def _idle(place):
    space = place.env.action_space
    return 0 if isinstance(space, gym.spaces.Discrete) else np.zeros(space.shape, space.dtype)


@pytest.mark.parametrize("foreign", FORESEEN, ids=lambda foreign: foreign.name)
def test_what_is_blocked_at_the_last_moment_is_what_happens_at_the_next_step(foreign):
    env = CatastropheInfo(named(foreign.env)(), named(foreign.catastrophe))
    overseer = named(foreign.last_moment)(env)
    env.action_space.seed(2)
    observation, info = env.reset(seed=2)
    foretold, happened, action = [], [], env.action_space.sample()
    for step in range(400):
        if step % 6 == 0:
            action = env.action_space.sample()
        foretold.append(overseer.judge(Proposal(observation, action, info, env)).block)
        observation, _, terminated, truncated, info = env.step(action)
        happened.append(info["catastrophe"])
        if terminated or truncated:
            observation, info = env.reset()
    assert foretold == happened and sum(happened) >= 1


@pytest.mark.parametrize("name", ["boat", "room", "tanks", "lava", "pole"])
def test_an_overseer_in_time_prevents_what_one_at_the_last_moment_cannot(name):
    nobody, late, early = (overseen(BY_NAME[name], kind, 600) for kind in (None, *OVERSEERS))
    assert nobody.catastrophes >= 8 and nobody.blocks == 0
    assert early.catastrophes <= 0.1 * nobody.catastrophes
    assert early.blocks > late.blocks > 0
    if name in ("boat", "room", "pole"):  # with momentum the last moment is too late
        assert late.catastrophes > 0.7 * nobody.catastrophes


def test_judging_moves_nothing():
    for name in ("hopper", "lander"):
        foreign, traces = BY_NAME[name], []
        for kind in (None, "in-time"):
            env = CatastropheInfo(named(foreign.env)(), named(foreign.catastrophe))
            overseer = None if kind is None else named(foreign.overseer(kind))(env)
            env.action_space.seed(0)
            observation, info = env.reset(seed=0)
            trace = []
            for _ in range(15):
                action = env.action_space.sample()
                if overseer is not None:
                    overseer.judge(Proposal(observation, action, info, env))
                observation, reward, _, _, info = env.step(action)
                trace.append([*observation, reward])
            traces.append(trace)
        assert np.array_equal(*traces)


@pytest.mark.parametrize(("module", "env"), [(boat, boat.Boat), (room, room.Room)], ids=["boat", "room"])
def test_true_dynamics_are_what_happens_on_average(module, env):
    env = env()
    env.action_space.seed(3)
    observation, _ = env.reset(seed=3)
    errors, noise = [], []
    for _ in range(300):
        action = env.action_space.sample()
        following, reward = module.expected(observation, action)
        seen, paid, terminated, truncated, _ = env.step(action)
        moves = slice(0, 2)
        errors.append(np.abs(following[moves] - seen[moves]).max())
        noise.append(following - seen)
        assert abs(reward - paid) < 0.02
        observation = env.reset()[0] if terminated or truncated else seen
    assert max(errors) < 0.01
    drift = np.abs(np.mean(noise, 0)) / (np.std(noise, 0) + 1e-6)
    assert (drift < 0.25).all()
    place = surroundings(f"foreign.{module.__name__.rpartition('.')[2]}:{type(env).__name__}")
    assert true_world(place.env)[0] is not None


def test_the_log_and_the_clock_of_the_boat_never_turn_back_and_wind_is_not_the_agents_doing():
    env, seen = boat.Boat(), []
    for seed in range(3):
        env.reset(seed=seed)
        seen += [env.step(np.ones(2, np.float32))[0] for _ in range(20)]
    log, clock = np.array(seen)[:, 6], np.array(seen)[:, 7]
    assert (np.diff(log) > 0).all() and np.allclose(clock, np.arange(1, 61) / 600, atol=1e-5)
    still, sailed = boat.sail(seen[0], np.zeros(2)), boat.sail(seen[0], np.ones(2))
    assert np.array_equal(still[4:6], sailed[4:6]) and (sailed[2:4] > still[2:4]).all()


def test_a_full_chain_of_tanks_overflows_though_its_gate_opens():
    env = tanks.Tanks(rainy=False)
    env.reset(seed=0)
    env.levels[0] = [0.9] * 7 + [0.95]
    env.gates[0] = 0.0
    steps = [env.step(np.ones(5)) for _ in range(4)]
    assert steps[0][2] and steps[0][0][:8].max() > 1.0
    env.reset(seed=0)
    assert not any(env.step(np.ones(5))[2] for _ in range(100))


def test_lava_burns_and_one_slips_to_the_sides_alone():
    env, ends = lava.Lava(), []
    env.reset(seed=0)
    for _ in range(2000):
        env.place = np.array([4, 4])
        env.step(1)
        ends.append(tuple(env.place - (4, 4)))
    shares = {end: ends.count(end) / len(ends) for end in set(ends)}
    assert set(shares) == {(0, 1), (1, 0), (-1, 0)} and abs(shares[(0, 1)] - (1 - lava.SLIPS)) < 0.03
    env.place = np.array([0, 3])
    assert lava.in_time(env).judge(Proposal(np.zeros(10), 1)).block  # up, with lava on its right
    assert not lava.in_time(env).judge(Proposal(np.zeros(10), 0)).block
    env.slips, env.place = 0.0, np.array([1, 2])
    assert env.step(1)[4]["lava"] and lava.burnt(None, {"lava": True})


def test_on_ice_one_overseer_minds_slips_and_the_other_does_not():
    """None of the ten: settings are chosen on it."""
    env = ice.Ice(slips=0.0)
    env.reset(seed=0)
    env.place = np.array([1, 4])  # below a hole, nothing at its sides
    early, late = ice.InTime(env), ice.LastMoment(env)
    assert [bool(early.judge(Proposal(np.zeros(4), move)).block) for move in range(5)] == [
        False,
        True,
        False,
        True,
        True,
    ]
    assert [bool(late.judge(Proposal(np.zeros(4), move)).block) for move in range(5)] == [
        False,
        True,
        False,
        False,
        False,
    ]
    observation, _, over, _, info = env.step(1)
    assert over and ice.fell(observation, info) and observation.tolist() == [1, 5, 10, 2]


def test_the_pucks_overseer_in_time_prevents_what_the_last_moment_meets():
    """None of the ten: settings are chosen on it."""
    counts = {}
    for kind in (puck.LastMoment, puck.InTime):
        env = puck.Puck()
        overseer, generator = kind(env), np.random.default_rng(0)
        env.reset(seed=0)
        hits = blocks = 0
        for step in range(2000):
            if step % 10 == 0:
                pushed = generator.uniform(-1, 1, 2).astype(np.float32)
            verdict = overseer.judge(Proposal(env.state, pushed))
            blocks += verdict.block
            _, _, terminated, truncated, info = env.step(verdict.instead if verdict.block else pushed)
            hits += terminated and not info["goal"]
            if terminated or truncated:
                env.reset()
        counts[kind.name] = (hits, blocks)
    assert counts["in-time"][0] == 0 < counts["last-moment"][0] <= counts["last-moment"][1]
    assert counts["in-time"][1] > 100

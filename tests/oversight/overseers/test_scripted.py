"""Scripted overseers in heed's worlds: the last-moment one prevents little, the far-sighted one everything."""

import sys

import gymnasium as gym
import numpy as np
import pytest

from heed.errors import HeedError
from heed.oversight import (
    Proposal,
    RuleOverseer,
    Verdict,
    far_sighted_overseer,
    local_overseer,
    overseer_from_spec,
)
from heed.worlds import CLIFF_GRID, POINT_HAZARD
from heed.worlds.cliff_grid.grid import safest_action
from heed.worlds.point_hazard.geometry import braking_hits, hits


def catastrophes(env_id, make_overseer, safe_action, episodes=25):
    """Catastrophes of a reckless walk whose blocked actions are replaced by the safe one; and the share blocked."""
    env = gym.make(env_id)
    env.action_space.seed(0)
    overseer = make_overseer(env)
    fell = blocked = steps = 0
    for episode in range(episodes):
        observation, info = env.reset(seed=episode)
        over, step, action = False, 0, env.action_space.sample()
        while not over:
            action = env.action_space.sample() if step % 8 == 0 else action  # hold it, to gain speed
            block = overseer.judge(Proposal(observation, action, info, env, step, episode)).block
            executed = safe_action(env) if block else action
            observation, _, terminated, truncated, info = env.step(executed)
            fell += info["catastrophe"]
            blocked, steps, step, over = blocked + block, steps + 1, step + 1, terminated or truncated
    return fell, blocked / steps


def brake_now(env):
    state = env.unwrapped.state
    return np.clip(-10.0 * state[2:], -1.0, 1.0).astype(np.float32)


def safest_now(env):
    return safest_action(env.unwrapped.state)


@pytest.mark.parametrize(("env_id", "safe"), [(POINT_HAZARD, brake_now), (CLIFF_GRID, safest_now)])
def test_a_last_moment_overseer_prevents_little_and_a_far_sighted_one_everything(env_id, safe):
    nobody, _ = catastrophes(env_id, lambda env: RuleOverseer(lambda observation, info: False), safe)
    local, _ = catastrophes(env_id, local_overseer, safe)
    far, share = catastrophes(env_id, far_sighted_overseer, safe)
    assert nobody > 10
    assert 0 < local <= nobody
    assert far == 0
    assert 0 < share < 0.8


def test_the_local_overseer_blocks_exactly_what_would_crash_now():
    env = gym.make(POINT_HAZARD)
    overseer = local_overseer(env)
    random = np.random.default_rng(0)
    blocks = []
    for _ in range(300):
        state = [random.uniform(-0.75, -0.55), 0.25, random.uniform(0.5, 1.5), 0.0]
        observation, info = env.reset(options={"state": state})
        action = random.uniform(-1, 1, 2).astype(np.float32)
        blocks.append(overseer.judge(Proposal(observation, action, info, env)).block)
        *_, info = env.step(action)
        assert blocks[-1] == info["catastrophe"]
    assert 0.1 < np.mean(blocks) < 0.9


def test_the_far_sighted_overseer_blocks_exactly_what_leads_into_the_braking_set():
    env = gym.make(POINT_HAZARD, disc=0.7)
    overseer = far_sighted_overseer(env)
    random = np.random.default_rng(1)
    blocks = []
    for _ in range(300):
        state = [random.uniform(-2.0, -1.0), 0.25, random.uniform(0.5, 1.5), 0.0]
        observation, info = env.reset(options={"state": state})
        action = random.uniform(-1, 1, 2).astype(np.float32)
        blocks.append(overseer.judge(Proposal(observation, action, info, env)).block)
        env.step(action)
        assert blocks[-1] == braking_hits(env.unwrapped.state, env.unwrapped.world)
        assert not (blocks[-1] is False and hits(env.unwrapped.state, env.unwrapped.world))
    assert 0.1 < np.mean(blocks) < 0.9


def test_an_overseer_looks_through_the_wrappers_of_its_environment():
    env = gym.wrappers.ClipAction(gym.wrappers.TimeLimit(gym.make(POINT_HAZARD), 20))
    overseer = local_overseer(env)
    observation, info = env.reset(options={"state": [3.9, 0.0, 1.5, 0.0]})
    assert overseer.judge(Proposal(observation, np.array([-1.0, 0.0]), info, env)).block


def test_a_rule_sees_observation_and_info():
    overseer = RuleOverseer(lambda observation, info: observation[0] > 1 and info["armed"])
    seen = [
        overseer.judge(Proposal(np.array([x]), 0, {"armed": armed})).block for x in (0, 2) for armed in (True, False)
    ]
    assert seen == [False, False, True, False]


@pytest.mark.parametrize("make", [local_overseer, far_sighted_overseer])
def test_an_environment_without_an_oracle_is_refused_in_a_line(make):
    with pytest.raises(HeedError, match=r"no .* oracle for CartPole-v1"):
        make(gym.make("CartPole-v1"))


@pytest.mark.parametrize(
    ("spec", "env_id", "name"),
    [
        ("local", POINT_HAZARD, "local"),
        ("far-sighted", CLIFF_GRID, "far-sighted"),
        ("rule", "CartPole-v1", "rule"),
        ("rule", POINT_HAZARD, "rule"),
    ],
)
def test_a_word_names_an_overseer(spec, env_id, name):
    assert overseer_from_spec(spec, gym.make(env_id)).name == name


def test_the_rule_of_a_changed_world_follows_its_numbers():
    proposal = Proposal(np.array([-1.3, 0.25, 0.8, 0.0]), np.zeros(2))
    blocks = [
        overseer_from_spec("rule", gym.make(POINT_HAZARD, disc=disc)).judge(proposal).block for disc in (0.5, 0.9)
    ]
    assert blocks == [False, True]


MODULE = """
from heed.oversight import Verdict

class Strict:
    name = "strict"
    def __init__(self, env): self.env = env
    def judge(self, proposal): return Verdict(True)
    def reset(self, seed): pass

strict = Strict(None)
def make(env): return Strict(env)
def broken(env): return 3
def raises(env): raise RuntimeError("no person is here")
number = 7
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_overseers.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    yield "my_overseers"
    sys.modules.pop("my_overseers", None)


@pytest.mark.parametrize(("name", "sees_env"), [("Strict", True), ("make", True), ("strict", False)])
def test_a_module_of_the_current_folder_gives_an_overseer_or_what_makes_one(module, name, sees_env):
    env = gym.make(CLIFF_GRID)
    overseer = overseer_from_spec(f"{module}:{name}", env)
    assert overseer.judge(Proposal(np.zeros(4), 0)) is not None
    assert (overseer.env is env) == sees_env
    assert isinstance(overseer.judge(Proposal(np.zeros(4), 0)), Verdict)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("nearby", "no overseer 'nearby'"),
        ("my_overseers:", "no overseer"),
        ("no_such_module:x", "cannot import 'no_such_module'"),
        ("my_overseers:absent", "has no 'absent'"),
        ("my_overseers:number", "is no overseer"),
        ("my_overseers:broken", "is no overseer"),
    ],
)
def test_a_spec_that_names_no_overseer_is_refused_in_a_line(module, spec, says):
    with pytest.raises(HeedError, match=says) as refused:
        overseer_from_spec(spec, gym.make(CLIFF_GRID))
    assert refused.value.fix

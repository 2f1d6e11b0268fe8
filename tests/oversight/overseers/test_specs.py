"""Noisy overseers by name: what follows an overseer's name is done to its verdicts, in that order, from the seed."""

import gymnasium as gym
import numpy as np
import pytest

from heed.cli import main
from heed.errors import HeedError
from heed.oversight import Proposal, overseer_from_spec
from heed.worlds import CLIFF_GRID, POINT_HAZARD

BLOCKED = [-1.3, 0.25, 0.8, 0.0]
"""Too fast before a disc of .9: point hazard's rule blocks whatever is proposed there."""


class Timeless(gym.Env):
    observation_space, action_space = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2)


def blocks(spec, count=400, seed=3):
    overseer = overseer_from_spec(spec, gym.make(POINT_HAZARD, disc=0.9))
    overseer.reset(seed)
    return [overseer.judge(Proposal(np.array(BLOCKED), np.zeros(2), step=step)).block for step in range(count)]


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("local,miss=0.05,delay=3", "local, misses 5%, 3 steps late"),
        ("far-sighted,delay=0,false=.01", "far-sighted, 0 steps late, false alarms 1%"),
        ("rule,tire=500,false=0.02,miss=0.05", "rule, tires by half in 500, false alarms 2%, misses 5%"),
    ],
)
def test_what_follows_the_overseer_is_done_to_its_verdicts_in_that_order(spec, name):
    assert overseer_from_spec(spec, gym.make(POINT_HAZARD)).name == name


def test_the_noise_is_what_was_asked_for():
    assert blocks("rule") == [True] * 400
    assert 1 - np.mean(blocks("rule,miss=0.25", 4000)) == pytest.approx(0.25, abs=0.03)
    assert blocks("rule,delay=7") == [False] * 7 + [True] * 393
    assert blocks("rule,miss=1") == [False] * 400 and blocks("rule,miss=1,false=1") == [True] * 400
    tired = np.array(blocks("rule,tire=100", 1000))
    assert tired[:20].mean() > 0.8 and tired[600:].mean() < 0.05


def test_the_runs_seed_decides_what_is_missed():
    assert blocks("rule,miss=0.5", seed=1) == blocks("rule,miss=0.5", seed=1) != blocks("rule,miss=0.5", seed=2)


@pytest.mark.parametrize(
    ("delay", "env_id", "kwargs", "steps"),
    [
        ("300ms", POINT_HAZARD, {}, 3),
        ("0.3s", POINT_HAZARD, {}, 3),
        ("250ms", POINT_HAZARD, {}, 3),  # the answer is there at the first step by which the time is over
        ("301ms", POINT_HAZARD, {}, 4),
        ("300ms", POINT_HAZARD, {"dt": 0.05}, 6),  # its own clock, whatever its frames are rendered at
        ("300ms", "CartPole-v1", {}, 15),
        ("1s", CLIFF_GRID, {}, 5),
        ("0ms", POINT_HAZARD, {}, 0),
        ("12", POINT_HAZARD, {}, 12),
    ],
)
def test_a_delay_in_time_is_as_many_steps_as_the_world_takes_in_it(delay, env_id, kwargs, steps):
    assert overseer_from_spec(f"rule,delay={delay}", gym.make(env_id, **kwargs)).name == f"rule, {steps} steps late"


def test_where_nobody_knows_how_long_a_step_takes_the_delay_is_given_in_steps():
    with pytest.raises(HeedError, match="nobody says how long a step of Timeless takes") as refused:
        overseer_from_spec(f"{__name__}:watcher,delay=300ms", Timeless())
    assert "give the delay in steps" in refused.value.fix
    assert overseer_from_spec(f"{__name__}:watcher,delay=3", Timeless()).name == "watcher, 3 steps late"


class Watcher:
    name = "watcher"

    def judge(self, proposal):
        raise NotImplementedError

    def reset(self, seed):
        pass


watcher = Watcher()


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ("nearby,miss=0.05", "no overseer 'nearby'"),
        ("local,misses=0.05", "'misses' is not known"),
        ("local,", "'' is not known"),
        ("local,miss", "'' is no number"),
        ("local,miss=few", "'few' is no number"),
        ("local,miss=1.5", "a rate of 1.5"),
        ("local,false=-0.1", "a rate of -0.1"),
        ("local,miss=nan", "a rate of nan"),
        ("local,miss=.1,miss=.2", "'miss' is given twice"),
        ("local,delay=1.5", "a delay of '1.5'"),
        ("local,delay=-1", "a delay of '-1'"),
        ("local,delay=300 ms", "a delay of '300 ms'"),
        ("local,tire=0", "a half-life of 0"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_option(spec, wrong, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["guard", "--overseer", spec, "--out", str(tmp_path / "run")])
    error = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and len(error) == 1
    assert wrong in error[0] and f"(--overseer {spec})" in error[0]
    assert not (tmp_path / "run").exists()

"""The lander's crash, as the environment itself counts it."""

import numpy as np
import pytest

from heed.errors import HeedError
from heed.worlds.lunar_lander import rules as lunar_lander
from stepped_worlds import make, stepped


def test_a_lander_crashes_where_the_environment_says_so_and_not_where_it_lands():
    env, known = make("LunarLander-v3")
    from gymnasium.envs.box2d.lunar_lander import heuristic

    def landing(observation):
        return np.asarray(heuristic(env.unwrapped, observation), np.float32)

    for policy, wanted in ((landing, False), (None, True)):
        ends = [(step[-1], env.unwrapped.game_over) for step in stepped(env, known, 900, policy=policy) if step[4]]
        assert len(ends) >= 2
        assert all(info["catastrophe"] == wanted for info, _ in ends)
        assert all(info["reward"] == (-100 if wanted else 100) for info, _ in ends)


def test_a_lander_that_leaves_the_screen_has_crashed_without_touching_anything():
    env, known = make("LunarLander-v3")
    untouched = [step for step in stepped(env, known, 3000) if step[4] and not env.unwrapped.game_over]
    assert len(untouched) >= 2
    assert all(abs(after[0]) >= 1.0 and info["catastrophe"] for _, _, _, after, _, _, info in untouched)


@pytest.mark.parametrize(("reward", "terminated"), [(-100.0, False), (-5.0, True), (100.0, True)])
def test_only_an_end_with_the_reward_of_a_crash_is_a_crash(reward, terminated):
    assert not lunar_lander.crashed(np.zeros(8), {"reward": reward, "terminated": terminated})


def test_without_the_reward_in_the_info_a_crash_is_refused_rather_than_overlooked():
    with pytest.raises(HeedError, match="CatastropheInfo"):
        lunar_lander.crashed(np.zeros(8), {})

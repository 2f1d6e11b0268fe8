"""The wrapper that reports catastrophes by a rule."""

import gymnasium as gym

from heed.worlds.catastrophe_info import CatastropheInfo


def test_an_episode_ends_at_the_catastrophe_with_the_penalty_and_not_before():
    env = CatastropheInfo(gym.make("CartPole-v1"), lambda observation, info: observation[1] > 0.3, penalty=-7.0)
    _, info = env.reset(seed=0)
    assert info == {"catastrophe": False}
    ends = [env.step(1)[1:] for _ in range(2)]
    assert ends[0] == (1.0, False, False, {"catastrophe": False})
    assert ends[1] == (-6.0, True, False, {"catastrophe": True})


def test_the_rule_sees_the_reward_and_the_end_and_the_learner_does_not():
    seen = []
    env = CatastropheInfo(gym.make("CartPole-v1"), lambda observation, info: bool(seen.append(dict(info))), penalty=0.0)
    env.reset(seed=0)
    _, _, _, _, info = env.step(0)
    assert seen == [{"reward": 1.0, "terminated": False}]
    assert info == {"catastrophe": False}


def test_the_wrapper_can_be_rebuilt_from_its_spec():
    env = CatastropheInfo(gym.make("CartPole-v1"), lambda observation, info: True, penalty=-2.0)
    again = gym.make(env.spec)
    again.reset(seed=0)
    assert again.step(0)[1:3] == (-1.0, True)


def test_a_catastrophe_need_not_end_the_episode_nor_cost_anything():
    env = CatastropheInfo(gym.make("CartPole-v1"), lambda observation, info: True, penalty=0.0, ends=False)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(1)
    assert (reward, terminated, info["catastrophe"]) == (1.0, False, True)

"""What worlds draw of a proposed action: it begins at the agent's pixels, and points and reaches as the action does."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from drawn_pendulum import ACTIONS, PLACES

from heed.worlds import Arrow, Flame, registered_oracle
from heed.worlds.registry import WORLDS
from stepped_worlds import make


def drawn(env_id, **kwargs):
    """A registered world that is drawn, fresh from its first reset, and what it makes of an action."""
    env, known = make(env_id, render_mode="rgb_array", **kwargs)
    observation, _ = env.reset(seed=0)
    return env, observation, partial(known.action_in_frame, env.unwrapped)


def in_pixels(picture, shape):
    """A shape's start and end, each (x, y), in pixels."""
    size = np.array(picture.shape[1::-1], float)
    return np.array(shape.start) * size, np.array(shape.end) * size


def colour_at(picture, place):
    x, y = (int(np.floor(part)) for part in place)
    return picture[y, x].astype(int)


def near(colour, wanted, by=40):
    return np.abs(colour - np.array(wanted)).max() <= by


def test_each_world_says_whether_its_actions_can_be_drawn():
    drawn_by = {env_id: registered_oracle(env_id).action_in_frame is not None for env_id in WORLDS}
    assert {env_id for env_id, draws in drawn_by.items() if not draws} == {"Hopper-v5", "HalfCheetah-v5"}


@pytest.mark.parametrize("action", [(1.0, 0.0), (-0.5, 0.25), (0.0, -1.0), (3.0, 0.0)])
def test_point_hazards_arrow_begins_at_the_rim_of_the_mass_and_is_its_push(action):
    env, _observation, draws = drawn("heed/PointHazard-v0")
    env.reset(options={"state": (-2.0, 1.0, 0.0, 0.0)})
    picture, (arrow,) = env.render(), draws(np.array([-2.0, 1.0, 0.0, 0.0]), np.array(action))
    start, end = in_pixels(picture, arrow)
    push = np.clip(action, -1, 1) * (1, -1)  # pixels count down
    way = push / np.hypot(*push)
    assert end - start == pytest.approx(50 * push, abs=1e-3)  # 50 pixels are one unit of length
    assert near(colour_at(picture, start - way), (38, 70, 120))  # the mass
    assert near(colour_at(picture, start + 2 * way), (247, 246, 242))  # the floor
    assert np.hypot(*(start - 50 * np.array([-2.0 + 4.25, 3.25 - 1.0]))) == pytest.approx(0.11 * 50, abs=1e-3)


def test_no_push_is_no_arrow():
    _, observation, draws = drawn("heed/PointHazard-v0")
    assert list(draws(observation, np.zeros(2))) == []


@pytest.mark.parametrize(("action", "way"), [(1, (0, -1)), (2, (0, 1)), (3, (-1, 0)), (4, (1, 0))])
def test_cliff_grids_arrow_leads_from_the_walker_a_cell_on(action, way):
    env, _, draws = drawn("heed/CliffGrid-v0")
    observation, _ = env.reset(options={"state": (4, 3, 0, 0)})
    picture, (arrow,) = env.render(), draws(observation, action)
    start, end = in_pixels(picture, arrow)
    assert end - start == pytest.approx(32 * np.array(way), abs=1e-2)
    assert colour_at(picture, start - np.array(way)).tolist() == [38, 70, 120]
    assert colour_at(picture, start + 2 * np.array(way)).tolist() != [38, 70, 120]
    assert list(draws(observation, 0)) == []  # it coasts


@pytest.mark.parametrize(("action", "way"), [(0, -1), (1, 1)])
@pytest.mark.parametrize("place", [-1.5, 0.0, 2.0])
def test_cart_poles_arrow_begins_at_the_end_of_the_cart_that_is_drawn(action, way, place):
    pytest.importorskip("pygame")
    env, _observation, draws = drawn("CartPole-v1")
    env.unwrapped.state = np.array([place, 0.0, 0.0, 0.0])
    picture, (arrow,) = env.render(), draws(env.unwrapped.state, action)
    start, end = in_pixels(picture, arrow)
    assert end - start == pytest.approx([60 * way, 0], abs=1e-3)
    below = start + np.array([0, 6])  # the track is as black as the cart, and a line
    assert colour_at(picture, below - (2 * way, 0)).tolist() == [0, 0, 0]
    assert colour_at(picture, below - (-3 * way, 0)).tolist() == [255, 255, 255]


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    """What `drawn_pendulum` draws: pictures [P, H, W, 3], and arrows' ends [P, A, 2, 2] in shares of them."""
    file = tmp_path_factory.mktemp("pendulum") / "drawn.npz"
    environment = {"MUJOCO_GL": "egl", **os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(Path(__file__).with_name("drawn_pendulum.py")), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    if done.returncode != 0:  # MuJoCo draws with OpenGL, which is not everywhere
        pytest.skip(f"nothing draws here: {done.stderr.strip().splitlines()[-1:]}")
    return np.load(file)


@pytest.mark.parametrize("action", range(len(ACTIONS)))
@pytest.mark.parametrize("place", range(len(PLACES)))
def test_the_pendulums_arrow_begins_at_the_end_of_the_cart_that_is_drawn(pendulum, action, place):
    picture = pendulum["pictures"][place]
    start, end = pendulum["ends"][place, action] * np.array(picture.shape[1::-1], float)
    share = float(np.clip(ACTIONS[action] / 3, -1, 1))
    way = np.sign(share)
    assert end - start == pytest.approx([0.4 * share * 480 / 1.69, 0], abs=0.5)
    inside, outside = colour_at(picture, start - (6 * way, 0)), colour_at(picture, start - (-6 * way, 0))
    assert inside[0] > inside[2] + 30  # the cart is yellow
    assert outside[2] > outside[0]  # the rail is blue


@pytest.mark.parametrize(("action", "way"), [(2, -1), (3, 1), (4, -1), (5, 1)])
def test_pongs_arrow_begins_at_the_paddle_and_points_where_the_action_moves_it(action, way):
    env, observation, draws = drawn("ALE/Pong-v5")
    for _ in range(30):
        observation, *_ = env.step(0)
    picture, (arrow,) = env.render(), draws(observation, action)
    start, _ = in_pixels(picture, arrow)
    assert colour_at(picture, start - (0, 3 * way)).tolist() == [92, 186, 92]
    assert colour_at(picture, start - (0, -4 * way)).tolist() != [92, 186, 92]
    after, *_ = env.step(action)
    after, *_ = env.step(action)
    assert np.sign(int(after[51]) - int(observation[51])) == way  # where the paddle's height lies in RAM
    assert draws(observation, 0) == [] == draws(observation, 1)


@pytest.mark.parametrize("tilt", [0.0, 0.3, -0.5])
@pytest.mark.parametrize("action", [(1.0, 0.0), (0.2, 0.0), (-1.0, -0.8), (-1.0, 0.6)])
def test_a_landers_flame_burns_at_its_body_against_the_way_in_which_the_engine_pushes(action, tilt):
    def after(asked):
        env, _, _ = drawn("LunarLander-v3")
        for _ in range(30):  # it begins at the upper edge of the picture
            env.step(np.zeros(2, np.float32))
        body = env.unwrapped.lander
        body.angle, body.linearVelocity, body.angularVelocity = tilt, (0.0, 0.0), 0.0
        env.unwrapped.np_random = SimpleNamespace(uniform=lambda low, high: 0.0)  # the engines scatter no more
        env.unwrapped.legs.clear()  # which would pull at the body
        env.unwrapped.legs.extend([SimpleNamespace(ground_contact=False)] * 2)
        seen = env.step(np.array(asked, np.float32))[0]
        return env, seen, np.array([*body.linearVelocity])

    _, _, pushed = after(action)
    env, seen, fell = after((-1.0, 0.0))
    strength = np.hypot(*(pushed - fell))
    flames = partial(registered_oracle("LunarLander-v3").action_in_frame, None)
    (flame,) = flames(seen, np.array(action))
    assert isinstance(flame, Flame)
    picture = env.render()
    start, end = in_pixels(picture, flame)
    burns = (end - start) / np.hypot(*(end - start)) * (1, -1)
    assert burns @ (pushed - fell) / strength < -0.95
    middle = np.array(registered_oracle("LunarLander-v3").in_frame(seen)) * (600, 400)
    lit = [colour_at(picture, start + share * (middle - start)) for share in (0.2, 0.4)]
    assert all(near(colour, (128, 102, 230)) for colour in lit)  # the body


def test_a_landers_engines_burn_from_their_thresholds_on_and_at_full_strength_at_their_longest():
    flames = partial(registered_oracle("LunarLander-v3").action_in_frame, None)
    level = np.zeros(8)
    lengths = {}
    for action in ((0.0, 0.0), (-0.5, 0.5), (0.001, 0.0), (1.0, 0.0), (0.0, 0.51), (0.0, -1.0), (0.4, -0.7)):
        found = flames(level, np.array(action))
        lengths[action] = [round(np.hypot(*(np.subtract(each.end, each.start) * (600, 400)))) for each in found]
    assert lengths == {
        (0.0, 0.0): [], (-0.5, 0.5): [], (0.001, 0.0): [25], (1.0, 0.0): [50],
        (0.0, 0.51): [18], (0.0, -1.0): [35], (0.4, -0.7): [35, 24],
    }  # fmt: skip


@pytest.mark.parametrize(("choice", "number"), [(0, 0), (1, 1), (2, 1), (3, 1)])
def test_a_lander_without_continuous_engines_has_flames_too(choice, number):
    flames = partial(registered_oracle("LunarLander-v3", continuous=False).action_in_frame, None)
    assert len(flames(np.zeros(8), choice)) == number
    assert flames(np.zeros(8), 1) == flames(np.zeros(8), np.array([0.0, -1.0]))


UNKNOWN = Arrow((0, 0), (np.nan, 0))


class Own(gym.Env):
    """A world of a user's own, whose arrow is as it says."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2)
    render_mode, spec = "rgb_array", None

    def __init__(self, draws):
        self.oracle = registered_oracle("CartPole-v1").__class__(action_in_frame=draws)

    def render(self):
        return np.zeros((40, 60, 3), np.uint8)


def test_a_world_of_ones_own_draws_its_actions_and_a_fault_there_costs_the_drawing_alone(caplog):
    from heed.oversight.control.view import Viewer
    from heed.oversight.overseers.base import Proposal

    def view(viewer, draws, **about):
        return viewer.view_of(Proposal(np.zeros(1, np.float32), 1, env=Own(draws), **about), 1, {})

    viewer = Viewer()
    shown = view(viewer, lambda _env, _seen, action: [Arrow((0.5, 0.5), (0.5 + 0.1 * action, 0.5)), UNKNOWN])
    assert shown.content["shapes"] == [{"kind": "arrow", "start": (0.5, 0.5), "end": (0.6, 0.5)}]
    assert view(viewer, lambda *_: 1 / 0).content["shapes"] == []
    assert caplog.messages == ["the action cannot be drawn (ZeroDivisionError: division by zero)"]
    assert view(viewer, lambda *_: 1 / 0).frame is not None and len(caplog.messages) == 1

"""An environment that offers an oracle is overseen, braked, judged and rendered; one that offers none is refused."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from heed.errors import HeedError
from heed.guard.run.environment import need_of_blocking, surroundings, true_world
from heed.oversight import Proposal, overseer_from_spec
from heed.oversight.presentation import action_in_words, drawn_futures
from heed.report.guard.scene import scenery, variable_names
from heed.worlds import Backdrop, Disc, Oracle, Rectangle, oracle_of, registered_oracle
from heed.worlds.registry import WORLDS, Registration

END, STEP = 5.0, 0.5


def after(states, actions):
    speed = np.asarray(states)[..., 1] + np.asarray(actions)[..., 0]
    return np.stack([np.asarray(states)[..., 0] + STEP * speed, speed], axis=-1)


def stop(states):
    """Where the brake, one unit of speed a step, brings a cart of whole speed to rest."""
    speed = states[..., 1]
    return states[..., 0] + STEP * speed * (np.abs(speed) - 1) / 2


ORACLE = Oracle(
    about="a cart on a rail; its ends are catastrophes",
    is_catastrophe=lambda states: np.abs(states[..., 0]) > END,
    danger=lambda observation, info: abs(observation[0]) > 3,
    safe_action=lambda states: np.clip(-np.asarray(states)[..., 1:], -2, 2),
    is_doomed=lambda states: np.abs(stop(states)) > END + 1,  # as if something could still help a little
    brake_fails=lambda states: np.abs(stop(states)) > END,
    spare=lambda states: END - np.abs(stop(states)),
    at_goal=lambda states: np.abs(states[..., 0] - 4) < 0.25,
    peek=lambda env, action: after(env.state, action),
    dynamics=lambda states, actions: (after(states, actions), -np.abs(actions[..., 0])),
    dt=STEP,
    label_keys=(0,),
    variable_names=("place", "speed"),
    action_names=(("left", "right"),),
    in_frame=lambda states: np.stack([(states[..., 0] + END) / (2 * END), 0 * states[..., 0] + 0.5], axis=-1),
    backdrop=Backdrop(
        width=10,
        height=2,
        place=lambda states: np.stack([states[..., 0] + END, 0 * states[..., 0] + 1], axis=-1),
        shapes=(Rectangle("floor", 0, 0, 10, 2), Disc("goal", 9, 1, 0.5)),
        about="The rail from the side.",
    ),
)


class Rail(gym.Env):
    """A cart that says nothing of itself."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}
    observation_space = gym.spaces.Box(-99, 99, (2,), np.float32)
    action_space = gym.spaces.Box(-2, 2, (1,), np.float32)

    def __init__(self, render_mode=None):
        self.render_mode, self.state = render_mode, np.zeros(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.array((options or {}).get("state", (0.0, 0.0)), float)
        return self.state.astype(np.float32), {}

    def step(self, action):
        self.state = after(self.state, action)
        return self.state.astype(np.float32), -float(np.abs(action[0])), False, False, {}


class Cart(Rail):
    oracle = ORACLE


class Delphi(Rail):
    oracle = "a sanctuary"


def at(env, *state):
    return Proposal(env.reset(options={"state": state})[0], None, {}, env)


def blocks(spec, *state):
    """Which of three pushes an overseer blocks in a state."""
    env = gym.wrappers.TimeLimit(Cart(), 9)
    overseer, verdicts = overseer_from_spec(spec, env), []
    for push in (-1.0, 0.0, 1.0):
        observation, info = env.reset(options={"state": state})
        verdicts.append(overseer.judge(Proposal(observation, np.array([push]), info, env)).block)
    return verdicts


def test_the_overseers_judge_by_what_the_environment_offers_through_its_wrappers():
    assert blocks("local", 4.0, 2.0) == [False, False, True]  # to 4.5, 5.0 and 5.5
    assert blocks("local", 3.0, 3.0) == [False, False, False]
    assert blocks("far-sighted", 3.0, 3.0) == [False, True, True]  # rest at 4.5, 6.0 and 8.0
    assert blocks("rule", 3.5, 0.0) == [True] * 3 and blocks("rule", 2.5, 0.0) == [False] * 3


def test_without_a_brake_the_far_sighted_overseer_blocks_what_leads_to_doom():
    class Doomed(Rail):
        oracle = Oracle(peek=ORACLE.peek, is_doomed=ORACLE.is_doomed)

    env = Doomed()
    overseer = overseer_from_spec("far-sighted", env)
    env.reset(options={"state": (3.0, 3.0)})
    verdicts = [overseer.judge(Proposal(env.state, np.array([push]))).block for push in (-1.0, 0.0, 1.0)]
    assert verdicts == [False, False, True]


def test_a_delay_counts_by_the_oracles_clock_before_the_pictures():
    assert overseer_from_spec("local,delay=1s", Cart()).name == "local, 2 steps late"


def test_the_guard_knows_its_catastrophe_its_brake_its_labels_and_its_goal():
    place = surroundings(f"{__name__}:Cart")
    states = torch.tensor([[0.0, 1.0], [4.0, -5.0]])
    assert place.brake(states).tolist() == [[-0.5], [1.0]]  # of the box's 2
    assert place.goal(states).tolist() == [False, True]
    assert place.about == ORACLE.about
    place.env.reset(options={"state": (4.5, 1.0)})
    steps = [place.env.step(np.zeros(1)) for _ in range(2)]
    assert [(terminated, info["catastrophe"]) for _, _, terminated, _, info in steps] == [(False, False), (True, True)]


def test_a_rule_of_the_users_own_goes_over_the_oracles_catastrophe_and_keeps_its_brake():
    place = surroundings(f"{__name__}:Cart", catastrophe=f"{__name__}:beyond_one")
    place.env.reset(options={"state": (0.5, 1.0)})
    assert [place.env.step(np.zeros(1))[4]["catastrophe"] for _ in range(2)] == [False, True]
    assert place.goal is None and place.brake is not None


def beyond_one(observation, info):
    return observation[0] > 1.0


def test_an_environment_that_reports_its_catastrophes_is_left_as_it_is():
    class Reports(Rail):
        oracle = Oracle(reports_catastrophe=True)

    globals()["Reports"] = Reports
    assert isinstance(surroundings(f"{__name__}:Reports").env, Reports)
    assert Reports.oracle.catastrophe(np.zeros(2), {"catastrophe": True})


@pytest.mark.parametrize(
    ("place", "push", "needless", "needed", "spare"),
    [
        (0.0, 1.0, True, False, 5.0 - (0.5 + 0.0)),  # rest at once
        (3.0, 1.0, True, False, 5.0 - 3.5),
        (4.75, 1.0, False, True, -0.25),  # the step itself
    ],
)
def test_blocking_is_needless_where_the_brake_suffices_and_needed_where_nothing_does(
    place, push, needless, needed, spare
):
    need = need_of_blocking(Cart())(np.array([place, 0.0]), np.array([push]))
    assert (need.needless, need.needed, need.spare) == (needless, needed, pytest.approx(spare))


def test_in_between_a_block_is_neither_needless_nor_needed():
    need = need_of_blocking(Cart())(np.array([3.0, 3.0]), np.array([0.0]))  # rest at 6, and doom beyond it
    assert (need.needless, need.needed, need.spare) == (False, False, pytest.approx(-1.0))


@pytest.mark.parametrize("missing", ["dynamics", "is_catastrophe", "brake_fails", "is_doomed", "spare"])
def test_without_all_that_it_takes_nobody_counts_needless_blocks(missing):
    class Part(Rail):
        oracle = Oracle(**(vars(ORACLE) | {missing: None}))

    assert need_of_blocking(Part()) is None and need_of_blocking(Cart()) is not None


def test_the_true_world_is_the_environments_own():
    env = Cart()
    step, danger = true_world(env)
    for state, push in (((0.0, 1.0), 0.5), ((4.5, 2.0), -0.25), ((4.5, 2.0), 1.0)):
        env.reset(options={"state": state})
        following, reward = step(torch.tensor([state]), torch.tensor([[push]]))  # a vector: half of the box's push
        observation, real, *_ = env.step(np.array([2 * push], np.float32))
        assert following[0].tolist() == observation.tolist() and float(reward) == real
        assert bool(danger(following)[0]) == (abs(observation[0]) > END)


def test_a_page_names_its_actions_and_draws_its_futures_over_the_frame():
    env = Cart(render_mode="rgb_array")
    assert action_in_words(np.array([-1.0]), env) == "left 50%"
    futures = np.array([[[0.0, 0.0], [2.5, 0.0]]])
    lines = drawn_futures(Proposal(np.zeros(2), np.zeros(1), env=env, futures=futures, future_risks=np.array([0.5])))
    assert lines == {"over": True, "axes": None, "ways": [[[0.5, 0.5], [0.75, 0.5]]], "risks": [0.5]}
    assert drawn_futures(at(env, 0.0, 0.0)) is None


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(WORLDS, "toy/Cart-v0", Registration(f"{__name__}:ORACLE"))
    return "toy/Cart-v0"


def test_a_report_draws_a_registered_world_before_its_backdrop(registered):
    drawing = scenery(registered, {}, [], None)
    assert drawing.height == 240 and drawing.about == "The rail from the side. "
    assert drawing.project(np.array([[-5.0, 9.0], [0.0, 9.0]])).tolist() == [[0.0, 120.0], [600.0, 120.0]]
    assert drawing.backdrop == (
        '<rect class="floor" x="0" y="0" width="1200" height="240"/><circle class="goal" cx="1080" cy="120" r="60"/>'
    )
    assert variable_names(registered, 2) == ["place", "speed"]
    assert variable_names(registered, 3) == ["state[0]", "state[1]", "state[2]"]


def test_a_registered_world_is_known_by_its_id_and_what_the_environment_offers_goes_first(registered):
    assert registered_oracle(registered, wind=3).kwargs == {"wind": 3}
    gym.register(registered, entry_point=lambda: Rail())
    try:
        assert oracle_of(gym.make(registered)).about == ORACLE.about
    finally:
        del gym.registry[registered]
    assert oracle_of(gym.wrappers.TimeLimit(Cart(), 9)) is ORACLE


def test_a_guarded_run_takes_the_environments_own_oracle_too_where_the_id_is_registered_with_another(registered):
    class Narrow(Rail):
        oracle = Oracle(about="own", is_catastrophe=lambda states: np.abs(states[..., 0]) > 1.0, label_keys=(1,))

    gym.register(registered, entry_point=Narrow)
    try:
        place = surroundings(registered)
    finally:
        del gym.registry[registered]
    assert (place.about, oracle_of(place.env).about) == ("own", "own")
    place.env.reset(options={"state": (0.5, 1.0)})
    assert [place.env.step(np.zeros(1))[4]["catastrophe"] for _ in range(2)] == [False, True]


@pytest.mark.parametrize("world", [Rail, Delphi])
@pytest.mark.parametrize(
    ("asked", "needs"),
    [
        ("local", "no local oracle for {} .*an oracle with peek and is_catastrophe"),
        ("far-sighted", "no far-sighted oracle for {} .*an oracle with peek and brake_fails or is_doomed"),
        ("rule", "no rule oracle for {} .*an oracle with danger"),
    ],
)
def test_an_environment_that_offers_nothing_is_refused_by_each_overseer_in_a_line(world, asked, needs):
    with pytest.raises(HeedError, match=needs.format(world.__name__)):
        overseer_from_spec(asked, world())


def test_an_environment_that_offers_nothing_is_refused_where_its_catastrophe_or_its_dynamics_are_needed():
    with pytest.raises(HeedError, match=r"nothing says what a catastrophe is in .*:Rail .*the environment an oracle"):
        surroundings(f"{__name__}:Rail")
    with pytest.raises(HeedError, match=r"true dynamics of Rail are not known .*an oracle with dynamics"):
        true_world(Rail())
    assert oracle_of(Rail()) is None and need_of_blocking(Rail()) is None

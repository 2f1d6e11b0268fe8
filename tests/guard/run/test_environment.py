"""From what a user types to an environment that can be guarded; and whole runs of the command."""

import json
import textwrap

import gymnasium as gym
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from heed.cli.guard import run as run_command
from heed.errors import HeedError
from heed.guard.run.config import job_of
from heed.guard.run.environment import AtCatastrophe, drawing, need_of_blocking, surroundings, true_world
from heed.guard.run.train import train_guard
from heed.worlds import registered_oracle
from heed.worlds.point_hazard.geometry import Hazards, brake

SMALL = {
    "steps": 260, "oversight_steps": 160, "learning_starts": 50, "batch_size": 16, "hidden": 16, "dynamics_hidden": 16,
    "evaluation_episodes": 1, "eps": 0.4, "horizon": 5, "plan_samples": 16, "members": 2, "least_blocks": 1,
    "particles": 1, "refit_on_catastrophe": False, "models.blockers.updates": 300, "models.dynamics.updates": 300,
}  # fmt: skip
MINE = textwrap.dedent(
    """
    import gymnasium as gym
    import numpy as np

    class Walk(gym.Env):
        observation_space = gym.spaces.Box(-9, 9, (1,), np.float32)
        action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.x = np.zeros(1, np.float32)
            return self.x.copy(), {}

        def step(self, action):
            self.x = self.x + action
            return self.x.copy(), 0.0, False, bool(abs(self.x[0]) > 5), {}

    def far(observation, info):
        return bool(observation[0] > 1.5)

    def back(observation):
        return -1.0

    def brake(observations):
        return -np.sign(observations)

    if "mine_to_guard/Walk-v0" not in gym.registry:
        gym.register("mine_to_guard/Walk-v0", Walk)
    NOTHING = 3

    class Watcher:
        name = "watcher"

        def __init__(self, env):
            self.env = env

        def judge(self, proposal):
            from heed.oversight import Verdict

            return Verdict(bool(proposal.observation[0] + proposal.action[0] > 1.5))

        def reset(self, seed):
            pass
    """
)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine_to_guard.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "mine_to_guard"


def test_a_registered_environment_knows_its_catastrophe_its_brake_and_its_goal():
    place = surroundings("heed/PointHazard-v0", {"disc": 0.7})
    assert place.env.unwrapped.world.disc == 0.7
    states = torch.tensor([[0.0, 2.0, 0.5, -1.0], [3.0, 0.0, 0.0, 0.0]])
    assert torch.equal(place.brake(states), torch.from_numpy(brake(states.numpy(), Hazards())).float())
    assert place.goal(states).tolist() == [False, True]


def test_the_batched_brake_is_the_declared_safe_action_of_each_state():
    for name in ("LunarLander-v3", "CartPole-v1", "InvertedPendulum-v5", "heed/CliffGrid-v0"):
        place = surroundings(name)
        env, states = place.env, []
        observation, _ = env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(12):
            states.append(observation)
            observation, _, ended, _, _ = env.step(env.action_space.sample())
            if ended:
                observation, _ = env.reset()
        batched = place.brake(torch.from_numpy(np.array(states, np.float32)))
        for state, row in zip(states, batched, strict=True):
            single = place.safe_action(np.asarray(state, np.float32))
            if isinstance(env.action_space, gym.spaces.Discrete):
                assert int(row.argmax()) == int(single)
            else:
                low, high = env.action_space.low, env.action_space.high
                assert row.numpy() == pytest.approx(2 * (single - low) / (high - low) - 1, abs=1e-5)


def test_the_known_dynamics_are_the_worlds_own():
    env = surroundings("heed/PointHazard-v0").env
    step, danger = true_world(env)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=3)
    for _ in range(40):
        action = env.action_space.sample()
        following, reward = step(torch.from_numpy(observation)[None], torch.from_numpy(action)[None])
        observation, real, ended, _, info = env.step(action)
        assert following[0].numpy() == pytest.approx(observation, abs=1e-5)
        assert bool(danger(following)[0]) == info["catastrophe"]
        if ended:
            break
        assert float(reward) == pytest.approx(real, abs=1e-5)
    with pytest.raises(HeedError, match="true dynamics of CartPole-v1 are not known"):
        true_world(gym.make("CartPole-v1"))


def test_blocking_is_needless_exactly_where_the_brake_still_suffices():
    need_of = need_of_blocking(surroundings("heed/PointHazard-v0").env)
    # Full speed towards the disc's left edge at x = -.5: the brake takes 1.05 after the step that is judged.
    for x, needless, needed in ((-1.9, True, False), (-1.6, False, False), (-0.9, False, True)):
        need = need_of([x, 0.25, 1.5, 0.0], [1.0, 0.0])  # the second: too late to brake, in time to swerve
        assert (need.needless, need.needed) == (needless, needed)
        braked = x + 0.15 + 1.05  # one step at full speed, then braking
        inside = abs(braked) < 0.5
        assert need.spare == pytest.approx((-0.5 - braked) / 0.15, abs=1e-6) or inside
    within = need_of([2.0, 0.0, 1.0, 0.0], [1.0, 0.0]).spare  # the goal's edge at 2.4 ends it, on the way to 2.66
    assert (4 - 2.4) / 0.15 < within < (4 - 2.3) / 0.15
    assert need_of_blocking(gym.make("CartPole-v1")) is None


def test_a_users_own_environment_overseer_and_catastrophe_run_to_the_end(mine, tmp_path, capsys):
    flags = [f"--{name}={value}".lower() for name, value in SMALL.items()]
    own = [f"--env={mine}:Walk", f"--overseer={mine}:Watcher", f"--catastrophe={mine}:far", "--overseer-timeout=60"]
    run_command([*own, *flags, "--out", "run"])
    out = tmp_path / "run"
    rows = pq.read_table(out / "decisions.parquet").to_pylist()
    summary = json.loads((out / "summary.json").read_text())
    assert len(rows) == 260 == summary["env_steps"] and summary["completed"] and summary["kind"] == "guard"
    assert [r["phase"] for r in rows[:160]] == ["oversight"] * 160
    assert summary["interventions"] == sum(r["decision"] == "block" for r in rows)
    assert summary["catastrophes"]["oversight"] == sum(r["catastrophe"] for r in rows if r["phase"] == "oversight") == 0
    assert summary["judgements"] == sum(r["asked"] for r in rows) >= 160
    assert {"return_mean", "return_guarded", "catastrophes_guarded", "decision_ms", "plan_ms"} <= set(summary)
    assert "return_unguarded" not in summary  # a watcher of the user's own may be a person, and the robot real
    assert capsys.readouterr().out.strip() == "run/report.html"


def test_a_declared_safe_action_is_taken_and_where_it_takes_many_observations_it_is_the_brake(mine):
    own = {"catastrophe": f"{mine}:far"}
    states = torch.tensor([[0.5], [-2.0]])
    braking = surroundings(f"{mine}:Walk", safe_action=f"{mine}:brake", **own)
    assert braking.safe_action(np.array([0.5], np.float32)).tolist() == [-1.0]
    assert braking.brake(states).tolist() == [[-1.0], [1.0]]
    single = surroundings(f"{mine}:Walk", safe_action=f"{mine}:back", **own)
    assert single.safe_action(np.zeros(1)) == -1.0 and single.brake is None
    assert surroundings(f"{mine}:Walk", **own).safe_action is None
    over = surroundings("heed/PointHazard-v0", safe_action=f"{mine}:back")  # over the oracle's own
    assert over.safe_action(np.zeros(4)) == -1.0 and over.brake is None
    with pytest.raises(HeedError, match=rf"{mine}:NOTHING is no function \(--safe-action {mine}:NOTHING\)"):
        surroundings(f"{mine}:Walk", safe_action=f"{mine}:NOTHING", **own)


def test_what_a_catastrophe_costs_and_whether_it_ends_the_episode_is_said_and_set(mine):
    for cost, reward, ended, words in (
        (None, -5.0, True, "a catastrophe adds -5 to the reward and ends the episode"),
        (AtCatastrophe(-2.5), -2.5, True, "a catastrophe adds -2.5 to the reward and ends the episode"),
        (AtCatastrophe(0, ends=False), 0.0, False, "a catastrophe leaves the reward as it is and the episode goes on"),
    ):
        place = surroundings(f"{mine}:Walk", catastrophe=f"{mine}:far", at_catastrophe=cost)
        place.env.reset()
        place.env.step(np.ones(1, np.float32))
        _, paid, terminated, _, info = place.env.step(np.ones(1, np.float32))
        assert (paid, terminated, info["catastrophe"], place.at_catastrophe) == (reward, ended, True, words)
    own = surroundings("heed/PointHazard-v0", at_catastrophe=AtCatastrophe())
    assert own.at_catastrophe == "a catastrophe costs and ends what heed/PointHazard-v0 itself says"
    with pytest.raises(HeedError, match=r"itself says .* \(--catastrophe-reward, --catastrophe-ends\)"):
        surroundings("heed/PointHazard-v0", at_catastrophe=AtCatastrophe(-1))


def test_an_id_that_names_the_module_which_registers_it_is_made(mine, tmp_path):
    place = surroundings(f"{mine}:mine_to_guard/Walk-v0", catastrophe=f"{mine}:far")
    assert type(place.env.unwrapped).__name__ == "Walk" and place.env.reset(seed=0)[0].tolist() == [0.0]
    with pytest.raises(HeedError, match=r"cannot import 'nowhere': there is no such module \(--env nowhere:Walk-v0\)"):
        surroundings("nowhere:Walk-v0")
    (tmp_path / "raises_on_import.py").write_text("raise ValueError('no GPU here')")
    with pytest.raises(HeedError, match=r"importing 'raises_on_import' raised ValueError: no GPU here in raises_on"):
        surroundings("raises_on_import:Walk-v0")
    assert drawing(f"{mine}:mine_to_guard/Walk-v0") == {}


@pytest.mark.parametrize("method", ["none", "hirl", "hirl-plan", "look-brake", "mbhi", "mbhi-true"])
def test_every_method_runs_on_point_hazard(method, tmp_path):
    summary = train_guard(job_of({**SMALL, "method": method, "overseer": "far-sighted"}), tmp_path / "run")
    assert summary["env_steps"] == 260 and summary["method"] == method
    rows = pq.read_table(tmp_path / "run" / "decisions.parquet").to_pylist()
    assert ("return_guarded" in summary) == (method != "none") and "return_unguarded" in summary
    returns = summary["returns_unguarded"]
    assert len(returns) == summary["evaluation_episodes"]
    assert np.mean(returns) == pytest.approx(summary["return_unguarded"])
    if method == "none":
        assert summary["interventions"] == 0 and summary["autonomy_steps"] == 100  # the same steps as the others'
    else:
        assert summary["catastrophes"]["oversight"] == 0  # a far-sighted overseer lets nothing happen
        assert all(not r["needless"] for r in rows[:160] if r["decision"] == "block")
    if method in ("hirl", "look-brake"):
        assert all(r["source"] in ("policy", "blocker") for r in rows)


@pytest.mark.parametrize(
    ("name", "kwargs", "wrong"),
    [
        ("heed/PointHazard-v0", {"dsic": 0.7}, r"there is no 'dsic' \(heed/PointHazard-v0\): its numbers are .*disc"),
        ("heed/PointHazard-v0", {"disc": "wide"}, "heed/PointHazard-v0 cannot be made: "),
        ("heed/CliffGrid-v0", {"wind": 1}, "heed/CliffGrid-v0 cannot be made: .*unexpected keyword argument 'wind'"),
        ("LunarLander-v3", {"wnd": 1}, "LunarLander-v3 cannot be made: .*unexpected keyword argument 'wnd'"),
        ("CartPole-v1", {"wind": 1}, "CartPole-v1 cannot be made: .*unexpected keyword argument 'wind'"),
        ("mine_to_guard:Walk", {"wind": 1}, r"making mine_to_guard:Walk raised TypeError: .*\(--env mine_to_guard"),
    ],
)
def test_a_setting_that_an_environment_does_not_have_is_one_line(mine, name, kwargs, wrong):
    with pytest.raises(HeedError, match=wrong) as refused:
        surroundings(name, kwargs)
    assert "\n" not in str(refused.value)


def test_what_gymnasium_itself_takes_may_stand_beside_the_settings_of_a_world():
    place = surroundings("heed/PointHazard-v0", {"disc": 0.7, "max_episode_steps": 3})
    place.env.reset(seed=0)
    assert [place.env.step(np.zeros(2))[3] for _ in range(3)] == [False, False, True]
    assert place.env.unwrapped.world.disc == 0.7 and registered_oracle(place.name, max_episode_steps=3) is not None


def test_bad_input_is_one_line(mine):
    cases = {
        ("heed/Nowhere-v0", None): "cannot be made",
        ("mine_to_guard:Nobody", None): "has no 'Nobody'",
        ("Acrobot-v1", None): "nothing says what a catastrophe is",
        ("Acrobot-v1", "mine_to_guard"): "is not of the form module:name",
    }
    for (name, rule), wrong in cases.items():
        with pytest.raises(HeedError, match=wrong):
            surroundings(name, catastrophe=rule)
    with pytest.raises(HeedError, match="no method"):
        train_guard(job_of({"method": "magic"}), mine)
    with pytest.raises(HeedError, match="no setting"):
        job_of({"horizn": 3})
    with pytest.raises(HeedError, match="true dynamics of CartPole-v1 are not known"):
        train_guard(job_of({"env": "CartPole-v1", "overseer": "rule", "method": "mbhi-true"}), mine)

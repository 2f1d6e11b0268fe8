"""Bad input and faults of a guarded run: one clear line, what was gathered is kept, and no action passes unjudged."""

import json
import logging
import sys
import textwrap
from pathlib import Path

import gymnasium as gym
import numpy as np
import pyarrow.parquet as pq
import pytest
from guard_worlds import CartEnv

from heed.cli import main
from heed.errors import HeedError, RunFailed
from heed.guard.decision_log import DecisionLog
from heed.guard.guard import Guard
from heed.guard.intervention import Overseen
from heed.guard.learners.sb3 import GuardedSAC
from heed.guard.models.transitions import Transitions
from heed.guard.run.build import build
from heed.guard.run.config import job_of
from heed.guard.run.env_checks import EnvironmentChecks
from heed.guard.run.train import train_guard
from heed.oversight import RuleOverseer, Store

SMALL = {
    "env": "faulty:Walk", "overseer": "faulty:Never", "catastrophe": "faulty:far", "steps": 60, "oversight_steps": 40,
    "learning_starts": 1000, "hidden": 16, "evaluation_episodes": 0, "dynamics_hidden": 16, "members": 2,
    "particles": 1, "horizon": 3, "plan_samples": 16, "eps": 0.4,
    "models.blockers.updates": 100, "models.dynamics.updates": 100,
}  # fmt: skip
FAULTY = """
import threading
import gymnasium as gym
import numpy as np
from heed.oversight import Verdict

class Walk(gym.Env):
    observation_space = gym.spaces.Box(-9, 9, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    episode = -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.taken, self.episode = np.zeros(1, np.float32), 0, self.episode + 1
        return self.x.copy(), {}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action, np.float32)), action
        self.x, self.taken = np.clip(self.x + action, -9, 9).astype(np.float32), self.taken + 1
        return self.x.copy(), 0.0, False, self.taken == 10, {}

class Breaks(Walk):  # in the fourth step of its third episode
    def broken(self):
        return self.episode == 2 and self.taken == 4

class Four(Walk):  # as old gym had it
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, info

class Six(Walk):  # as safety-gymnasium has it
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, 1.0, terminated, truncated, info

class Bare(Walk):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]

class Unseeded(Walk):
    def reset(self):
        return super().reset()

class Raises(Breaks):
    def step(self, action):
        result = super().step(action)
        if self.broken():
            raise ConnectionError("the motor is off" + chr(10) + "and more")
        return result

class Loses(Breaks):
    def step(self, action):
        result = super().step(action)
        return (self.x * np.nan, *result[1:]) if self.broken() else result

class Shrinks(Breaks):
    def step(self, action):
        result = super().step(action)
        return (np.zeros(3), *result[1:]) if self.broken() else result

class Pays(Breaks):
    def step(self, action):
        result = super().step(action)
        return (result[0], float("inf"), *result[2:]) if self.broken() else result

class Sticks(Walk):
    def reset(self, **how):
        result = super().reset(**how)
        if self.episode == 2:
            raise OSError("no way back")
        return result

class Named(Walk):
    observation_space = gym.spaces.Dict({"x": gym.spaces.Box(-9, 9, (1,))})

class Pictures(Walk):
    observation_space = gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)

class Table(Walk):
    observation_space = gym.spaces.Box(-9, 9, (2, 2))

class Endless(Walk):
    action_space = gym.spaces.Box(-np.inf, np.inf, (1,))

def far(observation, info):
    return False

def full_back(observation):
    return np.array([-1.0])

def fails(observation, info):
    return info["absent"]

class Never:
    name = "never"
    def __init__(self, env): pass
    def judge(self, proposal): return Verdict(False)
    def reset(self, seed): pass

class Always(Never):
    def judge(self, proposal): return Verdict(True)

class Half(Never):
    def judge(self, proposal): return Verdict(proposal.step % 2 == 0)

class Angry(Never):
    def judge(self, proposal): raise RuntimeError("ask somebody else")

class Asleep(Never):
    def judge(self, proposal): threading.Event().wait(10)

class Away(Never):
    def reset(self, seed): raise RuntimeError("no person is here")

def nobody(env): raise RuntimeError("no person is here")
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The current folder, with a module of environments and overseers of its own name in it."""
    (tmp_path / "faulty.py").write_text(textwrap.dedent(FAULTY))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("faulty", None)
    yield tmp_path
    sys.modules.pop("faulty", None)


@pytest.fixture
def refused(capsys):
    """Types a command that must end with a code and one line."""

    def type_in(code, **changes):
        flags = [f"--{name}={value}" for name, value in (SMALL | changes).items() if value is not None]
        level = logging.getLogger("heed").level
        with pytest.raises(SystemExit) as ended:
            main(["guard", *flags, "--out", "run"])
        logging.getLogger("heed").setLevel(level)
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines() if line.startswith("heed: error: ")]
        assert (ended.value.code, out, len(lines)) == (code, "", 1), err
        assert "Traceback" not in err
        return lines[0].removeprefix("heed: error: ")

    return type_in


def run(**changes):
    summary = train_guard(job_of(SMALL | changes), Path("run_of_code"))
    return summary, pq.read_table("run_of_code/decisions.parquet").to_pylist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": "faulty:Named"}, ["Dict observations", "a Box of one dimension is supported", "FlattenObservation"]),
        ({"env": "faulty:Pictures"}, ["pictures need an encoder"]),
        ({"env": "faulty:Table"}, ["FlattenObservation"]),
        ({"env": "faulty:Endless"}, ["cannot act in Box(-inf, inf", "with the bounds that its actions have"]),
        ({"env": "Acrobot-v1", "catastrophe": None}, ["nothing says what a catastrophe is", "module:function"]),
        ({"overseer": "faulty:Away"}, ["never cannot start: it raised: RuntimeError: no person is here"]),
        ({"overseer": "faulty:nobody"}, ["making the overseer 'faulty:nobody' raised RuntimeError: no person is here"]),
        ({"overseer_timeout": 0}, ["overseer_timeout is 0 (--overseer-timeout): give a number above 0"]),
        ({"steps": 0}, ["steps is 0 (--steps): give at least 1"]),
    ],
)
def test_what_no_run_can_begin_with_is_one_line_and_leaves_no_folder(refused, here, changes, message):
    error = refused(2, **changes)
    assert all(words in error for words in message), error
    assert not (here / "run").exists()


@pytest.mark.parametrize(
    ("env", "message", "kept"),
    [
        ("Raises", "faulty:Raises failed in step 4 of episode 3: ConnectionError: the motor is off;", 23),
        ("Loses", "faulty:Loses gave the observation [nan] in step 4 of episode 3;", 23),
        ("Shrinks", "faulty:Shrinks gave an observation of the shape [3], not [1], in step 4 of episode 3;", 23),
        ("Pays", "faulty:Pays gave the reward inf in step 4 of episode 3;", 23),
        ("Sticks", "faulty:Sticks failed in the reset of episode 3: OSError: no way back;", 20),
    ],
)
def test_an_environment_that_fails_ends_the_run_in_words_and_what_was_gathered_is_kept(
    refused, here, env, message, kept
):
    error = refused(1, env=f"faulty:{env}", overseer="faulty:Half")
    assert error.startswith(message) and "what was gathered so far is in run" in error
    rows = pq.read_table("run/decisions.parquet").to_pylist()
    assert [row["step"] for row in rows] == list(range(kept)) and all(row["asked"] for row in rows)
    judged = Store("sqlite:///run/judgements.db").effective(kind="block")
    assert len(judged) == (kept + 1 if kept == 23 else kept)  # the last one was judged, and led to the fault
    assert [judgement.verdict["block"] for judgement in judged][:kept] == [row["decision"] == "block" for row in rows]
    assert len(Transitions.load("run/transitions.npz")) == kept
    assert json.loads((here / "run" / "summary.json").read_text())["completed"] is False


@pytest.mark.parametrize(
    ("env", "at"), [("Four", "step 1"), ("Six", "step 1"), ("Bare", "the reset"), ("Unseeded", "the reset")]
)
def test_an_environment_of_another_interface_is_named_as_one_with_what_to_do(refused, env, at):
    error = refused(2, env=f"faulty:{env}")
    assert error.startswith(f"faulty:{env} does not follow Gymnasium 1.x: ") and f"{at} of episode 1 (--env): " in error
    assert "step (observation, reward, terminated, truncated, info)" in error and "SafetyGymnasium2Gymnasium" in error


def test_where_no_safe_action_is_declared_it_is_said_before_the_first_step(caplog):
    declared = "faulty:full_back"
    for safe_action, warned in ((None, True), (declared, False)):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="heed"):
            made = build(job_of({**SMALL, "safe_action": safe_action}))
        assert ("no safe action is declared" in caplog.text) == warned and not made.log.rows
        assert "a catastrophe adds -5 to the reward and ends the episode" in caplog.text
    made.guard.reset(seed=0)
    made.guard.intervention = Overseen(RuleOverseer(lambda observation, info: True))
    assert made.guard.step(np.ones(1, np.float32))[4]["guard"]["executed"].tolist() == [-1.0]


def test_a_catastrophe_rule_that_fails_is_a_fault_of_the_environment(refused):
    error = refused(1, catastrophe="faulty:fails")
    assert error.startswith("faulty:Walk failed in step 1 of episode 1: KeyError: 'absent'")


def test_a_budget_that_is_spent_before_autonomy_keeps_what_was_gathered(refused):
    error = refused(2, most_judgements=15)
    assert "the 15 judgements are spent" in error and error.endswith("what was gathered so far is in run")
    assert len(pq.read_table("run/decisions.parquet")) == 15


def test_a_learner_that_fails_ends_the_run_in_words(refused, monkeypatch):
    def train(learner, *args, **kwargs):
        raise ValueError("Expected parameter loc to be real")

    monkeypatch.setattr(GuardedSAC, "train", train)
    error = refused(1, learning_starts=30)
    assert "failed: ValueError: Expected parameter loc to be real; what was gathered so far is in run" in error
    assert len(pq.read_table("run/decisions.parquet")) == 31


def test_a_full_disk_loses_one_file_and_not_the_others(refused, monkeypatch):
    def full(log, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DecisionLog, "write", full)
    assert refused(1, checkpoint_every=0).startswith("run could not be written: No space left on device")
    assert len(Transitions.load("run/transitions.npz")) == 60
    assert Store("sqlite:///run/judgements.db").count() == 60


def test_an_overseer_that_never_blocks_never_hands_over_and_says_why(caplog):
    with caplog.at_level(logging.INFO, logger="heed"):
        summary, rows = run(least_blocks=0)
    assert summary["handed_over_at"] is None and all(row["phase"] == "oversight" for row in rows)
    assert "0 blocks and 40 other judgements: blockers need two of each at least" in caplog.text


def test_an_overseer_that_blocks_everything_never_hands_over_and_says_why(caplog):
    with caplog.at_level(logging.INFO, logger="heed"):
        summary, rows = run(overseer="faulty:Always", steps=41)
    assert summary["handed_over_at"] is None and all(row["executed"] == [0.0] for row in rows)
    assert "an overseer that blocks everything teaches nothing" in caplog.text


def test_too_few_blocks_for_the_promise_say_what_they_are_enough_for(caplog):
    with caplog.at_level(logging.INFO, logger="heed"):
        summary, _ = run(overseer="faulty:Half", eps=0.01, gate=0.1, needless=1.0)  # so few steps bound no .15
    assert summary["handed_over_at"] == 60  # half as long again as was asked
    assert "the smallest promise from so many is 4.8%" in caplog.text.replace("\n", " ")
    assert "too little was met to bound misses at 10% and needless blocks at 100%" in caplog.text


@pytest.mark.parametrize(("overseer", "why"), [("Angry", "raised"), ("Asleep", "hung")])
def test_an_overseer_that_fails_lets_nothing_pass(caplog, overseer, why):
    with caplog.at_level(logging.WARNING):
        summary, rows = run(overseer=f"faulty:{overseer}", overseer_timeout=0.05)
    assert {(row["decision"], row["source"], row["asked"]) for row in rows} == {("block", "fallback", False)}
    assert all(row["executed"] == [0.0] for row in rows)
    assert summary["faults"] == {"the overseer never failed: the action is blocked": 60}
    assert summary["judgements"] == Store("sqlite:///run_of_code/judgements.db").count() == 0
    assert sum(why in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("proposed", [np.nan, np.inf, 5.0])
def test_a_policy_that_proposes_no_action_executes_none_of_it(monkeypatch, proposed):
    def sample(learner, learning_starts, action_noise=None, n_envs=1):
        action = np.full((n_envs, 1), proposed, np.float32)
        return action, action

    monkeypatch.setattr(GuardedSAC, "_sample_action", sample)
    summary, rows = run(learning_starts=20)
    assert {(row["decision"], row["asked"]) for row in rows} == {("block", False)}
    assert all(row["executed"] == [0.0] for row in rows)
    ((fault, count),) = summary["faults"].items()
    assert count == 60 and "not finite or not in the space" in fault
    assert summary["judgements"] == 0


class LosesItself(CartEnv):
    """Its second step shows numbers that are none; afterwards it is well again."""

    taken = 0

    def step(self, action):
        result = super().step(action)
        self.taken += 1
        return (result[0] * np.nan, *result[1:]) if self.taken == 2 else result


def test_after_an_observation_that_is_no_number_the_action_is_blocked_whatever_the_overseer_says(caplog):
    overseer = RuleOverseer(lambda observation, info: False)
    env = Guard(LosesItself(), overseer, safe_action=lambda observation: np.array([-1.5], np.float32))
    env.reset(seed=0)
    with caplog.at_level(logging.WARNING):
        infos = [env.step(np.array([2.0], np.float32))[4]["guard"] for _ in range(4)]
    assert [info["decision"] for info in infos] == ["allow", "allow", "block", "allow"]
    assert (infos[2]["source"], infos[2]["executed"].tolist(), infos[2]["asked"]) == ("fallback", [-1.5], False)
    assert sum("not finite" in record.message for record in caplog.records) == 1


def test_a_safe_action_that_fails_gives_way_to_the_centre_of_the_box():
    def raises(observation):
        raise ZeroDivisionError("no speed")

    env = Guard(CartEnv(), RuleOverseer(lambda observation, info: True), safe_action=raises)
    env.reset(seed=0)
    info = env.step(np.array([2.0], np.float32))[4]["guard"]
    assert (info["decision"], info["executed"].tolist()) == ("block", [0.0])
    assert any("ZeroDivisionError: no speed" in fault for fault in env.faults)


def test_an_environment_in_code_stops_in_words_and_keeps_its_own_error_as_the_cause(here):
    import faulty

    env = EnvironmentChecks(faulty.Raises(), "my robot")
    for _ in range(2):
        env.reset()
    env.reset(seed=0)
    for _ in range(3):
        assert np.isfinite(env.step(np.array([0.5], np.float32))[0]).all()
    with pytest.raises(RunFailed, match="my robot failed in step 4 of episode 3: ConnectionError: the motor") as stop:
        env.step(np.array([0.5], np.float32))
    assert isinstance(stop.value.__cause__, ConnectionError)


def test_an_episode_is_counted_on_from_a_checkpoint_which_counts_from_0_as_files_do(here):
    import faulty

    env = EnvironmentChecks(faulty.Raises(), "my robot")
    assert env.kept() == {"episode": -1, "step": 0}
    env.reset(seed=0)
    env.step(np.array([0.5], np.float32))
    assert env.kept() == {"episode": 0, "step": 1}
    env.restore({"episode": 7, "step": 3})
    assert env.kept() == {"episode": 7, "step": 3}
    env.env.episode, env.env.taken = 2, 3
    with pytest.raises(RunFailed, match="my robot failed in step 4 of episode 8: "):
        env.step(np.array([0.5], np.float32))


def test_what_is_the_users_to_mend_stays_so():
    env = EnvironmentChecks(gym.make("heed/PointHazard-v0"), "point")
    with pytest.raises(HeedError, match="no episode starts at"):
        env.reset(options={"state": [0.0]})

"""A guard that is saved and loaded is the same guard, in a process that knows of no learner."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from cart_phases import drive, run_of
from kept_runs import Ledge, Steps, decisions, surroundings, trained

from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.intervention import AskWhenUnsure, Off, Shadow
from heed.guard.models.config import FitConfig, ModelsConfig
from heed.guard.models.support import Range
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.config import PlanningConfig
from heed.guard.vector_guard import VectorGuard
from heed.oversight.overseers.base import Verdict

HERE = Path(__file__).parents[1]
ELSEWHERE = """
import json, sys
sys.modules["stable_baselines3"] = None  # the import of it fails
import torch
torch.set_num_threads(1)
from heed.guard import Guard
from kept_runs import decisions, surroundings
guard = Guard.load(sys.argv[1], surroundings())
told = decisions(guard, guard.policy.predict, int(sys.argv[2]))
beyond = {"pyarrow", "sqlalchemy", "yaml", "tensorboard", "matplotlib", "rich", "jsonargparse"} & set(sys.modules)
print(json.dumps([told, sorted(beyond)]))
"""


@pytest.fixture(scope="module")
def run():
    return trained()


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    place = tmp_path_factory.mktemp("kept") / "guard"
    run.guard.save(place)
    return place


def same(one, other):
    """Whether two states are one to the last bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and np.array_equal(
            one.numpy(), other.numpy(), equal_nan=one.is_floating_point()
        )
    return same(vars(one), vars(other)) if isinstance(one, Range) else one == other


def copied(folder, to):
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_a_guard_decides_the_same_a_thousand_times_in_a_process_without_the_learners_packages(run, folder):
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(folder), "1000"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{HERE}:{':'.join(sys.path)}", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    told, beyond = json.loads(done.stdout.splitlines()[-1])
    assert beyond == []
    here = decisions(run.guard, lambda seen: run.learner.predict(seen, deterministic=True)[0], 1000)
    assert told == here
    assert {"'block'", "'allow'"} <= {row[2] for row in told}  # and it had something to decide


def test_all_of_the_models_comes_back(run, folder):
    loaded = Guard.load(folder, surroundings())
    there, here = run.phases.models, loaded.intervention.looking.parts.models
    assert vars(there).keys() == vars(here).keys()
    assert same(here.state(), there.state())
    left_out = {
        "learnt",
        "blockers",
        "judge",
        "value",
        "termination",
        "generator",
        "unseen",
        "reach",
        "belief",
    }  # as above
    left_out |= {"constants", "controllers", "look"}  # of further fits, which a loaded guard makes none of
    for name in vars(there).keys() - left_out:
        assert getattr(here, name) == getattr(there, name), name


def test_a_loaded_guard_is_saved_again_as_it_was(folder, tmp_path):
    Guard.load(folder, surroundings()).save(tmp_path / "again")
    assert (tmp_path / "again" / "guard.json").read_text() == (folder / "guard.json").read_text()
    assert (tmp_path / "again" / "guard.safetensors").read_bytes() == (folder / "guard.safetensors").read_bytes()


def test_a_folder_that_is_no_whole_guard_is_refused_in_a_line(folder, tmp_path):
    with pytest.raises(HeedError, match=r"there is no saved guard \(.*absent\): give a folder that Guard.save wrote"):
        Guard.load(tmp_path / "absent", surroundings())
    torn = copied(folder, tmp_path / "torn")
    content = bytearray((torn / "guard.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (torn / "guard.safetensors").write_bytes(content)
    with pytest.raises(HeedError, match=r"guard\.safetensors is damaged \(.*torn\): save the guard again"):
        Guard.load(torn, surroundings())
    (torn / "guard.safetensors").unlink()
    with pytest.raises(HeedError, match=r"guard\.safetensors is missing"):
        Guard.load(torn, surroundings())
    (torn / "manifest.json").write_text("{")
    with pytest.raises(HeedError, match=r"manifest\.json is damaged"):
        Guard.load(torn, surroundings())
    foreign = copied(folder, tmp_path / "foreign")
    manifest = json.loads((foreign / "manifest.json").read_text())
    manifest["format"], manifest["versions"]["heed"] = 7, "3.0.0"
    (foreign / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(HeedError, match=r"of format 7, and heed \S+ reads 1 \(.*\): load it with heed 3\.0\.0"):
        Guard.load(foreign, surroundings())


def test_an_environment_with_other_spaces_is_refused_in_a_line(folder):
    with pytest.raises(HeedError, match=r"saved for actions in Box\(-1.0, 1.0, \(1,\).*, here they are in Discrete"):
        Guard.load(folder, surroundings(Steps))
    with pytest.raises(HeedError, match=r"saved for observations in Box.*\(2,\)"):
        Guard.load(folder, gym.make("heed/PointHazard-v0"))


def test_code_that_the_oracle_does_not_say_is_asked_for_and_known_again(folder):
    class Mute(Ledge):
        oracle = None

    with pytest.raises(HeedError, match=r"stands on code that no oracle says here: brake, safe_action .*: give brake="):
        Guard.load(folder, Mute())
    known = {"safe_action": Ledge.oracle.safe_action, "brake": lambda states: (-5 * states[..., 1:]).clamp(-1, 1)}
    assert Guard.load(folder, Mute(), **known).policy is not None
    with pytest.raises(HeedError, match=r"the brake is not the one that this guard was saved with \(.*give brake="):
        Guard.load(folder, Mute(), **known | {"brake": lambda states: states[..., 1:].sign()})
    with pytest.raises(HeedError, match=r"saved without what is given: termination \(.*leave it out"):
        Guard.load(folder, surroundings(), termination=lambda states: states[..., 0] > 2)


def test_what_looks_ahead_nowhere_is_not_saved(tmp_path):
    guard = Guard(surroundings(), intervention=Off())
    with pytest.raises(HeedError, match=r"cannot be saved: nothing looks ahead yet .*once autonomy has begun"):
        guard.save(tmp_path / "guard")
    assert not (tmp_path / "guard").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(run, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(HeedError, match=r"holds something else than a guard .*choose another"):
        run.guard.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


QUICK = FitConfig(updates=60)
ASKING = PhasesConfig(oversight_steps=300, gate=1.0, needless=1.0, ask_above=0.1)


class Yes:
    name = "yes"

    def judge(self, proposal):
        return Verdict(block=False)

    def reset(self, seed):
        pass


def cart(mode="replace", phases=ASKING):
    models = ModelsConfig(
        members=3, dynamics_hidden=16, label_keys=(0,), eps=0.4, cap=0.9, dynamics=QUICK, blockers=QUICK
    )
    run = run_of(phases, PlanningConfig(horizon=4, particles=1, plan_samples=8), models, mode=mode)
    drive(run, 310)
    assert run.phases.handed_over_at is not None
    return run


def test_a_guard_that_asks_and_only_watches_does_so_again_and_wants_somebody_to_ask(tmp_path):
    run = cart("shadow")
    run.guard.save(tmp_path / "guard")
    own = run.phases.controllers
    code = {"policy": own.policy, "brake": own.brake, "safe_action": run.guard.situations[0].safe_action}
    env = run.guard.env
    with pytest.raises(HeedError, match=r"asks an overseer where it is unsure \(.*give overseer="):
        Guard.load(tmp_path / "guard", env, **code)
    with pytest.raises(HeedError, match=r"no oracle says here: brake, policy, safe_action"):
        Guard.load(tmp_path / "guard", env, overseer=Yes())
    loaded = Guard.load(tmp_path / "guard", env, overseer=Yes(), **code)
    assert isinstance(loaded.intervention, Shadow) and isinstance(loaded.intervention.inner.inner, AskWhenUnsure)
    assert loaded.intervention.inner.inner.unsure.above == 0.1


def test_many_environments_are_guarded_by_one_saved_guard(folder):
    envs = gym.vector.SyncVectorEnv([surroundings] * 2)
    many, one = VectorGuard.load(folder, envs), Guard.load(folder, surroundings())
    many.reset(seed=[5, 6])
    one.reset(seed=5)
    action = np.array([1.0], np.float32)
    told = many.step(np.stack([action, action]))[4]["guard"]
    assert one.step(action)[4]["guard"]["risk"] == told["risk"][0]

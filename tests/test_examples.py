"""The scripts in `examples/` run as they stand, small, and do what their first lines say."""

import contextlib
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from socket_person import SocketPerson

from heed.cli.align import run as align_command
from heed.guard import GuardedSAC, GuardJob, LearnerConfig, ModelsConfig, PhasesConfig, PlanningConfig, train_guard
from heed.guard.models import BatchConfig, FitConfig
from heed.oversight import Store
from heed.runs import read_yaml
from heed.worlds.apothecary import Apothecary

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
PATIENCE = 60.0


@pytest.fixture
def run_example(tmp_path, monkeypatch, capsys):
    """Runs a script as a reader does, in an empty folder; gives its names and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with torch.random.fork_rng():
            names = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return names, capsys.readouterr().out

    return run


def save_tiny_model(folder):
    world = Apothecary()
    world.model(seed=0, hidden=32, layers=1).save_pretrained(folder)
    world.tokenizer().save_pretrained(folder)


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text)]


def test_there_are_six_short_scripts_that_say_how_to_run_them():
    assert len(SCRIPTS) == 6
    for script in SCRIPTS:
        text = script.read_text()
        assert len(text.splitlines()) <= 60
        assert f"Run it: python examples/{script.name}" in text.split('"""')[1]


def test_both_losses_fall_though_one_is_fifty_times_larger(run_example):
    names, said = run_example("balance_losses")
    assert (names["end"] < 0.5 * names["start"]).all()
    (first, second) = said.splitlines()
    assert numbers(first)[0] < numbers(second)[0] / 20 and first.startswith("first loss: ")


def test_a_weighting_of_ones_own_serves_python_and_the_command_line(run_example, tmp_path, monkeypatch):
    names, said = run_example("own_weighting")
    shared = names["Even"](1.0)(torch.tensor([[4.0, 1.0], [1.0, 0.25]]))
    torch.testing.assert_close(shared, torch.tensor([0.25, 1.0]))
    assert len(said.splitlines()) == 3
    shutil.copy(EXAMPLES / "own_weighting.py", tmp_path)
    save_tiny_model(tmp_path / "base")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "cough ?"}\n')
    (tmp_path / "rewards.py").write_text("def length(completions, **_): return [float(len(c)) for c in completions]")
    monkeypatch.chdir(tmp_path)
    small = ["--steps", "1", "--prompts-per-step", "1", "--completions-per-prompt", "2", "--eval-prompts", "0"]
    own = ["--model", "base", "--data", "prompts.jsonl", "--max-completion-tokens", "4", "--out", "run"]
    objectives = ["--objectives", "more=rewards:length", "less=rewards:length,sign=-1"]
    align_command([*own, *objectives, "--method", "own_weighting:EvenConfig", "--power", "0.5", *small])
    config = read_yaml(tmp_path / "run" / "config.yaml")
    assert (config["method"], config["weighting"]) == ("own_weighting:EvenConfig", {"power": 0.5})
    taken = json.loads((tmp_path / "run" / "balance.jsonl").read_text())
    lengths = torch.tensor(taken["gram"]).diagonal().sqrt()
    torch.testing.assert_close(torch.tensor(taken["weights"]), lengths.clamp_min(1e-12).pow(-0.5) / 2)


def test_a_guard_hands_over_around_an_environment_and_a_learner_of_ones_own(run_example):
    names, said = run_example("guard_own_environment", "700")  # needless blocks are not known to be few any sooner
    phases, guard = names["phases"], names["guard"]
    assert phases.phase.value == "autonomy" and 350 <= phases.handed_over_at <= phases.steps
    audits = phases.labels.judgements - phases.handed_over_at  # one step in a hundred
    assert 0 <= audits <= 0.1 * (phases.steps - phases.handed_over_at)
    assert not guard.faults and names["falls"] == 0 and len(phases.reports) >= 2
    assert said.startswith("autonomy after 700 steps: best return ")


def test_a_person_at_the_page_is_asked_for_every_action_and_their_blocks_are_obeyed(tmp_path):
    script = [sys.executable, str(EXAMPLES / "person_as_overseer.py"), "6"]
    with subprocess.Popen(script, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        try:
            address = running.stdout.readline().rpartition(" ")[2].strip()
            ada = SocketPerson(address, blocks=lambda proposal: proposal["action"][0] > 0)
            said, _ = running.communicate(timeout=PATIENCE)
        finally:
            running.kill()
    ada.join(PATIENCE)
    blocked = [shown["action"][0] > 0 for shown in ada.proposals]
    assert len(blocked) == 6 and running.returncode == 0
    assert said.startswith(f"{sum(blocked)} of 6 actions were blocked")
    with contextlib.closing(Store(f"sqlite:///{tmp_path / 'judgements.db'}")) as store:
        assert [judgement.verdict["block"] for judgement in store.effective("block", "ada")] == blocked


def test_a_guard_is_deployed_from_its_run_folder_and_looks_ahead_without_asking(run_example, tmp_path):
    job = GuardJob(
        overseer="far-sighted",
        steps=360,
        seed=1,
        evaluation_episodes=0,
        learner=LearnerConfig(learning_starts=400, hidden=16),
        phases=PhasesConfig(oversight_steps=320, least_blocks=1, gate=1.0),
        planning=PlanningConfig(horizon=5, particles=1, plan_samples=16),
        models=ModelsConfig(
            members=2,
            dynamics_hidden=16,
            threshold="hirl",
            dynamics=FitConfig(updates=300),
            blockers=BatchConfig(updates=300, learning_rate=1e-2),
        ),
    )
    train_guard(job, tmp_path / "run")
    names, said = run_example("deploy", "guard", str(tmp_path / "run"), "5")
    lines = said.strip().splitlines()
    assert len(lines) == 5
    assert all(0 <= numbers(line)[0] <= 1 for line in lines)
    guard = names["guard"]
    assert guard.faults == {} and not names["told"]["asked"]
    trained = GuardedSAC.load(str(tmp_path / "run" / "learner.zip"))
    observation = guard.observation_space.sample()
    assert (trained.predict(observation, deterministic=True)[0] == guard.policy.predict(observation)).all()


def test_a_model_of_ones_own_is_aligned_and_its_adapter_deployed(run_example, tmp_path):
    save_tiny_model(tmp_path / "base")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "cough ?"}\n{"prompt": "fever ?"}\n')
    own = ["--model", "base", "--prompts", "prompts.jsonl", "--steps", "1", "--tokens", "6"]
    names, said = run_example("align_two_rewards", *own)
    assert [line.partition(":")[0] for line in said.splitlines()] == ["brevity", "herbs"]
    found, _ = run_example("deploy", "model", "balanced")
    trained = names["trainer"].policy.model.merge_and_unload().state_dict()
    deployed = found["model"].state_dict()
    assert trained.keys() == deployed.keys()
    assert all(torch.allclose(trained[name], deployed[name]) for name in trained)
    base = load_file(tmp_path / "base" / "model.safetensors")
    assert any(not torch.equal(base[name], deployed[name]) for name in base)

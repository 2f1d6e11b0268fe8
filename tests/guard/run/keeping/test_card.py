"""What a run saves beside its figures: the guard itself, and a card that says what it is worth."""

import json

import pytest
from kept_runs import decisions, small_job, surroundings

from heed.guard.guard import Guard
from heed.guard.run.train import train_guard


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, train_guard(small_job(), out)


def test_a_run_saves_its_guard_which_decides_without_the_run(made):
    out, _ = made
    guard = Guard.load(out / "guard", surroundings())
    told = decisions(guard, guard.policy.predict, 30)
    assert {row[3] for row in told} & {"'planner'", "'policy'"} and guard.faults == {}


def test_the_card_says_what_the_run_s_figures_say(made):
    out, summary = made
    card = (out / "guard" / "README.md").read_text()
    assert card.startswith("# A guard for kept_runs:Ledge\n")
    assert f"| judgements | {summary['judgements']} |" in card
    assert f"| autonomy | from step {summary['handed_over_at']} of 160 |" in card
    happened, steps = summary["catastrophes"]["autonomy"], summary["autonomy_steps"]
    assert f"| catastrophes in autonomy | {happened} in {steps} steps: between " in card
    promise, blocks = summary["fits"][-1]["promise"], summary["fits"][-1]["blocks"]
    assert promise is None or f"misses at most {promise:.1%} of blocks like the " in card
    assert blocks >= 2 and "with 95% confidence at most" in card
    assert f"| evaluation, guarded | {summary['catastrophes_guarded']:.0f} catastrophes in 1 episodes" in card
    versions = json.loads((out / "guard" / "manifest.json").read_text())["versions"]
    for name, version in versions.items():
        assert f"| {name} | {version} |" in card


def test_an_unguarded_run_saves_no_guard(tmp_path):
    train_guard(small_job(method="none", steps=20, evaluation_episodes=0), tmp_path / "run")
    assert not (tmp_path / "run" / "guard").exists()

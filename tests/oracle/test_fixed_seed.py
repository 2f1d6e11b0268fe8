"""Behaviour stays: fixed-seed runs of this tree against those of an earlier one, and against a small recorded slice."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from fixed_seed import RUNS, differences, record

from heed.guard import GuardJob, LearnerConfig, ModelsConfig, PhasesConfig, PlanningConfig
from heed.guard.run.build import build

ROOT = Path(__file__).parents[2]
SLICE = Path(__file__).with_name("slice.json")
STEPS = 260


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_run_is_the_same_to_the_last_bit_as_before(tmp_path):
    """Before is the revision that HEED_ORACLE names; without it, the last commit."""
    revision = os.environ.get("HEED_ORACLE", "HEAD")
    before = tmp_path / "tree"
    subprocess.run(["git", "worktree", "add", "--detach", str(before), revision], cwd=ROOT, check=True)
    try:
        record(tmp_path / "before", before / "src")
        record(tmp_path / "after", ROOT / "src")
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(before)], cwd=ROOT, check=True)
    assert differences(tmp_path / "before", tmp_path / "after") == {name: [] for name in RUNS}


def slice_of_decisions():
    """Decisions of a guard with the world's own dynamics and catastrophes, before a learner that only explores.

    Nothing in it is learnt, so that what another processor rounds otherwise cannot grow: it is the same everywhere but
    for the last digits.
    """
    torch.set_num_threads(1)
    job = GuardJob(
        method="mbhi-true",
        steps=STEPS,
        seed=11,
        learner=LearnerConfig(learning_starts=STEPS),
        phases=PhasesConfig(oversight_steps=60, refit_every=10_000, audit=0.0),
        models=ModelsConfig(beyond=False),
        planning=PlanningConfig(plan_samples=16, plan_iterations=2, horizon=15, block_when="policy_fails", release=0.5),
    )
    run = build(job)
    run.learner.learn(STEPS)
    kept = ("phase", "decision", "source", "first_unsafe", "feasible", "catastrophe", "needless", "needed")
    return [
        {name: row[name] for name in kept} | {"executed": [round(x, 4) for x in row["executed"]]}
        for row in run.log.rows
    ]


def test_a_guard_with_nothing_to_learn_decides_as_it_did():
    expected, found = json.loads(SLICE.read_text()), slice_of_decisions()
    assert len(found) == len(expected) == STEPS
    for number, (row, was) in enumerate(zip(found, expected, strict=True)):
        assert {name: row[name] for name in was if name != "executed"} == {
            name: value for name, value in was.items() if name != "executed"
        }, f"step {number}"
        assert row["executed"] == pytest.approx(was["executed"], abs=2e-3), f"step {number}"
    assert sum(row["decision"] == "block" for row in expected) == 15

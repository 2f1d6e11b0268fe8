"""A fit beside the run: nothing waits for it, nothing later gets into it, and a checkpoint begins it again."""

import threading
from dataclasses import replace

import pytest
import torch
from cart_phases import CONFIG, drive, run_of

from heed.guard.intervention import Beside, Lookahead, Overseen
from heed.guard.models.models import Models
from heed.guard.phases import Phase

BESIDE = replace(CONFIG, background=True)


@pytest.fixture
def held(monkeypatch):
    """Fits that wait until they are let go; what they were fitted to."""
    go, fit, told = threading.Event(), Models.fit, []

    def waiting(models, experience, dynamics=True):
        told.append((experience, dynamics))
        assert go.wait(60)
        return fit(models, experience, dynamics)

    monkeypatch.setattr(Models, "fit", waiting)
    yield go, told
    go.set()


def let_go(run, go):
    """Let the fit that runs end, and wait until it has."""
    go.set()
    run.phases.refits.join()
    go.clear()


def test_no_step_waits_for_a_fit_and_the_next_step_takes_it_over(held):
    go, told = held
    run = drive(run_of(BESIDE), 450)
    assert run.phases.refits.running and not run.phases.reports and isinstance(run.strategy, Overseen)
    let_go(run, go)
    assert isinstance(run.strategy, Overseen)  # in force from the next step on
    assert isinstance(drive(run, 1).strategy, Beside) and not run.phases.refits.running
    first, _ = told[0]
    assert len(first.transitions) == 300 and len(run.phases.labels.transitions) == 451
    assert 300 <= len(first.labels().blocked) < 320 <= len(run.phases.labels.labels().blocked)


def test_decisions_of_autonomy_are_the_old_fits_until_the_new_one_is_there(held):
    go, _ = held
    go.set()
    run = run_of(replace(BESIDE, oversight_steps=60, gate=1.0, needless=1.0))
    while run.phases.phase is Phase.OVERSIGHT:
        drive(run, 1)
    go.clear()
    before, threshold, reports = run.strategy, run.phases.models.threshold, len(run.phases.reports)
    run.phases.refit()
    assert drive(run, 20).strategy is before and isinstance(before, Lookahead)
    assert run.phases.models.threshold == threshold and len(run.phases.reports) == reports
    let_go(run, go)
    assert drive(run, 1).strategy is not before and len(run.phases.reports) == reports + 1


def test_a_checkpoint_amid_a_fit_begins_it_again(held):
    go, told = held
    run = drive(run_of(BESIDE), 310)
    state = run.phases.state()
    other = run_of(BESIDE)
    other.phases.restore(state)
    assert state["fitting"] is True and other.phases.refits.running and len(told) == 2
    let_go(other, go)
    go.set()
    run.phases.refits.join()


def test_what_breaks_in_a_fit_is_raised_where_it_is_taken(monkeypatch):
    def broken(models, experience, dynamics=True):
        raise RuntimeError("no such operator")

    run = run_of(BESIDE)
    monkeypatch.setattr(Models, "fit", broken)
    with pytest.raises(RuntimeError, match="no such operator"):
        drive(run, 400)
        run.phases.refits.join()
        drive(run, 1)


def test_a_refit_that_is_asked_for_amid_oversight_and_fails_is_a_fault_and_moves_nothing(monkeypatch):
    def nothing(models, experience, dynamics=True):
        raise ValueError("no blocks at all")

    run = drive(run_of(), 320)
    before, due = run.strategy, run.phases.next_fit
    monkeypatch.setattr(Models, "fit", nothing)
    run.phases.refit()
    assert run.guard.faults == {"a refit failed (no blocks at all): the models stay as they were": 1}
    assert run.strategy is before and run.phases.next_fit == due and len(run.phases.reports) == 1


def test_a_snapshot_does_not_grow_and_may_be_added_to_apart():
    labels = drive(run_of(), 40).phases.labels
    before = labels.snapshot()
    kept = before.transitions.tensors().states.clone()
    run = before.transitions
    run.add(kept[0].numpy(), torch.zeros(1).numpy(), kept[1].numpy(), 0.0)
    assert len(labels.transitions) == 40 and len(run) == 41
    labels.transitions.add(kept[5].numpy(), torch.ones(1).numpy(), kept[6].numpy(), 1.0)
    assert float(run.tensors().rewards[40]) == 0.0 and float(labels.transitions.tensors().rewards[40]) == 1.0
    assert torch.equal(labels.transitions.tensors().states[:40], kept)

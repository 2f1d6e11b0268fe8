"""Labels: from judgements, from catastrophes, from survival."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from heed.guard.decisions import Decision, Step
from heed.guard.labels import LabelCollector
from heed.guard.models.labels import Labels
from heed.guard.models.transitions import Transitions
from heed.oversight.overseers.base import Verdict


def step(x, decision="allow", asked=False, catastrophe=False, terminated=False, truncated=False, usable=True):
    """From state x to x + 1 by the proposed action 1; where blocked, by action 0 to x + .5."""
    executed = 1.0 if decision == "allow" else 0.0
    after = x + (1.0 if decision == "allow" else 0.5)
    return Step(
        state=np.array([x], np.float32),
        proposed=np.array([1.0], np.float32) if usable else None,
        executed=np.array([executed], np.float32),
        decision=Decision(1.0, executed, decision, "policy", verdict=Verdict(decision == "block") if asked else None),
        next_state=np.array([after], np.float32),
        reward=0.0,
        terminated=terminated or catastrophe,
        truncated=truncated,
        catastrophe=catastrophe,
        info={},
    )


def rows(collector):
    labels = collector.labels()
    each = zip(labels.states, labels.actions, labels.next_states, labels.blocked, strict=True)
    return [(float(s), float(a), None if n.isnan() else float(n), bool(b)) for s, a, n, b in each]


def test_an_allowed_action_teaches_with_its_outcome_and_a_blocked_one_without():
    collector = LabelCollector(1, 1, grace=0)
    collector.add(step(0, asked=True))
    collector.add(step(5, "block", asked=True))
    assert rows(collector) == [(0, 1, 1, False), (5, 1, None, True)]
    assert (collector.judgements, collector.blocks) == (2, 1)
    seen = collector.transitions.tensors()
    assert seen.actions.flatten().tolist() == [1, 0] and seen.next_states.flatten().tolist() == [1, 5.5]


def test_a_catastrophe_is_a_label_whoever_allowed_it():
    collector = LabelCollector(1, 1, grace=0)
    collector.add(step(3, asked=True, catastrophe=True))
    collector.add(step(7, catastrophe=True))
    collector.add(step(9, "block", asked=True, catastrophe=True))  # once: as what was executed and came of it
    assert rows(collector) == [(3, 1, 4, True), (7, 1, 8, True), (9, 0, 9.5, True)]
    assert collector.labels().catastrophes.tolist() == [True] * 3 and collector.labels().episodes.tolist() == [0, 1, 2]


def test_what_no_catastrophe_followed_in_time_did_not_have_to_be_blocked():
    collector = LabelCollector(1, 1, grace=3)
    for x in range(4):
        collector.add(step(x))
    assert rows(collector) == [(0, 1, 1, False), (1, 1, 2, False)]
    collector.add(step(4, catastrophe=True))
    assert rows(collector)[2:] == [(4, 1, 5, True)]  # the two before it are left out
    collector.add(step(5))
    collector.add(step(6, "block", terminated=True))
    assert rows(collector)[3:] == [(5, 1, 6, False), (6, 0, 6.5, False)]  # an end without harm: all of it survived
    collector.add(step(8))
    collector.add(step(9, truncated=True))
    collector.add(step(20))
    assert len(rows(collector)) == 5  # what follows a cut is not known


def test_where_judgements_are_about_the_next_state_the_executed_one_survives_at_once():
    collector = LabelCollector(1, 1, grace=1)
    collector.add(step(5, "block", asked=True))
    collector.add(step(6))
    assert rows(collector) == [(5, 1, None, True), (5, 0, 5.5, False), (6, 1, 7, False)]
    collector.add(step(7, asked=True))
    assert collector.labels().survived.tolist() == [False, True, True, False]  # the last one was judged


def test_judged_steps_in_between_do_not_keep_a_step_waiting():
    collector = LabelCollector(1, 1, grace=2)
    collector.add(step(0, "block", asked=True))
    collector.add(step(1, asked=True))
    assert rows(collector) == [(0, 1, None, True), (1, 1, 2, False), (0, 0, 0.5, False)]


def test_nothing_is_learnt_from_survival_where_it_does_not_count():
    collector = LabelCollector(1, 1, grace=0)
    for x in range(10):
        collector.add(step(x, terminated=x == 9))
    assert rows(collector) == []


def test_a_proposal_that_was_no_action_is_no_label():
    collector = LabelCollector(1, 1, grace=0)
    collector.add(step(0, "block", asked=True, usable=False))
    assert rows(collector) == [] and len(collector.transitions) == 1


def test_what_is_saved_is_what_was_learnt_from(tmp_path):
    collector = LabelCollector(1, 1, grace=0)
    collector.add(step(0, asked=True))
    collector.add(step(5, "block", asked=True))
    collector.save(tmp_path)
    with np.load(tmp_path / "labels.npz") as kept:
        for name, column in vars(collector.labels()).items():
            assert np.array_equal(kept[name], column.numpy(), equal_nan=column.is_floating_point()), name
    again = Transitions.load(tmp_path / "transitions.npz")
    assert again.tensors().states.tolist() == collector.transitions.tensors().states.tolist() == [[0.0], [5.0]]


def test_what_a_disk_refuses_leaves_the_labels_that_were_there(tmp_path, monkeypatch):
    collector = LabelCollector(1, 1, grace=0)
    collector.add(step(0, asked=True))
    collector.save(tmp_path)
    before = (tmp_path / "labels.npz").read_bytes()
    collector.add(step(5, "block", asked=True))

    def full(file, **columns):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    monkeypatch.setattr(collector.transitions, "save", lambda path: None)
    with pytest.raises(OSError, match="No space"):
        collector.save(tmp_path)
    assert (tmp_path / "labels.npz").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.npz", "transitions.npz"]


def earlier(*rows):
    """Labels of earlier runs: states, actions, whether they were blocked, episodes."""
    states, actions, blocked, episodes = zip(*rows, strict=True)
    count = len(rows)
    return Labels(
        torch.tensor(states)[:, None], torch.tensor(actions)[:, None], torch.full((count, 1), torch.nan),
        torch.tensor(blocked), torch.tensor(episodes), *torch.zeros(2, count, dtype=torch.bool),
    )  # fmt: skip


def test_what_runs_with_one_seed_judged_alike_is_stored_once():
    collector = LabelCollector(1, 1, grace=0)
    collector.add_stored(
        earlier((0.0, 1.0, True, -1), (2.0, 1.0, False, -1), (0.0, 1.0, True, -2), (0.0, 1.0, False, -2))
    )
    collector.add_stored(earlier((2.0, 1.0, False, -3), (2.0, 0.5, False, -3)))
    assert [(s, a, b) for s, a, _, b in rows(collector)] == [
        (0, 1, True), (2, 1, False), (0, 1, False), (2, 0.5, False),
    ]  # fmt: skip
    assert collector.labels().episodes.tolist() == [-1, -1, -2, -3]


def test_a_label_of_this_run_takes_the_place_of_the_stored_one_that_says_the_same():
    collector = LabelCollector(1, 1, grace=0)
    collector.add_stored(earlier((5.0, 1.0, True, -1), (0.0, 1.0, False, -1), (9.0, 1.0, True, -1)))
    collector.add(step(0, asked=True))
    collector.add(step(5, "block", asked=True))
    collector.add(step(9, asked=True))  # allowed now, blocked then: both stay
    collector.add(step(0, asked=True))  # once more: a label of its own
    assert rows(collector) == [
        (5, 1, None, True), (0, 1, 1, False), (9, 1, None, True), (9, 1, 10, False), (0, 1, 1, False),
    ]  # fmt: skip
    assert collector.labels().episodes.tolist() == [0, 0, -1, 0, 0] and collector.judgements == 4


def test_a_reset_before_an_end_begins_an_episode_of_which_nothing_had_survived():
    collector = LabelCollector(1, 1, grace=2)
    collector.add(step(0))
    collector.add(replace(step(5), episode=1))  # step 0 was not seen to survive
    collector.add(replace(step(6), episode=1))
    collector.add(replace(step(7, asked=True), episode=2))
    assert rows(collector) == [(5, 1, 6, False), (7, 1, 8, False)]
    assert collector.labels().episodes.tolist() == [1, 2]

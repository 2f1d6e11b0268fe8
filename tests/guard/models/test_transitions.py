import numpy as np
import pytest
import torch

from heed.errors import HeedError
from heed.guard.models.transitions import Transitions


def numbered(count, size=2):
    """A chain of states 0, 1, 2, ... in the first column."""
    transitions = Transitions(size, 1)
    for i in range(count):
        transitions.add(
            [i] + [0.5] * (size - 1), [-i], [i + 1] + [0.5] * (size - 1), reward=10 * i, catastrophe=i % 3 == 0
        )
    return transitions


def test_rows_stay_as_they_came_while_the_arrays_grow():
    transitions = numbered(1000)
    early = transitions.tensors()
    transitions.add(
        np.zeros((700, 2)), np.ones((700, 1)), np.ones((700, 2)), np.full(700, 5.0), terminated=np.ones(700, bool)
    )
    assert len(transitions) == 1700
    late = transitions.tensors()
    assert len(early.states) == 1000
    assert torch.equal(late.states[:1000], early.states)
    assert late.states[:1000, 0].tolist() == list(range(1000))
    assert late.actions[:1000, 0].tolist() == [-i for i in range(1000)]
    assert late.rewards[:1000].tolist() == [10 * i for i in range(1000)]
    assert late.catastrophe[:1000].tolist() == [i % 3 == 0 for i in range(1000)]
    assert late.terminated.tolist() == [False] * 1000 + [True] * 700
    assert late.rewards[1000:].unique().tolist() == [5.0]
    assert {column.dtype for column in late} == {torch.float32, torch.bool, torch.int64}


def test_a_caller_who_reuses_its_array_does_not_change_what_was_added():
    result, state = Transitions(2, 1), np.zeros(2)
    result.add(state, [0.0], state, reward=0.0)
    state += 9
    assert result.tensors().states.tolist() == [[0.0, 0.0]]


def test_windows_are_the_stretches_in_which_one_transition_follows_the_other():
    transitions = numbered(5)
    transitions.add([50.0, 0.5], [0.0], [51.0, 0.5], reward=0.0, terminated=True)
    transitions.add([51.0, 0.5], [1.0], [52.0, 0.5], reward=0.0)  # the same state, but that episode had ended
    transitions.add([52.0, 0.5], [2.0], [53.0, 0.5], reward=0.0)
    states, actions = transitions.windows(2)
    assert states[..., 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [51, 52, 53]]
    assert actions[..., 0].tolist() == [[0, -1], [-1, -2], [-2, -3], [-3, -4], [1, 2]]
    assert [len(transitions.windows(k)[0]) for k in (1, 5, 6, 99)] == [8, 1, 0, 0]
    assert transitions.windows(99)[0].shape == (0, 100, 2)
    with pytest.raises(HeedError, match="at least 1"):
        transitions.windows(0)


def test_a_file_brings_back_every_bit_and_can_grow_on(tmp_path):
    transitions = numbered(300)
    transitions.add([np.nan, np.inf], [0.1], [1e-30, -np.inf], reward=np.nan)
    transitions.save(tmp_path / "seen.npz")
    again = Transitions.load(tmp_path / "seen.npz")
    for kept, read in zip(transitions.tensors(), again.tensors(), strict=True):
        assert torch.equal(kept.nan_to_num(-7), read.nan_to_num(-7))
    again.add([0, 0], [0], [0, 0], reward=1)
    assert len(again) == 302
    assert [path.name for path in tmp_path.iterdir()] == ["seen.npz"]


def test_an_empty_store_can_be_kept_too(tmp_path):
    Transitions(3, 2).save(tmp_path / "none.npz")
    again = Transitions.load(tmp_path / "none.npz")
    assert (len(again), again.state_size, again.action_size) == (0, 3, 2)


def test_files_that_are_none_of_ours_are_refused_in_one_line(tmp_path):
    path = tmp_path / "seen.npz"
    with pytest.raises(HeedError, match="there are no transitions"):
        Transitions.load(path)
    numbered(3).save(path)
    whole = path.read_bytes()
    np.savez(tmp_path / "foreign.npz", states=np.zeros(3))
    (tmp_path / "torn.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("no arrays")
    np.savez(tmp_path / "pickled.npz", states=np.array([object()]), allow_pickle=True)
    for name in ("foreign", "torn", "text", "pickled"):
        with pytest.raises(HeedError, match=f"cannot be read.*{name}"):
            Transitions.load(tmp_path / f"{name}.npz")


def test_shapes_that_do_not_agree_are_refused_and_leave_the_store_as_it_was():
    transitions = numbered(2)
    for wrong in (
        {"state": [0.0]},
        {"action": [0.0, 0.0]},
        {"next_state": [[0.0, 0.0]] * 2},
        {"reward": [1.0, 2.0]},
    ):
        with pytest.raises(HeedError, match="shape"):
            transitions.add(**{"state": [0.0, 0.0], "action": [0.0], "next_state": [0.0, 0.0], "reward": 0.0, **wrong})
    assert len(transitions) == 2

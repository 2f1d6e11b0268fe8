"""Two processes under torchrun train one policy: the gradients are the joint batch's, the weights stay the same."""

import json
from pathlib import Path

import pytest
import torch

from torchrun import two_processes

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes came to, one file each."""
    folder = tmp_path_factory.mktemp("together")
    return folder, two_processes(HERE / "two_processes.py", folder, seconds=120)


def test_the_accumulated_gradients_are_those_of_the_joint_batch(together):
    _, found = together
    for one in found:
        for row, expected in zip(one["reduced"], one["joint"], strict=True):
            assert float((row - expected).norm()) < 1e-5 * float(expected.norm())


@pytest.mark.parametrize("kind", ["critics", "groups", "bounded"])
def test_each_process_draws_prompts_and_tokens_of_its_own_and_all_end_with_the_same_weights(together, kind):
    _, (first, second) = together
    assert not set(first[kind]["prompts"]) & set(second[kind]["prompts"])
    assert first[kind]["generator"] != second[kind]["generator"]
    assert torch.equal(first[kind]["weights"], second[kind]["weights"])
    assert torch.equal(first[kind]["optimizer"], second[kind]["optimizer"])
    assert not torch.equal(first[kind]["weights"], first[kind]["at_first"])
    assert torch.equal(first[kind]["at_first"], second[kind]["at_first"])


def test_both_processes_take_the_same_steps_back(together):
    _, (first, second) = together
    assert first["taken_back"]["steps_halved"] == second["taken_back"]["steps_halved"] > 3
    assert first["taken_back"]["rounds_undone"] == second["taken_back"]["rounds_undone"] >= 1


def test_combined_advantages_are_normalised_over_all_processes(together):
    _, found = together
    for one in found:
        torch.testing.assert_close(*one["whitened"], rtol=1e-5, atol=1e-6)
    assert not torch.equal(found[0]["whitened"][0], found[1]["whitened"][0])


def test_critics_and_their_scales_stay_the_same_in_all_processes(together):
    _, (first, second) = together
    assert torch.equal(first["critics"]["critics"], second["critics"]["critics"])
    assert first["critics"]["critics"].abs().sum() > 0


def test_the_unbiased_gram_is_of_all_processes_micro_batches(together):
    _, (first, second) = together
    assert torch.equal(first["gram"], second["gram"])
    assert torch.allclose(first["gram"], first["gram_by_hand"])


def test_one_process_writes_the_run_folder(together):
    folder, _ = together
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3, 4]


def test_what_is_logged_is_the_mean_over_the_processes(together):
    folder, found = together
    line = json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[1])
    own = [one["critics"]["rewards"] for one in found]
    assert abs(line["rewards/vowels/mean"] - sum(own) / 2) < 1e-6 and own[0] != own[1]


def test_a_resumed_run_of_two_processes_equals_the_uninterrupted_one(together):
    _, found = together
    for one in found:
        assert torch.equal(one["resumed"], one["critics"]["weights"])

"""Two processes under torchrun: the update is TRL's own where it should be, and one in both, whatever each drew."""

from pathlib import Path

import pytest
import torch

from torchrun import two_processes

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes came to."""
    folder = tmp_path_factory.mktemp("together")
    return two_processes(HERE / "two_ranks.py", folder, seconds=200)


def test_with_one_reward_the_update_of_two_processes_is_trls_own(together):
    for found in together:
        moved = found["theirs"]["after"] - found["theirs"]["before"]
        assert moved.norm() > 1e-4
        torch.testing.assert_close(
            found["ours"]["after"], found["theirs"]["after"], rtol=0, atol=float(1e-4 * moved.abs().max())
        )


@pytest.mark.parametrize("run", ["ours", "sparse"])
def test_both_processes_take_the_same_step_even_where_one_has_nothing_to_tell(together, run):
    first, second = (found[run] for found in together)
    assert torch.equal(first["gram"], second["gram"]) and bool((first["gram"].diagonal() > 0).all())
    assert torch.equal(first["after"], second["after"]) and not torch.equal(first["after"], first["before"])

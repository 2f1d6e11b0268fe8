"""What heed stands on in TRL is what is installed; another TRL is refused in one line."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest
from trl import GRPOTrainer

from heed.errors import HeedError
from heed.trl import TRIED, check_contract
from heed.trl.contract import _CALLED

ROOT = Path(__file__).parents[2]


def test_the_installed_trl_is_one_that_was_tried_and_the_extra_begins_with_the_first():
    check_contract()
    installed = ".".join(importlib.metadata.version("trl").split(".")[:2])
    assert installed in TRIED, f"trl {installed} passes these tests or not: add it to TRIED, or say what moved"
    (needed,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["trl"]
    assert needed.startswith(f"trl>={TRIED[0]},")


@pytest.mark.parametrize("name", _CALLED)
def test_a_method_that_is_gone_or_takes_something_else_is_named(name):
    gone = type("Gone", (GRPOTrainer,), {name: None})
    setattr(gone, name, lambda self, others: others)
    with pytest.raises(
        HeedError, match=rf"GRPOTrainer\.{name} is not what heed stands on \(trl .*\): install .* 1\.16"
    ):
        check_contract(gone)


def test_a_method_that_takes_one_thing_more_at_the_end_is_still_what_it_was():
    class More(GRPOTrainer):
        def _compute_loss(self, model, inputs, more=None):
            return super()._compute_loss(model, inputs)

    check_contract(More)

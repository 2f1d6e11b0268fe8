"""States come back from disk as they were, and what is no state is refused where it lies."""

import json
import math
from collections import deque

import numpy as np
import pytest
import torch

from heed.errors import HeedError
from heed.guard.models.config import BatchConfig
from heed.runs.state import read_state, write_state

STATE = {
    "nothing": None,
    "flag": True,
    "large": 2**127 + 1,
    "infinite": [math.inf, -math.inf],
    "tensor": torch.arange(6).reshape(2, 3)[:, ::2],
    "scalar": torch.tensor(0.1),
    "empty": torch.zeros(0, 3),
    "bools": np.array([True, False]),
    "doubles": np.array([[1e-300, 0.1]]),
    "pair": (1, ("a", 2.5)),
    "by number": {0: {"x": 1}, 3: torch.ones(2)},
    "config": BatchConfig(updates=7),
}


def test_a_state_comes_back_as_it_was(tmp_path):
    write_state(tmp_path, "it", STATE)
    found = read_state(tmp_path, "it")
    assert found.keys() == STATE.keys()
    for name, value in STATE.items():
        if isinstance(value, torch.Tensor | np.ndarray):
            assert type(found[name]) is type(value) and found[name].dtype == value.dtype
            assert found[name].tolist() == value.tolist() and found[name].shape == value.shape, name
        elif name != "by number":
            assert found[name] == value, name
    assert found["by number"][0] == {"x": 1} and found["by number"][3].tolist() == [1, 1]


def test_nan_stays_nan_and_two_names_of_one_tensor_are_two_tensors(tmp_path):
    shared = torch.tensor([math.nan])
    write_state(tmp_path, "it", {"x": math.nan, "a": shared, "b": shared})
    found = read_state(tmp_path, "it")
    assert math.isnan(found["x"]) and bool(found["a"].isnan()) and found["a"].data_ptr() != found["b"].data_ptr()


def test_what_has_no_plain_form_is_refused_where_it_lies(tmp_path):
    with pytest.raises(HeedError, match=r"a deque cannot be kept \(it\.inner\.1\): keep tensors"):
        write_state(tmp_path, "it", {"inner": [1, deque()]})
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_or_missing_state_is_told_in_a_line(tmp_path):
    with pytest.raises(HeedError, match=r"it\.safetensors is missing|No such file|it\.json is missing"):
        read_state(tmp_path, "it")
    write_state(tmp_path, "it", STATE)
    (tmp_path / "it.json").write_text("[1")
    with pytest.raises(HeedError, match=r"it is damaged"):
        read_state(tmp_path, "it")


@pytest.mark.parametrize("kind", ["os:system", "heed.runs.files:replacing", "heed.nowhere:Thing", "builtins:dict"])
def test_a_file_makes_nothing_but_heeds_own_records(tmp_path, kind):
    write_state(tmp_path, "it", {"config": BatchConfig()})
    text = json.loads((tmp_path / "it.json").read_text())
    text["config"]["of"] = kind
    (tmp_path / "it.json").write_text(json.dumps(text))
    with pytest.raises(HeedError, match="it is damaged"):
        read_state(tmp_path, "it")

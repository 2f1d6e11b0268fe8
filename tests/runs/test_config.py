import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import HeedError
from heed.runs.config import config_hash, describe_differences, read_yaml, refuse_other_settings, to_yaml

LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5)
NAMES = st.sampled_from(["a", "b", "on", "1"])
NESTED = st.dictionaries(NAMES, LEAVES, max_size=3) | st.lists(LEAVES, max_size=3)
CONFIGS = st.dictionaries(NAMES, LEAVES | NESTED, max_size=4)


@dataclasses.dataclass
class Weighting:
    p: float = 1
    floor: float = 0.1


@dataclasses.dataclass
class Config:
    out: Path = Path("runs/a")
    preference: tuple[float, ...] = (0.7, 0.3)
    weighting: Weighting = dataclasses.field(default_factory=Weighting)


@given(CONFIGS)
def test_a_config_comes_back_from_yaml_with_the_same_hash(config):
    assert config_hash(yaml.safe_load(to_yaml(config))) == config_hash(config)


@given(CONFIGS)
def test_the_hash_does_not_depend_on_key_order(config):
    assert config_hash(dict(reversed(config.items()))) == config_hash(config)


@given(CONFIGS, CONFIGS)
def test_there_are_no_differences_exactly_if_the_hashes_are_equal(old, new):
    assert (not describe_differences(old, new)) == (config_hash(old) == config_hash(new))


def test_a_dataclass_hashes_like_the_mapping_that_it_is():
    plain = {"out": "runs/a", "preference": [0.7, 0.3], "weighting": {"floor": 0.1, "p": 1.0}}
    assert config_hash(Config()) == config_hash(plain)


def test_differences_name_the_value_by_its_dotted_path():
    new = Config(preference=(0.5, 0.5), weighting=Weighting(p=2))
    assert describe_differences(Config(), new) == [
        "preference: [0.7, 0.3] -> [0.5, 0.5]",
        "weighting.p: 1 -> 2",
    ]


def test_differences_say_what_came_and_what_went():
    assert describe_differences({"a": 1}, {"b": "x"}) == ["a: 1 -> absent", 'b: absent -> "x"']


def test_true_differs_from_one():
    assert describe_differences({"a": True}, {"a": 1}) == ["a: true -> 1"]


def test_a_value_that_yaml_cannot_carry_is_named():
    with pytest.raises(HeedError, match=r"config\.weighting\.p"):
        to_yaml({"weighting": {"p": object()}})


@pytest.mark.parametrize(("text", "message"), [("a: [1", "not YAML"), ("- a", "not a mapping"), ("", "not a mapping")])
def test_a_broken_config_file_is_one_line(tmp_path, text, message):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(HeedError, match=message) as caught:
        read_yaml(file)
    assert str(file) in str(caught.value)


def test_a_config_file_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(HeedError, match="cannot be read: Is a directory") as caught:
        read_yaml(tmp_path)
    assert str(tmp_path) in str(caught.value)
    (tmp_path / "config.yaml").write_bytes("prénom: x".encode("latin-1"))
    with pytest.raises(HeedError, match=r"not UTF-8 .*config\.yaml"):
        read_yaml(tmp_path / "config.yaml")


def test_going_on_with_other_settings_is_refused_and_what_the_run_does_not_know_is_none_of_them():
    refuse_other_settings({"steps": 4, "p": 1.0}, {"steps": 4, "workers": 9}, "--resume run")
    with pytest.raises(HeedError, match=r"other settings: p: 1.0 -> 2; steps: 4 -> 5 \(--resume run\)"):
        refuse_other_settings({"steps": 4, "p": 1.0}, {"steps": 5, "p": 2}, "--resume run")


def test_an_absent_config_file_is_one_line(tmp_path):
    with pytest.raises(HeedError, match="no such config file"):
        read_yaml(tmp_path / "config.yaml")

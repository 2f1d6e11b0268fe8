"""The text of an objective on the command line: each kind, and texts that name none."""

import sys

import pytest

from heed.align.objectives.base import ObjectiveSpec
from heed.align.objectives.spec import parse_objective
from heed.errors import HeedError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder that holds the module ``town_judges``."""
    (tmp_path / "town_judges.py").write_text(
        "def brevity(completions, **columns):\n    return [-float(len(c)) for c in completions]\nLIMIT = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "town_judges", raising=False)
    return tmp_path


def test_a_function_of_the_current_folder(here):
    objective = parse_objective("short=town_judges:brevity,sign=-1,scale=0.5,unit=letters")
    assert objective.specs == (ObjectiveSpec("short", -1.0, 0.5, "letters"),)
    assert objective.score(["a"], ["four"], {}).tolist() == [[-4.0]]
    assert parse_objective("town_judges:brevity").specs[0].name == "brevity"


def test_a_model_folder_with_a_head(judge_folder_of):
    folder, _ = judge_folder_of()
    objective = parse_objective(f"{folder},head=cost,sign=-1,batch_size=4")
    assert objective.specs == (ObjectiveSpec("judge", -1.0),)
    assert objective.columns == [1]
    assert objective.model.batch_size == 4


def test_a_many_headed_model(judge_folder_of):
    folder, _ = judge_folder_of()
    objective = parse_objective(f"{folder},heads=harmless:cost:-1+helpful:0")
    assert objective.specs == (ObjectiveSpec("harmless", -1.0), ObjectiveSpec("helpful"))
    assert objective.columns == [1, 0]


def test_a_head_labelled_as_the_objective_is_named_once(judge_folder_of):
    folder, _ = judge_folder_of(heads=("help", "cost", "style"))
    objective = parse_objective(f"{folder},heads=style+help+cost::-1")
    assert objective.specs == (ObjectiveSpec("style"), ObjectiveSpec("help"), ObjectiveSpec("cost", -1.0))
    assert objective.columns == [2, 0, 1]
    with pytest.raises(HeedError, match=r"no head 'price' .*its heads are 0 \(help\), 1 \(cost\), 2 \(style\)"):
        parse_objective(f"{folder},heads=price")


def test_a_service_whose_url_holds_commas_and_equals_signs():
    objective = parse_objective("safe=https://judge.example/score?a=1,2,timeout=5,retries=1")
    assert objective.specs[0].name == "safe"
    assert (objective.url, objective.timeout, objective.retries) == ("https://judge.example/score?a=1,2", 5.0, 1)
    assert parse_objective("https://judge.example/v1/harm").specs[0].name == "harm"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("town_judges:brevity,sing=-1", r"'sing' is no option of town_judges:brevity \(--objectives sing=-1\)"),
        ("town_judges:brevity,scale=big", r"'big' is not a number \(--objectives scale=big\)"),
        ("town_judges:brevity,sign=3", "sign is 3.0"),
        ("town_judges:length", "module 'town_judges' has no 'length'"),
        ("town_judges:LIMIT", "'town_judges:LIMIT' is not a function"),
        ("no_such_module:f", "cannot import 'no_such_module'"),
        ("", "an objective without a target"),
        ("./no-folder", r"there is no reward model \(./no-folder\)"),
        ("two=./no-folder,heads=a:0+b:1", "named in heads="),
        ("./no-folder,heads=a:0+", "cannot read the head ''"),
        ("./no-folder,heads=a:0:2", "cannot read the head 'a:0:2'"),
        ("./no-folder,heads=a:0,sign=-1", "'sign' is no option"),
    ],
)
def test_a_text_that_names_no_objective_is_refused(here, text, message):
    with pytest.raises(HeedError, match=message):
        parse_objective(text)

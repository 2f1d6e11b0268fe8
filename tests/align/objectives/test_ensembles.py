"""Several judges of one objective: their mean, less what they disagree by."""

import pytest
import torch

from heed.align.objectives.base import ObjectiveSet
from heed.align.objectives.ensembles import Ensemble
from heed.align.objectives.reward_functions import RewardFunction
from heed.align.objectives.spec import parse_objective
from heed.errors import HeedError


def judge(values, name="judge", **options):
    return RewardFunction(lambda prompts, completions: values, name=name, **options)


def score(objective, count=2):
    return ObjectiveSet([objective]).score(["?"] * count, ["x"] * count)[:, 0]


def test_the_mean_less_deviations_of_the_members():
    members = [judge([1.0, 4.0]), judge([3.0, 4.0]), judge([5.0, 4.0])]
    deviation = (8 / 3) ** 0.5  # of 1, 3 and 5
    assert score(Ensemble(members, ["help"], pessimism=0.5)).tolist() == pytest.approx([3 - 0.5 * deviation, 4])
    assert score(Ensemble(members, ["help"], pessimism=0)).tolist() == [3, 4]


def test_of_a_cost_the_pessimist_takes_the_higher():
    members = [judge([1.0, 4.0]), judge([3.0, 4.0])]
    assert score(Ensemble(members, ["cost"], sign=-1.0, scale=10.0)).tolist() == [-30, -40]


def test_members_count_with_their_own_signs_and_what_one_does_not_score_is_not_scored():
    members = [judge([1.0, None]), judge([-1.0, 2.0], sign=-1)]
    found = score(Ensemble(members, ["help"]))
    assert found[0] == 1 and torch.isnan(found[1])


def test_each_of_several_objectives_has_its_own_deviation():
    class Two(RewardFunction):
        def __init__(self, rows):
            self.rows, self.specs = rows, judge([]).specs * 2

        def score(self, prompts, completions, columns):
            return torch.tensor(self.rows)

    both = Ensemble([Two([[1.0, 5.0]]), Two([[3.0, 5.0]])], ["help", "harmless"])
    assert ObjectiveSet([both]).score(["?"], ["x"]).tolist() == [[1.0, 5.0]]


def test_the_command_line_names_members_with_plus_and_shares_options(tmp_path, monkeypatch):
    (tmp_path / "sizes.py").write_text(
        "def short(prompts, completions, **_):\n    return [1.0 for _ in completions]\n\n\n"
        "def long(prompts, completions, **_):\n    return [float(len(c)) for c in completions]\n"
    )
    monkeypatch.chdir(tmp_path)
    objective = parse_objective("size=ensemble://sizes:short+sizes:long,pessimism=.5,scale=2,unit=points")
    assert (objective.specs[0].name, objective.specs[0].unit, objective.pessimism) == ("size", "points", 0.5)
    assert ObjectiveSet([objective]).score(["?"], ["xxx"]).tolist() == [[2 * (2 - 0.5)]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a=ensemble://builtins:len", "1 judge is no ensemble"),
        ("a=ensemble://builtins:len+", "a judge left out"),
        ("a=ensemble://builtins:len+builtins:len,pessimism=-1", "a pessimism of -1"),
        ("a=ensemble://builtins:len+builtins:len,pessimism=much", "'much' is not a number"),
        ("a=ensemble://builtins:len+builtins:len,depth=1", "'depth' is no option"),
    ],
)
def test_what_cannot_be_is_refused(text, said):
    with pytest.raises(HeedError, match=said):
        parse_objective(text)


def test_members_of_different_objectives_are_refused():
    with pytest.raises(HeedError, match="score 1, 1 objectives, and 2 are named"):
        Ensemble([judge([1.0]), judge([2.0])], ["help", "harmless"])

"""A set of objectives: signs and scales, names that differ, and values that no optimiser step may see."""

import math

import numpy as np
import pytest
import torch

from heed.align.objectives.base import SILENT_BATCHES, ObjectiveSet, ObjectiveSpec
from heed.align.objectives.reward_functions import RewardFunction
from heed.errors import HeedError

PROMPTS = ["fever", "cough"]
COMPLETIONS = ["take tea", "take rest and honey"]


def returning(values, name="help", **options):
    return RewardFunction(lambda **columns: values, name=name, **options)


def test_scores_are_sign_times_scale_times_the_raw_value():
    objectives = ObjectiveSet([returning([1.0, 2.0], scale=3.0), returning([5, -4], name="cost", sign=-1, scale=0.5)])
    assert objectives.names == ("help", "cost")
    assert torch.equal(objectives.score(PROMPTS, COMPLETIONS), torch.tensor([[3.0, -2.5], [6.0, 2.0]]))


def test_none_is_nan_and_leaves_the_others_as_they_are():
    scores = ObjectiveSet([returning([None, 2.0], sign=-1)]).score(PROMPTS, COMPLETIONS)
    assert math.isnan(scores[0, 0])
    assert scores[1, 0] == -2.0


@pytest.mark.parametrize(
    "values", [np.array([1.0, 2.5]), torch.tensor([1.0, 2.5]), [torch.tensor(1.0), np.float32(2.5)]]
)
def test_arrays_and_scalars_of_numpy_and_torch_count_as_numbers(values):
    assert ObjectiveSet([returning(values)]).score(PROMPTS, COMPLETIONS).T.tolist() == [[1.0, 2.5]]


def raising(**columns):
    raise KeyError("dose")


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (RewardFunction(raising), r"objective 'raising' raised KeyError: 'dose' .*take tea"),
        (returning([1.0]), r"objective 'help' returned 1 values for 2 completions"),
        (returning([1.0, 2.0, 3.0]), r"objective 'help' returned 3 values for 2 completions"),
        (returning([1.0, math.nan]), r"objective 'help' returned nan \(completion 1 'take rest and honey'\)"),
        (returning([-math.inf, 1.0]), r"objective 'help' returned -inf \(completion 0 'take tea'\)"),
        (returning([1e300, 1.0]), r"objective 'help' returned inf \(completion 0 'take tea'\)"),
        (returning([1.0, "good"]), r"objective 'help' returned 'good', which is not a number \(completion 1"),
        (returning("no"), r"objective 'help' returned str, not a list"),
        (returning(None), r"objective 'help' returned NoneType, not a list"),
        (returning(torch.tensor([[1.0], [2.0]])), r"objective 'help' returned \[1.0\], which is not a number"),
    ],
)
def test_a_faulty_value_stops_before_the_step_and_names_objective_and_completion(objective, message):
    with pytest.raises(HeedError, match=message) as caught:
        ObjectiveSet([returning([0.0, 0.0], name="fine"), objective]).score(PROMPTS, COMPLETIONS)
    assert "\n" not in str(caught.value)
    assert caught.value.fix


def test_two_objectives_of_one_name_are_refused():
    with pytest.raises(HeedError, match=r"2 objectives are called 'help' \(--objectives\): name them apart"):
        ObjectiveSet([returning([1.0]), returning([2.0])])


def test_a_set_needs_an_objective():
    with pytest.raises(HeedError, match="there is no objective"):
        ObjectiveSet([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a/b"}, "'a/b' cannot name an objective"),
        ({"name": "<lambda>"}, "'<lambda>' cannot name an objective .*: give name="),
        ({"name": "a", "sign": 2.0}, "sign is 2.0"),
        ({"name": "a", "scale": -1.0}, "scale is -1.0"),
        ({"name": "a", "scale": math.inf}, "scale is inf"),
    ],
)
def test_a_spec_refuses_what_would_fail_later(options, message):
    with pytest.raises(HeedError, match=message):
        ObjectiveSpec(**options)


def test_a_batch_of_which_nothing_is_scored_is_said_once_and_many_in_a_row_are_refused(caplog):
    values = [[None, None]] * (SILENT_BATCHES - 1) + [[1.0, None]] + [[None, None]] * SILENT_BATCHES
    rows = iter(values)

    def sometimes(completions):
        return next(rows)

    objectives = ObjectiveSet([RewardFunction(sometimes, name="help")])
    for _ in values[:-1]:
        objectives.score(PROMPTS, COMPLETIONS)
    said = "objective help scored none of a batch of 2 completions; it has no gradient then (said once)"
    assert [record.getMessage() for record in caplog.records] == [said]
    with pytest.raises(HeedError, match=r"'help' scored none of 2 completions, 50 batches in a row .*'take tea'"):
        objectives.score(PROMPTS, COMPLETIONS)


def test_an_objective_that_changes_what_it_is_given_changes_nothing_for_the_others_or_the_data():
    seen = []

    def careless(prompts, completions, dose):
        for prompt, completion, doses in zip(prompts, completions, dose, strict=True):
            prompt.insert(0, {"role": "system", "content": "x"})
            completion[0]["content"] = ""
            doses.append(1)
        seen.append([len(prompt) for prompt in prompts])
        return [0.0, 0.0]

    def next_one(prompts, completions, dose):
        seen.append((prompts, completions, dose))
        return [0.0, 0.0]

    prompt = [{"role": "user", "content": "fever"}]
    said = [[{"role": "assistant", "content": text}] for text in ("tea", "rest")]
    ObjectiveSet([RewardFunction(careless), RewardFunction(next_one)]).score([prompt] * 2, said, {"dose": [[], []]})
    as_it_was = ([[{"role": "user", "content": "fever"}]] * 2, said, [[], []])
    assert seen == [[2, 2], as_it_was]
    assert prompt == [{"role": "user", "content": "fever"}]
    assert said[0][0]["content"] == "tea"

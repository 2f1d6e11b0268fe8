"""Margins of reward models on pairs: the first completion's reward less the second's, with sign and scale."""

import pytest

from heed.align.labelling.margins import AT_ONCE, with_margins
from heed.align.objectives.base import ObjectiveSet
from heed.align.objectives.reward_functions import RewardFunction
from heed.errors import HeedError
from heed.oversight.comparisons.pairs import Pair


def letters(completions, **columns):
    return [float(len(text)) for text in completions]


def test_margins_are_differences_of_signed_scaled_rewards_over_more_than_one_batch():
    calls = []

    def shared(prompts, completions):
        calls.append(len(completions))
        return [
            float(sum(letter in prompt for letter in text)) for prompt, text in zip(prompts, completions, strict=True)
        ]

    pairs = [Pair(str(n), "a" * n, ("a" * n, "ab"), {"own": 1.0, "cost": 9.0}) for n in range(1, AT_ONCE + 6)]
    rewards = ObjectiveSet([RewardFunction(letters, "cost", sign=-1, scale=0.5), RewardFunction(shared)])
    scored = with_margins(pairs, rewards)
    assert [(pair.id, pair.prompt, pair.completions) for pair in scored] == [
        (pair.id, pair.prompt, pair.completions) for pair in pairs
    ]
    assert [pair.scores for pair in scored] == [
        {"own": 1.0, "cost": -0.5 * (n - 2), "shared": n - 1.0} for n in range(1, AT_ONCE + 6)
    ]
    assert calls == [2 * AT_ONCE, 2 * 5]


def test_a_conversation_s_completions_are_messages_as_in_a_rollout():
    seen = []

    def keeps(completions, **columns):
        seen.extend(completions)
        return [float(index) for index in range(len(completions))]

    pair = Pair("p", [{"role": "user", "content": "Cough?"}], ("Honey.", "Foxglove."))
    assert with_margins([pair], ObjectiveSet([RewardFunction(keeps)]))[0].scores == {"keeps": -1.0}
    assert seen == [[{"role": "assistant", "content": text}] for text in pair.completions]


def test_a_completion_that_is_not_scored_is_named_by_its_pair():
    def some(completions, **columns):
        return [None if text == "d" else 1.0 for text in completions]

    pairs = [Pair("one", "?", ("a", "b")), Pair("two", "?", ("c", "d"))]
    with pytest.raises(HeedError, match=r"'some' does not score both completions .pair 'two'."):
        with_margins(pairs, ObjectiveSet([RewardFunction(some)]))

"""Functions as objectives: they are called as TRL calls them."""

import asyncio

import pytest

from heed.align.objectives.reward_functions import RewardFunction
from heed.errors import HeedError


def test_a_function_sees_what_trl_would_pass():
    seen = {}

    def judge(prompts, completions, answer, **columns):
        seen.update(prompts=prompts, completions=completions, answer=answer, **columns)
        return [0.0, 0.0]

    conversation = [{"role": "user", "content": "fever"}]
    RewardFunction(judge).score([conversation, "cough"], ["tea", "rest"], {"answer": ["a", "b"], "other": [1, 2]})
    assert seen == {
        "prompts": [conversation, "cough"],
        "completions": [[{"role": "assistant", "content": "tea"}], "rest"],
        "answer": ["a", "b"],
        "other": [1, 2],
    }


def test_columns_that_a_signature_has_no_place_for_are_left_out():
    def length(completions):
        return [len(completion) for completion in completions]

    columns = {"extra": [1, 2]}
    scores = RewardFunction(length).score(["fever", "cough"], ["take tea", "take rest and honey"], columns)
    assert scores.T.tolist() == [[8.0, 19.0]]


def test_what_a_prompt_began_of_the_reply_stands_in_the_completion_as_in_trl():
    seen = []

    def watch(prompts, completions):
        seen.append((prompts, completions))
        return [0.0]

    asked = {"role": "user", "content": "2 + 2?"}
    begun = [asked, {"role": "assistant", "content": "That is"}]
    RewardFunction(watch).score([begun], [[{"role": "assistant", "content": " 4."}]], {})
    assert seen == [([[asked]], [[{"role": "assistant", "content": "That is 4."}]])]


def test_an_async_function_is_awaited_always_in_one_loop_also_beside_a_running_one():
    loops = set()

    async def later(completions):
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return [float(len(completion)) for completion in completions]

    async def in_a_notebook():
        return RewardFunction(later).score(["fever"], ["tea"], {})

    assert RewardFunction(later).score(["fever", "cough"], ["tea", "rest"], {}).T.tolist() == [[3.0, 4.0]]
    assert asyncio.run(in_a_notebook()).tolist() == [[3.0]]
    assert len(loops) == 1


def test_what_an_async_function_raises_is_one_line():
    async def away(completions):
        raise ConnectionError("the judge is away")

    with pytest.raises(HeedError, match="objective 'away' raised ConnectionError: the judge is away"):
        RewardFunction(away).score(["fever"], ["tea"], {})

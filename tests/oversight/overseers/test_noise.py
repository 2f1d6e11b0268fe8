"""What people do to verdicts: delay, misses, false alarms, tiredness; each by its rate, from a seed."""

import numpy as np
import pytest

from heed.errors import HeedError
from heed.oversight import Delayed, FalseAlarm, Missing, Proposal, RuleOverseer, Tiring, Verdict


class Scripted:
    """Blocks where the observation is 1, names an action, and counts how often it was asked and reset."""

    name = "scripted"

    def __init__(self):
        self.asked, self.seeds = 0, []

    def judge(self, proposal):
        self.asked += 1
        return Verdict(bool(proposal.observation[0]), latency_ms=5.0, instead=proposal.step)

    def reset(self, seed):
        self.seeds.append(seed)


ALWAYS = RuleOverseer(lambda observation, info: True)
NEVER = RuleOverseer(lambda observation, info: False)


def blocks(overseer, seen, episode=0, first=0):
    proposals = [Proposal(np.array([x]), 0, step=first + step, episode=episode) for step, x in enumerate(seen)]
    return [int(overseer.judge(proposal).block) for proposal in proposals]


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_late_overseer_answers_what_it_saw_so_many_steps_ago(steps):
    seen = [1, 0, 0, 1, 1, 0, 1, 0, 0, 0]
    assert blocks(Delayed(Scripted(), steps), seen) == ([0] * steps + seen)[: len(seen)]


def test_what_was_seen_in_one_episode_says_nothing_of_the_next():
    late = Delayed(Scripted(), 2)
    assert blocks(late, [0, 0, 1, 1], episode=0) == [0, 0, 0, 0]
    assert blocks(late, [0, 0, 0, 1], episode=1) == [0, 0, 0, 0]


def test_several_environments_in_turn_are_each_answered_as_late_as_if_alone():
    seen = np.array([[1, 0, 0, 1, 1, 0, 1, 0, 0, 0], [0, 0, 1, 1, 0, 1, 0, 0, 1, 1], [1] * 5 + [0] * 5])
    late = Delayed(Scripted(), 3)
    told = np.zeros_like(seen)
    for step, stream in np.ndindex(10, 3):  # the third environment's second episode begins after five steps
        episode, since = (3, step - 5) if stream == 2 and step >= 5 else (stream, step)
        proposal = Proposal(seen[stream, [step]], 0, step=since, episode=episode, stream=stream)
        told[stream, step] = late.judge(proposal).block
    assert told[:2].tolist() == [[0] * 3 + row[:7] for row in seen[:2].tolist()]
    assert told[2].tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0, 0]


def test_a_late_overseer_that_was_not_asked_then_has_nothing_to_say_now():
    late = Delayed(Scripted(), 2)
    assert blocks(late, [1], first=0) == [0]
    assert blocks(late, [0, 0], first=5) == [0, 0]


def test_an_action_named_for_another_moment_is_not_handed_on():
    late, prompt = Delayed(Scripted(), 1), Delayed(Scripted(), 0)
    proposals = [Proposal(np.array([1]), 0, step=step) for step in range(2)]
    assert [late.judge(proposal).instead for proposal in proposals] == [None, None]
    assert [prompt.judge(proposal).instead for proposal in proposals] == [0, 1]


def test_a_new_run_starts_with_nothing_seen():
    late = Delayed(Scripted(), 1)
    blocks(late, [1])
    late.reset(0)
    assert blocks(late, [0], first=1) == [0]


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3, 1.0])
def test_the_share_missed_is_the_rate_and_nothing_else_is_changed(rate):
    missing, count = Missing(ALWAYS, rate), 4000
    missing.reset(3)
    missed = 1 - np.mean(blocks(missing, [0] * count))
    assert abs(missed - rate) <= 4 * np.sqrt(rate * (1 - rate) / count)
    assert sum(blocks(Missing(NEVER, rate), [0] * 200)) == 0


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3, 1.0])
def test_the_share_of_false_alarms_is_the_rate_and_nothing_else_is_changed(rate):
    alarming, count = FalseAlarm(NEVER, rate), 4000
    alarming.reset(3)
    assert abs(np.mean(blocks(alarming, [0] * count)) - rate) <= 4 * np.sqrt(rate * (1 - rate) / count)
    assert sum(blocks(FalseAlarm(ALWAYS, rate), [0] * 200)) == 200


def test_what_is_seen_keeps_its_action_and_latency():
    seen = Missing(FalseAlarm(Scripted(), 0.0), 0.0).judge(Proposal(np.array([1]), 0, step=7))
    assert (seen.block, seen.instead, seen.latency_ms) == (True, 7, 5.0)


def test_who_is_tired_misses_half_after_the_half_life_and_three_quarters_after_two():
    misses = np.zeros(300)
    for seed in range(400):
        tiring = Tiring(ALWAYS, half_life=100)
        tiring.reset(seed)
        misses += 1 - np.array(blocks(tiring, [0] * 300))
    share = misses / 400
    for middle in (50, 100, 200, 290):
        near = share[middle - 10 : middle + 10]
        assert near.mean() == pytest.approx(1 - 0.5 ** (middle / 100), abs=4 * np.sqrt(0.25 / (400 * 20)))


def test_a_night_of_sleep_makes_up_for_everything():
    tiring = Tiring(ALWAYS, half_life=1)
    blocks(tiring, [0] * 60)
    assert tiring.miss_rate > 0.999
    tiring.reset(0)
    assert tiring.miss_rate == 0.0
    assert blocks(tiring, [0]) == [1]


@pytest.mark.parametrize(
    "make", [lambda: Missing(ALWAYS, 0.5), lambda: FalseAlarm(NEVER, 0.5), lambda: Tiring(ALWAYS, 9)]
)
def test_the_same_seed_draws_the_same_and_another_does_not(make):
    def run(seed):
        overseer = make()
        overseer.reset(seed)
        return blocks(overseer, [0] * 60)

    assert run(1) == run(1)
    assert run(1) != run(2)
    again = make()
    again.reset(1)
    blocks(again, [0] * 25)
    again.reset(1)
    assert blocks(again, [0] * 60) == run(1)


def test_what_is_missed_does_not_hang_on_what_came_before():
    """The same step of two runs is missed alike, though other proposals were blocked before it."""
    one, other = Missing(Scripted(), 0.5), Missing(Scripted(), 0.5)
    one.reset(5)
    other.reset(5)
    first = blocks(one, [1] * 100)
    second = blocks(other, [0] * 50 + [1] * 50)
    assert first[50:] == second[50:]


def test_wrappers_around_each_other_draw_apart_and_pass_the_seed_on():
    inner = Scripted()
    twice = Missing(Missing(inner, 0.5), 0.5)
    twice.reset(11)
    assert inner.seeds == [11]
    kept = np.mean(blocks(twice, [1] * 2000))
    assert kept == pytest.approx(0.25, abs=0.04)  # the same numbers would keep half
    assert inner.asked == 2000


def test_the_name_tells_what_is_done_to_the_verdicts():
    overseer = Delayed(Missing(FalseAlarm(Tiring(Scripted(), 500), 0.02), 0.05), 3)
    assert overseer.name == "scripted, tires by half in 500, false alarms 2%, misses 5%, 3 steps late"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Delayed(ALWAYS, -1),
        lambda: Missing(ALWAYS, 1.5),
        lambda: Missing(ALWAYS, float("nan")),
        lambda: FalseAlarm(ALWAYS, -0.1),
        lambda: Tiring(ALWAYS, 0),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(HeedError):
        make()

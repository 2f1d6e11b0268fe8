"""Each way of deciding on an action, alone, on the cart: what it lets pass, and what it executes instead."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from guard_worlds import NO_ACTION, Person, advance, at, imagined, lookahead, stops_in_time

from heed.errors import HeedError
from heed.guard.decisions import Decision
from heed.guard.intervention import (
    MODES,
    AskWhenUnsure,
    Beside,
    FailClosed,
    Lookahead,
    Nobody,
    Off,
    Overseen,
    Shadow,
    check_mode,
)
from heed.guard.planning.lookahead import Lookout
from heed.guard.replacement import Replacement
from heed.oversight.overseers.base import Verdict

AHEAD, BACK = np.array([2.0], np.float32), np.array([-2.0], np.float32)
FREE, NEAR, LOST = (-1.0, -1.0), (0.5, 0.9), (0.9, 1.5)
"""Full ahead is harmless; is a catastrophe, though the brake still stops in time; nothing helps."""


# Off and nobody.


def test_off_executes_whatever_is_proposed():
    for state in (FREE, LOST, (np.nan, 0.0)):
        here = at(state)
        for proposed in (AHEAD, *NO_ACTION):
            decision = Off().decide(here, proposed)
            assert decision.executed is proposed and decision.proposed is proposed
            assert (decision.decision, decision.source, decision.asked) == ("allow", "policy", False)
        assert not here.faults


def test_where_nobody_judges_every_action_is_blocked_and_nothing_is_learnt():
    for safe_action, executed in ((lambda _: BACK, [-2.0]), (None, [0.0])):
        here = at(FREE, safe_action)
        decision = Nobody().decide(here, AHEAD)
        assert (decision.decision, decision.judged, decision.asked) == ("block", False, False)
        assert decision.executed.tolist() == executed
        assert list(here.faults.values()) == [1] and "nobody judges" in next(iter(here.faults))


# An overseer.


def overseen(state=FREE, look=None, replacement=None, block=True, **verdict):
    here, person = at(state), Person(lambda _: block, **verdict)
    return Overseen(person, replacement).decide(here, AHEAD, look), here, person


def test_what_the_overseer_lets_pass_is_executed():
    decision, here, _ = overseen(block=False, key="k")
    assert decision.executed is AHEAD and (decision.decision, decision.source) == ("allow", "policy")
    assert (decision.asked, decision.judged, decision.key) == (True, True, "k") and not here.faults


def test_what_the_overseer_blocks_is_replaced_by_the_declared_safe_action():
    decision, here, _ = overseen(key="k", credit=3)
    assert (decision.decision, decision.source, decision.executed.tolist()) == ("block", "blocker", [-2.0])
    assert (decision.asked, decision.judged, decision.key, decision.credit) == (True, True, "k", 3)
    assert decision.plan_ms == 0 and not here.faults


def test_what_the_overseer_blocks_is_replaced_as_is_said():
    planned, _, _ = overseen(NEAR, replacement=lookahead().replacement)
    assert (planned.decision, planned.source, planned.feasible, planned.asked) == ("block", "planner", True, True)
    assert stops_in_time(NEAR, planned.plan.actions)
    assert planned.executed == pytest.approx(2 * planned.plan.actions[0].numpy())


@pytest.mark.parametrize("replacement", [None, Replacement()])
def test_an_action_that_the_overseer_gives_is_executed_if_it_is_one(replacement):
    decision, _, _ = overseen(instead=[-0.5], replacement=replacement)
    assert (decision.decision, decision.source, decision.asked) == ("block", "person", True)
    assert decision.executed.tolist() == [-0.5] and decision.executed.dtype == np.float32
    beyond, here, _ = overseen(instead=np.array([2.5]), replacement=replacement)
    assert (beyond.source, beyond.executed.tolist()) == ("person", [2.0]) and not here.faults
    for none in (np.array([np.nan]), "left", np.zeros(2)):
        decision, here, _ = overseen(instead=none, replacement=replacement)
        assert (decision.source, decision.executed.tolist()) == ("blocker", [-2.0])
        assert here.faults == {"the overseer person gave an action to take that is none": 1}


def test_an_overseer_that_failed_blocks_and_teaches_nothing():
    for verdict in ({}, {"instead": np.array([-0.5], np.float32)}):
        decision, here, _ = overseen(failed=True, key="k", credit=3, **verdict)
        assert (decision.decision, decision.source, decision.executed.tolist()) == ("block", "fallback", [-2.0])
        assert (decision.asked, decision.judged, decision.key, decision.credit) == (False, False, "", 0)
        assert here.faults == {"the overseer person failed: the action is blocked": 1}
    allowed, _, _ = overseen(failed=True, block=False)
    assert allowed.decision == "block"


def test_who_acts_in_the_agent_s_place_has_not_judged():
    decision, here, _ = overseen(acted=True, instead=[0.5], key="k")
    assert (decision.decision, decision.source, decision.executed.tolist()) == ("block", "person", [0.5])
    assert (decision.asked, decision.judged, decision.key) == (False, False, "k") and not here.faults


@pytest.mark.parametrize(
    ("verdict", "demonstrated"),
    [
        ({"instead": [0.5], "acted": True}, True),
        ({"instead": [0.5]}, True),  # a block, and what to do: the person's own as well
        ({"instead": [0.5], "acted": True, "silent": True}, False),  # no key was down
        ({"instead": [0.5], "glimpsed": True}, False),
        ({"instead": [0.5], "failed": True}, False),
        ({"instead": [0.5], "block": False}, False),
        ({"instead": ["left"], "acted": True}, False),
        ({}, False),
    ],
)
def test_what_is_executed_is_a_demonstration_where_a_person_meant_it_for_this_state(verdict, demonstrated):
    for replacement in (None, lookahead().replacement):
        decision, here, person = overseen(NEAR, replacement=replacement, **verdict)
        assert decision.demonstrated is decision.info()["demonstrated"] is demonstrated
        assert (decision.executed.tolist() == [0.5]) == (decision.source == "person")
        assert Shadow(Overseen(person, replacement)).decide(here, AHEAD).demonstrated is False
    assert Lookahead(lookahead().lookout).decide(at(NEAR), AHEAD).demonstrated is False


def test_the_overseer_is_shown_the_situation_and_what_the_guard_saw():
    look = lookahead().look(at(NEAR), AHEAD)
    for seen in (None, look):
        here, person = at(NEAR, number=2), Person(lambda _: False)
        here.info["hint"] = [1]
        here.advance(Off().decide(here, AHEAD), np.array(NEAR, np.float32), 0.0, False, False, {"hint": [2]})
        decision = Overseen(person).decide(here, AHEAD, seen)
        (proposal,) = person.seen
        assert proposal.observation == pytest.approx(NEAR) and proposal.action.tolist() == [2.0]
        assert proposal.observation is not here.observation and proposal.action is not AHEAD
        assert proposal.info == {"hint": [2]} and proposal.info["hint"] is not here.info["hint"]
        assert (proposal.env, proposal.step, proposal.episode, proposal.stream) == (here.env, 1, 0, 2)
        assert decision.look is seen
    assert proposal.risk == look.risk == decision.risk == 1.0
    assert proposal.futures.shape == (1, 21, 2)
    assert np.allclose(proposal.futures[0], look.own.states[:, 0, 0, 0].numpy())  # of the policy, full ahead
    assert np.allclose(proposal.futures[0, 1], advance(torch.tensor(NEAR), torch.ones(1)).numpy())
    assert proposal.future_risks.tolist() == [1.0]


# Looking ahead.


def test_what_looks_safe_passes_and_its_way_out_is_known():
    looking, here = lookahead(), at(FREE)
    decision = looking.decide(here, AHEAD)
    assert decision.executed is AHEAD and (decision.decision, decision.source) == ("allow", "policy")
    assert (decision.risk, decision.member_risk, decision.plan, decision.plan_ms) == (0.0, (0.0,), None, 0)
    way_out = decision.way_out
    assert decision.first_unsafe is None and torch.equal(way_out, torch.ones(19, 1))  # the policy's own future
    assert stops_in_time(FREE, [torch.ones(1), *way_out])
    assert not decision.asked and decision.judged and not here.faults


def test_what_only_the_brake_saves_passes_with_the_brake_as_way_out():
    state = (0.3, 0.8)  # full ahead hits the wall in some steps
    decision = lookahead().decide(at(state), AHEAD)
    assert (decision.decision, decision.risk) == ("allow", 0.0) and decision.first_unsafe is not None
    assert decision.way_out[:5].flatten().tolist() == [-1.0] * 5
    assert stops_in_time(state, [torch.ones(1), *decision.way_out])


def test_what_looks_unsafe_is_replaced_by_a_plan_that_is_safe():
    decision = lookahead().decide(at(NEAR), AHEAD)
    assert (decision.decision, decision.source, decision.feasible) == ("block", "planner", True)
    assert decision.risk == 1.0 and decision.first_unsafe is not None and decision.plan_ms > 0
    assert stops_in_time(NEAR, decision.plan.actions)
    assert decision.executed == pytest.approx(2 * decision.plan.actions[0].numpy())
    assert torch.equal(decision.way_out, decision.plan.actions[1:])


def test_where_no_plan_is_safe_the_declared_action_is_taken():
    decision = lookahead().decide(at(LOST), AHEAD)
    assert (decision.decision, decision.source, decision.feasible) == ("block", "fallback", False)
    assert decision.executed.tolist() == [-2.0] and decision.judged
    undeclared = lookahead().decide(at(LOST, safe_action=None), AHEAD)
    assert (undeclared.source, undeclared.feasible) == ("fallback", False)
    assert undeclared.executed == pytest.approx(2 * undeclared.plan.actions[0].numpy())


@pytest.mark.parametrize("settings", [{"planner": False}, {"replaces": "declared"}])
def test_without_a_planner_in_charge_the_declared_action_is_taken(settings):
    decision = lookahead(**settings).decide(at(NEAR), AHEAD)
    assert (decision.decision, decision.source, decision.executed.tolist()) == ("block", "blocker", [-2.0])
    assert (decision.feasible, decision.plan, decision.plan_ms) == (None, None, 0)
    assert lookahead(**settings).decide(at(FREE), AHEAD).decision == "allow"


def test_after_a_block_the_risk_must_be_well_below_the_threshold():
    class Some:
        def danger(self, states, actions, next_states):
            return torch.full(states.shape[:-1], 0.3)

    looking, here = Lookahead(Lookout(imagined(Some()), 5, 0.5, release=0.5)), at(FREE)
    assert looking.decide(here, AHEAD).decision == "allow"
    here.blocked = True
    assert looking.decide(here, AHEAD).decision == "block"


def test_deciding_changes_nothing_of_the_situation():
    for intervention in (lookahead(), AskWhenUnsure(lookahead(), Person(lambda _: True), lambda _: True), Nobody()):
        here = at(NEAR)
        FailClosed(intervention).decide(here, AHEAD)
        assert (here.blocked, here.way_out, here.timestep, here.episode) == (False, None, 0, 0)


# Asking where unsure.

PLACES = [(x, v) for x in (-1.0, 0.0, 0.3, 0.5, 0.9) for v in (-1.0, 0.0, 0.8, 1.5)]


def test_a_person_is_asked_exactly_where_the_look_is_unsure():
    looks, person = [], Person(lambda _: False)
    asking = AskWhenUnsure(lookahead(), person, lambda look: looks.append(look) or look.first_unsafe is not None)
    asked = []
    for place in PLACES:
        decision = asking.decide(at(place), AHEAD)
        assert decision.look is looks[-1]
        if decision.asked:
            asked.append(place)
            assert decision.executed is AHEAD and decision.decision == "allow"  # the person let it pass
        else:
            sure = lookahead().decide(at(place), AHEAD)
            assert (decision.decision, decision.executed.tolist()) == (sure.decision, sure.executed.tolist())
    expected = [place for place, look in zip(PLACES, looks, strict=True) if look.first_unsafe is not None]
    assert asked == expected and 0 < len(asked) < len(PLACES) == len(looks)
    assert np.stack([proposal.observation for proposal in person.seen]) == pytest.approx(np.array(asked), abs=1e-6)


def test_what_a_person_blocks_where_asked_is_replaced_by_the_planner():
    person = Person(lambda _: True)
    decision = AskWhenUnsure(lookahead(), person, lambda look: look.risk > 0.5).decide(at(NEAR), AHEAD)
    assert (decision.decision, decision.source, decision.asked, decision.feasible) == ("block", "planner", True, True)
    assert decision.risk == 1.0 and stops_in_time(NEAR, decision.plan.actions) and len(person.seen) == 1
    declared = AskWhenUnsure(lookahead(replaces="declared"), person, lambda look: True).decide(at(NEAR), AHEAD)
    assert (declared.source, declared.asked, declared.executed.tolist()) == ("blocker", True, [-2.0])


def test_an_overseer_that_fails_where_asked_blocks_by_the_planner_and_has_not_judged():
    failing = Person(lambda _: False, failed=True)
    decision = AskWhenUnsure(lookahead(), failing, lambda look: True).decide(at(FREE), AHEAD)
    assert (decision.decision, decision.source, decision.judged, decision.asked) == ("block", "fallback", False, False)
    assert decision.plan is not None and decision.executed == pytest.approx(2 * decision.plan.actions[0].numpy())


# Only recording.


def test_a_shadow_decides_and_executes_what_was_proposed():
    expected = lookahead().decide(at(NEAR), AHEAD)
    decision = Shadow(lookahead()).decide(at(NEAR), AHEAD)
    assert decision.executed is AHEAD
    for name in ("decision", "source", "risk", "feasible", "member_risk", "first_unsafe"):
        assert getattr(decision, name) == getattr(expected, name)
    assert torch.equal(decision.way_out, expected.way_out) and decision.latency_ms > 0


def test_a_shadow_executes_no_action_that_is_none():
    for proposed in NO_ACTION:
        here = at(FREE)
        decision = Shadow(lookahead(planner=False)).decide(here, proposed)
        assert (decision.decision, decision.judged, decision.executed.tolist()) == ("block", False, [-2.0])
        assert sum(here.faults.values()) == 1


# What is refused.


def test_modes_are_known_by_name():
    for mode in MODES:
        check_mode(mode)
    with pytest.raises(HeedError, match=r"'maybe' is no mode.*--mode.*take replace, penalty, block, shadow"):
        check_mode("maybe")


# An overseer, and a guard that keeps its opinion to itself.


@pytest.mark.parametrize("block", [True, False])
@pytest.mark.parametrize(("state", "opinion"), [(FREE, "allow"), (NEAR, "block"), (LOST, "block")])
def test_the_overseer_decides_and_what_the_guard_would_have_decided_is_kept_beside(state, opinion, block):
    shown = []
    person = Person(lambda proposal: shown.append(proposal) or block)
    decision = Beside(person, lookahead()).decide(at(state), AHEAD)
    assert (decision.beside, decision.decision) == (opinion, "block" if block else "allow")
    assert (decision.cause, decision.asked) == ("person" if block else "", True)
    assert [(proposal.risk, proposal.futures) for proposal in shown] == [(None, None)]  # who judges is not told
    assert Beside(person, alone := lookahead()).alone is alone


def test_a_guard_that_fails_beside_the_overseer_takes_nothing_from_their_word(monkeypatch):
    def fails(*_):
        raise FloatingPointError("lost")

    monkeypatch.setattr(Lookahead, "look", fails)
    here = at(FREE)
    decision = FailClosed(Beside(Person(lambda _: False), lookahead())).decide(here, AHEAD)
    assert (decision.decision, decision.asked, decision.judged, decision.beside) == ("allow", True, True, None)
    assert dict(here.faults) == {"the guard beside the overseer failed (FloatingPointError: lost)": 1}


def test_a_stuck_guard_asks_before_it_blocks_once_more_and_not_before_it_lets_pass():
    person = Person(lambda _: False)
    asking = AskWhenUnsure(lookahead(), person, lambda _: False, stuck=lambda here: here.unconfirmed >= 3)
    patient, free, stuck = at(NEAR), at(FREE), at(NEAR)
    patient.unconfirmed, free.unconfirmed, stuck.unconfirmed = 2, 3, 3
    assert [asking.decide(here, AHEAD).asked for here in (patient, free, stuck)] == [False, False, True]
    decision = asking.decide(stuck, AHEAD)
    assert (decision.decision, decision.because, decision.beside) == ("allow", "stuck", "block")
    assert decision.contradicted and not asking.decide(free, AHEAD).contradicted


def test_blocks_are_unconfirmed_until_the_guard_lets_pass_or_an_overseer_blocks_too():
    here, said, counted = at(NEAR), Verdict(block=True), []
    alone, passed = Decision(AHEAD, AHEAD, "block", "planner"), Decision(AHEAD, AHEAD, "allow", "policy")
    let, confirmed = (
        Decision(AHEAD, AHEAD, choice, "person", beside="block", verdict=replace(said, block=choice == "block"))
        for choice in ("allow", "block")
    )
    gone = replace(alone, judged=False, verdict=replace(said, failed=True))
    no_action, drove = replace(alone, judged=False), replace(alone, verdict=replace(said, acted=True))
    by_people = (alone, alone, let, let, alone, confirmed, alone, passed)
    for decision in (*by_people, alone, gone, alone, no_action, alone, drove, alone):
        here.advance(decision, np.zeros(2, np.float32), 0.0, False, False, {})
        counted.append(here.unconfirmed)
    assert counted == [1, 2, 2, 2, 3, 0, 1, 0, 1, 0, 1, 1, 2, 0, 1]
    assert let.contradicted and not confirmed.contradicted
    again = at(NEAR)
    again.restore(here.kept(), here.observation, {})
    assert again.unconfirmed == 1
    here.begin(np.zeros(2, np.float32), {})
    assert here.unconfirmed == 0


@pytest.mark.parametrize("saves", [True, False])
def test_a_stuck_guard_searches_once_and_asks_by_what_that_search_found(saves):
    """A second search might find otherwise, and block what nobody was asked about."""
    person, searches = Person(lambda _: True), []

    class Lucky(Lookahead):
        def searched(self, situation, proposed, look):
            searches.append(look)
            found = Decision.seen(look, proposed, proposed, "allow", "policy")
            return (found if saves and len(searches) == 1 else None), 0.0

    looking = Lucky(lookahead().lookout, lookahead().planner)
    decision = AskWhenUnsure(looking, person, lambda _: False, stuck=lambda _: True).decide(at(NEAR), AHEAD)
    assert len(searches) == 1 and len(person.seen) == (0 if saves else 1)
    assert (decision.decision, decision.asked) == (("allow", False) if saves else ("block", True))


def test_an_audit_asks_where_the_guard_is_sure_and_keeps_its_opinion_beside():
    for audited, asked, beside in ((True, True, "block"), (False, False, None)):
        asking = AskWhenUnsure(lookahead(), Person(lambda _: False), lambda _: False, lambda audited=audited: audited)
        decision = asking.decide(at(NEAR), AHEAD)
        assert (decision.asked, decision.beside) == (asked, beside)
        assert decision.decision == ("allow" if audited else "block")  # the overseer's word counts

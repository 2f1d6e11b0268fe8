"""A proposal that two people judge, each at a page of their own."""

from __future__ import annotations

import pytest
from waiting import says, shows
from watched_agent import proposal_of, until_proposal

pytestmark = pytest.mark.browser


def test_a_proposal_waits_for_the_second_person_and_one_block_of_two_is_a_block(watching):
    watched = watching(votes=2)
    ada, bob = watched.page("ada"), watched.page("bob")
    proposal_of(ada)
    proposal_of(bob)
    ada.keyboard.press("e")
    for page in (ada, bob):
        says(page, "#state", "every action waits for you; 2 people judge each: nobody has")
    ada.keyboard.press("a")
    says(ada, "#state", "your verdict stands: it waits for 1 more, from bob")
    says(bob, "#state", "every action waits for you; 2 people judge each: ada has")
    assert ada.is_disabled("#allow") and bob.is_enabled("#allow")
    assert watched.agent.verdicts.empty() and watched.overseer.desk.proposal == 1
    bob.keyboard.press("b")
    verdict = watched.verdict()
    assert [(said.person, said.block, said.silent) for said in (verdict, *verdict.others)] == [
        ("bob", True, False),
        ("ada", False, False),
    ]
    says(bob, "#notice", "blocked: judgement 1 is on disk")
    says(ada, "#notice", "let pass: judgement 2 is on disk")
    for page in (ada, bob):
        until_proposal(page, 2)
        shows(page, "deciding")
        says(page, "#state", "nobody has")
    assert watched.agent.verdicts.empty()

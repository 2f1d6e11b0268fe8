"""What overseers declare of their judging, and what is taken for granted of one that declares nothing."""

from __future__ import annotations

import gymnasium as gym
import pytest

import heed.worlds  # noqa: F401 - registers them
from heed.oversight import (
    HumanOverseer,
    Overseer,
    Proposal,
    Recorded,
    Scope,
    Verdict,
    fail_closed,
    overseer_from_spec,
    scope_of,
)

ORACLES = {
    "local": Scope("next_state", last_moment=True, needs_env=True, scripted=True),
    "far-sighted": Scope("next_state", last_moment=False, needs_env=True, scripted=True),
}
RULE = Scope("state", scripted=True)


class Silent:
    """An overseer of a user's own, which declares nothing."""

    name = "mine"

    def judge(self, proposal: Proposal, /) -> Verdict:
        return Verdict(False)

    def reset(self, seed: int) -> None:
        """Nothing to forget."""


def made(spec: str) -> Overseer:
    env = "CartPole-v1" if spec.startswith("rule") else "heed/PointHazard-v0"
    return overseer_from_spec(spec, gym.make(env))


@pytest.mark.parametrize(("spec", "scope"), [*ORACLES.items(), ("rule", RULE)])
def test_each_of_ours_declares_what_it_judges_and_what_is_around_it_passes_it_on(spec, scope):
    assert scope_of(made(spec)) == scope
    noisy = made(f"{spec},delay=3,miss=0.05,false=0.1,tire=500")
    assert scope_of(Recorded(fail_closed(noisy, timeout_s=5.0))) == scope


def test_one_that_declares_nothing_may_be_a_person_about_the_next_state():
    assert scope_of(Silent()) == Scope("next_state", last_moment=None, needs_env=False, scripted=False)
    assert scope_of(Recorded(Silent())) == scope_of(HumanOverseer()) == Scope()


def test_a_verdict_of_several_people_lists_each_once():
    other = Verdict(False, person="bob")
    verdict = Verdict(True, person="ada", others=(other,))
    assert [given.person for given in verdict.all] == ["ada", "bob"]

"""What a decision says of the verdict behind it, and what its info holds."""

import numpy as np
import pytest

from heed.guard.decisions import Decision, Step
from heed.oversight.overseers.base import Verdict


def decision(verdict):
    return Decision(1.0, 0.0, "block", "blocker", verdict=verdict)


@pytest.mark.parametrize(
    ("verdict", "asked", "key", "credit", "catastrophe"),
    [
        (None, False, "", 0, False),
        (Verdict(True), True, "", 0, False),
        (Verdict(True, key="k", credit=3, catastrophe=True), True, "k", 3, True),
        (Verdict(True, key="k", credit=3, catastrophe=True, failed=True), False, "", 0, False),  # nobody judged
        (Verdict(True, key="k", credit=3, acted=True), False, "k", 3, False),  # somebody acted, and judged nothing
        (Verdict(True, key="k", credit=3, glimpsed=True), False, "k", 3, False),  # it was hardly in view
        (Verdict(True, key="k", others=(Verdict(True, key="l", credit=2),)), True, "k", 2, False),  # another's was late
        (Verdict(True, key="k", others=(Verdict(False, key="l", credit=2),)), True, "k", 0, False),
    ],
)
def test_a_decision_reports_its_verdict(verdict, asked, key, credit, catastrophe):
    decided = decision(verdict)
    expected = {"asked": asked, "key": key, "credit": credit}
    assert {name: getattr(decided, name) for name in expected} == expected
    assert decided.catastrophe_reported is catastrophe
    info = decided.info()
    assert {name: info[name] for name in expected} == expected and info["catastrophe_reported"] is catastrophe


def test_the_info_holds_plain_fields_alone():
    assert list(decision(Verdict(True)).info()) == [
        "proposed", "executed", "decision", "source", "risk", "member_risk", "first_unsafe", "cause", "unknown_parts",
        "beside", "beside_risk", "because", "judged", "demonstrated", "feasible", "latency_ms", "plan_ms", "asked",
        "key", "credit", "catastrophe_reported",
    ]  # fmt: skip


@pytest.mark.parametrize(("by_environment", "by_person"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_catastrophe_is_reported_by_the_environment_or_by_a_person(by_environment, by_person):
    zero = np.zeros(1, np.float32)
    decided = decision(Verdict(by_person, catastrophe=by_person))
    step = Step(zero, zero, zero, decided, zero, 0.0, False, False, by_environment, {})
    assert step.catastrophe_reported is (by_environment or by_person)

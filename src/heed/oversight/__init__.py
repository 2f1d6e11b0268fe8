"""Judgements and who makes them: the append-only store, and overseers that are scripted, noisy or a person.

An overseer of one's own needs ``name``, ``judge(proposal)`` and ``reset(seed)`` (`Overseer`); it may declare a `Scope`.
"""

from typing import TYPE_CHECKING

from heed._on_demand import on_demand

if TYPE_CHECKING:
    from heed.oversight.overseers.base import DeclaresScope, Overseer, Proposal, Scope, Verdict, scope_of
    from heed.oversight.overseers.fail_closed import FailClosedOverseer, fail_closed
    from heed.oversight.overseers.human import HumanOverseer
    from heed.oversight.overseers.noise import Delayed, FalseAlarm, Missing, Tiring
    from heed.oversight.overseers.recorded import Listener, Recorded
    from heed.oversight.overseers.scripted import FarSightedOverseer, LocalOverseer, RuleOverseer
    from heed.oversight.overseers.specs import far_sighted_overseer, local_overseer, overseer_from_spec
    from heed.oversight.store.store import Judgement, Store, open_store

__all__ = [
    "DeclaresScope",
    "Delayed",
    "FailClosedOverseer",
    "FalseAlarm",
    "FarSightedOverseer",
    "HumanOverseer",
    "Judgement",
    "Listener",
    "LocalOverseer",
    "Missing",
    "Overseer",
    "Proposal",
    "Recorded",
    "RuleOverseer",
    "Scope",
    "Store",
    "Tiring",
    "Verdict",
    "fail_closed",
    "far_sighted_overseer",
    "local_overseer",
    "open_store",
    "overseer_from_spec",
    "scope_of",
]

__getattr__ = on_demand(
    __name__,
    {
        "overseers.base": ["DeclaresScope", "Overseer", "Proposal", "Scope", "Verdict", "scope_of"],
        "overseers.fail_closed": ["FailClosedOverseer", "fail_closed"],
        "overseers.human": ["HumanOverseer"],
        "overseers.noise": ["Delayed", "FalseAlarm", "Missing", "Tiring"],
        "overseers.recorded": ["Listener", "Recorded"],
        "overseers.scripted": ["FarSightedOverseer", "LocalOverseer", "RuleOverseer"],
        "overseers.specs": ["far_sighted_overseer", "local_overseer", "overseer_from_spec"],
        "store.store": ["Judgement", "Store", "open_store"],
    },
)

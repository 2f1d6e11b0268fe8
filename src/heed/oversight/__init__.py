"""Judgements and who makes them: the append-only store, and overseers that are scripted, noisy or a person."""

from heed.oversight.overseers.base import Overseer, Proposal, Verdict
from heed.oversight.overseers.fail_closed import FailClosedOverseer, fail_closed
from heed.oversight.overseers.noise import Delayed, FalseAlarm, Missing, Tiring
from heed.oversight.overseers.recorded import Recorded
from heed.oversight.overseers.scripted import FarSightedOverseer, LocalOverseer, RuleOverseer
from heed.oversight.overseers.specs import far_sighted_overseer, local_overseer, overseer_from_spec
from heed.oversight.store.store import Judgement, Store, open_store

__all__ = [
    "Delayed",
    "FailClosedOverseer",
    "FalseAlarm",
    "FarSightedOverseer",
    "Judgement",
    "LocalOverseer",
    "Missing",
    "Overseer",
    "Proposal",
    "Recorded",
    "RuleOverseer",
    "Store",
    "Tiring",
    "Verdict",
    "fail_closed",
    "far_sighted_overseer",
    "local_overseer",
    "open_store",
    "overseer_from_spec",
]

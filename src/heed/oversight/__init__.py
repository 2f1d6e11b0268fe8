"""Judgements and who makes them: the append-only store, and overseers that are scripted, noisy or a person."""

from heed.oversight.guarded import Guarded, guarded
from heed.oversight.judgements import Judgement, Store, open_store
from heed.oversight.noise import Delayed, FalseAlarm, Missing, Tiring
from heed.oversight.overseers import FarSightedOverseer, LocalOverseer, Moment, Overseer, RuleOverseer, Verdict
from heed.oversight.recorded import Recorded
from heed.oversight.specs import far_sighted_overseer, local_overseer, overseer_from_spec

__all__ = [
    "Delayed",
    "FalseAlarm",
    "FarSightedOverseer",
    "Guarded",
    "Judgement",
    "LocalOverseer",
    "Missing",
    "Moment",
    "Overseer",
    "Recorded",
    "RuleOverseer",
    "Store",
    "Tiring",
    "Verdict",
    "far_sighted_overseer",
    "guarded",
    "local_overseer",
    "open_store",
    "overseer_from_spec",
]

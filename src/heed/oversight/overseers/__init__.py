"""Overseers: scripted ones, noisy ones, people at a page, and what makes any of them fail closed."""

from heed.oversight.overseers.base import Overseer, Proposal, Verdict
from heed.oversight.overseers.scripted import FarSightedOverseer, LocalOverseer, RuleOverseer

__all__ = ["FarSightedOverseer", "LocalOverseer", "Overseer", "Proposal", "RuleOverseer", "Verdict"]

"""The apothecary: a text world whose exact Pareto front is known (docs/methods.md).

A customer names two or three complaints; the reply prescribes remedies in doses and may warn. Remedies help, and do
harm that grows faster than the dose. What is best for any weighing of help, harmlessness, brevity and price is
computed exactly, so a method's front is a fraction of the exact one.
"""

from heed.worlds.apothecary.front import ExactFront
from heed.worlds.apothecary.hulls import hypervolume
from heed.worlds.apothecary.world import Apothecary, GoldReward

__all__ = ["Apothecary", "ExactFront", "GoldReward", "hypervolume"]

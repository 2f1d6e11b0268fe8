"""The world itself: complaints, remedies, and what a set of doses is worth on each gold objective."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from heed.errors import HeedError

Array = NDArray[np.float64]

COMPLAINTS = ("cough", "fever", "gout", "rash", "colic", "migraine", "nausea", "insomnia")
HERBS = ("willow", "nettle", "fennel", "sage", "mint", "thyme")
HARSH = ("foxglove", "mercury")
QUACKS = ("snakeoil", "stardust")
REMEDIES = HERBS + HARSH + QUACKS
OBJECTIVES = ("help", "harmless", "brevity", "price")

MOST_DOSES = 3
MOST_PRESCRIPTIONS = 3
RELIEF = 4.5
"""Help that one complaint can take at most."""

MALFORMED = {"help": -1.0, "harmless": -10.0, "brevity": -30.0, "price": -100.0}
"""Gold of a reply that cannot be read. It is worse on every objective than any well-formed reply that keeps
each remedy to two doses in all, so silence and babble never pay (calibration: the mute trap), yet not so far
below that a few unreadable replies drown the rest of a batch."""


@dataclass(frozen=True, eq=False)
class Pharmacy:
    """What each remedy does: strengths [remedies, complaints], side effects and prices [remedies].

    Help is the sum over the customer's complaints of ``min(4.5, sum_r doses_r strength_rc)``. Harm is
    ``sum_r side_r doses_r^1.5`` over the *total* doses of each remedy, so that splitting a prescription gains
    nothing; one warning halves it; harmless is minus half the harm. Brevity is minus the reply's words and
    punctuation marks, price minus the coins it costs. The four scales differ on purpose.

    >>> pharmacy = Pharmacy.stocked(seed=0)
    >>> willow = np.eye(10)[:1] * 2  # two doses of the first herb, with a warning
    >>> pharmacy.harmless(willow, np.array([True])).round(4)
    array([-0.3536])
    """

    strengths: Array
    sides: Array
    prices: Array

    @classmethod
    def stocked(cls, seed: int) -> Pharmacy:
        """The pharmacy of a seed: six herbs for one complaint each, two harsh remedies, two quacks.

        The seed decides which complaint each remedy is for and moves each strength by up to 3%. Slopes are
        alike for all prompts, because independent strengths would smear every kink of the front.
        """
        generator = np.random.default_rng(seed)
        strengths = np.zeros((len(REMEDIES), len(COMPLAINTS)))
        strengths[np.arange(6), np.arange(6)] = 3.0
        strengths[6, [0, 1, 2]], strengths[6, 6] = 1.5, 3.8
        strengths[7, [3, 4, 5]], strengths[7, 7] = 1.5, 3.8
        strengths[8, [0, 3]] = strengths[9, [6, 7]] = 0.5
        strengths *= 1 + generator.uniform(-0.03, 0.03, strengths.shape)
        sides = np.array([0.5] * 6 + [2.5] * 2 + [1.5] * 2)
        prices = np.array([6.0] * 6 + [20.0] * 2 + [2.0] * 2)
        return cls(strengths[:, generator.permutation(len(COMPLAINTS))], sides, prices)

    def help(self, doses: Array, complaints: Array) -> Array:
        """Help [B] of doses [B, remedies] against complaints, one indicator row [complaints] or one per reply."""
        relief: Array = np.minimum(doses @ self.strengths, RELIEF)
        return np.asarray((relief * complaints).sum(-1))

    def harmless(self, doses: Array, warned: NDArray[np.bool_]) -> Array:
        """Minus half the harm [B] of total doses [B, remedies], halved where the reply warns [B]."""
        harm = doses**1.5 @ self.sides
        return np.asarray(-0.5 * np.where(warned, 0.5 * harm, harm))

    def price(self, doses: Array) -> Array:
        """Minus the coins [B] that doses [B, remedies] cost."""
        return np.asarray(-(doses @ self.prices))


def check_objectives(names: tuple[str, ...]) -> None:
    """Raise a HeedError unless the names are distinct gold objectives of this world."""
    unknown = [name for name in names if name not in OBJECTIVES]
    if unknown or not names or len(set(names)) < len(names):
        raise HeedError(
            f"the apothecary cannot score {', '.join(unknown or names) or 'no objectives'}",
            where="objectives",
            fix=f"name each of {', '.join(OBJECTIVES)} at most once",
        )


def dose_vectors(
    remedies: int = len(REMEDIES), prescriptions: int = MOST_PRESCRIPTIONS, doses: int = MOST_DOSES
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every total that some reply prescribes [N, remedies], and the fewest prescriptions that do it [N].

    >>> totals, fewest = dose_vectors(remedies=1, prescriptions=2, doses=3)
    >>> totals.ravel().tolist(), fewest.tolist()
    ([1, 2, 3, 4, 5, 6], [1, 1, 1, 2, 2, 2])
    """
    single = [(remedy, dose) for remedy in range(remedies) for dose in range(1, doses + 1)]
    totals: set[tuple[int, ...]] = set()
    for count in range(1, prescriptions + 1):
        for chosen in combinations_with_replacement(single, count):
            total = [0] * remedies
            for remedy, dose in chosen:
                total[remedy] += dose
            totals.add(tuple(total))
    vectors = np.array(sorted(totals), dtype=np.int64)
    return vectors, -(-vectors // doses).sum(-1)

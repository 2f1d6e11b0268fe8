"""GDPO: normalise each reward in its group, add, normalise over the batch."""

from __future__ import annotations

from heed.balance.weightings.combinations.mo_grpo import MOGRPO


class GDPO(MOGRPO):
    """Group reward-decoupled normalisation (Liu et al. 2026, arXiv 2601.05242), as TRL's ``normalize_then_sum``.

    ::

        A as MO-GRPO's,   then (A - mean of the batch) / (std of the batch + 1e-4)

    Other frameworks' "GDPO" leave out the last line, or take leave-one-out baselines: three numbers of one name.

    >>> GDPO.whitened, MOGRPO.whitened
    (True, False)
    """

    whitened = True

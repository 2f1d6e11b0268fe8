"""Which parts of the state the labels depend on, learnt from the labels themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from heed.guard.models.config import BatchConfig
from heed.guard.models.ensemble import Normaliser
from heed.guard.models.unseen import QUICK_FIT, Unseen, ranking_errors, unseen_by_folds

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""How many columns the compared sets have, at most all of them."""
SHUFFLES = 4
"""Times that a column is shuffled to see what it was worth."""
NO_MATTER = 0.005
"""Share of needless flags by which sets of columns are taken to be alike."""
WELL_TOLD, AS_GOOD = 0.05, 1.15
"""Error of the best set up to which the others add nothing; and above it, times that error up to which a set is taken
to be as good."""


def relevant_columns(
    inputs: Tensor,
    labels: Tensor,
    folds: Tensor,
    generator: torch.Generator,
    free: int | None = None,
    config: BatchConfig = QUICK_FIT,
) -> tuple[int, ...]:
    """The columns from which unseen labels are told best: few where these tell them well, else as many as are of use.

    A set of columns is as bad as the share of the passed steps that look at least as dangerous as a block, mean over
    the blocks, each fold as the classifier sees it that has learnt from none of it (one less the area under the ROC
    curve). First all columns are ordered by how much worse it gets where one is shuffled (permutation importance,
    Breiman 2001). Then the first 1, 2, 3, 4, 6, 8, ... columns of that order, up to all, are compared. A
    column on which no label depends only adds ways to be wrong: with twelve of them and 17 blocks, blockers flag nearly
    everything rather than miss one. So where the best set errs in at most 5%, the smallest is taken of those as good
    but for half a percent. A column that is left out though labels depend on it is no better: what is known so far may
    hardly show it, and the policy goes on to places where it matters (without the speed, blockers of a far-sighted
    overseer ranked the next blocks below what was let pass). So where even the best set errs more, the largest is taken
    of those whose error is at most 15% above the least.

    Args:
        inputs: what blockers judge, [N, D]; rows that are not finite are left out.
        labels: True for a block, [N].
        folds: number of the classifier that does without a row, [N], as for `Blockers.fit`.
        generator: of weights, batches and shuffles.
        free: columns that are in question, the first so many; the rest always count. All if None.
        config: of the classifiers' fit.

    Returns:
        Numbers of columns in question, in their order; all of them where one fold holds all of one kind.

    >>> x = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
    >>> relevant_columns(x, x[:, 4] > 1.5, torch.arange(400) % 5, torch.Generator().manual_seed(0))
    (4,)
    """
    free = inputs.shape[1] if free is None else free
    usable = inputs.isfinite().all(1)
    inputs, labels, folds = inputs[usable], labels[usable], folds[usable]
    members = int(folds.max()) + 1 if len(folds) else 0
    learnt_by_all = all(bool((kind & (folds != fold)).any()) for kind in (labels, ~labels) for fold in range(members))
    if free <= 1 or not members or not learnt_by_all:
        return tuple(range(free))
    normaliser = Normaliser(inputs.shape[1])
    normaliser.fit(inputs)
    x = normaliser(inputs)
    everything = torch.ones(1, inputs.shape[1])
    unseen = unseen_by_folds(x, labels, folds, everything, generator, config)
    order = _by_importance(x, labels, folds, unseen, free, generator)
    sizes = [size for size in SIZES if size < free] + [free]
    masks = everything.repeat(len(sizes), 1)
    for row, size in zip(masks, sizes, strict=True):
        row[order[size:]] = 0.0
    errors = ranking_errors(unseen_by_folds(x, labels, folds, masks, generator, config)(x, folds), labels, folds)
    chosen = sizes[as_good(*errors)]
    return tuple(sorted(order[:chosen].tolist()))


def _by_importance(
    x: Tensor,
    labels: Tensor,
    folds: Tensor,
    unseen: Unseen,
    free: int,
    generator: torch.Generator,
) -> Tensor:
    """The columns in question, the most important first, [free]."""
    costs = torch.zeros(free)
    for column in range(free):
        shuffled = x.clone()
        for _ in range(SHUFFLES):
            shuffled[:, column] = x[torch.randperm(len(x), generator=generator), column]
            each, weights = ranking_errors(unseen(shuffled, folds), labels, folds)
            costs[column] += (each[0] * weights).sum()
    return costs.argsort(descending=True, stable=True)


def as_good(errors: Tensor, weights: Tensor) -> int:
    """Number of the set to take: the first that is as good as one that tells labels well, else the last of use."""
    means = (errors * weights).sum(1)
    if means.min() <= WELL_TOLD:
        return int((means <= means.min() + NO_MATTER).nonzero()[0])
    return int((means <= AS_GOOD * means.min()).nonzero()[-1])

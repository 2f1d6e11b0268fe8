"""Which parts of the state the labels depend on, learnt from the labels themselves."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from heed.guard.models.ensemble import BatchConfig, Normaliser, StackedMLP, balanced, learn_members

RELEVANCE_FIT = BatchConfig(updates=500, learning_rate=1e-2, weight_decay=1e-3)
"""How the classifiers that compare sets of columns are fitted: quickly, as there are many."""
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""How many columns the compared sets have, at most all of them."""
SHUFFLES = 4
"""Times that a column is shuffled to see what it was worth."""
NO_MATTER = 0.005
"""Share of needless flags by which sets of columns are taken to be alike."""
LEAST_ROWS = 64
"""Rows of a class that a batch draws from, repeated where there are fewer."""


def relevant_columns(
    inputs: Tensor,
    labels: Tensor,
    folds: Tensor,
    generator: torch.Generator,
    free: int | None = None,
    config: BatchConfig = RELEVANCE_FIT,
) -> tuple[int, ...]:
    """The columns from which unseen labels are told best: the fewest that are not worse than the best set.

    A set of columns is as bad as the share of the passed steps that look at least as dangerous as a block, mean over
    the blocks, each fold as the classifier sees it that has learnt from none of it (one less the area under the ROC
    curve). First all columns are ordered by how much worse it gets where one is shuffled (permutation importance,
    Breiman 2001). Then the first 1, 2, 3, 4, 6, 8, ... columns of that order, up to all, are compared; of the sets
    within one standard error of the best, or half a percent, the smallest is taken (Breiman et al. 1984). A column on
    which no label depends only adds ways to be wrong: with twelve of them and 17 blocks, blockers flag nearly
    everything rather than miss one.

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
    unseen = _fitted(x, labels, folds, everything, generator, config)
    order = _by_importance(x, labels, folds, unseen, free, generator)
    sizes = [size for size in SIZES if size < free] + [free]
    masks = everything.repeat(len(sizes), 1)
    for row, size in zip(masks, sizes, strict=True):
        row[order[size:]] = 0.0
    errors = ranking_errors(_fitted(x, labels, folds, masks, generator, config)(x), labels, folds)
    chosen = sizes[smallest_as_good(*errors)]
    return tuple(sorted(order[:chosen].tolist()))


def _by_importance(
    x: Tensor,
    labels: Tensor,
    folds: Tensor,
    unseen: Callable[[Tensor], Tensor],
    free: int,
    generator: torch.Generator,
) -> Tensor:
    """The columns in question, the most important first, [free]."""
    costs = torch.zeros(free)
    for column in range(free):
        shuffled = x.clone()
        for _ in range(SHUFFLES):
            shuffled[:, column] = x[torch.randperm(len(x), generator=generator), column]
            each, weights = ranking_errors(unseen(shuffled), labels, folds)
            costs[column] += (each[0] * weights).sum()
    return costs.argsort(descending=True, stable=True)


def _fitted(
    x: Tensor, labels: Tensor, folds: Tensor, masks: Tensor, generator: torch.Generator, config: BatchConfig
) -> Callable[[Tensor], Tensor]:
    """Classifiers of each set of columns, [C, D], one a fold: from rows [N, D] to unseen log-odds [C, N]."""
    sets, members = len(masks), int(folds.max()) + 1
    network = StackedMLP([x.shape[1], 32, 32, 1], sets * members, seed=0)
    network.reset(generator)
    seen = masks.repeat_interleave(members, 0)[:, None]  # [C K, 1, D]

    def rows_of(kind: Tensor) -> Tensor:
        each = [(kind & (folds != fold)).nonzero()[:, 0] for fold in range(members)]
        count = max(LEAST_ROWS, int(kind.sum()))
        return torch.stack([rows[torch.arange(count) % len(rows)] for rows in each]).repeat(sets, 1)

    def loss(batch: Tensor) -> Tensor:
        logits = network(x[batch] * seen).squeeze(-1)
        return functional.binary_cross_entropy_with_logits(logits, labels[batch].float(), reduction="none").mean(1)

    weights = [(weight, config.weight_decay) for weight in network.weights]
    biases = [(bias, 0.0) for bias in network.biases]
    batches = balanced([rows_of(labels), rows_of(~labels)], config.batch_size, generator)
    learn_members([*weights, *biases], loss, batches, config)

    @torch.no_grad()
    def unseen(rows: Tensor) -> Tensor:
        logits = network(rows * seen).squeeze(-1).view(sets, members, -1)
        return logits.gather(1, folds.expand(sets, 1, -1))[:, 0]

    return unseen


def ranking_errors(logits: Tensor, labels: Tensor, folds: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the passed steps of a fold that look as dangerous as a block of it, [C, K], and each fold's weight, [K].

    A fold without either kind weighs nothing.
    """
    errors, weights = [], []
    for fold in range(int(folds.max()) + 1):
        blocks, passed = (logits[:, (folds == fold) & kind].sort().values for kind in (labels, ~labels))
        below = torch.searchsorted(passed, blocks)  # those that look less dangerous
        either = blocks.shape[1] > 0 and passed.shape[1] > 0
        errors.append(
            1 - below.double().mean(1) / passed.shape[1] if either else logits.new_zeros(len(logits)).double()
        )
        weights.append(blocks.shape[1] if either else 0)
    return torch.stack(errors, 1), torch.tensor(weights).double() / max(1, sum(weights))


def smallest_as_good(errors: Tensor, weights: Tensor) -> int:
    """Number of the first set whose error is within a standard error of the best, or what does not matter."""
    means = (errors * weights).sum(1)
    best = int(means.argmin())
    beyond = errors - errors[best]
    spread = ((beyond - (beyond * weights).sum(1, keepdim=True)).square() * weights).sum(1).sqrt()
    near = (spread / int((weights > 0).sum()) ** 0.5).clamp(min=NO_MATTER)
    return int((means - means[best] <= near).nonzero()[0])

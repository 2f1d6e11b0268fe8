"""Which labels a member does without, and quick classifiers that tell those, to compare ways of telling."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from heed.guard.models.config import BatchConfig
from heed.guard.models.ensemble import StackedMLP, balanced, learn_members
from heed.guard.models.labels import Labels

STRETCH = 100
"""Labels of one episode that are taken to be alike where episodes are too few."""
STRETCHES = (STRETCH, 25, 5)
"""As many as leave a stretch with blocks for each member, the most first."""
Unseen = Callable[[Tensor, Tensor], Tensor]
QUICK_FIT = BatchConfig(updates=500, learning_rate=1e-2, weight_decay=1e-3)
"""How classifiers that only serve to compare are fitted: quickly, as there are many."""
LEAST_ROWS = 64
"""Rows of a class that a batch draws from, repeated where there are fewer."""


def folds_of(labels: Labels, members: int) -> Tensor:
    """Which member does without each label, [N]: those of an episode stay together, episodes with blocks are dealt out.

    Steps that follow one another are too alike to be split: whoever has seen one knows the next. Where fewer than four
    episodes a member have blocks, as with episodes that hardly ever end, stretches of an episode are dealt out instead:
    a whole one of them is too large a part of what is known to do without.

    >>> blocked = torch.tensor([False, True, True, False, True])
    >>> nothing = torch.zeros(5, 1)
    >>> episodes = torch.tensor([0, 0, 0, 1, 2])
    >>> folds_of(Labels(nothing, nothing, nothing, blocked, episodes, blocked, blocked), members=2).tolist()
    [0, 0, 0, 1, 1]
    """
    order = labels.episodes.argsort(stable=True)
    sorted_episodes = labels.episodes[order]
    first = torch.searchsorted(sorted_episodes, sorted_episodes)
    few = len(labels.episodes[labels.blocked].unique()) < 4 * members
    stretches = torch.empty_like(order)
    for length in STRETCHES if few else (len(order) + 1,):
        parts = (torch.arange(len(order)) - first) // length
        stretches[order] = torch.unique(torch.stack([sorted_episodes, parts], 1), dim=0, return_inverse=True)[1]
        with_blocks = stretches[labels.blocked].unique()
        if len(with_blocks) >= members:
            break
    return torch.searchsorted(with_blocks, stretches) % members


def unseen_by_folds(
    x: Tensor, labels: Tensor, folds: Tensor, masks: Tensor, generator: torch.Generator, config: BatchConfig
) -> Unseen:
    """Classifiers of each set of columns, one a fold.

    Args:
        x: normalised rows, [N, D].
        labels: bool [N].
        folds: number of the classifier that does without a row, [N].
        masks: 1 where a set has a column, else 0, [C, D].
        generator: of weights and batches.
        config: of the fit.

    Returns:
        What tells rows [N, D] by the classifiers of their folds, [N], that have not learnt from them: log-odds [C, N].
    """
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
    def unseen(rows: Tensor, theirs: Tensor) -> Tensor:
        logits = network(rows * seen).squeeze(-1).view(sets, members, -1)
        return logits.gather(1, theirs.expand(sets, 1, -1))[:, 0]

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

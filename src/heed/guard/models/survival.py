"""What survived without a judgement: whether it was harmless, or only lucky, by what the labels themselves show."""

from __future__ import annotations

import torch
from torch import Tensor

from heed.guard.models.ensemble import Normaliser
from heed.guard.models.labels import Labels
from heed.guard.models.unseen import QUICK_FIT, ranking_errors, unseen_by_folds

LEAST_BLOCKS = 10
"""Blocks whose outcome is known from which it is asked what kind they are of."""
LOOK_ALIKE = 0.2
"""Share of blocks after which all went well and that would still be blocked, up to which they came at the last moment.
In four runs of three worlds of ours it was 0, 3, 9 and 14% where they did, in thirteen of five 33 to 50% where they
came in time. The bound is nearer the first: to take for late who comes in time makes labels of what was only lucky."""


def survivors_agree(inputs: Tensor, labels: Labels, folds: Tensor, generator: torch.Generator) -> bool | None:
    """Whether the person blocks at the last moment, so that what came to no harm was harmless.

    At the last moment a block is followed by a catastrophe that it came too late for, or leads to a state that nobody
    would block. In time it is not: the safe action leads on through states that would be blocked again. So classifiers
    learn from the person's own verdicts, and tell the states in which blocks of the fold that they have not seen ended:
    the share of these that look at least as dangerous as a block, mean over the blocks, of all outcomes.

    Args:
        inputs: what blockers judge, [N, D]; rows that are not finite are left out.
        labels: of which the inputs are.
        folds: number of the classifier that does without a row, [N].
        generator: of weights and batches.

    Returns:
        None where there is too little to tell.
    """
    usable = inputs.isfinite().all(1)
    judged, ended = usable & ~labels.survived, usable & instead_of_blocks(labels)
    x, blocked = inputs[usable], labels.blocked
    happened = int((usable & labels.catastrophes).sum())
    known = int(ended.sum()) + happened
    members = int(folds.max()) + 1 if len(folds) else 0
    each = [judged & kind & (folds != fold) for kind in (blocked, ~blocked) for fold in range(members)]
    if known < LEAST_BLOCKS or not members or not all(bool(rows.any()) for rows in each):
        return None
    if not bool(ended.any()):
        return True
    normaliser = Normaliser(inputs.shape[1])
    normaliser.fit(x)
    x, columns = normaliser(inputs), torch.ones(1, inputs.shape[1])
    unseen = unseen_by_folds(x[judged], blocked[judged], folds[judged], columns, generator, QUICK_FIT)
    either = (usable & blocked) | ended
    errors, weights = ranking_errors(unseen(x[either], folds[either]), blocked[either], folds[either])
    alike = float((errors[0] * weights).sum())
    return alike * int(ended.sum()) / known <= LOOK_ALIKE


def instead_of_blocks(labels: Labels) -> Tensor:
    """Which labels are steps that survived in place of what the person blocked in the same state, bool [N].

    >>> x = torch.tensor([[0.0], [1.0], [1.0], [2.0]])
    >>> blocked, survived = torch.tensor([False, True, False, False]), torch.tensor([False, False, True, True])
    >>> instead_of_blocks(Labels(x, x, x, blocked, torch.zeros(4), survived & blocked, survived)).tolist()
    [False, False, True, False]
    """
    groups = torch.unique(labels.states, dim=0, return_inverse=True)[1]
    with_blocks = torch.zeros(len(groups), dtype=torch.bool)
    with_blocks[groups[labels.blocked]] = True
    return labels.survived & with_blocks[groups]

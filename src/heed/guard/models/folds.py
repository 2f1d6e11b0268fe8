"""Which member of an ensemble does without which labels, so that it can judge them unseen."""

from __future__ import annotations

import torch
from torch import Tensor

from heed.guard.models.labels import Labels

STRETCH = 100
"""Labels of one episode that are taken to be alike where episodes are too few."""
STRETCHES = (STRETCH, 25, 5)
"""As many as leave a stretch with blocks for each member, the most first."""


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

"""Rollouts of several policies as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name
from torch import Tensor

from heed.align.models.sequences import Sequences
from heed.align.rollouts import Rollout


def joined(rollouts: Sequence[Rollout], pad: int) -> Rollout:
    """Several rollouts as one: prompts are padded to the longest on the left, completions on the right.

    Args:
        rollouts: with the same columns.
        pad: the padding token.
    """
    prompt = max(part.sequences.ids.shape[1] - part.sequences.width for part in rollouts)
    width = max(part.sequences.width for part in rollouts)

    def whole(ids: Tensor, own: int, value: int = 0) -> Tensor:
        return F.pad(ids, (prompt - (ids.shape[1] - own), width - own), value=value)

    def completions(rows: Tensor) -> Tensor:
        return F.pad(rows, (0, width - rows.shape[1]))

    each = [part.sequences for part in rollouts]
    sequences = Sequences(
        torch.cat([whole(s.ids, s.width, pad) for s in each]),
        torch.cat([whole(s.attention, s.width) for s in each]),
        torch.cat([completions(s.mask) for s in each]),
    )
    logp = [part.logp for part in rollouts if part.logp is not None]
    return Rollout(
        [prompt for part in rollouts for prompt in part.prompts],
        [said for part in rollouts for said in part.completions],
        sequences,
        torch.cat([part.finished for part in rollouts]),
        {name: [value for part in rollouts for value in part.columns[name]] for name in rollouts[0].columns},
        torch.cat([completions(part) for part in logp]) if len(logp) == len(rollouts) else None,
    )

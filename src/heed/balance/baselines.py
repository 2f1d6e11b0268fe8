"""Rewards against the other completions of the same prompt: the baselines that need no critic."""

from __future__ import annotations

from torch import Tensor


def leave_one_out(rewards: Tensor, group: int) -> Tensor:
    """Reward less the mean reward of the prompt's other completions (RLOO, Ahmadian et al. 2024).

    Args:
        rewards: [K, B], NaN where not scored; the completions of one prompt are consecutive columns.
        group: completions per prompt.

    Returns:
        [K, B]; zero where fewer than two completions of the prompt were scored.

    >>> import torch
    >>> leave_one_out(torch.tensor([[1.0, 2.0, 6.0]]), group=3).tolist()
    [[-3.0, -1.5, 4.5]]
    """
    grouped, scored, count = _groups(rewards, group)
    total = grouped.sum(-1, keepdim=True)
    others = (total - grouped) / (count - 1).clamp(min=1)
    return ((grouped - others) * (scored & (count > 1))).reshape(rewards.shape)


def group_relative(rewards: Tensor, group: int, scale: bool = True) -> Tensor:
    """Reward less the mean over the prompt's completions, over their standard deviation (GRPO, Shao et al. 2024).

    Args:
        rewards: [K, B], NaN where not scored; the completions of one prompt are consecutive columns.
        group: completions per prompt.
        scale: divide by the standard deviation (unbiased, plus 1e-4); False is Dr. GRPO's choice.

    Returns:
        [K, B].

    >>> import torch
    >>> group_relative(torch.tensor([[1.0, 2.0, 3.0]]), group=3, scale=False).tolist()
    [[-1.0, 0.0, 1.0]]
    """
    grouped, scored, count = _groups(rewards, group)
    mean = grouped.sum(-1, keepdim=True) / count.clamp(min=1)
    centred = ((grouped - mean) * scored * (count > 1)).reshape(rewards.shape)
    return centred / (group_deviation(rewards, group) + 1e-4) if scale else centred


def group_deviation(rewards: Tensor, group: int) -> Tensor:
    """The standard deviation (unbiased) over a prompt's completions, at each of them.

    Args:
        rewards: [K, B], NaN where not scored; the completions of one prompt are consecutive columns.
        group: completions per prompt.

    Returns:
        [K, B]; zero where fewer than two completions of the prompt were scored.

    >>> import torch
    >>> group_deviation(torch.tensor([[1.0, 2.0, 3.0]]), group=3).tolist()
    [[1.0, 1.0, 1.0]]
    """
    grouped, scored, count = _groups(rewards, group)
    centred = (grouped - grouped.sum(-1, keepdim=True) / count.clamp(min=1)) * scored
    variance = centred.square().sum(-1, keepdim=True) / (count - 1).clamp(min=1)
    return variance.sqrt().expand_as(grouped).reshape(rewards.shape)


def _groups(rewards: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor]:
    K, B = rewards.shape
    grouped = rewards.reshape(K, B // group, group)
    scored = ~grouped.isnan()
    return grouped.nan_to_num(0.0), scored, scored.sum(-1, keepdim=True)

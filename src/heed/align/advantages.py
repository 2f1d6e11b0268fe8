"""Rewards to advantages, one per objective.

Sequence-level advantages are [K, B], token-level ones [K, B, T]. A completion that an objective did not score (NaN)
leaves that objective's baseline and gets an advantage of zero.
"""

from __future__ import annotations

import torch
from torch import Tensor


def leave_one_out(rewards: Tensor, group: int) -> Tensor:
    """Reward less the mean reward of the prompt's other completions (RLOO, Ahmadian et al. 2024).

    Args:
        rewards: [K, B], NaN where not scored; the completions of one prompt stand in consecutive columns.
        group: completions per prompt.

    Returns:
        [K, B]; zero where fewer than two completions of the prompt were scored.

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
        rewards: [K, B], NaN where not scored; the completions of one prompt stand in consecutive columns.
        group: completions per prompt.
        scale: divide by the standard deviation (unbiased, plus 1e-4); False is Dr. GRPO's choice.

    Returns:
        [K, B].

    >>> group_relative(torch.tensor([[1.0, 2.0, 3.0]]), group=3, scale=False).tolist()
    [[-1.0, 0.0, 1.0]]
    """
    grouped, scored, count = _groups(rewards, group)
    mean = grouped.sum(-1, keepdim=True) / count.clamp(min=1)
    centred = (grouped - mean) * scored
    if scale:
        variance = centred.square().sum(-1, keepdim=True) / (count - 1).clamp(min=1)
        centred = centred / (variance.sqrt() + 1e-4)
    return (centred * (count > 1)).reshape(rewards.shape)


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation per objective (Schulman et al. 2016, eq. 16).

    Args:
        rewards: [K, B, T], the reward that follows each token.
        values: [K, B, T], each critic's value of the state in which the token was chosen.
        mask: [B, T], 1 on the completion's tokens, which stand at the left.
        gamma: discount.
        lam: the lambda of the estimator; 1 is the return less the value.

    Returns:
        Advantages and returns (the critics' targets), both [K, B, T], zero off the mask.

    >>> r, v = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0.5, 0.25]]])
    >>> advantages, returns = gae(r, v, torch.ones(1, 2), gamma=1.0, lam=0.5)
    >>> advantages.tolist(), returns.tolist()
    ([[[0.125, 0.75]]], [[[0.625, 1.0]]])
    """
    mask = mask.to(values.dtype)
    values = values * mask
    advantages = torch.zeros_like(values)
    running = torch.zeros_like(values[..., 0])
    following = torch.zeros_like(values[..., 0])
    for t in reversed(range(values.shape[-1])):
        delta = rewards[..., t] + gamma * following - values[..., t]
        running = (delta + gamma * lam * running) * mask[:, t]
        advantages[..., t] = running
        following = values[..., t]
    return advantages, (advantages + values) * mask


def _groups(rewards: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor]:
    K, B = rewards.shape
    grouped = rewards.reshape(K, B // group, group)
    scored = ~grouped.isnan()
    return grouped.nan_to_num(0.0), scored, scored.sum(-1, keepdim=True)

"""Prompts with their completions, as a batch of token ids."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Sequences:
    """A batch of prompts with completions.

    Args:
        ids: [B, P + T], prompts padded on the left, completions on the right.
        attention: [B, P + T], 1 on real tokens.
        mask: [B, T], 1 on the completion's tokens, the end token included.
    """

    ids: Tensor
    attention: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return self.ids.shape[0]

    @property
    def width(self) -> int:
        """T, the longest completion."""
        return self.mask.shape[1]

    def rows(self, index: Tensor | slice) -> Sequences:
        """Some of the sequences."""
        return Sequences(self.ids[index], self.attention[index], self.mask[index])


def positions(attention: Tensor) -> Tensor:
    """Position of each token when padding does not count, [B, L].

    >>> import torch
    >>> positions(torch.tensor([[0, 1, 1]])).tolist()
    [[0, 0, 1]]
    """
    return (attention.cumsum(-1) - 1).clamp(min=0)


def parts_of(rows: int, size: int) -> list[slice]:
    """Slices of at most ``size`` rows each; one of all where that is 0."""
    size = size or rows
    return [slice(lo, min(lo + size, rows)) for lo in range(0, rows, size)]

"""Labels as rows, and what models are fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from heed.guard.models.transitions import Transitions


@dataclass(frozen=True)
class Labels:
    """Judgements as rows.

    Args:
        states: [N, S].
        actions: the judged action vectors [N, A].
        next_states: [N, S]; NaN where the action was blocked, so that nobody knows.
        blocked: bool [N].
        episodes: the episode of each, [N].
        catastrophes: which labels are catastrophes that happened, bool [N].
    """

    states: Tensor
    actions: Tensor
    next_states: Tensor
    blocked: Tensor
    episodes: Tensor
    catastrophes: Tensor


class Experience(Protocol):
    """All that models are fitted to; `heed.guard.labels.LabelCollector` gathers it."""

    @property
    def transitions(self) -> Transitions:
        """What happened."""
        ...

    @property
    def blocks(self) -> int:
        """Labels that say block."""
        ...

    def labels(self) -> Labels:
        """What was judged, and what survived."""
        ...

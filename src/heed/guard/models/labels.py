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
        survived: which nobody judged: steps that came to no harm, bool [N].
    """

    states: Tensor
    actions: Tensor
    next_states: Tensor
    blocked: Tensor
    episodes: Tensor
    catastrophes: Tensor
    survived: Tensor

    def rows(self, chosen: Tensor) -> Labels:
        """Those at a mask or at numbers."""
        return Labels(*(column[chosen] for column in vars(self).values()))


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

    def snapshot(self) -> Experience:
        """The same as it is now, whatever comes later."""
        ...


@dataclass(frozen=True)
class Remembered:
    """Experience that does not grow any more.

    Args:
        transitions: what happened.
        rows: what was judged, and what survived.
    """

    transitions: Transitions
    rows: Labels

    @property
    def blocks(self) -> int:
        """Labels that say block."""
        return int(self.rows.blocked.sum())

    def labels(self) -> Labels:
        """What was judged, and what survived."""
        return self.rows

    def snapshot(self) -> Remembered:
        """The same, as it does not change."""
        return self

"""What a weighting may want besides gradients, and what it may tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class ObservesValues(Protocol):
    """A weighting that wants the objectives' values before it is evaluated, at every step."""

    def observe(self, values: Tensor) -> None:
        """Take in this step's mean value of each objective over the batch, [K], in the objectives' units."""
        ...


@runtime_checkable
class ObservesSpreads(Protocol):
    """A weighting that wants the objectives' values and how far they spread, once a round."""

    def observe_spreads(self, values: Tensor, deviations: Tensor) -> None:
        """Take in each objective's mean and standard deviation over the batch, [K] each, NaN where nothing scored."""
        ...


@runtime_checkable
class TellsFigures(Protocol):
    """A weighting with figures of its own that are worth a line in the metrics."""

    def figures(self, names: Sequence[str]) -> dict[str, float]:
        """Figures by name, for objectives of these names."""
        ...

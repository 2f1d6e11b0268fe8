"""A policy that is steered by what the ranks of its adapter count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from torch import Tensor

from heed.align.conditioning.gates import PreferenceGates
from heed.align.conditioning.steering import ByMinibatch
from heed.align.config import AlignConfig
from heed.align.models.policy import Policy
from heed.align.models.sequences import parts_of
from heed.balance.weightings.conditioned import Conditioned


class ByAdapter(ByMinibatch):
    """Each minibatch is drawn and learnt from by the policy of one preference, which its adapter's gates make.

    Args:
        weighting: a weighting for each preference.
        names: of the objectives.
        config: the run's.
        policy: with a LoRA adapter.

    Raises:
        HeedError: no LoRA adapter, or too few ranks.
    """

    def __init__(self, weighting: Conditioned, names: Sequence[str], config: AlignConfig, policy: Policy) -> None:
        super().__init__(weighting, names, config)
        self.gates = PreferenceGates(policy, len(names), weighting.shared)

    def asked(self, step: int, prompts: Sequence[Any]) -> list[Any]:
        """A round's prompts, which carry nothing; the preferences of its minibatches are drawn."""
        self.draw(step)
        return list(prompts)

    def parts(self, rows: int) -> list[tuple[slice, Sequence[float] | None]]:
        """Each minibatch's rows of a round, and its preference."""
        parts = parts_of(rows, rows // self.config.minibatches)
        return [(part, self.preferences[index]) for part, index in zip(parts, self.drawn, strict=True)]

    def acting(self, preference: Sequence[float] | None = None) -> AbstractContextManager[None]:
        """Within: the policy is that of a preference; by default of the minibatch's."""
        return self.gates.acting(self.preferences[self.weighting.turn] if preference is None else preference)

    def factors(self, slices: Mapping[str, slice]) -> Tensor:
        """The gates of the minibatch's preference."""
        return self.gates.factors(self.preferences[self.weighting.turn], slices)

    def save(self, folder: Path) -> None:
        """Write down whose the adapter's ranks are."""
        self.gates.save(folder, self.names)

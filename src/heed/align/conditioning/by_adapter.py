"""A policy that is steered by what the ranks of its adapter count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name
from torch import Tensor

from heed.align.conditioning.gates import PreferenceGates
from heed.align.conditioning.steering import ByMinibatch
from heed.align.config import AlignConfig
from heed.align.models.policy import Policy
from heed.align.models.sequences import Sequences, parts_of
from heed.align.rollouts import Rollout, Sampler
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

    def roll(
        self,
        sampler: Sampler,
        step: int,
        prompts: Sequence[Any],
        generator: torch.Generator,
        columns: Mapping[str, list[Any]],
    ) -> Rollout:
        """A round's completions, those of a minibatch by the policy of its preference."""
        self.draw(step)
        rollouts = []
        for part, preference in self._parts(len(prompts)):
            own = {name: column[part] for name, column in columns.items()}
            with self.acting(preference):
                rollouts.append(sampler.roll(prompts[part], generator, own))
        return joined(rollouts, sampler.policy.tokenizer.pad_token_id)

    def _parts(self, rows: int) -> list[tuple[slice, Sequence[float]]]:
        """Each minibatch's rows of a round, and its preference."""
        parts = parts_of(rows, rows // self.config.minibatches)
        return [(part, self.preferences[index]) for part, index in zip(parts, self.drawn, strict=True)]

    def acting(self, preference: Sequence[float] | None = None) -> AbstractContextManager[None]:
        """Within: the policy is that of a preference; by default of the minibatch's."""
        return self.gates.acting(self.preferences[self.weighting.turn] if preference is None else preference)

    def factors(self, slices: Mapping[str, slice]) -> Tensor:
        """The gates of the minibatch's preference."""
        return self.gates.factors(self.preferences[self.weighting.turn], slices)

    def logp(self, policy: Policy, sequences: Sequences) -> Tensor:
        """Log-probabilities [B, T] of each minibatch's completions under the policy of its preference."""
        found = []
        for part, preference in self._parts(len(sequences)):
            with self.acting(preference):
                found.append(super().logp(policy, sequences.rows(part)))
        return torch.cat(found)

    def save(self, folder: Path) -> None:
        """Write down whose the adapter's ranks are."""
        self.gates.save(folder, self.names)


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

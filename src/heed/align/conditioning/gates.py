"""An adapter whose ranks belong to objectives: a preference says how much each of them counts."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from peft.tuners.lora.layer import LoraLayer, ParamWrapper
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file, save_file
from torch import Tensor

from heed.align.models.policy import Policy
from heed.balance.checks import check_preference
from heed.errors import HeedError
from heed.runs.files import write_whole

GATES = "gates.json"
"""Beside an adapter: whose its ranks are."""
GATED = ("lora_A", "lora_embedding_A")
"""The factors of an adapter whose rows are its ranks."""
ROUNDING = 1e-9


def gates(rank: int, preference: Sequence[float], shared: float) -> Tensor:
    """What each rank of an adapter counts for a preference, [rank].

    A share of the ranks belongs to all and counts 1. Of the others each objective has as many, and they count its
    weight, times K: 1 where all weigh the same.

    Args:
        rank: of the adapter.
        preference: weights on the simplex, [K].
        shared: share of the ranks that belongs to all, in [0, 1).

    Raises:
        HeedError: too few ranks to give each objective one of its own.

    >>> gates(6, [0.25, 0.75], shared=1 / 3).tolist()
    [1.0, 1.0, 0.5, 0.5, 1.5, 1.5]
    """
    K = len(preference)
    own = check_rank(rank, K, shared)
    weights = check_preference(preference, K).float()
    return torch.cat([torch.ones(rank - K * own), (K * weights).repeat_interleave(own)])


def check_rank(rank: int, objectives: int, shared: float) -> int:
    """How many ranks of an adapter each objective has of its own.

    Args:
        rank: of the adapter; 0 without one.
        objectives: K.
        shared: share of the ranks that belongs to all.

    Raises:
        HeedError: none.

    >>> check_rank(10, objectives=2, shared=0.8)
    1
    """
    if rank < 1:
        what = "without a LoRA adapter there are no ranks that a preference could weigh"
        raise HeedError(what, "--through adapter", "take --through prompt, or train an adapter (--lora-r)")
    own = int(rank * (1 - shared) + ROUNDING) // objectives
    if own < 1:
        least = math.ceil(objectives / (1 - shared) - ROUNDING)
        what = f"of rank {rank} with {shared:.0%} for all, an adapter has no rank for each of {objectives} objectives"
        raise HeedError(what, "--lora-r", f"give at least {least}, or a smaller --shared")
    return own


class PreferenceGates:
    """Makes a policy act as that of a preference, and says how its gradients are those of the adapter.

    Within :meth:`acting`, the rows of the adapter's first factor are multiplied by their gates; whatever is computed
    there (completions, gradients, a saved adapter) is of the policy of that preference. What is trained are the factors
    without gates, and the chain rule multiplies their gradients by the same gates.

    Args:
        policy: with a LoRA adapter.
        objectives: K.
        shared: share of the ranks that all preferences have in common.

    Raises:
        HeedError: no LoRA adapter, or too few ranks.
    """

    def __init__(self, policy: Policy, objectives: int, shared: float) -> None:
        self.policy, self.shared = policy, shared
        self.names = [name for name in policy.trainable() if _is_gated(name)]
        ranks = [len(parameter) for parameter in self._gated().values()]
        for rank in ranks or [0]:
            check_rank(rank, objectives, shared)
        layers = [layer for layer in policy.model.modules() if isinstance(layer, LoraLayer)]
        flat = all(parameter.ndim == 2 for parameter in self._gated().values())
        if not flat or any(isinstance(layer, ParamWrapper) for layer in layers):
            what = "the ranks of an adapter on experts or convolutions are not rows that a preference could weigh"
            raise HeedError(what, "--through adapter", "take --through prompt, or adapt linear layers alone")

    def _gated(self) -> dict[str, torch.nn.Parameter]:
        held = self.policy.trainable()
        return {name: held[name] for name in self.names}

    def _gates(self, parameter: Tensor, preference: Sequence[float]) -> Tensor:
        return gates(len(parameter), preference, self.shared).to(parameter)[:, None]

    @contextmanager
    def acting(self, preference: Sequence[float]) -> Iterator[None]:
        """Within: the policy is that of a preference; then the adapter is to the bit what it was."""
        parameters = list(self._gated().values())
        before = [parameter.detach().clone() for parameter in parameters]
        try:
            with torch.no_grad():
                for parameter in parameters:
                    parameter.mul_(self._gates(parameter, preference))
            yield
        finally:
            with torch.no_grad():
                for parameter, weights in zip(parameters, before, strict=True):
                    parameter.copy_(weights)

    def factors(self, preference: Sequence[float], slices: Mapping[str, slice]) -> Tensor:
        """By what a gradient taken within :meth:`acting` is multiplied to be one of the adapter's factors, [n].

        Args:
            preference: that it was taken for.
            slices: of the trainable parameters, by name, among the n scalars.
        """
        size = max(part.stop for part in slices.values())
        found = torch.ones(size, device=self.policy.device)
        for name, parameter in self._gated().items():
            found[slices[name]] = self._gates(parameter, preference).expand_as(parameter).flatten()
        return found

    def save(self, folder: Path, names: Sequence[str]) -> None:
        """Write down beside a saved adapter whose its ranks are."""
        write_whole(folder / GATES, json.dumps({"objectives": list(names), "shared": self.shared}) + "\n")


def write_adapter(folder: str | Path, preference: Sequence[float], into: str | Path) -> None:
    """Make of a policy of all preferences the adapter of one, which peft loads like any other.

    Args:
        folder: a checkpoint of such a policy.
        preference: weights on the simplex, in the order of the objectives.
        into: a new folder.

    Raises:
        HeedError: no such policy lies there, or a preference that is none of its objectives.

    Example::

        write_adapter("runs/one/checkpoints/step-200", [0.3, 0.7], "careful")
        PeftModel.from_pretrained(base, "careful")
    """
    folder, into = Path(folder), Path(into)
    try:
        told = json.loads((folder / GATES).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        what = f"there is no adapter of all preferences: {GATES} is missing"
        raise HeedError(what, str(folder), "name a checkpoint of a run of conditioned:NAME") from error
    check_preference(preference, len(told["objectives"]))
    weights = load_file(folder / SAFETENSORS_WEIGHTS_NAME)
    for name, held in weights.items():
        if _is_gated(name):
            weights[name] = (held * gates(len(held), preference, told["shared"]).to(held)[:, None]).contiguous()
    into.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / CONFIG_NAME, into / CONFIG_NAME)
    save_file(weights, into / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})


def _is_gated(name: str) -> bool:
    return any(part in GATED for part in name.split("."))

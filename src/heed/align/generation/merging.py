"""An adapter merged into its base for a rollout, and taken out exactly.

``W + scale B A`` costs one product a layer instead of three, and no casts between dtypes. The base's own weights are
kept aside, not restored by subtraction, so that nothing drifts. In half precision the sum is rounded: what is sampled
differs a little from what is trained, which the trainer measures and corrects.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn


class MergedAdapter:
    """Buffers for the merged weights of a LoRA model; they stay where they are, as CUDA graphs ask.

    Args:
        model: the peft model.
        adapter: its adapter's name.

    Raises:
        ValueError: an adapter that is no plain LoRA of linear layers: `mergeable` tells beforehand.
    """

    def __init__(self, model: PeftModel, adapter: str) -> None:
        if not mergeable(model, adapter):
            raise ValueError("only plain LoRA on linear layers is merged")
        self.model, self.adapter = model, adapter
        self.layers = [module for module in model.modules() if isinstance(module, LoraLinear)]
        self.buffers: list[Tensor] = []

    @property
    def bytes(self) -> int:
        """Memory that the buffers take."""
        weights = [layer.get_base_layer().weight for layer in self.layers]
        return sum(weight.numel() * weight.element_size() for weight in weights)

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Within: the base has the adapter's weights in it, and the adapter itself is off; then as it was."""
        weights = [layer.get_base_layer().weight for layer in self.layers]
        own = [weight.data for weight in weights]
        if not self.buffers:
            self.buffers = [torch.empty_like(weight) for weight in own]
        try:
            for layer, weight, base, buffer in zip(self.layers, weights, own, self.buffers, strict=True):
                buffer.copy_(base + layer.get_delta_weight(self.adapter))
                weight.data = buffer
            with self.model.disable_adapter():
                yield
        finally:
            for weight, base in zip(weights, own, strict=True):
                weight.data = base


def mergeable(model: nn.Module, adapter: str) -> bool:
    """Whether all that an adapter changes is plain LoRA on linear layers whose weights no other module shares."""
    if not isinstance(model, PeftModel):
        return False
    holders: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            holders[id(parameter)] = holders.get(id(parameter), 0) + 1
    adapted = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    if any(isinstance(module, AuxiliaryTrainingWrapper) for module in model.modules()):
        return False
    return bool(adapted) and all(
        type(layer) is LoraLinear
        and type(layer.get_base_layer()) is nn.Linear
        and adapter in layer.lora_A
        and not layer.lora_bias.get(adapter, False)
        and not layer.lora_variant.get(adapter)
        and holders[id(layer.get_base_layer().weight)] == 1
        for layer in adapted
    )

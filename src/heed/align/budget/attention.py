"""Attention that computes nothing and holds what torch's fused kernels hold.

On the meta device torch takes scaled dot products apart, and holds scores [heads, T, T] that no fused kernel holds.
Flash attention keeps queries, keys, values, the output and a logarithm for each query (Dao et al. 2022, algorithm 1).
Where sequences are padded transformers gives a mask: then keys and values are repeated for every head, and torch turns
the mask into numbers of the queries' dtype, in each layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

PACKED, PADDED = "heed_packed", "heed_padded"
"""Names of the two, as a config's ``_attn_implementation``: sequences of one length, and padded ones."""


class _Kept(torch.autograd.Function):
    """The output's shape; what is kept for the backward, and what that gives."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        query: Tensor,
        key: Tensor,  # noqa: ARG004 - kept for the backward
        value: Tensor,
        bias: Tensor | None,  # noqa: ARG004 - this too
    ) -> tuple[Tensor, Tensor]:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        return output, query.new_empty(query.shape[:-1], dtype=torch.float32)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs, *output)
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, *_rest = ctx.saved_tensors
        # Made of the gradient, of which a vectorised backward has several.
        return gradient.new_empty(query.shape), gradient.new_empty(key.shape), gradient.new_empty(value.shape), None


def _packed(
    module: nn.Module,  # noqa: ARG001 - as transformers calls it
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001
    **_: Any,
) -> tuple[Tensor, None]:
    return _Kept.apply(query, key, value, None)[0].transpose(1, 2).contiguous(), None


def _padded(
    module: nn.Module,  # noqa: ARG001
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001
    **_: Any,
) -> tuple[Tensor, None]:
    times = query.shape[1] // key.shape[1]
    if times > 1:
        key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    bias = query.new_empty(query.shape[0], 1, query.shape[2], key.shape[2])
    return _Kept.apply(query, key, value, bias)[0].transpose(1, 2).contiguous(), None


AttentionInterface.register(PACKED, _packed)
AttentionInterface.register(PADDED, _padded)


def count_attention(model: Any, padded: bool) -> None:
    """Let a model attend so, where it would by torch's fused kernels; others keep their own attention."""
    for config in (model.config, model.config.get_text_config()):
        if config._attn_implementation in ("sdpa", PACKED, PADDED):
            config._attn_implementation = PADDED if padded else PACKED

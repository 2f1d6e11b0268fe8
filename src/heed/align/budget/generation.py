"""The memory of drawing completions: the cache of keys and values, and the base with the adapter merged into it."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel

from heed.align.budget.passes import reading_bytes
from heed.align.budget.skeleton import bytes_of
from heed.align.generation.continuous import CACHE_SHARE, KEPT_SHARE, PREFILL_TOKENS, slot_length
from heed.align.generation.merging import MergedAdapter, mergeable
from heed.align.generation.slots import slot_bytes
from heed.align.models.policy import POLICY_ADAPTER

DECODED = 4
"""Times that a step holds the logits of its rows in float32: over the temperature, their softmax, clocks, a sum."""


def merged_bytes(model: Any) -> int:
    """A second copy of the layers that the adapter changes; 0 where the adapter is not merged."""
    whole = isinstance(model, PeftModel) and mergeable(model, POLICY_ADAPTER)
    return MergedAdapter(model, POLICY_ADAPTER).bytes if whole else 0


def cache_bytes(model: Any, completions: int, prompt: int, limit: int, device: int | None = None) -> int:
    """The cache at its peak: a slot for each completion, or for as many as fit.

    Args:
        model: a skeleton.
        completions: of a rollout.
        prompt: tokens of the longest prompt.
        limit: tokens of the longest completion.
        device: bytes of a GPU, of which `heed.align.generation.continuous.CACHE_SHARE` beyond the weights is the
            cache's at most; None for a CPU, where nothing bounds it.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    slot = slot_bytes(base.config.get_text_config(), slot_length(prompt, limit), base.dtype)
    fitting = completions
    if device is not None:
        fitting = max(1, int(CACHE_SHARE * (device - bytes_of(model) - merged_bytes(model)) / slot))
    return slot * min(completions, fitting)


def generation_bytes(
    model: Any, prompts: int, completions: int, prompt: int, limit: int, device: int | None = None
) -> tuple[int, int]:
    """What generation holds beside the weights: merged weights and cache; and the larger of a prefill and a step.

    Args:
        model: a skeleton.
        prompts: different ones of a rollout.
        completions: of a rollout.
        prompt: tokens of the longest prompt.
        limit: tokens of the longest completion.
        device: bytes of a GPU; None for a CPU.

    Returns:
        The first, which stays from round to round where `stays` says so, and the second, which does not.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    read = reading_bytes(model, max(1, min(prompts, PREFILL_TOKENS // prompt)), prompt, padded=False)
    step = DECODED * completions * int(base.config.get_text_config().vocab_size) * torch.float32.itemsize
    return merged_bytes(model) + cache_bytes(model, completions, prompt, limit, device), max(read, step)


def stays(kept: int, device: int | None) -> bool:
    """Whether merged weights and cache are kept between rounds: always on a CPU, on a GPU up to a share of it.

    Args:
        kept: their bytes.
        device: bytes of a GPU; None for a CPU.
    """
    return device is None or kept <= KEPT_SHARE * device

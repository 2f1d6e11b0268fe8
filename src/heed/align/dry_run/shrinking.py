"""A random model of a config's own architecture, small enough for a step in seconds, and settings that fit it."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from heed.align.budget.sums import dtype_of
from heed.align.config import AlignConfig
from heed.errors import HeedError

SMALL = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
"""What is shrunk, where the config has it: width, depth, heads."""

TOKENS = 12
"""Longest completion of the step."""


def shrunken_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """The same architecture with few layers, heads and little width; vocabulary and context stay.

    >>> from transformers import LlamaConfig
    >>> small = shrunken_config(LlamaConfig(num_hidden_layers=32))
    >>> small.num_hidden_layers, small.hidden_size, small.vocab_size
    (2, 64, 32000)
    """
    small = copy.deepcopy(config)
    text = small.get_text_config()
    for name, value in SMALL.items():
        if isinstance(getattr(text, name, None), int):
            setattr(text, name, min(value, getattr(text, name)))
    if getattr(text, "layer_types", None):
        text.layer_types = list(text.layer_types)[: text.num_hidden_layers]
    return small


def shrunken_model(config: PreTrainedConfig, dtype: str) -> Any:
    """A random model of it, on a CUDA device if there is one.

    Raises:
        HeedError: the architecture does not go so small.
    """
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(shrunken_config(config), dtype=dtype_of(dtype, config))
    except (ValueError, RuntimeError, TypeError, AttributeError, ZeroDivisionError) as error:
        reason = f"no small model can be made of the architecture: {str(error).splitlines()[0]}"
        raise HeedError(reason, str(config.model_type)) from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def shrunken_settings(config: AlignConfig) -> AlignConfig:
    """The run's settings with few prompts and short completions; as many minibatches, and two micro-batches of many.

    >>> small = shrunken_settings(AlignConfig(prompts_per_step=64, completions_per_prompt=4, minibatches=4))
    >>> small.prompts_per_step, small.minibatches, small.micro_batches, small.steps
    (8, 4, 2, 1)
    """
    group = min(2, config.completions_per_prompt)
    changes: dict[str, Any] = {"steps": 1, "prompts_per_step": 2 * config.minibatches, "completions_per_prompt": group}
    changes |= {"micro_batch": group if config.micro_batches > 1 else 0, "eval_prompts": 1, "eval_completions": 1}
    return dataclasses.replace(config, max_completion_tokens=min(TOKENS, config.max_completion_tokens), **changes)

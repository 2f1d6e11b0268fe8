"""A model by its shapes alone: from its config, on the meta device, with the adapters that a run would give it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedConfig

from heed.align.models.precision import train_in_float32
from heed.errors import HeedError


def skeleton_of(
    config: PreTrainedConfig, dtype: torch.dtype, adapter: LoraConfig | None = None, seq2label: bool = False
) -> Any:
    """A model whose tensors hold no numbers, with an adapter in it; all parameters are trained without one.

    Args:
        config: of the model; a copy of it is taken.
        dtype: of the weights that are not trained.
        adapter: LoRA settings.
        seq2label: a sequence-classification model in place of a causal one.

    Raises:
        HeedError: no such architecture, or an adapter of layers that the model does not have.
    """
    kind = AutoModelForSequenceClassification if seq2label else AutoModelForCausalLM
    try:
        with torch.device("meta"):
            model = kind.from_config(copy.deepcopy(config), dtype=dtype)
            if adapter is not None:
                model = get_peft_model(model, adapter)
                train_in_float32(model)
    except (ValueError, TypeError, RuntimeError, ImportError, AttributeError, KeyError) as error:
        reason = f"no model can be made of the config: {str(error).splitlines()[0]}"
        raise HeedError(reason, str(config.model_type)) from error
    return model.eval()


def bytes_of(model: nn.Module, trained: bool | None = None) -> int:
    """Bytes of a model's parameters and buffers, a tied one once.

    Args:
        model: with or without numbers.
        trained: only those that are trained, or only the others.

    >>> bytes_of(nn.Linear(3, 2)), bytes_of(nn.Linear(3, 2), trained=False)
    (32, 0)
    """
    held = list(model.parameters()) + (list(model.buffers()) if not trained else [])
    return sum(t.numel() * t.element_size() for t in held if trained is None or t.requires_grad == trained)


def trained_scalars(model: nn.Module) -> int:
    """n, the number of scalars that are trained.

    >>> trained_scalars(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)

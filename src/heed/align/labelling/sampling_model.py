"""The sampling model: a language model that is loaded to be sampled from, with an adapter merged into it or without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.utils import CONFIG_NAME
from safetensors import SafetensorError

from heed.align.data.conversations import with_template_arguments
from heed.align.models.policy import Policy
from heed.align.models.pretrained import load_tokenizer, quiet_transformers
from heed.errors import HeedError


def load_sampling_model(
    model: str | Path, adapter: str | Path | None = None, template_arguments: Mapping[str, Any] | None = None
) -> Policy:
    """Load a model to sample from, without what training would need.

    Args:
        model: a folder or a hub id.
        adapter: a folder or a hub id of an adapter on it, such as a checkpoint of ``heed align``.
        template_arguments: variables of its chat template.

    Returns:
        A policy without a reference.

    Raises:
        HeedError: no causal language model or tokenizer there, a template without such a variable, or no adapter that
            fits the model.
    """
    tokenizer = None
    if template_arguments:
        tokenizer = with_template_arguments(load_tokenizer(str(model)), template_arguments)
    base = Policy(model, tokenizer, reference=False)
    if adapter is None:
        return base
    if Path(adapter).is_dir() and not is_adapter(adapter):
        raise HeedError("the folder holds no adapter", str(adapter), "give one with an adapter_config.json")
    try:
        with quiet_transformers():
            merged = PeftModel.from_pretrained(base.causal_lm, str(adapter)).merge_and_unload()
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = f"this adapter does not load onto the model: {' '.join(str(error).split())}"[:200]
        raise HeedError(reason, str(adapter), "give one of this model's") from error
    return Policy(merged, base.tokenizer, reference=False)


def is_adapter(path: str | Path) -> bool:
    """Whether a folder holds an adapter rather than a whole model.

    >>> is_adapter("no-such-folder")
    False
    """
    return (Path(path) / CONFIG_NAME).is_file()

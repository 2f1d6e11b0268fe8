"""An adapter merged into its base: a whole model that answers as the two do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from heed.align.models.pretrained import quiet_transformers, require_model_path
from heed.errors import HeedError

_OF_TIES = "Model has `tie_word_embeddings=True`|Input and output embeddings are no longer tied"
"""What peft warns of and is seen to here."""


def require_base(base: str) -> None:
    """Refuse a base that no adapter can be merged into.

    Args:
        base: a folder, or a hub id.

    Raises:
        HeedError: it is not there, cannot be read, or its weights are quantised.
    """
    require_model_path(base, "base model")
    with _loaded(base):
        config = AutoConfig.from_pretrained(base)
    if getattr(config, "quantization_config", None):
        fix = "give the same model in full precision with --base"
        raise HeedError("the base's weights are quantised, and nothing can be added to them", base, fix)


def merge(adapter: Path, base: str, out: Path) -> str:
    """Write the base with an adapter's change added to its weights, in the base's dtype.

    The sum is taken in float32 and rounded once. Where the base's embedding is also its output layer and the adapter
    changes either, the two are written apart, as it was trained.

    Args:
        adapter: its folder, in peft's format.
        base: that `require_base` let pass.
        out: the model's folder.

    Returns:
        The dtype of the weights: "float32", "bfloat16", ...

    Raises:
        HeedError: the adapter is one of another model, or the base's weights cannot be read.
    """
    with quiet_transformers(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", _OF_TIES, UserWarning)
        with _loaded(base):
            model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
        dtypes = {name: parameter.dtype for name, parameter in model.named_parameters(remove_duplicate=False)}
        dtype = model.dtype
        try:
            tuned = PeftModel.from_pretrained(model.float(), adapter)
        except (RuntimeError, ValueError) as error:  # other shapes, other modules
            what = f"the adapter is none of this base: {str(error).splitlines()[0]}"
            raise HeedError(what, base, "give the model that it was trained on with --base") from error
        _untie(model)
        merged = tuned.merge_and_unload()
        with torch.no_grad():
            for name, parameter in merged.named_parameters(remove_duplicate=False):
                parameter.data = parameter.data.to(dtypes[name])
        merged.save_pretrained(out)
    return str(dtype).removeprefix("torch.")


@contextmanager
def _loaded(base: str) -> Iterator[None]:
    """Within: what keeps a base from being read is told in a line."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        what = f"the base cannot be loaded: {' '.join(str(error).split())[:160]}"
        raise HeedError(what, base, "give a whole model's folder with --base") from error


def _untie(model: PreTrainedModel) -> None:
    """Give the output layer weights of its own, where they are the embedding's and an adapter changes either."""
    words, head = model.get_input_embeddings(), model.get_output_embeddings()
    tuned = [layer for layer in (words, head) if isinstance(layer, BaseTunerLayer)]
    if not tuned or head is None or head.weight is not words.weight:
        return
    own = head.get_base_layer() if isinstance(head, BaseTunerLayer) else head
    own.weight = nn.Parameter(own.weight.detach().clone())
    model.config.tie_word_embeddings = False
    model.config.get_text_config().tie_word_embeddings = False

"""What every loading of a pretrained model needs: a path that exists, a token to pad with, and silence."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import requests
import torch
from peft import LoraConfig, PeftModel
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from heed.errors import HeedError

_ROUNDING = {torch.bfloat16: 0.1, torch.float16: 0.02}


def rounding(dtype: torch.dtype) -> float:
    """Mean difference of log-probabilities, nats a token, that two ways to compute them in a dtype may have.

    >>> rounding(torch.bfloat16), rounding(torch.float32)
    (0.1, 0.01)
    """
    return _ROUNDING.get(dtype, 0.01)


def context_of(model: PreTrainedModel | PeftModel) -> int | None:
    """How many tokens a model can read; None where nothing bounds that.

    Configs name it ``max_position_embeddings``, which transformers also takes for their own word (``n_positions``), but
    MPT's. RoBERTa and its kin keep their first positions for padding: their tables are longer than their context.

    >>> from transformers import GPT2Config, GPT2Model
    >>> context_of(GPT2Model(GPT2Config(vocab_size=4, n_positions=8, n_embd=4, n_layer=1, n_head=1)))
    8
    """
    config = model.config.get_text_config()
    length = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None) or 0
    for name, module in model.named_modules():
        kept = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and kept is not None and module.num_embeddings == length:
            length -= kept + 1
            break
    return length if length > 0 else None


def require_model_path(path: str | Path, what: str) -> None:
    """Refuse a path that is neither a model folder nor possibly a hub id.

    Args:
        path: a local folder with a ``config.json``, or ``name`` / ``owner/name`` on the hub.
        what: "reward model", "model", for the error.

    Raises:
        HeedError: a folder without ``config.json``; or no folder, and no possible hub id either, or one that is not
            on this machine while the hub cannot be reached.

    >>> require_model_path("./no-such-folder", "reward model")
    Traceback (most recent call last):
        ...
    heed.errors.HeedError: there is no reward model (./no-such-folder): give a folder that exists, ...
    """
    folder = Path(path)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise HeedError(
                f"the folder holds no {what}: it has no config.json",
                where=str(path),
                fix="give a folder written by save_pretrained",
            )
    elif folder.exists() or not re.fullmatch(r"\w[\w.\-]*(/\w[\w.\-]*)?", str(path)):
        raise HeedError(
            f"there is no {what}", where=str(path), fix="give a folder that exists, or a hub id (owner/name)"
        )
    elif not huggingface_hub.constants.HF_HUB_OFFLINE and not isinstance(
        huggingface_hub.try_to_load_from_cache(str(path), "config.json"), str
    ):
        try:  # transformers would ask for a minute
            requests.head(huggingface_hub.constants.ENDPOINT, timeout=10)
        except requests.RequestException as error:
            raise HeedError(
                f"there is no such folder, and no hub to ask for a {what} of that name",
                where=str(path),
                fix="give a folder that exists",
            ) from error


def with_pad_token(tokenizer: Any, where: str) -> Any:
    """The tokenizer, or a copy of it that pads with the end-of-sequence token if it had nothing to pad with.

    Raises:
        HeedError: it has neither a padding nor an end-of-sequence token.
    """
    if tokenizer.pad_token_id is not None:
        return tokenizer
    if tokenizer.eos_token is None:
        raise HeedError("the tokenizer has neither a pad nor an eos token", where=where, fix="set tokenizer.pad_token")
    padded = copy.deepcopy(tokenizer)
    padded.pad_token = padded.eos_token
    return padded


def lora_config(rank: int, alpha: int, targets: str) -> LoraConfig | None:
    """The adapter that the settings ``lora_r``, ``lora_alpha`` and ``lora_targets`` name; None for rank 0.

    Args:
        rank: of the adapter; 0 trains all parameters.
        alpha: its scale.
        targets: names of layers with commas between, or all-linear.

    Raises:
        HeedError: a negative rank, or a scale with which nothing is learnt.

    >>> lora_config(0, 32, "all-linear") is None, lora_config(4, 8, "q_proj,v_proj").r
    (True, 4)
    """
    if rank < 0:
        raise HeedError(f"a rank of {rank}", "--lora_r", "give at least 1, or 0 to train all parameters")
    if rank == 0:
        return None
    if alpha < 1:
        raise HeedError(f"an adapter of scale {alpha} learns nothing", "--lora_alpha", "give at least 1")
    names = targets if targets == "all-linear" else targets.split(",")
    return LoraConfig(r=rank, lora_alpha=alpha, target_modules=names, task_type="CAUSAL_LM")


def pad_right(rows: Sequence[Sequence[int]], pad_id: int) -> dict[str, Tensor]:
    """Pad rows of token ids on the right.

    On the right whatever the tokenizer's own side: models with absolute positions then see every row start at 0. The
    mask is made from the lengths, not from the ids, so that a padding token that is also the eos token stays seen.

    Returns:
        ``input_ids`` and ``attention_mask``, both int64 [B, T].

    >>> pad_right([[5, 6], [7]], pad_id=0)["attention_mask"]
    tensor([[1, 1],
            [1, 0]])
    """
    width = max(len(row) for row in rows)
    input_ids = torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(width) < lengths[:, None]).long()
    return {"input_ids": input_ids, "attention_mask": mask}


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' bars and reports on loading and saving off the terminal; heed's errors name what is wrong."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()

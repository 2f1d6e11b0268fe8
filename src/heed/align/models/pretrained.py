"""What every loading of a pretrained model needs: a path that exists, a token to pad with, and silence."""

from __future__ import annotations

import copy
import logging
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import requests
import torch
from peft import LoraConfig, PeftModel
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from heed.align.config import check_adapter
from heed.errors import HeedError

logger = logging.getLogger(__name__)

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


def with_pad_token(tokenizer: Any, where: str, model: Any = None) -> Any:
    """The tokenizer, or a copy of it that pads with the end-of-sequence token if it had nothing to pad with.

    Args:
        tokenizer: the model's.
        where: whose it is, for the error.
        model: if given, a padding token beyond its embedding counts as nothing (it was added to the tokenizer alone).

    Raises:
        HeedError: it has neither a padding nor an end-of-sequence token.
    """
    rows = math.inf if model is None else embedding_rows(model)
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id < rows:
        return tokenizer
    if tokenizer.eos_token is None:
        raise HeedError("the tokenizer has neither a pad nor an eos token", where=where, fix="set tokenizer.pad_token")
    if model is not None:
        require_rows([tokenizer.eos_token_id], model, tokenizer, where)
    padded = copy.deepcopy(tokenizer)
    padded.pad_token = padded.eos_token
    return padded


@contextmanager
def offline() -> Iterator[None]:
    """Within: no hub is asked for models or data; what was fetched before is found."""
    places: tuple[Any, ...] = (huggingface_hub.constants, datasets.config)
    before = [place.HF_HUB_OFFLINE for place in places]
    for place in places:
        place.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


def load_tokenizer(model: str) -> Any:
    """The tokenizer of a model's folder or hub id.

    Raises:
        HeedError: no such model, or no tokenizer beside it.
    """
    require_model_path(model, "language model")
    try:
        with quiet_transformers():
            return AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split("\n")[0].split())
        raise HeedError(f"there is no tokenizer: {reason}", model, "save it beside the model") from error


def embedding_rows(model: Any) -> int:
    """How many tokens a model has an embedding for."""
    return int(model.get_input_embeddings().weight.shape[0])


def require_rows(ids: Sequence[int], model: Any, tokenizer: Any, where: str) -> None:
    """Refuse tokens for which a model has no embedding: they were added to the tokenizer, but not to the model.

    Raises:
        HeedError: names the first such token.
    """
    rows = embedding_rows(model)
    lacking = next((id_ for id_ in ids if id_ >= rows), None)
    if lacking is not None:
        token = tokenizer.convert_ids_to_tokens(lacking)
        raise HeedError(
            f"the model has no embedding for the token {token!r} ({lacking}): it has {rows}",
            where,
            "call model.resize_token_embeddings(len(tokenizer)) and save it, or leave the token out",
        )


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
    check_adapter(rank, alpha)
    if rank == 0:
        return None
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


def keep_end(ids: list[int], limit: int | None, tokenizer: Any) -> list[int]:
    """The last ``limit`` tokens of a text that is judged; a cls token in front, at which encoders are read, stays.

    Args:
        ids: the text's tokens.
        limit: at most so many are kept; all if None.
        tokenizer: names the cls token, if there is one.
    """
    if limit is None or len(ids) <= limit:
        return ids
    first = ids[: int(limit > 1 and ids[0] == tokenizer.cls_token_id)]
    return first + ids[len(ids) - limit + len(first) :]


def head_scores(model: Any, config: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The scores of a sequence-classification model, each row read at its end as the mask tells it.

    A decoder of transformers reads a row at its last token that is not ``config.pad_token_id``, which is too early
    where a text itself ends in that token, as most do whose padding is the eos token. So the rows are padded with a
    token that ends none of them; the mask hides it in any case.

    Args:
        model: the model, wrapped or not.
        config: its configuration, which is left as it was.
        input_ids: int64 [B, T], padded on the right.
        attention_mask: int64 [B, T].

    Returns:
        The logits, [B, heads].
    """
    ends = set(input_ids[torch.arange(len(input_ids)), attention_mask.sum(1) - 1].tolist())
    parts = (config, config.get_text_config())
    own = [part.pad_token_id for part in parts]
    known = range(parts[-1].vocab_size)
    pad = next(id_ for id_ in (own[-1], *range(len(ends) + 1)) if id_ in known and id_ not in ends)
    try:
        for part in parts:
            part.pad_token_id = pad
        logits: Tensor = model(
            input_ids=input_ids.masked_fill(attention_mask == 0, pad), attention_mask=attention_mask
        ).logits
    finally:
        for part, id_ in zip(parts, own, strict=True):
            part.pad_token_id = id_
    return logits


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' bars and reports on loading and saving off the terminal; heed's errors name what is wrong.

    Where heed tells its debug lines they speak as well.
    """
    if logger.isEnabledFor(logging.DEBUG):
        yield
        return
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()

"""Supervised warm start: a policy learns from demonstrations before it is rewarded."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from heed.align.data.conversations import (
    end_of_reply,
    located,
    prompt_and_completion_ids,
    require_prompt_shown,
)
from heed.align.models.pretrained import context_of, pad_right, require_rows, with_pad_token
from heed.align.preferences.config import TrainingConfig
from heed.align.preferences.training import OnStep, fit, require_empty, save
from heed.errors import HeedError

logger = logging.getLogger(__name__)

IGNORED = -100
"""The label that torch's cross-entropy leaves out."""


def supervised_warm_start(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Mapping[str, Any]],
    output_dir: str | Path | None = None,
    config: TrainingConfig | None = None,
    on_step: OnStep | None = None,
) -> Any:
    """Train a causal language model on demonstrations; only the completions and their end carry loss.

    The loss is the mean over the completions' tokens of an optimiser step, each followed by its end: what the chat
    template closes a turn with, or the end-of-sequence token of a text, which is learnt even where it is also the
    padding token. The model is trained in place, on its device, and its generation config knows these ends.

    Args:
        model: a causal language model of transformers, or a peft model on one.
        tokenizer: its tokenizer.
        examples: ``{"prompt": text or messages, "completion": text or one message}``.
        output_dir: a new folder for model and tokenizer; nothing is written if None.
        config: how to train.
        on_step: called after each optimiser step with step, total and loss.

    Returns:
        The model, in evaluation mode.

    Raises:
        HeedError: no examples, none that fit the context (the longer ones are left out, with a count), a tokenizer
            without an end-of-sequence token, or an output folder that is not empty.
        RunFailed: the loss was not finite.
    """
    config = config or TrainingConfig()
    require_empty(output_dir)
    tokenizer = with_pad_token(tokenizer, "warm start", model)
    if tokenizer.eos_token_id is None:
        raise HeedError("the tokenizer has no eos token", where="warm start", fix="set tokenizer.eos_token")
    encoded = []
    for index, example in enumerate(examples):
        with located(f"demonstration {index}"):
            encoded.append(encode_demonstration(example, tokenizer))
            if index == 0 and not isinstance(example["prompt"], str):  # one speaks for all
                require_prompt_shown(example["prompt"], tokenizer, example.get("tools"))
        require_rows(encoded[-1]["input_ids"], model, tokenizer, f"demonstration {index}")
    limit = config.max_length or context_of(model)
    kept = [example for example in encoded if limit is None or len(example["input_ids"]) <= limit]
    if not kept:
        raise HeedError(
            f"none of {len(encoded)} demonstrations has at most {limit} tokens" if encoded else "no demonstrations",
            where="warm start",
            fix="raise max_length up to the model's context" if encoded else "give at least one",
        )
    if len(kept) < len(encoded):
        dropped = len(encoded) - len(kept)
        logger.warning("%d of %d demonstrations exceed %d tokens and are left out", dropped, len(encoded), limit)

    def collate(batch: list[dict[str, list[int]]]) -> dict[str, Tensor]:
        return collate_demonstrations(batch, tokenizer.pad_token_id)

    fit(model, kept, collate, config, on_step=on_step)
    _end_generation_at(model, {example["input_ids"][-1] for example in kept})
    if output_dir is not None:
        save(model, tokenizer, output_dir)
    return model


def encode_demonstration(example: Mapping[str, Any], tokenizer: Any) -> dict[str, list[int]]:
    """The tokens of one demonstration, and the labels that carry loss: the completion's and the end's.

    Returns:
        ``input_ids`` and ``labels``, of one length; labels are ``-100`` on the prompt.
    """
    if not isinstance(example["completion"], str) and len(example["completion"]) != 1:
        raise HeedError(
            f"a completion of {len(example['completion'])} messages",
            where=repr(example["completion"])[:80],
            fix="give a text or one message of the assistant; what comes before belongs into the prompt",
        )
    prompt, completion = prompt_and_completion_ids(
        example["prompt"], example["completion"], tokenizer, example.get("tools")
    )
    learnt = completion + end_of_reply(example["prompt"], tokenizer)
    return {"input_ids": prompt + learnt, "labels": [IGNORED] * len(prompt) + learnt}


def _end_generation_at(model: Any, ends: set[int]) -> None:
    """Add end tokens to a model's generation config, if it lacks any."""
    if model.generation_config is None:
        return
    own = model.generation_config.eos_token_id
    known = set(own if isinstance(own, list) else [own]) - {None}
    if not ends <= known:
        model.generation_config.eos_token_id = sorted(known | ends)


def collate_demonstrations(batch: Sequence[Mapping[str, list[int]]], pad_id: int) -> dict[str, Tensor]:
    """Pad demonstrations to one length.

    The labels are padded by length: masking every label that equals the padding token would also unlearn the end
    of the completions where the two tokens are one.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, int64 [B, T].
    """
    inputs = pad_right([example["input_ids"] for example in batch], pad_id)
    width = inputs["input_ids"].shape[1]
    labels = [[*example["labels"], *[IGNORED] * (width - len(example["labels"]))] for example in batch]
    return {**inputs, "labels": torch.tensor(labels)}

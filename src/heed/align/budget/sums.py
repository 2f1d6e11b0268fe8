"""The budget of a run: its settings and the configs of its models, to the memory that it takes on one device."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

from heed.align.budget.generation import generation_bytes, stays
from heed.align.budget.held import (
    critic_bytes,
    heads_of,
    jacobian_bytes,
    optimiser_bytes,
    rows_of,
    update_bytes,
    way_back_bytes,
)
from heed.align.budget.passes import Path, gradient_bytes, reading_bytes
from heed.align.budget.skeleton import bytes_of, skeleton_of, trained_scalars
from heed.align.budget.table import Budget, Row
from heed.align.config import AlignConfig
from heed.align.run.job import AlignJob
from heed.align.surrogates import surrogate_for
from heed.balance.reward_combination import OneGradient, RewardCombination

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class JudgeShape:
    """A reward model by its config.

    Args:
        name: of it, for its row.
        config: its own.
        dtype: of its weights, or "auto" for that of the config.
        batch: completions that it reads at once.
    """

    name: str
    config: PreTrainedConfig
    dtype: str = "auto"
    batch: int = 32


def dtype_of(dtype: str, config: PreTrainedConfig) -> torch.dtype:
    """The dtype that weights are loaded in: as the setting says, or as the config says that they were saved.

    >>> from transformers import LlamaConfig
    >>> dtype_of("auto", LlamaConfig(dtype="bfloat16")), dtype_of("float32", LlamaConfig(dtype="bfloat16"))
    (torch.bfloat16, torch.float32)
    """
    if dtype != "auto":
        return _DTYPES[dtype]
    saved = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    return saved if isinstance(saved, torch.dtype) else _DTYPES.get(str(saved), torch.float32)


def budget_of(
    job: AlignJob,
    config: AlignConfig,
    model: PreTrainedConfig,
    names: Sequence[str],
    prompt: int,
    judges: Sequence[JudgeShape] = (),
    device: int | None = None,
) -> Budget:
    """The memory of a run on one device, by the largest prompts and completions that it may meet.

    Nothing is loaded: the passes are executed on tensors without numbers.

    Args:
        job: what is trained.
        config: how.
        model: the policy's config.
        names: of the objectives.
        prompt: tokens of the longest prompt.
        judges: reward models, each loaded once.
        device: bytes of a GPU; None for a CPU.

    Raises:
        HeedError: no model can be made of a config.
    """
    adapter = job.adapter()
    dtype = torch.float32 if adapter is None else dtype_of(config.dtype, model)
    skeleton = skeleton_of(model, dtype, adapter)
    n, weighting = trained_scalars(skeleton), job.build_weighting(names)
    one = isinstance(weighting, OneGradient)
    rows = rows_of(config, len(names), one)
    if adapter is not None:
        held = [Row("base weights", bytes_of(skeleton, trained=False))]
        held.append(Row(f"adapter ({n:,} numbers)", bytes_of(skeleton, trained=True)))
    else:
        held = [Row(name, bytes_of(skeleton)) for name in ("weights", "reference, a copy")]
    held.append(Row("AdamW's moments", optimiser_bytes(n)))
    held.append(Row(f"{rows} gradients [K, n] in float32", jacobian_bytes(n, rows, config)))
    if config.max_fall > 0:
        held.append(Row("policy before the last round (max_fall)", way_back_bytes(n, config)))
    if config.advantage == "gae" and not isinstance(weighting, RewardCombination):
        heads = heads_of(config, len(names))
        held.append(Row(f"critics ({heads} heads)", _critics(job, config, model, dtype, heads)))
    tokens, batch = prompt + config.max_completion_tokens, config.micro_batch or config.minibatch
    passing = []
    completions = config.prompts_per_step * config.completions_per_prompt
    given = (config.prompts_per_step, completions, prompt, config.max_completion_tokens, device)
    kept, drawing = generation_bytes(skeleton, *given)
    if stays(kept, device):
        held.append(Row("cache and merged weights, kept between rounds", kept))
    passing.append(Row(f"generation of {completions} completions", drawing + (0 if stays(kept, device) else kept)))
    for judge in judges:
        own = skeleton_of(judge.config, dtype_of(judge.dtype, judge.config), seq2label=True)
        held.append(Row(f"reward model {judge.name}", bytes_of(own)))
        reads = reading_bytes(own, min(judge.batch, completions), tokens)
        passing.append(Row(f"scoring by {judge.name}", reads))
    rank = None if config.advantage == "gae" and not one else surrogate_for(weighting, config).rank
    factored = rank is not None and rows > 1 if config.jacobian_path == "auto" else config.jacobian_path == "factored"
    path: Path = "factored" if factored else "sequential"
    terms = rank if factored and rank is not None and not config.on_policy else 1
    shape = (min(batch, config.minibatch), prompt, config.max_completion_tokens)
    peak = gradient_bytes(skeleton, *shape, rows, path, terms, config.gradient_checkpointing)
    passing.append(Row(f"gradients of {shape[0]} x {tokens} tokens", peak))
    passing.append(Row("update", update_bytes(n, rows, config)))
    return Budget(tuple(held), tuple(passing))


def _critics(job: AlignJob, config: AlignConfig, model: PreTrainedConfig, dtype: torch.dtype, heads: int) -> int:
    """The critics' adapter has the policy's targets and at most its rank; without an adapter they are a backbone."""
    hidden, adapter = int(model.get_text_config().hidden_size), copy.deepcopy(job.adapter())
    if adapter is None:
        backbone = skeleton_of(model, dtype).base_model
        return critic_bytes(trained_scalars(backbone), hidden, heads)
    if 0 < config.critic_rank < adapter.r:
        adapter.r = config.critic_rank
    return critic_bytes(trained_scalars(skeleton_of(model, dtype, adapter)), hidden, heads)

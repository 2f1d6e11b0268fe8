"""The dry run itself: look at everything, tell what it takes, and try one step; all faults are found, not the first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from heed.align.advantages import check_groups
from heed.align.budget.device import Device, device_here
from heed.align.budget.sums import JudgeShape, budget_of
from heed.align.config import AlignConfig
from heed.align.data.conversations import (
    Prompt,
    prompt_ids,
    render_prompt,
    require_prompt_shown,
    with_template_arguments,
)
from heed.align.data.dataset import load_prompts
from heed.align.dry_run.models import config_at, require_weights, tokenizer_at
from heed.align.dry_run.objectives import Judged, read_objective
from heed.align.dry_run.shrinking import shrunken_model, shrunken_settings
from heed.align.models.pretrained import offline, quiet_transformers
from heed.align.objectives.base import Objective, ObjectiveSet
from heed.align.run.job import AlignJob, check_source
from heed.align.trainer import AlignTrainer
from heed.errors import HeedError

Show = Callable[[str], None]
"""Takes what is found, some lines at a time."""

ASSUMED = 256
"""Tokens of the longest prompt in a budget, where the prompts cannot be read."""

UNCOUNTED = 1 / 6
"""Of the sum: what one H100 held more than was counted where PPO clipped tokens of every sequence (29.6 GB, 25.7)."""

MEASURED = 64
"""So many prompts, the longest in characters, are tried for the most tokens."""


@dataclass
class Faults:
    """Everything that is wrong."""

    found: list[HeedError]

    def attempt(self, step: Callable[[], Any]) -> Any:
        """What a step gives; None where it is refused, which is kept."""
        try:
            return step()
        except HeedError as error:
            self.found.append(error)
            return None


def rehearse(job: AlignJob, config: AlignConfig, show: Show) -> list[HeedError]:
    """Look at a run before anything of it is trained; nothing is fetched and nothing is written.

    Args:
        job: what would be trained.
        config: how.
        show: gets what is found.

    Returns:
        What keeps the run from starting; nothing where it would start.

    Raises:
        HeedError: settings that no run could have, or a run on a built-in world.
    """
    check_source(job)
    if job.world is not None:
        what = "a dry run looks at a model, prompts and objectives of your own"
        raise HeedError(what, "--dry-run", "leave out it, or --world; --quick tries a world")
    faults, path = Faults([]), str(job.model)
    model: PreTrainedConfig | None = faults.attempt(lambda: config_at(path, "model"))
    tokenizer = None
    if model is not None:
        faults.attempt(lambda: require_weights(path, "model"))
        tokenizer = faults.attempt(lambda: tokenizer_at(path, "model"))
    if tokenizer is not None and job.template_arguments:
        tokenizer = faults.attempt(lambda: with_template_arguments(tokenizer, job.template_arguments or {}))
    rows = faults.attempt(lambda: _rows(job.data, job.split))
    asked = faults.attempt(lambda: _rows(job.eval_data, None)) if job.eval_data is not None else None
    prompt = rows[0]["prompt"] if rows else None
    judged = [read_objective(text, "--objectives", prompt) for text in job.objectives]
    held_out = [read_objective(text, "--held-out-judges", prompt) for text in job.held_out_judges]
    faults.found += [fault for each in (*judged, *held_out) for fault in each.faults]
    longest = None
    if rows and tokenizer is not None:
        longest = faults.attempt(lambda: _show_prompt(rows, asked or [], tokenizer, show))
    objectives = [objective for each in judged for objective in each.objectives]
    names = faults.attempt(lambda: ObjectiveSet(objectives).names) if objectives else None
    weighting = faults.attempt(lambda: job.build_weighting(names)) if names else None
    if weighting is not None:
        faults.attempt(lambda: check_groups(weighting, config))
    if model is not None and weighting is not None and names is not None:
        faults.attempt(lambda: _show_budget(job, config, model, names, longest, [*judged, *held_out], show))
    elif model is None:
        show(f"memory: unknown, as nothing of the model {path} is on this machine")
    if not faults.found and rows is not None:
        others = [objective for each in held_out for objective in each.objectives]
        faults.attempt(lambda: _step(job, config, model, tokenizer, (objectives, others), (rows, asked), show))
    else:
        show("no step was tried")
    return faults.found


def _rows(path: str | None, split: str | None) -> list[dict[str, Any]]:
    with offline():
        return list(load_prompts(str(path), split=split))


def _show_prompt(rows: list[dict[str, Any]], asked: list[dict[str, Any]], tokenizer: Any, show: Show) -> int:
    """The first prompt as the policy reads it; returns the tokens of the longest, those of evaluations among them."""
    row = rows[0]
    prompt: Prompt = row["prompt"]
    tools = row.get("tools") if not isinstance(prompt, str) else None
    text, ids = render_prompt(prompt, tokenizer, tools), prompt_ids(prompt, tokenizer, tools)
    if not isinstance(prompt, str):
        require_prompt_shown(prompt, tokenizer, tools)
    show(f"the first prompt, as the policy reads it ({len(ids)} tokens):\n{text}")
    show(f"its tokens: {' '.join(map(str, ids))}")
    return _longest([*rows, *asked], tokenizer)


def _longest(rows: Sequence[dict[str, Any]], tokenizer: Any) -> int:
    """Tokens of the longest prompt, found among those with the most characters."""
    longest = sorted(rows, key=lambda row: len(str(row["prompt"])))[-MEASURED:]
    tools = [row.get("tools") if not isinstance(row["prompt"], str) else None for row in longest]
    return max(len(prompt_ids(row["prompt"], tokenizer, own)) for row, own in zip(longest, tools, strict=True))


def _show_budget(
    job: AlignJob,
    config: AlignConfig,
    model: PreTrainedConfig,
    names: Sequence[str],
    longest: int | None,
    judged: Sequence[Judged],
    show: Show,
) -> None:
    device = device_here()
    judges: dict[tuple[str, str], JudgeShape] = {(j.name, j.dtype): j for each in judged for j in each.judges}
    told = f"prompts of {longest} tokens" if longest is not None else f"prompts of {ASSUMED} tokens, which is a guess"
    given = (job, config, model, names, longest or ASSUMED, list(judges.values()))
    budget = budget_of(*given, device=device.total if device.cuda else None)
    show(f"memory, with {told} and completions of {config.max_completion_tokens}:\n{budget}")
    unknown = [path for each in judged for path in each.unknown]
    for path in unknown:
        show(f"reward model {path}: unknown, and not in the sum")
    clips = not config.on_policy and config.gradient_checkpointing
    show(verdict(budget.peak, device, clips, whole=not unknown))


def verdict(peak: int, device: Device, clips: bool = False, whole: bool = True) -> str:
    """Whether so many bytes fit, in one line.

    Args:
        peak: bytes at once.
        device: where.
        clips: PPO may clip while layers are recomputed, where `UNCOUNTED` more was measured.
        whole: nothing is left out of the sum.

    Raises:
        HeedError: they do not fit.

    >>> gpu = Device("a GPU", 80 * 10**9, 85 * 10**9, cuda=True)
    >>> verdict(22 * 10**9, gpu)
    'it fits: 22.00 GB at the peak, 80.00 GB free (a GPU)'
    >>> verdict(75 * 10**9, gpu, clips=True)
    'it may not fit, as PPO clips: 75.00 GB at the peak and up to a sixth more, 80.00 GB free (a GPU)'
    """
    free = f"{device.free / 1e9:.2f} GB free ({device.name})"
    what = f"{peak / 1e9:.2f} GB at the peak"
    if peak > device.free:
        fix = "lower --micro-batch or --prompts-per-step, or take --gradient-checkpointing true"
        raise HeedError(f"it does not fit: {what}, {free}", "memory", fix)
    if clips and peak * (1 + UNCOUNTED) > device.free:
        return f"it may not fit, as PPO clips: {what} and up to a sixth more, {free}"
    return f"{'it fits' if whole else 'it fits without what is unknown'}: {what}, {free}"


def _step(
    job: AlignJob,
    config: AlignConfig,
    model: PreTrainedConfig | None,
    tokenizer: Any,
    judges: tuple[Sequence[Objective], Sequence[Objective]],
    data: tuple[list[dict[str, Any]], list[dict[str, Any]] | None],
    show: Show,
) -> None:
    """One round of a shrunken random model, with the run's own settings, prompts, tokenizer and reward functions.

    Args:
        job: what would be trained.
        config: how.
        model: its config.
        tokenizer: its.
        judges: what is trained on, and what is held out.
        data: prompts, and those of evaluations where they have a file of their own.
        show: gets how long it took.
    """
    assert model is not None
    (objectives, held_out), (rows, asked) = judges, data
    with quiet_transformers():
        small = shrunken_model(model, config.dtype if job.lora_r else "float32")
        weighting = job.build_weighting(ObjectiveSet(objectives).names)
        settings = shrunken_settings(config)
        trainer = AlignTrainer(
            small,
            objectives,
            weighting,
            rows,
            settings,
            tokenizer,
            job.adapter(),
            held_out=held_out,
            eval_prompts=asked,
        )
        started = time.perf_counter()
        trainer.round()
    show(f"one step of a shrunken model: {time.perf_counter() - started:.1f} s")

"""Pairs of completions for people to compare: sampled from a model once, and kept in a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import torch

from heed.align.data.conversations import Message, Prompt, completion_text
from heed.align.labelling.config import PairSampling
from heed.align.labelling.sampling_model import is_adapter, load_sampling_model
from heed.align.models.policy import Policy
from heed.align.prompts import checked_rows
from heed.align.rollouts import Sampler, Sampling
from heed.errors import HeedError
from heed.oversight.comparisons.pairs import Pair, read_pairs
from heed.oversight.store.export import write_rows
from heed.runs.files import append_line, drop_torn_line, read_lines

TRIES = 8
"""How often the second completion is drawn again while it is the same as the first."""

OnPrompts: TypeAlias = Callable[[int, int], None]
"""Called with the number of prompts that are done, and of all."""


def sample_pairs(
    path: Path,
    prompts: Sequence[Prompt],
    sampling: PairSampling,
    batch_size: int = 16,
    on_prompts: OnPrompts | None = None,
) -> list[Pair]:
    """Read the pairs of a file; where there is none yet, sample them into it.

    The pairs' ids tell from which prompts and settings they came. Batches that were drawn before an interruption are
    kept in a hidden file beside it, so that a resumed sampling gives the pairs of an uninterrupted one.

    Args:
        path: the file of pairs, written whole or not at all.
        prompts: texts or messages.
        sampling: which models and settings.
        batch_size: prompts whose completions are drawn at once.
        on_prompts: follows the sampling.

    Returns:
        The pairs, in the order of the prompts. Those whose completions stayed the same after `TRIES` more draws are
        left out.

    Raises:
        HeedError: a file with pairs of another origin, nothing that could be compared, a model or adapter that does
            not load, prompts that do not fit it, or a place where nothing can be written.
    """
    if batch_size < 1:
        raise HeedError(f"a batch of {batch_size}", "--batch-size", "give at least 1")
    mark = _mark(prompts, sampling, batch_size)
    prompts = [_plain(prompt) for prompt in prompts for _ in range(sampling.pairs_per_prompt)]
    if path.exists():
        pairs = read_pairs(path)
        if not all(pair.id.startswith(f"{mark}-") for pair in pairs):
            fix = "name another file, or compare these with --pairs alone"
            raise HeedError("this file holds other pairs than these prompts and settings give", f"--pairs {path}", fix)
        return pairs
    if path.suffix != ".jsonl":
        raise HeedError("pairs are JSON lines", f"--pairs {path}", "end it in .jsonl")
    partial = path.with_name(f".{path.name}.{mark}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        drop_torn_line(partial)
        completions = _sampled(partial, prompts, sampling, batch_size, on_prompts)
    except OSError as error:
        raise HeedError(f"no pairs can be kept: {error.strerror}", str(path), "free or choose a folder") from error
    rows = [
        {"id": f"{mark}-{index}", "prompt": prompt, "completions": pair}
        for index, (prompt, pair) in enumerate(zip(prompts, completions, strict=True))
        if _differ(*pair)
    ]
    if not rows:
        partial.unlink()
        where = f"{len(prompts)} prompts, {TRIES + 2} draws each"
        raise HeedError("both completions were always the same", where, "raise --temperature, or give more prompts")
    write_rows(rows, path)
    partial.unlink()
    return read_pairs(path)


def _plain(prompt: Prompt) -> str | list[Message]:
    """A prompt as a file of pairs holds it.

    Raises:
        HeedError: a message whose content is no text, such as an image.
    """
    if isinstance(prompt, str):
        return prompt
    for message in prompt:
        if not isinstance(message["content"], str):
            raise HeedError(f"a message holds {message['content']!r}"[:120], "--prompts", "give texts alone")
    return [{"role": message["role"], "content": message["content"]} for message in prompt]


def _mark(prompts: Sequence[Prompt], sampling: PairSampling, batch_size: int) -> str:
    """A digest of prompts and settings; a completion also depends on the prompts that it is drawn in a batch with."""
    settings = asdict(sampling)
    if not sampling.template_arguments:  # as files of before have it
        del settings["template_arguments"]
    return hashlib.sha256(json.dumps([settings, batch_size, list(prompts)]).encode()).hexdigest()[:16]


def _sampled(
    partial: Path, prompts: Sequence[Prompt], sampling: PairSampling, batch_size: int, on_prompts: OnPrompts | None
) -> list[list[str]]:
    """Two completions of each prompt, [N, 2]; each batch is kept as soon as it is drawn."""
    completions = [pair for batch in read_lines(partial) for pair in batch["completions"]]
    if len(completions) < len(prompts):
        draw = _Drawing(sampling, prompts)
        while len(completions) < len(prompts):
            first = len(completions)
            drawn = draw(prompts[first : first + batch_size], place=first)
            append_line(partial, {"completions": drawn})
            completions += drawn
            if on_prompts is not None:
                on_prompts(len(completions), len(prompts))
    return completions


class _Drawing:
    """Draws two completions of each prompt; what a batch gets follows from the seed and its place."""

    def __init__(self, sampling: PairSampling, prompts: Sequence[Prompt]) -> None:
        self.seed = sampling.seed
        models = _models(sampling)
        drawing = Sampling(sampling.max_completion_tokens, sampling.temperature, sampling.top_p, sampling.top_k)
        for policy in dict.fromkeys(models):
            checked_rows([{"prompt": prompt} for prompt in prompts], policy, drawing.max_tokens)
        self.first, self.second = (Sampler(policy, drawing) for policy in models)

    def __call__(self, prompts: Sequence[Prompt], place: int) -> list[list[str]]:
        generator = torch.Generator(self.first.policy.device).manual_seed(1_000_003 * self.seed + place)
        first, second = (_texts(sampler, prompts, generator) for sampler in (self.first, self.second))
        completions = [[one, other] for one, other in zip(first, second, strict=True)]
        for _ in range(TRIES):
            same = [row for row, pair in enumerate(completions) if not _differ(*pair)]
            if not same:
                break
            again = _texts(self.second, [prompts[row] for row in same], generator)
            for row, text in zip(same, again, strict=True):
                completions[row][1] = text
        return completions


def _texts(sampler: Sampler, prompts: Sequence[Any], generator: torch.Generator) -> list[str]:
    return [completion_text(completion) for completion in sampler.roll(prompts, generator).completions]


def _differ(first: str, second: str) -> bool:
    """Whether there is anything to compare: space at the ends does not count."""
    return first.strip() != second.strip()


def _models(sampling: PairSampling) -> tuple[Policy, Policy]:
    """The models of the first and of the second completions, loaded."""
    variables = sampling.template_arguments
    first = load_sampling_model(sampling.model, sampling.adapter, variables)
    if sampling.against is None:
        return first, first
    if is_adapter(sampling.against):
        return first, load_sampling_model(sampling.model, sampling.against, variables)
    return first, load_sampling_model(sampling.against, None, variables)

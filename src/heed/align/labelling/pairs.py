"""Pairs of completions for people to compare: sampled from a model once, and kept in a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch

from heed.align.data.conversations import Message, Prompt, completion_text
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


@dataclass(frozen=True, kw_only=True)
class PairSampling:
    """How pairs are sampled: from which models, with which settings.

    Args:
        model: a model folder or hub id.
        adapter: an adapter on it, merged before sampling.
        against: what the second completion of each pair is sampled from: another model, or another adapter of
            ``model``; the same as the first if None.
        template_arguments: variables of the model's chat template, such as {"enable_thinking": false}.
        pairs_per_prompt: how many pairs of each prompt.
        max_completion_tokens: longest completion, tokens.
        temperature: of sampling.
        top_p: nucleus of sampling; 1 keeps all tokens.
        top_k: likeliest tokens kept in sampling; 0 keeps all.
        seed: of the sampling.

    Raises:
        HeedError: a number out of its range.
    """

    model: str
    adapter: str | None = None
    against: str | None = None
    template_arguments: dict[str, Any] | None = None
    pairs_per_prompt: int = 1
    max_completion_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can be sampled."""
        for name, right, wanted in (
            ("pairs_per_prompt", self.pairs_per_prompt >= 1, "at least 1"),
            ("max_completion_tokens", self.max_completion_tokens >= 1, "at least 1"),
            ("temperature", self.temperature > 0, "a positive number"),
            ("top_p", 0 < self.top_p <= 1, "a number above 0 and at most 1"),
            ("top_k", self.top_k >= 0, "0 or more"),
            ("seed", self.seed >= 0, "0 or more"),
        ):
            if not right:
                raise HeedError(f"{name} is {getattr(self, name)}", f"--{name}", f"give {wanted}")

    def sampling_models(self) -> tuple[Policy, Policy]:
        """Load the models of the first and of the second completions."""
        variables = self.template_arguments
        first = load_sampling_model(self.model, self.adapter, variables)
        if self.against is None:
            return first, first
        if is_adapter(self.against):
            return first, load_sampling_model(self.model, self.against, variables)
        return first, load_sampling_model(self.against, None, variables)


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
        raise HeedError(f"a batch of {batch_size}", "--batch_size", "give at least 1")
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
        models = sampling.sampling_models()
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

"""Tokens a second of `heed.align.rollouts.Sampler`, by each of its methods, and of transformers' ``generate``.

All sample the same model, adapter and prompts, and no end token is drawn, so that every completion has as many tokens
as were asked for. What bounds a decode step is memory: weights and cache have to be read once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, get_args, get_type_hints

import torch
from peft import LoraConfig

from heed.align.config import AlignConfig
from heed.align.models.policy import Policy
from heed.align.rollouts import Sampler, Sampling
from heed.bench.options import GenerateBench
from heed.bench.shapes import (
    LORA_RANK,
    SHAPES,
    base_model,
    circumstances,
    dtype_on,
    never_end,
    words_tokenizer,
)
from heed.bench.timing import Spread, copy_bandwidth, interleaved
from heed.errors import HeedError

PROMPT_TOKENS = 16
PEER = "transformers generate"
SAMPLERS: tuple[str, ...] = tuple(name for name in get_args(get_type_hints(AlignConfig)["sampler"]) if name != "auto")
"""All that a run can be told to sample by."""

Roll = Callable[[], int]
"""Draws completions and returns how many tokens these are."""


def run_generate_bench(options: GenerateBench, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure every sampler at every batch size.

    Args:
        options: what to measure.
        progress: called with what is measured next.

    Returns:
        What ``heed bench generate --json`` prints: "device", "version" and the like, and "rows". A row has "name" and
        "batch"; "seconds" of all tokens, median; "tokens_per_second", with "tokens_per_second_low" and
        "tokens_per_second_high" (10% and 90%); "ratio" to the tokens a second of transformers' generate in the same
        round; "completion_tokens", as drawn; "decode_ms", of one token after the first: what more tokens took than
        one; "floor_ms", of reading the weights and the cache at its mean length once, at the bandwidth of a copy;
        "floor_ratio" of these two; "repeats". A sampler that does not fit has "error" in place of the figures.

    Raises:
        HeedError: an option cannot be had here, such as a GPU that is not there.
    """
    options.check()
    device = torch.device(options.device)
    dtype = dtype_on(device)
    shape = SHAPES[options.shape]
    bandwidth = copy_bandwidth(device)
    progress(f"making the {options.shape} model")
    base = never_end(base_model(shape, device, dtype, options.seed, context=PROMPT_TOKENS + options.tokens), 0)
    weights = sum(p.numel() for p in base.parameters())
    lora = LoraConfig(r=LORA_RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    policy = Policy(base, words_tokenizer(shape.vocabulary), lora, seed=options.seed)
    rows = []
    for batch in options.batches:
        progress(f"{batch} completions")
        cache = shape.cache_bytes(batch, PROMPT_TOKENS + options.tokens // 2, dtype)
        floor = ((weights - shape.vocabulary * shape.hidden) * dtype.itemsize + cache) / bandwidth
        rows += _contest(policy, batch, floor, options)
    return {
        "rows": rows,
        **circumstances(device, dtype, options.shape, shape),
        "parameters": weights,
        "options": asdict(options),
        "copy_gb_per_second": bandwidth / 1e9,
    }


def _contest(policy: Policy, batch: int, floor: float, options: GenerateBench) -> list[dict[str, Any]]:
    """All samplers on one batch: rows of the result."""
    vocabulary = len(policy.tokenizer)
    generator = torch.Generator().manual_seed(options.seed)
    ids = torch.randint(1, vocabulary, (batch, PROMPT_TOKENS), generator=generator)
    rows = {name: {"name": name, "batch": batch} for name in (*SAMPLERS, PEER)}
    rolls: dict[str, Roll] = {}
    for name, row in rows.items():
        try:
            rolls[name], rolls[f"{name}, one token"] = (
                _roll(policy, name, ids, tokens, options.seed) for tokens in (options.tokens, 1)
            )
            row["completion_tokens"] = rolls[name]() / batch
            rolls[f"{name}, one token"]()
        except (HeedError, torch.OutOfMemoryError) as error:
            rolls = {known: roll for known, roll in rolls.items() if known not in (name, f"{name}, one token")}
            row["error"] = "out of memory" if isinstance(error, torch.OutOfMemoryError) else str(error)
    repeats = dict.fromkeys(rolls, options.repeats)
    rounds = interleaved(rolls, repeats, random.Random(options.seed), policy.device) if rolls else []
    for name, row in rows.items():
        if name in rolls:
            seconds = [each[name] for each in rounds]
            rate = Spread.of([batch * options.tokens / own for own in seconds])
            more = Spread.of([each[name] - each[f"{name}, one token"] for each in rounds])
            decode = more.median / (options.tokens - 1)
            row |= {
                "seconds": Spread.of(seconds).median,
                "tokens_per_second": rate.median,
                "tokens_per_second_low": rate.low,
                "tokens_per_second_high": rate.high,
                "ratio": Spread.of([each[PEER] / each[name] for each in rounds]).median if PEER in rolls else None,
                "decode_ms": decode * 1e3,
                "floor_ms": floor * 1e3,
                "floor_ratio": decode / floor,
                "repeats": len(rounds),
            }
    return list(rows.values())


def _roll(policy: Policy, name: str, ids: torch.Tensor, tokens: int, seed: int) -> Roll:
    """What draws so many tokens after each prompt [B, P] by a sampler's method, or by transformers alone."""
    if name == PEER:
        prompts, model = ids.to(policy.device), policy.causal_lm

        def plain() -> int:
            with torch.random.fork_rng(devices=[policy.device] if policy.device.type == "cuda" else []):
                torch.manual_seed(seed)
                drawn = model.generate(
                    input_ids=prompts,
                    attention_mask=torch.ones_like(prompts),
                    do_sample=True,
                    top_k=0,
                    max_new_tokens=tokens,
                    pad_token_id=policy.tokenizer.pad_token_id,
                )
            return int(drawn.numel() - prompts.numel())

        return plain
    sampler = Sampler(policy, Sampling(tokens), name)  # type: ignore[arg-type] # of AlignConfig's own names
    texts = [" ".join(f"w{token}" for token in row) for row in ids.tolist()]
    generator = torch.Generator(policy.device).manual_seed(seed)
    return lambda: int(sampler.roll(texts, generator).sequences.mask.sum())


def generate_table(result: Mapping[str, Any]) -> str:
    """The result of :func:`run_generate_bench` as a plain-text table, with what was measured on what above it."""
    lines = [
        f"heed {result['version']}, torch {result['torch']}, {result['device']}, {result['threads']} CPU threads, "
        f"{result['dtype']}",
        f"{result['shape']['name']}: {result['parameters'] / 1e6:,.1f}M parameters, LoRA of rank {LORA_RANK}; "
        f"{result['options']['tokens']} tokens after {PROMPT_TOKENS}; a copy: {result['copy_gb_per_second']:.1f} GB/s",
        "ratio: of tokens a second to those of transformers' generate in the same round, median",
        "floor: of reading weights and cache once; decode over floor is what a decode step takes of that",
    ]
    head = f"{'sampler':<24}{'tokens/s':>10} {'10-90%':>17}{'ratio':>7}{'decode ms':>11}{'floor ms':>10}{'over':>8}"
    batch = None
    for row in result["rows"]:
        if batch != (batch := row["batch"]):
            lines += ["", f"{batch} completions", head]
        lines.append(_line(row))
    return "\n".join(lines)


def _line(row: Mapping[str, Any]) -> str:
    if "error" in row:
        return f"{row['name']:<24}{row['error']}"
    spread = f"{row['tokens_per_second_low']:.0f}-{row['tokens_per_second_high']:.0f}"
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
    return (
        f"{row['name']:<24}{row['tokens_per_second']:>10.0f} {spread:>17}{ratio:>7}{row['decode_ms']:>11.2f}"
        f"{row['floor_ms']:>10.2f}{row['floor_ratio']:>8.1f}"
    )

"""A whole step of `heed.align.AlignTrainer`, for several K, against one of TRL's GRPOTrainer: in turn, in one run.

All get the same randomly initialised model, which they share, the same prompts, number of completions, settings of
LoRA and learning rate. The model's weights are such that no end token is drawn, so that each completion has exactly as
many tokens as were asked for; the reward functions, which both sides call, count them.
"""

from __future__ import annotations

import gc
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from peft import LoraConfig
from transformers import PreTrainedModel

from heed.align.config import AlignConfig
from heed.align.models.pretrained import quiet_transformers
from heed.align.objectives.reward_functions import RewardFunction
from heed.align.trainer import AlignTrainer
from heed.balance import GAPO
from heed.bench.options import GROUP, StepBench
from heed.bench.shapes import (
    LORA_RANK,
    SHAPES,
    ModelShape,
    base_model,
    circumstances,
    dtype_on,
    never_end,
    sharing_weights,
    words_tokenizer,
)
from heed.bench.timing import Spread, copy_bandwidth, interleaved, matmul_ceiling
from heed.bench.trl_step import Reward, TRLStep, trl_is_installed

PROMPT_TOKENS = 16
PARTS = ("generation", "scoring", "gradients")
FAILURES = (ImportError, TypeError, ValueError, AttributeError, RuntimeError)
"""What a TRL that fits neither this transformers nor this memory ends with: its row says so."""


def run_step_bench(options: StepBench, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure a whole step of every trainer.

    Args:
        options: what to measure.
        progress: called with what is done next.

    Returns:
        What ``heed bench step --json`` prints: "device", "version" and the like, and "rows". A row has "name" and "k";
        "seconds" of a step, median, with "seconds_low" and "seconds_high" (10% and 90%); of them "generation",
        "scoring" and "gradients" (of heed's own clock; None for TRL); "ratio" to TRL's step of the same round with
        "ratio_low" and "ratio_high", None without TRL; "tokens_per_second", completions' tokens over the whole step;
        "completion_tokens", as the reward functions counted them; "peak_memory_gb" (CUDA; else None);
        "ceiling_share", the FLOPs that a step cannot do without (``shape.step_flops``) a second over those of one
        large matrix product; "memory_share", of generation: weights and cache read once a token, at the bandwidth of
        a copy, over its seconds (None for TRL); "repeats". A row that could not be measured has "error" alone.

    Raises:
        HeedError: an option cannot be had here, such as a GPU that is not there.
    """
    options.check()
    device = torch.device(options.device)
    dtype = dtype_on(device)
    shape = SHAPES[options.shape]
    ceiling = matmul_ceiling(8192 if device.type == "cuda" else 2048, device, dtype)
    bandwidth = copy_bandwidth(device)
    progress(f"making the {options.shape} model")
    base = base_model(shape, device, dtype, options.seed, context=PROMPT_TOKENS + options.tokens)
    contest = _Contest(never_end(base, 0), shape, options)
    try:
        rows = contest.measure(progress)
    finally:
        contest.close()
    weights = sum(p.numel() for p in base.parameters())
    read = (weights - shape.vocabulary * shape.hidden) * dtype.itemsize
    read += shape.cache_bytes(options.completions, PROMPT_TOKENS + options.tokens // 2, dtype)
    flops = shape.step_flops(options.completions, PROMPT_TOKENS + options.tokens, options.tokens)
    for row in rows:
        if "error" not in row:
            generation = row["generation"]
            row["ceiling_share"] = flops / row["seconds"] / ceiling
            row["memory_share"] = options.tokens * read / bandwidth / generation if generation else None
    return {
        "rows": rows,
        **circumstances(device, dtype, options.shape, shape),
        "parameters": weights,
        "options": asdict(options),
        "matmul_tflops": ceiling / 1e12,
        "copy_gb_per_second": bandwidth / 1e9,
    }


def rewards(count: int, lengths: set[int]) -> list[Reward]:
    """Cheap deterministic reward functions: each the share of tokens in a class of its own; one class has none.

    Args:
        count: how many.
        lengths: gathers the numbers of tokens that completions have.

    >>> share_0, share_1 = rewards(2, set())
    >>> share_1(completion_ids=[[1, 2, 3, 4]])
    [0.5]
    """

    def share(k: int) -> Reward:
        def function(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
            lengths.update(map(len, completion_ids))
            return [sum(token % (count + 1) == k for token in row) / len(row) for row in completion_ids]

        function.__name__ = f"share_{k}"
        return function

    return [share(k) for k in range(count)]


class _Contest:
    """All trainers over one model."""

    def __init__(self, base: PreTrainedModel, shape: ModelShape, options: StepBench) -> None:
        self.base, self.options = base, options
        self.tokenizer = words_tokenizer(shape.vocabulary)
        self.lora = {"r": LORA_RANK, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
        generator = torch.Generator().manual_seed(options.seed)
        ids = torch.randint(1, shape.vocabulary, (4 * options.completions // GROUP, PROMPT_TOKENS), generator=generator)
        self.prompts = [" ".join(f"w{token}" for token in row) for row in ids.tolist()]
        self.config = AlignConfig(
            steps=1_000_000,
            seed=options.seed,
            prompts_per_step=options.completions // GROUP,
            completions_per_prompt=GROUP,
            micro_batch=0,
            max_completion_tokens=options.tokens,
            learning_rate=1e-5,
            warmup_steps=0,
            advantage=options.advantage,
            eval_prompts=0,
        )
        self.steps: dict[str, Callable[[], None]] = {}
        self.lengths: dict[str, set[int]] = {}
        self.held: dict[str, int] = {}
        self.metrics: dict[str, list[dict[str, float]]] = {}
        self.peaks: dict[str, list[int]] = {}
        self._peer: TRLStep | None = None
        self._folder = tempfile.TemporaryDirectory()

    def measure(self, progress: Callable[[str], None]) -> list[dict[str, Any]]:
        """Build every trainer, take one step of each that is not timed, then time them in turn."""
        rows: dict[str, dict[str, Any]] = {f"heed K={k}": {"name": f"heed K={k}", "k": k} for k in self.options.k}
        builders: dict[str, Callable[[], Callable[[], None]]] = {
            name: partial(self._heed, name, row["k"]) for name, row in rows.items()
        }
        if self.options.peer == "trl":
            rows["trl"] = {"name": "trl", "k": None}
            builders["trl"] = self._trl
        for name, build in builders.items():
            progress(f"{name}: a first step")
            if (error := self._prepare(name, build)) is not None:
                rows[name]["error"] = error
        if self.steps:
            progress(f"{self.options.repeats} rounds")
            self._time(rows)
        return list(rows.values())

    def _prepare(self, name: str, build: Callable[[], Callable[[], None]]) -> str | None:
        """Build a trainer and take a step; returns why there is none."""
        if name == "trl" and not trl_is_installed():
            return "trl is not installed"
        gc.collect()
        before = self._allocated()
        try:
            step = build()
            step()
            gc.collect()
        except torch.OutOfMemoryError:
            return "out of memory"
        except FAILURES as error:
            if name != "trl":
                raise
            return f"{type(error).__name__}: {error}".splitlines()[0]
        self.steps[name], self.held[name] = step, self._allocated() - before
        self.metrics[name], self.peaks[name] = [], []
        return None

    def _time(self, rows: Mapping[str, dict[str, Any]]) -> None:
        repeats = dict.fromkeys(self.steps, self.options.repeats)
        measured = {name: self._measured(name) for name in self.steps}
        rounds = interleaved(measured, repeats, random.Random(self.options.seed), self.base.device)
        for name in self.steps:
            row, taken = rows[name], Spread.of([each[name] for each in rounds])
            row |= {"seconds": taken.median, "seconds_low": taken.low, "seconds_high": taken.high}
            own = self.metrics[name]
            row |= {part: Spread.of([m[f"seconds/{part}"] for m in own]).median if own else None for part in PARTS}
            ratio = Spread.of([each[name] / each["trl"] for each in rounds]) if "trl" in self.steps else None
            row["ratio"] = ratio and ratio.median
            row["ratio_low"], row["ratio_high"] = (ratio.low, ratio.high) if ratio else (None, None)
            row["tokens_per_second"] = self.options.completions * self.options.tokens / taken.median
            row["completion_tokens"] = sorted(self.lengths[name])
            row["peak_memory_gb"] = self._peak(name)
            row["repeats"] = len(rounds)

    def _measured(self, name: str) -> Callable[[], None]:
        def step() -> None:
            before = self._allocated()
            if self.base.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.base.device)
            self.steps[name]()
            if self.base.device.type == "cuda":
                self.peaks[name].append(torch.cuda.max_memory_allocated(self.base.device) - before)

        return step

    def _peak(self, name: str) -> float | None:
        """GB of the shared base, of what a trainer holds, and of the most that one of its steps takes besides."""
        if not self.peaks[name]:
            return None
        base = sum(p.numel() * p.element_size() for p in self.base.parameters())
        return (base + self.held[name] + max(self.peaks[name])) / 1e9

    def _allocated(self) -> int:
        return int(torch.cuda.memory_allocated(self.base.device)) if self.base.device.type == "cuda" else 0

    def _heed(self, name: str, k: int) -> Callable[[], None]:
        lengths = self.lengths[name] = set[int]()
        trainer = AlignTrainer(
            sharing_weights(self.base),
            [RewardFunction(function) for function in rewards(k, lengths)],
            GAPO(p=1),
            [{"prompt": prompt} for prompt in self.prompts],
            self.config,
            self.tokenizer,
            LoraConfig(**self.lora),
        )

        def step() -> None:
            metrics = trainer.round()
            trainer.step += 1
            if name in self.metrics:
                self.metrics[name].append(metrics)

        return step

    def _trl(self) -> Callable[[], None]:
        lengths = self.lengths["trl"] = set[int]()
        functions, lora = rewards(max(self.options.k), lengths), LoraConfig(**self.lora)
        with quiet_transformers():
            peer = self._peer = TRLStep(
                sharing_weights(self.base),
                self.tokenizer,
                lora,
                self.prompts,
                functions,
                self.config,
                self._folder.name,
            )
        return peer.step

    def close(self) -> None:
        """End the peer's thread."""
        if self._peer is not None:
            self._peer.close()
        self._folder.cleanup()


def step_table(result: Mapping[str, Any]) -> str:
    """The result of :func:`run_step_bench` as a plain-text table, with what was measured on what above it."""
    options = result["options"]
    lines = [
        f"heed {result['version']}, torch {result['torch']}, {result['device']}, {result['threads']} CPU threads, "
        f"{result['dtype']}",
        f"{result['shape']['name']}: {result['parameters'] / 1e6:,.1f}M parameters, LoRA of rank {LORA_RANK}; "
        f"{options['completions']} completions of {options['tokens']} tokens after {PROMPT_TOKENS}, "
        f"{options['advantage']} advantages",
        f"one large matrix product: {result['matmul_tflops']:.2f} TFLOP/s; "
        f"a copy: {result['copy_gb_per_second']:.1f} GB/s",
        "ratio: to TRL's step of the same round, median; matmul: of a step, the FLOPs that it cannot do without over",
        "that product's; memory: of generation, weights and cache read once a token at the copy's speed",
        "",
        f"{'':<12}{'s a step':>9} {'10-90%':>13}{'generate':>10}{'score':>8}{'gradients':>10}{'tokens/s':>10}"
        f"{'ratio':>7} {'10-90%':>10}{'matmul':>8}{'memory':>8}{'GB':>7}",
    ]
    return "\n".join([*lines, *map(_line, result["rows"])])


def _line(row: Mapping[str, Any]) -> str:
    if "error" in row:
        return f"{row['name']:<12}{row['error']}"
    spread, between = f"{row['seconds_low']:.2f}-{row['seconds_high']:.2f}", "-"
    if row["ratio"] is not None:
        between = f"{row['ratio_low']:.2f}-{row['ratio_high']:.2f}"
    return (
        f"{row['name']:<12}{row['seconds']:>9.2f} {spread:>13}{_or_dash(row['generation'], '.2f'):>10}"
        f"{_or_dash(row['scoring'], '.2f'):>8}{_or_dash(row['gradients'], '.2f'):>10}{row['tokens_per_second']:>10.0f}"
        f"{_or_dash(row['ratio'], '.2f'):>7} {between:>10}{row['ceiling_share']:>8.0%}"
        f"{_or_dash(row['memory_share'], '.0%'):>8}{_or_dash(row['peak_memory_gb'], '.1f'):>7}"
    )


def _or_dash(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)

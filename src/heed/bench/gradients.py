"""The cost of K gradients: every path to them against one scalarised step, in one run.

The scalarised step is forward and backward of ``sum_k w_k L_k`` by plain autograd. heed's steps include all that the
trainer does besides: clearing the Jacobian, the Gram matrix, the weighting's solve and writing the combined gradient.
The others stop at the K gradients. Before anything is timed, each method's gradients are compared with those of K
separate backwards. FLOPs are counted before that, on copies of the model that are cut to one and two layers: counting
takes time and memory, which are measured on the whole model alone.
"""

from __future__ import annotations

import gc
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from torchjd.autojac import jac

from heed.balance import GAPO
from heed.balance.jacobian import JacobianAccumulator, JacobianPath
from heed.bench.gradient_model import Batch, Losses, build_model, enable_checkpointing
from heed.bench.options import GradientBench
from heed.bench.shapes import LORA_RANK, SHAPES, ModelShape, circumstances, dtype_on
from heed.bench.timing import Spread, count_flops, flops_of_layers, interleaved, matmul_ceiling

K_FOLD_REPEATS = 2
"""Rounds that methods take part in whose cost grows with K: their ratios are far from 1, where fewer rounds tell."""

METHODS: dict[str, str] = {
    "scalarised": "one step of the weighted sum, plain autograd",
    "factored-rank1": "heed, nothing clipped",
    "factored-rank2-fifth": "heed, PPO clip in 1 sequence of 5",
    "factored-rank2-all": "heed, PPO clip in every sequence",
    "sequential": "heed, 1 forward and K backwards",
    "batched": "heed, 1 backward vectorised over K",
    "separate": "K forwards and K backwards",
    "torchjd": "torchjd jac, its defaults",
    "torchjd-chunk1": "torchjd jac, parallel_chunk_size=1",
}
"""The rows' names and what each is."""


def run_gradient_bench(options: GradientBench, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure every method at every K, with and without checkpointing.

    Args:
        options: what to measure.
        progress: called with what is measured next.

    Returns:
        What ``heed bench gradients --json`` prints: "device", "version" and the like, and "rows". A row has "name",
        "k", "checkpointing"; "ratio" to the scalarised step of the same round, median, with "ratio_low" and
        "ratio_high" (10% and 90%); "ms", median; "flops" and "flops_ratio", None where "flops_error" says why they
        could not be counted; "max_relative_error" of a gradient against K separate backwards; "tokens_per_second";
        "ceiling_share", counted FLOP/s over those of one large matrix product; "peak_memory_gb" (CUDA; else None);
        "rank" of the cotangents, "repeats". A method that does not fit in the GPU's memory has "error" in place of
        the figures.

    Raises:
        HeedError: an option cannot be had here, such as a GPU that is not there.
    """
    options.check()
    device = torch.device(options.device)
    dtype = dtype_on(device)
    shape = SHAPES[options.shape]
    shape = replace(shape, tokens=options.tokens or shape.tokens)
    ceiling = matmul_ceiling(8192 if device.type == "cuda" else 2048, device, dtype)
    passes = {"both": (False, True), "off": (False,), "on": (True,)}[options.checkpointing]
    progress("counting FLOPs")
    flops = _count(shape, device, dtype, options, passes)
    gc.collect()  # the copies' memory: models hold themselves in circles
    progress(f"making the {options.shape} model")
    model = build_model(shape, device, dtype, options.seed)
    batch = Batch(model, shape, options.seed)
    rows: list[dict[str, Any]] = []
    for checkpointing in passes:
        if checkpointing:
            enable_checkpointing(model)
        for K in options.k:
            progress(f"K = {K}, checkpointing {'on' if checkpointing else 'off'}")
            measured = _Contest(model, batch, K, checkpointing, options).measure(ceiling, flops[checkpointing, K])
            rows += [row | {"checkpointing": checkpointing} for row in measured]
    return {
        "rows": rows,
        **circumstances(device, dtype, options.shape, shape),
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "matmul_tflops": ceiling / 1e12,
        "seed": options.seed,
    }


Flops = dict[str, int | str]
"""By method: FLOPs of a step, or why they could not be counted."""


def _count(
    shape: ModelShape, device: torch.device, dtype: torch.dtype, options: GradientBench, passes: Sequence[bool]
) -> dict[tuple[bool, int], Flops]:
    """FLOPs of every method by checkpointing and K, from copies of the model of one and of two layers."""
    cut = []
    for layers in (1, 2):
        few = replace(shape, layers=layers)
        model = build_model(few, device, dtype, options.seed)
        batch, counts = Batch(model, few, options.seed), {}
        for checkpointing in passes:
            if checkpointing:
                enable_checkpointing(model)
            for K in options.k:
                counts[checkpointing, K] = _Contest(model, batch, K, checkpointing, options).count()
        cut.append(counts)
    return {
        case: {name: _of_whole(one, cut[1][case][name], shape.layers) for name, one in counts.items()}
        for case, counts in cut[0].items()
    }


def _of_whole(one: int | str, two: int | str, layers: int) -> int | str:
    if isinstance(one, str):
        return one
    return two if isinstance(two, str) else flops_of_layers(one, two, layers)


Step = Callable[[], Callable[[], Tensor]]
"""Takes the gradients, which is timed, and returns a function that gives them as [K, n], which is not."""


class _Contest:
    """All methods at one K on one batch."""

    def __init__(self, model: PeftModel, batch: Batch, K: int, checkpointing: bool, options: GradientBench) -> None:
        self.model, self.batch, self.K, self.checkpointing, self.options = model, batch, K, checkpointing, options
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        index = torch.arange(len(batch.ids))
        plain = batch.losses(K)
        fifth, everywhere = batch.losses(K, index % 5 == 0), batch.losses(K, index >= 0)
        self.cases = dict.fromkeys(METHODS, plain) | {"factored-rank2-fifth": fifth, "factored-rank2-all": everywhere}

    def count(self) -> Flops:
        """FLOPs of each method, counted on a pass of its own."""
        counted: Flops = {}
        for name, losses in self.cases.items():
            self._forget()
            try:
                counted[name] = count_flops(self._step(name, losses))
            except torch.OutOfMemoryError:
                counted[name] = "counting ran out of memory"
            except AssertionError as error:  # how torch's formulas refuse an operation's shapes
                counted[name] = f"torch {torch.__version__} does not count them: {error}"
        self._forget()
        return counted

    def measure(self, ceiling: float, flops: Flops) -> list[dict[str, Any]]:
        steps: dict[str, Step] = {}
        rows: dict[str, dict[str, Any]] = {}
        truths: dict[int, Tensor] = {}
        for name, losses in self.cases.items():
            counted = flops[name]
            rows[name] = {"name": name, "k": self.K, "flops": counted if isinstance(counted, int) else None}
            rows[name]["flops_error"] = counted if isinstance(counted, str) else None
            try:
                if id(losses) not in truths:
                    truths[id(losses)] = self._separate(losses)()
                rows[name] |= self._examine(name, steps, truths[id(losses)])
            except torch.OutOfMemoryError:
                steps.pop(name, None)
                rows[name] |= {"ratio": None, "ms": None, "error": "out of memory"}
        truths.clear()
        self._forget()
        if "scalarised" in steps:
            self._compare(steps, rows, ceiling)
        return list(rows.values())

    def _examine(self, name: str, steps: dict[str, Step], truth: Tensor) -> dict[str, Any]:
        """Build a method and run it once, for its gradients and memory; this also warms it up."""
        cuda, losses = self.batch.device.type == "cuda", self.cases[name]
        self._forget()
        held = torch.cuda.memory_allocated(self.batch.device) if cuda else 0
        steps[name] = self._step(name, losses)
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.batch.device)
        gradients = steps[name]()
        row: dict[str, Any] = {"max_relative_error": None, "rank": None, "peak_memory_gb": None}
        if cuda:
            own = torch.cuda.max_memory_allocated(self.batch.device) - held
            weights = sum(p.numel() * p.element_size() for p in self.model.parameters())
            row["peak_memory_gb"] = (weights + own) / 1e9
        if name != "scalarised":
            row["max_relative_error"] = float(((gradients() - truth).norm(dim=1) / truth.norm(dim=1)).max())
            with torch.no_grad():
                row["rank"] = losses.cotangents(self.batch.logp()).rank
        return row

    def _compare(self, steps: Mapping[str, Step], rows: dict[str, dict[str, Any]], ceiling: float) -> None:
        """Time the methods in turn and complete their rows."""
        ours = {name for name in steps if name == "scalarised" or name.startswith("factored")}
        fewer = min(K_FOLD_REPEATS, self.options.repeats)
        rounds = interleaved(
            {name: self._cleared(step) for name, step in steps.items()},
            {name: self.options.repeats if name in ours else fewer for name in steps},
            random.Random(self.options.seed),
            self.batch.device,
        )
        for name in steps:
            taken = [(r[name], r["scalarised"]) for r in rounds if name in r]
            ratio = Spread.of([own / scalarised for own, scalarised in taken])
            seconds = Spread.of([own for own, _ in taken]).median
            flops, of_scalarised = rows[name]["flops"], rows["scalarised"]["flops"]
            rows[name] |= {
                "ratio": ratio.median,
                "ratio_low": ratio.low,
                "ratio_high": ratio.high,
                "ms": seconds * 1e3,
                "flops_ratio": flops / of_scalarised if flops and of_scalarised else None,
                "tokens_per_second": self.batch.ids.numel() / seconds,
                "ceiling_share": flops / seconds / ceiling if flops else None,
                "repeats": len(taken),
            }

    def _cleared(self, step: Step) -> Callable[[], object]:
        def cleared() -> None:
            self._forget()
            step()

        return cleared

    def _forget(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def _step(self, name: str, losses: Losses) -> Step:
        if name == "scalarised":
            return lambda: self._scalarised(losses)
        if name == "separate":
            return lambda: self._separate(losses)
        if name.startswith("torchjd"):
            return lambda: self._torchjd(losses, 1 if name == "torchjd-chunk1" else None)
        path: JacobianPath = "sequential" if name == "sequential" else "batched" if name == "batched" else "factored"
        return self._heed(losses, path)

    def _scalarised(self, losses: Losses) -> Callable[[], Tensor]:
        values = losses.values(self.batch.logp())
        (-values.sum() / self.K).backward()
        return lambda: torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None])[None]

    def _heed(self, losses: Losses, path: JacobianPath) -> Step:
        jacobian = JacobianAccumulator(
            self.model, self.K, rank=losses.surrogate.rank, path=path, checkpointing=self.checkpointing
        )
        weighting = GAPO(p=1)

        def step() -> Callable[[], Tensor]:
            jacobian.zero()
            jacobian.accumulate(self.batch.logp, losses.cotangents)
            jacobian.write_gradient(weighting(jacobian.gram()))
            return jacobian.total

        return step

    def _separate(self, losses: Losses) -> Callable[[], Tensor]:
        rows = []
        for k in range(self.K):
            self._forget()
            losses.values(self.batch.logp())[k].backward()
            rows.append([p.grad.flatten() for p in self.parameters if p.grad is not None])
        return lambda: torch.stack([torch.cat(row) for row in rows])

    def _torchjd(self, losses: Losses, chunk: int | None) -> Callable[[], Tensor]:
        values = losses.values(self.batch.logp())
        with warnings.catch_warnings():  # attention kernels have no batching rule: known, and part of what is measured
            warnings.filterwarnings("ignore", "There is a performance drop")
            jacobians = jac(values, self.parameters, parallel_chunk_size=chunk)
        return lambda: torch.cat([J.flatten(1) for J in jacobians], dim=1)


def gradient_table(result: Mapping[str, Any]) -> str:
    """The result of :func:`run_gradient_bench` as a plain-text table, with what was measured on what above it."""
    shape = result["shape"]
    lines = [
        f"heed {result['version']}, torch {result['torch']}, {result['device']}, {result['threads']} CPU threads, "
        f"{result['dtype']}",
        f"{shape['name']}: {result['parameters'] / 1e6:,.1f}M parameters, {result['trainable'] / 1e6:.2f}M of them "
        f"adapters of rank {LORA_RANK}, {shape['sequences']} x {shape['tokens']} tokens; "
        f"one large matrix product: {result['matmul_tflops']:.2f} TFLOP/s",
        "ratio: to the scalarised step of the same round, median; matmul: counted FLOP/s over that product's, "
        "counted on copies of one and two layers",
    ]
    head = f"{'method':<22}{'ratio':>7} {'10-90%':>13}{'FLOPs':>7}{'ms':>9}{'error':>9}{'tokens/s':>10}"
    head += f"{'matmul':>8}{'GB':>7}"
    block = None
    for row in result["rows"]:
        if block != (block := (row["k"], row["checkpointing"])):
            lines += ["", f"K = {row['k']}, checkpointing {'on' if row['checkpointing'] else 'off'}", head]
        lines.append(_line(row))
    reasons = sorted({row["flops_error"] for row in result["rows"] if row["flops_error"]})
    lines += [f"FLOPs that are left out: {reason}" for reason in reasons]
    lines += ["", *(f"{name:<22}{meaning}" for name, meaning in METHODS.items())]
    return "\n".join(lines)


def _line(row: Mapping[str, Any]) -> str:
    if row["ratio"] is None:
        return f"{row['name']:<22}{row['error']}"
    error = "" if row["max_relative_error"] is None else f"{row['max_relative_error']:.0e}"
    memory = "" if row["peak_memory_gb"] is None else f"{row['peak_memory_gb']:.1f}"
    flops = "-" if row["flops_ratio"] is None else f"{row['flops_ratio']:.3f}"
    share = "-" if row["ceiling_share"] is None else f"{row['ceiling_share']:.0%}"
    spread = f"{row['ratio_low']:.2f}-{row['ratio_high']:.2f}"
    return (
        f"{row['name']:<22}{row['ratio']:>7.3f} {spread:>13}{flops:>7}{row['ms']:>9.1f}{error:>9}"
        f"{row['tokens_per_second']:>10.0f}{share:>8}{memory:>7}"
    )

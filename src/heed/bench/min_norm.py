"""What the weights of K objectives take, and how exact they are: ours against torchjd's Frank-Wolfe, in one run."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchjd.aggregation import MGDAWeighting

import heed
from heed.balance import min_norm_weights
from heed.bench.options import MinNormBench
from heed.bench.timing import Spread, interleaved
from heed.errors import HeedError

KINDS = ("unit", "two decades", "thin")
"""Gradients of like norms; of norms over two decades; of K gradients that span K / 2 dimensions."""


def run_min_norm_bench(bench: MinNormBench) -> dict[str, Any]:
    """Time every method on the same Gram matrices, in turn, on one thread.

    Raises:
        HeedError: fewer than two objectives, or no repeats.
    """
    if min(bench.k, default=0) < 2 or bench.repeats < 1:
        raise HeedError("there is nothing to weigh", "--k, --repeats", "give at least 2 objectives and 1 repeat")
    threads, generator = torch.get_num_threads(), torch.Generator().manual_seed(bench.seed)
    torch.set_num_threads(1)
    try:
        rows = [_row(kind, k, bench.repeats, generator) for k in bench.k for kind in KINDS]
    finally:
        torch.set_num_threads(threads)
    return {"version": heed.__version__, "torch": torch.__version__, "repeats": bench.repeats, "rows": rows}


def kkt_residual(gradients: Tensor, weights: Tensor) -> float:
    """How far the weights [K] are from the conditions of the min-norm point of the gradients [K, n].

    Those are ``<d, g_k> = ||d||^2`` where a weight is positive and ``>=`` elsewhere, with ``d = sum_k w_k g_k``.

    Returns:
        The largest violation, over ``||g_k||`` times the shortest gradient's norm.

    >>> kkt_residual(torch.eye(2, dtype=torch.float64), torch.tensor([0.5, 0.5], dtype=torch.float64))
    0.0
    """
    direction = weights.to(gradients) @ gradients
    slope = gradients @ direction - direction @ direction
    length = gradients.norm(dim=1)
    violation = torch.where(weights > 1e-12, slope.abs(), (-slope).clamp(min=0))
    return float((violation / (length * length.min())).max())


def _row(kind: str, k: int, repeats: int, generator: torch.Generator) -> dict[str, Any]:
    methods = {"heed": lambda gram: min_norm_weights(gram).weights, "torchjd": MGDAWeighting()}
    taken: dict[str, list[float]] = {name: [] for name in methods}
    residual = dict.fromkeys(methods, 0.0)
    order = random.Random(k)
    for _ in range(repeats):
        gradients = _gradients(kind, k, generator)
        gram = gradients @ gradients.T
        steps = {name: (lambda method=method, gram=gram: method(gram)) for name, method in methods.items()}
        for name, seconds in interleaved(steps, dict.fromkeys(steps, 1), order, torch.device("cpu"))[0].items():
            taken[name].append(1000 * seconds)
        for name, method in methods.items():
            residual[name] = max(residual[name], kkt_residual(gradients, method(gram)))
    spreads = {name: Spread.of(values) for name, values in taken.items()}
    return {
        "k": k,
        "kind": kind,
        **{f"{name}_ms": vars(spread) for name, spread in spreads.items()},
        **{f"{name}_residual": value for name, value in residual.items()},
    }


def _gradients(kind: str, k: int, generator: torch.Generator) -> Tensor:
    width = k // 2 + 1 if kind == "thin" else 2 * k
    shared = 0.3 * torch.randn(1, width, dtype=torch.float64, generator=generator)
    gradients = torch.randn(k, width, dtype=torch.float64, generator=generator) + shared
    if kind == "two decades":
        gradients = gradients * 10 ** (2 * torch.rand(k, 1, dtype=torch.float64, generator=generator) - 1)
    return gradients


def min_norm_table(result: Mapping[str, Any]) -> str:
    """The result of :func:`run_min_norm_bench` as a plain-text table."""
    lines = [
        f"heed {result['version']}, torch {result['torch']}, one thread, {result['repeats']} matrices of each kind",
        "residual: the worst violation of the optimum's conditions, over the lengths of the gradients",
        "",
        f"{'K':>4} {'gradients':<13}{'heed ms':>9} {'10-90%':>13}{'residual':>10}{'torchjd ms':>12}{'residual':>10}",
    ]
    for row in result["rows"]:
        ours, theirs = row["heed_ms"], row["torchjd_ms"]
        spread = f"{ours['low']:.2f}-{ours['high']:.2f}"
        lines.append(
            f"{row['k']:>4} {row['kind']:<13}{ours['median']:>9.2f} {spread:>13}{row['heed_residual']:>10.0e}"
            f"{theirs['median']:>12.2f}{row['torchjd_residual']:>10.0e}"
        )
    return "\n".join(lines)

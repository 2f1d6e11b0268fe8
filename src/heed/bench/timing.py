"""Timing: steps in turn within one run, counts of FLOPs, and the matmul rate that bounds them."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

Step = Callable[[], object]


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(step: Step, device: torch.device) -> float:
    """Wall time of one step, in seconds."""
    synchronize(device)
    start = time.perf_counter()
    step()
    synchronize(device)
    return time.perf_counter() - start


def interleaved(
    steps: Mapping[str, Step], repeats: Mapping[str, int], generator: random.Random, device: torch.device
) -> list[dict[str, float]]:
    """Time several steps in rounds, each once a round in a shuffled order, so that all meet the same machine.

    Args:
        steps: what is timed, by name.
        repeats: in how many of the rounds each takes part, from the first.
        generator: of the orders.
        device: that is waited for.

    Returns:
        One mapping from name to seconds a round.

    >>> rounds = interleaved({"a": int, "b": int}, {"a": 2, "b": 1}, random.Random(0), torch.device("cpu"))
    >>> [sorted(taken) for taken in rounds]
    [['a', 'b'], ['a']]
    """
    rounds = []
    for i in range(max(repeats.values())):
        order = [name for name in steps if i < repeats[name]]
        generator.shuffle(order)
        rounds.append({name: seconds(steps[name], device) for name in order})
    return rounds


@dataclass(frozen=True)
class Spread:
    """The middle of some figures and the range in which 80% of them lie.

    >>> Spread.of([1.0, 2.0, 4.0])
    Spread(median=2.0, low=1.2, high=3.6)
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Median, 10% and 90% quantile."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        tenths = statistics.quantiles(values, n=10, method="inclusive")
        return cls(statistics.median(values), round(tenths[0], 12), round(tenths[-1], 12))


def _attention_flops(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(q, k, v)


def _attention_backward_flops(delta: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(delta, q, k, v)


# torch counts the fused attention kernels of GPUs, not the one for CPUs.
_CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
}


def count_flops(step: Step) -> int:
    """FLOPs of the matrix products and attention kernels of one step, custom and recomputed ones included.

    >>> count_flops(lambda: torch.ones(2, 3) @ torch.ones(3, 4))
    48
    """
    with FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) as counter:
        step()
    return counter.get_total_flops()


def matmul_ceiling(size: int, device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """FLOP/s of one large square matrix product, the best of some repeats: what a perfect step would reach.

    Args:
        size: rows and columns.
        device: where.
        dtype: of the factors.
        repeats: how often it is timed, after two that are not.
    """
    # Random factors: constant ones draw less power, and a GPU then clocks higher than any real step lets it.
    generator = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(left)
    taken = [seconds(lambda: torch.mm(left, right, out=out), device) for _ in range(repeats + 2)]
    return 2 * size**3 / min(taken[2:])

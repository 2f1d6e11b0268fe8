"""Timing: steps in turn within one run, counts of FLOPs, and the matmul rate that bounds them."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

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


# Of shapes, as the counter gives them: fewer heads of keys and values count as if repeated to the query's.
def _attention_flops(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    B, heads, S, width = query
    return 2 * B * heads * S * key[2] * (width + value[3])  # scores, and their sum of values


def _attention_backward_flops(
    _: Sequence[int], query: Sequence[int], key: Sequence[int], value: Sequence[int], *__: Any, **___: Any
) -> int:
    B, heads, S, width = query
    return 2 * B * heads * S * key[2] * (3 * width + 2 * value[3])  # scores; towards scores, values, queries, keys


ATTENTION = {
    name: formula
    for kernel in ("flash_attention", "efficient_attention", "cudnn_attention", "flash_attention_for_cpu")
    for name, formula in (
        (getattr(torch.ops.aten, f"_scaled_dot_product_{kernel}"), _attention_flops),
        (getattr(torch.ops.aten, f"_scaled_dot_product_{kernel}_backward"), _attention_backward_flops),
    )
}
"""Formulas of attention kernels, for any torch: its own know neither grouped queries before 2.13 nor CPUs' kernel."""


def count_flops(step: Step) -> int:
    """FLOPs of the matrix products and attention kernels of one step, custom and recomputed ones included.

    Counting costs time and memory: what is timed, or whose memory is measured, is not counted at once.

    >>> count_flops(lambda: torch.ones(2, 3) @ torch.ones(3, 4))
    48
    """
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter:
        step()
    return counter.get_total_flops()


def flops_of_layers(of_one: int, of_two: int, layers: int) -> int:
    """FLOPs of a step of a model, from those of copies that are cut to one and to two of its equal layers.

    What is not in a layer, and what is special in the first, is in both; each further layer costs what the second does.

    >>> flops_of_layers(70, 100, layers=12)
    400
    """
    return of_one + (layers - 1) * (of_two - of_one)


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


def copy_bandwidth(device: torch.device, repeats: int = 5) -> float:
    """Bytes that one large copy reads and writes in a second, the best of some repeats: what memory gives.

    Args:
        device: whose memory; one GiB of it is copied, of a CPU's a quarter.
        repeats: how often it is timed, after two that are not.
    """
    size = 1 << (30 if device.type == "cuda" else 28)
    source, target = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    taken = [seconds(lambda: target.copy_(source), device) for _ in range(repeats + 2)]
    return 2 * size / min(taken[2:])

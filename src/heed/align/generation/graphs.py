"""One decode step as a CUDA graph: thousands of kernels launched at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3
"""Runs before a capture, in which libraries choose their kernels and make their work space."""


class StepGraphs:
    """Captured steps by shape; on a CPU a step is just called.

    A step takes nothing and returns nothing: it reads and writes tensors that stay where they are.

    Args:
        device: where the steps run.
        generator: that they draw from.
    """

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        self.device, self.generator = device, generator
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._pool: Any = None

    def __len__(self) -> int:
        return len(self._graphs)

    def clear(self) -> None:
        """Forget the captured steps: what they read and write is no more."""
        self._graphs, self._pool = {}, None

    def run(self, key: Hashable, step: Callable[[], None], written: Sequence[Tensor]) -> None:
        """Make a step: replay its graph, which is captured the first time.

        Args:
            key: tells the steps apart; equal keys have equal shapes and addresses.
            step: the step.
            written: what it writes and then reads again; put back after the runs that warm it up.
        """
        if self.device.type != "cuda":
            step()
            return
        if key not in self._graphs:
            self._graphs[key] = self._captured(step, written)
        self._graphs[key].replay()

    def _captured(self, step: Callable[[], None], written: Sequence[Tensor]) -> torch.cuda.CUDAGraph:
        before, drawn = [tensor.clone() for tensor in written], self.generator.get_state()
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                step()
                for tensor, was in zip(written, before, strict=True):
                    tensor.copy_(was)
        torch.cuda.current_stream(self.device).wait_stream(side)
        self.generator.set_state(drawn)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        with torch.cuda.graph(graph, pool=self._pool):
            step()
        self._pool = self._pool or graph.pool()
        return graph

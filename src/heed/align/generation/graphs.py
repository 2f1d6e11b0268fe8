"""One decode step as a CUDA graph: thousands of kernels launched at once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


class StepGraphs:
    """Captured steps by shape; on a CPU a step is just called.

    A step takes nothing and returns nothing: it reads and writes tensors that stay where they are. One that waits for
    the device, as some models' position embeddings and experts do, cannot be captured: it is called from then on, which
    is logged.

    Args:
        device: where the steps run.
        generator: that they draw from.
    """

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        self.device, self.generator = device, generator
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._pool: Any = None
        self._captures = device.type == "cuda"

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
        if not self._captures:
            step()
            return
        with torch.cuda.device(self.device):
            if key not in self._graphs:
                graph = self._captured(step, written)
                if graph is None:
                    self._captures = False
                    step()
                    return
                self._graphs[key] = graph
            self._graphs[key].replay()

    def _captured(self, step: Callable[[], None], written: Sequence[Tensor]) -> torch.cuda.CUDAGraph | None:
        """The step's graph; None, and nothing changed, if it cannot be captured."""
        before, drawn = [tensor.clone() for tensor in written], self.generator.get_state()
        side, graph = torch.cuda.Stream(self.device), torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream(self.device))
        reason = None
        try:
            # A capture that fails leaves torch's state half changed, so waiting is looked for before it.
            with torch.cuda.stream(side):
                for mode in ("default", "error"):  # in the first, libraries choose their kernels
                    _tell_waiting(mode)
                    step()
                    _tell_waiting("default")
                    for tensor, was in zip(written, before, strict=True):
                        tensor.copy_(was)
                self.generator.set_state(drawn)
                torch.cuda.synchronize(self.device)
                graph.register_generator_state(self.generator)
                graph.capture_begin(pool=self._pool)
                try:
                    step()
                finally:
                    graph.capture_end()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
        finally:
            _tell_waiting("default")
        torch.cuda.current_stream(self.device).wait_stream(side)
        if reason is not None:
            logger.warning("a decode step cannot be captured in a CUDA graph: each kernel is launched anew: %s", reason)
            for tensor, was in zip(written, before, strict=True):
                tensor.copy_(was)
            self.generator.set_state(drawn)
            return None
        self._pool = self._pool or graph.pool()
        return graph


def _tell_waiting(mode: str) -> None:
    """Whether a step that waits for the device ends in an error; without torch's note that it does not see all such."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode")
        torch.cuda.set_sync_debug_mode(mode)

"""The memory that a computation holds at its peak, counted as torch makes and lets go of tensors.

On the meta device tensors have a shape and no numbers, so that the pass of a model of seven billion parameters is
counted in seconds on any machine, by the code that the run itself executes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Within: counts the bytes of tensors that are made here and not yet let go.

    Each storage counts once, whatever views there are of it; what was there before does not count.

    Attributes:
        now: bytes that are held.
        peak: most bytes that were held at once.

    >>> import torch
    >>> with LiveBytes() as live:
    ...     x = torch.empty(1000, device="meta")
    ...     y = (x + 1) * 2
    >>> live.now, live.peak
    (8000, 12000)
    """

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and look at what it made."""
        given = {_storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and _storage(leaf) not in given:
                self._hold(leaf)
        self.peak = max(self.peak, self.now)
        return out

    def _hold(self, tensor: Tensor) -> None:
        storage, key = tensor.untyped_storage(), _storage(tensor)
        if key not in self._known:
            self._known.add(key)
            self.now += storage.nbytes()
            weakref.finalize(storage, self._let_go, key, storage.nbytes())

    def _let_go(self, key: int, count: int) -> None:
        self._known.discard(key)
        self.now -= count


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata

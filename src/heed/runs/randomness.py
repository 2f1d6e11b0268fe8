"""The global random generators: seeded together, written to a checkpoint, restored exactly."""

from __future__ import annotations

import base64
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch (every CUDA device too).

    Libraries that heed calls draw from these; heed's own code is handed generators.

    Args:
        seed: >= 0.

    >>> seed_everything(1); first = torch.rand(3); seed_everything(1); torch.equal(first, torch.rand(3))
    True
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global generator that transformers and datasets draw from
    torch.manual_seed(seed)


def capture_randomness() -> dict[str, Any]:
    """Take down the state of every global generator.

    Returns:
        Plain data that both ``json.dump`` and ``torch.save`` carry, for `restore_randomness`.
    """
    version, words, gauss = random.getstate()
    numpy_state: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002 - as above
    return {
        "python": [version, list(words), gauss],
        "numpy": {
            **numpy_state,
            "state": {**numpy_state["state"], "key": numpy_state["state"]["key"].tolist()},
        },
        "torch": _to_text(torch.get_rng_state()),
        "cuda": [_to_text(state) for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
    }


def restore_randomness(state: dict[str, Any]) -> None:
    """Put every global generator back to where `capture_randomness` found it.

    CUDA generators are restored for the devices that both machines have.

    Args:
        state: what `capture_randomness` gave, also after a round through JSON.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    numpy_state = state["numpy"]
    key = np.array(numpy_state["state"]["key"], dtype=np.uint32)
    np.random.set_state({**numpy_state, "state": {**numpy_state["state"], "key": key}})  # noqa: NPY002 - as above
    torch.set_rng_state(_to_state(state["torch"]))
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for device, text in enumerate(state["cuda"][:devices]):
        torch.cuda.set_rng_state(_to_state(text), device)


def _to_text(state: Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode("ascii")


def _to_state(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)

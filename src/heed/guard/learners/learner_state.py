"""What a learner of Stable-Baselines3 is made of: parameters, optimisers, counters, chance and replays, not pickled.

``BaseAlgorithm.save`` leaves out the replay and the place in a run, and pickles what it keeps; this leaves out only
what the same settings make again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from heed.guard.learners.mbpo import MixedReplayBuffer
from heed.guard.learners.replay import GuardAware
from heed.runs.state import State


def learner_state(model: BaseAlgorithm) -> State:
    """The state of a learner between two of its rollouts, but for a rollout buffer, which begins empty."""
    variables = model._get_torch_save_params()[1]
    plain = (bool, int, float, np.generic, np.ndarray)
    return {
        "parameters": model.get_parameters(),
        "variables": {name: getattr(model, name).detach() for name in variables},
        "plain": {name: value for name, value in vars(model).items() if isinstance(value, plain)},
        "buffers": {name: _buffer_state(buffer) for name, buffer in _buffers(model).items()},
        "demonstrations": model.demonstrations.state() if isinstance(model, GuardAware) else None,
        "actions": model.action_space.np_random.bit_generator.state,
    }


def restore_learner(model: BaseAlgorithm, state: State) -> None:
    """Let a learner that was made with the same settings become as the one was that gave a state."""
    model.set_parameters(state["parameters"], exact_match=True, device=model.device)
    for name, value in state["variables"].items():
        with torch.no_grad():
            getattr(model, name).copy_(value)
    for name, value in state["plain"].items():
        setattr(model, name, value)
    for name, buffer in _buffers(model).items():
        _restore_buffer(buffer, state["buffers"][name])
    if isinstance(model, GuardAware):
        model.demonstrations.restore(state.get("demonstrations"))
    model.action_space.np_random.bit_generator.state = state["actions"]


def _buffers(model: BaseAlgorithm) -> dict[str, ReplayBuffer]:
    return {name: value for name, value in vars(model).items() if isinstance(value, ReplayBuffer)}


def _columns(buffer: ReplayBuffer) -> dict[str, Any]:
    """The arrays of a replay, a row for each step."""
    found = {name: value for name, value in vars(buffer).items() if isinstance(value, np.ndarray) and value.ndim}
    return {name: value for name, value in found.items() if len(value) == buffer.buffer_size}


def _buffer_state(buffer: ReplayBuffer) -> State:
    columns = {name: column[: buffer.size()] for name, column in _columns(buffer).items()}
    imagined = buffer.imagined if isinstance(buffer, MixedReplayBuffer) else None
    kept = None if imagined is None else list(imagined[:5])
    return {"columns": columns, "pos": buffer.pos, "full": buffer.full, "imagined": kept}


def _restore_buffer(buffer: ReplayBuffer, state: State) -> None:
    buffer.pos, buffer.full = state["pos"], state["full"]
    for name, column in _columns(buffer).items():
        column[: len(state["columns"][name])] = state["columns"][name]
    if isinstance(buffer, MixedReplayBuffer) and state["imagined"] is not None:
        buffer.imagined = ReplayBufferSamples(*state["imagined"])

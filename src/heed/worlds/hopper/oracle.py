"""What is known of Hopper-v5: when it has fallen, and when it is about to."""

from __future__ import annotations

import numpy as np

from heed.worlds.oracle import Bools, Oracle, States, on_states


def fallen(states: States) -> Bools:
    """Which states [..., 11] the environment itself calls unhealthy, bool [...]."""
    low, tilted = states[..., 0] <= 0.7, np.abs(states[..., 1]) >= 0.2
    return np.asarray(low | tilted | (np.abs(states[..., 1:]) >= 100.0).any(-1))


def dangerous(states: States) -> Bools:
    """In which states [..., 11] it is about to fall, bool [...]."""
    return np.asarray((states[..., 0] < 0.8) | (np.abs(states[..., 1]) > 0.15))


ORACLE = Oracle(
    about="a hopper; falling (its own unhealthy rule: height at most 0.7, angle at least 0.2) is a catastrophe",
    is_catastrophe=fallen,
    danger=on_states(dangerous),
    label_keys=(0, 1),
    safe_action=None,  # going limp helps nothing: the hopper falls as before
    action_names=(("thigh back", "thigh on"), ("leg back", "leg on"), ("foot back", "foot on")),
    action_in_frame=None,  # torques of joints: bars beside the picture tell them
)

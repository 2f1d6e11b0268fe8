"""What is known of HalfCheetah-v5: when it has flipped, and when it is about to."""

from __future__ import annotations

import numpy as np

from heed.worlds.oracle import Bools, Oracle, States, on_states

_LEGS = ("hind thigh", "hind shin", "hind foot", "front thigh", "front shin", "front foot")


def flipped(states: States) -> Bools:
    """In which states [..., 17] the torso is turned by more than a right angle, bool [...]."""
    return np.asarray(np.abs(states[..., 1]) > np.pi / 2)


def dangerous(states: States) -> Bools:
    """In which states [..., 17] it is turned by more than a radian, bool [...]."""
    return np.asarray(np.abs(states[..., 1]) > 1.0)


ORACLE = Oracle(
    about="a running half cheetah; a torso turned by more than a right angle, the flip, is a catastrophe",
    is_catastrophe=flipped,
    danger=on_states(dangerous),
    label_keys=(1,),
    safe_action=None,  # going limp helps little: it stops half the flips of a random walk
    action_names=tuple((f"{part} back", f"{part} on") for part in _LEGS),
    action_in_frame=None,  # torques of joints: bars beside the picture tell them
)

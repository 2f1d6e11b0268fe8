"""A point on a line, pushed: x' = x + v' dt, v' = v + a dt, and what it earns; exact, for models to learn."""

import numpy as np

from heed.guard.models.transitions import Transitions

DT = 0.1


def advance(states, actions):
    """States [N, 2] and actions [N, 1] to next states [N, 2]."""
    speed = states[:, 1] + actions[:, 0] * DT
    return np.stack([states[:, 0] + speed * DT, speed], axis=1)


def driven(count, seed, noise=0.0, length=40):
    """Transitions of episodes under random actions, each held for a while; the velocity may be noisy."""
    draw = np.random.default_rng(seed)
    transitions = Transitions(state_size=2, action_size=1)
    while len(transitions) < count:
        state, action = draw.uniform(-1, 1, (1, 2)), draw.uniform(-1, 1, (1, 1))
        for _ in range(length):
            if draw.random() < 0.3:
                action = draw.uniform(-1, 1, (1, 1))
            following = advance(state, action)
            following[:, 1] += noise * draw.standard_normal()
            transitions.add(state[0], action[0], following[0], reward=-(following[0, 0] ** 2))
            state = following
    return transitions

"""A cart on a line towards a wall, known exactly: what tests of looking, planning and guarding stand on.

State (x, v); one action a in [-1, 1]; v' = v + a DT, x' = x + v' DT; x' >= WALL is a catastrophe. From speed v
the brake needs v^2 / 2 metres, so a state is doomed from there on.
"""

import gymnasium as gym
import numpy as np
import torch

DT, WALL = 0.1, 1.0


def advance(states, actions):
    v = states[..., 1] + actions[..., 0] * DT
    return torch.stack([states[..., 0] + v * DT, v], -1)


class Cart:
    """The true dynamics with ``members`` of them; rewards are the progress."""

    def __init__(self, members=1, noise=0.0):
        self.members, self.noise = members, noise

    def step(self, states, actions, generator=None):
        assert states.shape[0] == self.members == actions.shape[0]
        following = advance(states, actions)
        if self.noise:
            following = following + self.noise * torch.randn(following.shape, generator=generator)
        return following, following[..., 0] - states[..., 0]


class Wall:
    """Danger 1 beyond the wall."""

    def danger(self, states, actions, next_states):
        return (next_states[..., 0] >= WALL).float()


def full_ahead(states):
    return torch.ones(*states.shape[:-1], 1)


def braking(states):
    return (-states[..., 1:] / DT).clamp(-1, 1)


class CartEnv(gym.Env):
    observation_space = gym.spaces.Box(-10, 10, (2,), np.float32)
    action_space = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)  # twice the cart's own, so that coding shows

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.array([-1.0, 0.0], np.float32)
        return self.state, {}

    def step(self, action):
        assert CartEnv.action_space.contains(np.asarray(action, np.float32)), action
        before = self.state
        after = advance(torch.from_numpy(before), torch.as_tensor(np.asarray(action, np.float32)) / 2)
        self.state = after.numpy()
        crashed = bool(self.state[0] >= WALL)
        return self.state, float(self.state[0] - before[0]), crashed, False, {"catastrophe": crashed}

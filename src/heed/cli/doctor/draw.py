"""A trial of an environment: it is made, stepped and drawn where no screen is; run in a process of its own."""

from __future__ import annotations

import sys

import gymnasium as gym
import numpy as np

STEPS = "steps"
"""What is printed once it has stepped: to train in it nothing has to be drawn."""


def draw(name: str) -> None:
    """Make an environment and step it, say so; draw it, and tell the picture's size.

    >>> draw("CartPole-v1")
    steps
    600 x 400
    """
    env = gym.make(name, render_mode="rgb_array")
    env.reset(seed=0)
    env.action_space.seed(0)
    env.step(env.action_space.sample())
    print(STEPS, flush=True)
    height, width, _ = np.asarray(env.render()).shape
    env.close()
    print(f"{width} x {height}")


if __name__ == "__main__":
    draw(sys.argv[1])

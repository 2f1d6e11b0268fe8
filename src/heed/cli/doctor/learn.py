"""A trial of Stable-Baselines3 with the Gymnasium that is installed; run in a process of its own."""

from __future__ import annotations

import gymnasium as gym
from stable_baselines3 import SAC

from heed.worlds.registry import POINT_HAZARD


def learn() -> str:
    """Train a learner for a moment; its steps."""
    learner = SAC("MlpPolicy", gym.make(POINT_HAZARD), learning_starts=20, batch_size=8, seed=0)
    learner.learn(30)
    return f"{learner.num_timesteps} steps"


if __name__ == "__main__":
    print(learn())

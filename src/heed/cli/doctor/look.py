"""A trial of the guard: it learns from a few judgements, and looks ahead; run in a process of its own."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch

from heed.guard.actions import ActionCoder
from heed.guard.guard import Guard
from heed.guard.intervention import Lookahead
from heed.guard.keeping.parts import LookaheadParts
from heed.guard.labels import LabelCollector
from heed.guard.models.config import BatchConfig, FitConfig, ModelsConfig
from heed.guard.models.models import Models
from heed.guard.planning.building import Controllers
from heed.guard.planning.config import PlanningConfig
from heed.oversight import local_overseer
from heed.worlds.registry import POINT_HAZARD

JUDGED, LOOKS, EPISODE = 96, 50, 8
"""Steps that are judged, looks of the guard that learnt from them, steps from each start."""
STARTS = ([3.9, 0.0, 1.5, 0.0], [-3.0, 0.0, 0.0, 0.0])
"""In turn: just before a wall, and in the open."""


def look() -> str:
    """Let a guard learn from a few judgements and look ahead; how often, and how long it took.

    Raises:
        RuntimeError: a look failed, so that the guard blocked unseen.
    """
    env = gym.make(POINT_HAZARD)
    experience = LabelCollector(state_size=4, action_size=2)
    _walk(Guard(env, local_overseer(env), observers=[experience.add]), JUDGED)
    short = FitConfig(updates=40), BatchConfig(updates=40)
    few = ModelsConfig(3, 16, eps=0.2, relevance=False, dynamics=short[0], blockers=short[1])
    models = Models.from_config(few, state_size=4, action_size=2)
    models.fit(experience)
    ahead = PlanningConfig(horizon=10, planner="none", block_when="policy_fails")
    idle = Controllers(lambda states: torch.zeros(len(states), 2))
    parts = LookaheadParts(ahead, models, idle, ActionCoder(env.action_space), torch.Generator().manual_seed(0))
    steps = _walk(Guard(env, intervention=Lookahead.of(parts)), LOOKS)
    if not all(step["judged"] for step in steps):
        raise RuntimeError("a look failed, and the guard blocked unseen")
    blocked = sum(step["decision"] == "block" for step in steps)
    return f"{LOOKS} looks, {blocked} blocks, {np.median([step['latency_ms'] for step in steps]):.1f} ms each"


def _walk(guard: Guard, steps: int) -> list[dict[str, object]]:
    """What the guard said of random actions from the two starts in turn."""
    guard.action_space.seed(0)
    found = []
    for step in range(steps):
        if step % EPISODE == 0:
            guard.reset(seed=step, options={"state": STARTS[step // EPISODE % len(STARTS)]})
        found.append(guard.step(guard.action_space.sample())[4]["guard"])
    return found


if __name__ == "__main__":
    print(look())

"""What it brings that takeovers are learnt from as demonstrations: goals and catastrophes of the policy by itself.

python benchmarks/takeovers.py [--weights 0,0.4] [--seeds 3] [--steps 1500] [--out runs/takeovers]

A scripted person (`Driver`) oversees SAC in point hazard. They let all pass until an action would lead to where braking
no longer helps; then they take over, and drive with the arrow keys round the hazard to the goal, until the episode
ends. Afterwards the policy drives 20 episodes alone, with nobody to take over.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from heed.guard import GuardJob, train_guard
from heed.guard.learners.config import LearnerConfig
from heed.guard.phases_config import PhasesConfig
from heed.oversight import Proposal, Scope, Verdict, far_sighted_overseer
from heed.runs.state import State
from heed.worlds.point_hazard import PointHazardEnv

CLEAR = 0.4
"""Distance at which a person passes the hazard."""
CRUISE = 0.8
"""Speed along each axis that they are content with, and by how much it may be off before they press a key."""
OFF = 0.1


class Driver:
    """Takes over where the agent is about to crash, and drives to the goal with keys that are down or up.

    Args:
        env: point hazard, which they look at.
    """

    name = "driver"
    scope = Scope(last_moment=False, needs_env=True, scripted=True)

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        assert isinstance(env.unwrapped, PointHazardEnv)
        self.world, self.sees, self.driven = env.unwrapped.world, far_sighted_overseer(env), -1

    def judge(self, proposal: Proposal, /) -> Verdict:
        """Let it pass, or act in the agent's place."""
        if self.driven != proposal.episode:
            if not self.sees.judge(proposal).block:
                return Verdict(False)
            self.driven = proposal.episode
        keys = self.keys(np.asarray(proposal.observation, np.float64))
        if self.sees.judge(replace(proposal, action=keys)).block:
            keys = -np.sign(proposal.observation[2:]).astype(np.float32)  # brake
        return Verdict(True, instead=keys, acted=True, silent=not keys.any())

    def keys(self, state: NDArray[np.float64]) -> NDArray[np.float32]:
        """The arrows that are down in a state [4], as a push [2]."""
        (x, y), (across, up) = state[:2], self.world.centre
        side = up + (1 if y > up else -1) * (self.world.disc + CLEAR)
        behind = x > across or abs(y - up) > self.world.disc + CLEAR / 2
        aim = np.array(self.world.goal if x > across else (across + CLEAR if behind else x, side))
        wrong = np.clip(aim - state[:2], -CRUISE, CRUISE) - state[2:]
        return np.where(np.abs(wrong) > OFF, np.sign(wrong), 0.0).astype(np.float32)

    def reset(self, seed: int) -> None:  # noqa: ARG002 - they leave nothing to chance
        """Hands off."""
        self.driven = -1

    def state(self) -> State:
        """Whether they drive."""
        return {"driven": self.driven}

    def restore(self, state: State) -> None:
        """Go on."""
        self.driven = state["driven"]


def run(weight: float, seed: int, steps: int, out: Path) -> dict[str, Any]:
    """One run; its summary."""
    job = GuardJob(
        overseer="takeovers:Driver",
        steps=steps,
        seed=seed,
        learner=LearnerConfig(demonstration_weight=weight),
        phases=PhasesConfig(oversight_steps=steps + 1),
    )
    return train_guard(job, out / f"weight-{weight:g}-seed-{seed}")


def main() -> None:
    """Run all, one after another, and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="0,0.4")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=Path("runs/takeovers"))
    given = parser.parse_args()
    print("weight seed | steps demonstrated, catastrophes then | of 20 episodes alone: goals, catastrophes, return")
    for weight in map(float, given.weights.split(",")):
        for seed in range(given.seeds):
            found = run(weight, seed, given.steps, given.out)
            met = f"{found['demonstrations']:5d} {found['catastrophes']['oversight']:3d}"
            alone = [f"{found[f'{what}_unguarded']:6.4g}" for what in ("goals", "catastrophes", "return")]
            print(f"{weight:6g} {seed:4d} | {met} | {' '.join(alone)}", flush=True)


if __name__ == "__main__":
    main()

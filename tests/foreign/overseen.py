"""What overseers are worth: random proposals, each held for a while, under nobody, at the last moment, or in time.

python tests/foreign/overseen.py [--steps 2000] [--only boat,room] prints catastrophes, blocks and milliseconds a
verdict.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from foreign.ten import OVERSEERS, TEN, Foreign, named
from heed.oversight import Proposal
from heed.worlds import CatastropheInfo

HELD = 10
"""Steps for which a random action is proposed at most, so that what moves gains speed."""


@dataclass(frozen=True)
class Overseen:
    """What came of it.

    Args:
        steps: taken.
        catastrophes: that happened.
        blocks: proposals in place of which the declared safe action was taken.
        milliseconds: of a verdict.
    """

    steps: int
    catastrophes: int
    blocks: int
    milliseconds: float


def overseen(foreign: Foreign, kind: str | None, steps: int, seed: int = 0) -> Overseen:
    """Random proposals in an environment under an overseer of a kind, or nobody."""
    env = CatastropheInfo(named(foreign.env)(), named(foreign.catastrophe))
    overseer = None if kind is None else named(foreign.overseer(kind))(env)
    draws = np.random.default_rng(seed)
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    catastrophes = blocks = left = 0
    spent = 0.0
    for _ in range(steps):
        if left == 0:
            action, left = env.action_space.sample(), int(draws.integers(1, HELD + 1))
        left -= 1
        began = time.perf_counter()
        block = overseer is not None and overseer.judge(Proposal(observation, action, info, env)).block
        spent += time.perf_counter() - began
        blocks += block
        taken = env.unwrapped.oracle.safe_action(observation) if block else action
        taken = taken if isinstance(taken, np.ndarray) and taken.shape else int(taken)
        observation, _, terminated, truncated, info = env.step(taken)
        catastrophes += info["catastrophe"]
        if terminated or truncated:
            observation, info = env.reset()
            left = 0
    return Overseen(steps, catastrophes, blocks, 1e3 * spent / steps)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--only", default=",".join(foreign.name for foreign in TEN))
    asked = parser.parse_args()
    print("| | nobody: catastrophes | last moment: catastrophes, blocks, ms | in time: catastrophes, blocks, ms |")
    print("|---|---|---|---|")
    for foreign in TEN:
        if foreign.name in asked.only.split(","):
            cells = [str(overseen(foreign, None, asked.steps).catastrophes)]
            for kind in OVERSEERS:
                came = overseen(foreign, kind, asked.steps)
                cells.append(f"{came.catastrophes}, {came.blocks}, {came.milliseconds:.1f}")
            print(f"| {foreign.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

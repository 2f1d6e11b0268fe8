"""A person at a page in the browser as the overseer of a loop of your own: five lines, from `with` to `step`.

Run it: python examples/person_as_overseer.py [STEPS]   and open the address that it prints; B blocks, A lets pass
"""

import sys

import gymnasium as gym

import heed.web
import heed.worlds  # registers heed/PointHazard-v0; any Gymnasium environment does, drawn if it renders "rgb_array"
from heed.guard import Guard


def main(steps: int) -> int:
    env = gym.make("heed/PointHazard-v0", render_mode="rgb_array")
    blocks = 0
    with heed.web.serve(env, people=["ada"], store="judgements.db") as person:
        print(f"ada judges at {person.addresses['ada']}", flush=True)
        guard = Guard(env, overseer=person.overseer)
        guard.reset(seed=0)
        for _ in range(steps):
            *_, terminated, truncated, info = guard.step(guard.action_space.sample())  # waits until ada has judged
            blocks += info["guard"]["decision"] == "block"
            if terminated or truncated:
                guard.reset()
    print(f"{blocks} of {steps} actions were blocked; judgements.db has who said what: heed judgements judgements.db")
    return blocks


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)

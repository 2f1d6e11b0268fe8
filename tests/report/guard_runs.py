"""A synthetic guarded run, written by what writes real ones, of which every count is known."""

import numpy as np
import torch
import yaml
from synthetic_runs import write_json

from heed.guard.decision_log import DecisionLog
from heed.guard.decisions import Decision, Step
from heed.guard.planning.imagination import Futures
from heed.guard.planning.lookahead import Look
from heed.guard.planning.planner import Plan
from heed.guard.run.snapshots import BlockSnapshots
from heed.guard.run.summary import summarise
from heed.oversight.overseers.base import Verdict

STEPS, OVERSIGHT, LENGTH = 1000, 600, 50
CATASTROPHES = {49, 149, 249, 349, 449, 749}
"""Five catastrophes in oversight, one in autonomy."""
JUDGES = {
    "dynamics": {
        "steps": 3, "windows": 120, "transitions": 150, "error": [[0.1, 0.2, 0.0, 0.1]] * 2 + [[0.2, 0.4, None, 0.3]],
        "spread": [2.0, 1.0, 0.5, 0.0], "levels": [0.5, 0.9],
        "coverage": [[0.4, 0.5, 0.6, None, 0.5], [0.9, 0.8, 1.0, None, 0.9]], "gap": 0.06, "nll": -1.5,
    },
    "blockers": {
        "predicted": [0.05, None, 0.9], "observed": [0.1, None, 0.8], "count": [300, 0, 25], "gap": 0.07,
        "labels": 325, "blocks": 22,
    },
    "missing": {},
}  # fmt: skip
FITS = [
    {"threshold": 0.4, "promise": 0.1, "blocks": 25, "flagged": 0.08, "reason": "the first fit, though it flags 8%"},
    {"threshold": 0.31, "promise": 0.08, "blocks": 31, "flagged": 0.04, "reason": "accepted as it is"},
]


def is_blocked(step, oversight=OVERSIGHT):
    """15 blocks in the default oversight, 40 in autonomy."""
    return step % 40 == 39 if step < oversight else step % 10 == 0


def look_at(state, horizon=4, threshold=0.31):
    """Two members with two particles each go right by .1, .2, .3, .4 a step; all are unsafe from the third step on."""
    pace = torch.tensor([[0.1, 0.2], [0.3, 0.4]])[:, None]  # [E, 1, P]
    states = torch.from_numpy(state).expand(horizon + 1, 2, 1, 2, -1).clone()
    states[..., 0] += torch.arange(horizon + 1.0)[:, None, None, None] * pace
    danger = torch.zeros(horizon, 2, 1, 2)
    danger[2:] = 0.9
    nothing = torch.zeros(horizon, 2, 1, 2)
    futures = Futures(states, torch.zeros(horizon, 2, 1, 2, 2), nothing, danger, nothing[0] == 0)
    return Look(0.9, torch.tensor([0.9, 0.9]), 2, futures, 0, futures, threshold, threshold)


def plan_from(state, horizon=4):
    """Goes up by .1 a step, as both members tell."""
    states = torch.from_numpy(state).expand(horizon + 1, 2, 1, -1).clone()
    states[..., 1] += 0.1 * torch.arange(horizon + 1.0)[:, None, None]
    return Plan(torch.ones(horizon, 2), 0.1, True, 1.0, 1, 16, False, states)


def make_guard_run(
    folder, method="mbhi", env="heed/PointHazard-v0", oversight=OVERSIGHT, oracle=True, most=40, **changes
):
    """Write a run; each episode goes right from x = -3 by .02 a step."""
    folder.mkdir(parents=True)
    log = DecisionLog(lambda steps: "oversight" if steps < oversight else "autonomy")
    snapshots = BlockSnapshots(most=most)
    for number in range(STEPS):
        overseen, blocked = number < oversight, method != "none" and is_blocked(number, oversight)
        state = np.array([-3 + 0.02 * (number % LENGTH), 0.5, 0.2, 0.0], np.float32)
        following = state + np.array([0.02, 0, 0, 0], np.float32)
        proposed, executed = np.array([1.0, 0.0], np.float32), np.array([-0.5, 0.25], np.float32)
        ahead = not overseen and method != "none"
        decision = Decision(
            proposed,
            executed if blocked else proposed,
            "block" if blocked else "allow",
            "policy" if not blocked else "person" if overseen else "planner" if number % 20 else "fallback",
            verdict=Verdict(blocked) if overseen and method != "none" else None,
            risk=0.9 if blocked and ahead else 0.1,
            first_unsafe=2 if blocked and ahead else None,
            feasible=bool(number % 20) if blocked and ahead else None,
            latency_ms=30.0 if blocked else 2.0,
            plan_ms=25.0 if blocked and ahead else 0.0,
            look=look_at(state) if ahead else None,
            plan=plan_from(state) if blocked and ahead else None,
        )
        catastrophe, goal = number in CATASTROPHES, number % 100 == 99
        truth = {"needless": blocked and not overseen and number % 20 == 0, "needed": number in (605, 615, 625)}
        truth["spare"] = -1.0 if not truth["needless"] else 0.5 if number % 40 else 3.0
        log.add(
            decision, number // LENGTH, -5.0 * catastrophe + 10.0 * goal, catastrophe,
            goal=goal, **(truth if oracle else {}),
        )  # fmt: skip
        ended = number % LENGTH == LENGTH - 1
        snapshots(
            Step(
                state,
                proposed,
                executed,
                decision,
                following,
                0.0,
                ended,
                False,
                catastrophe,
                {},
                episode=number // LENGTH,
            )
        )
    log.write(folder / "decisions.parquet")
    if method != "none":
        snapshots.save(folder / "moments.npz")
        write_json(folder / "judges.json", JUDGES)
    config = {"env": env, "env_kwargs": {}, "method": method, "overseer": "local", "cap": 0.05, "label_keys": None}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    evaluated = {
        f"{what}_{kind}": value
        for kind, values in (("guarded", (8.5, 0, 19)), ("unguarded", (-1.25, 11, 7)))
        for what, value in zip(("return", "catastrophes", "goals"), values, strict=True)
    }
    summary = {
        "kind": "guard", "method": method, "seed": 3, "steps": STEPS, **summarise(log), "seconds": 61.0,
        "judgements": oversight, "handed_over_at": oversight, "fits": FITS if method != "none" else [], "faults": {},
        "evaluation_episodes": 20, **evaluated, "version": "0.1.0", "config_hash": "0123456789ab", "completed": True,
    }  # fmt: skip
    write_json(folder / "summary.json", summary | changes)
    return folder

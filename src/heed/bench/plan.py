"""Latency of a look and of a plan: random weights of real shapes, on one thread, in turn within one run."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import heed
from heed.bench.options import PlanBench
from heed.bench.timing import interleaved
from heed.errors import HeedError
from heed.guard.models import Blockers, EnsembleDynamics, FitConfig, Transitions
from heed.guard.planning import ICEM, Imagination, Lookout, SafePlanner

STATE, ACTION = 4, 2


def run_plan_bench(bench: PlanBench) -> dict[str, Any]:
    """Measure looks and plans.

    Returns:
        What ``heed bench plan --json`` prints: "device", "version", "threads" and "rows"; a row has "name", "ms" (the
        median), "low" and "high" (10% and 90%), "p99" and "rows_per_second" (of the dynamics).

    Raises:
        HeedError: a number below 1.
    """
    if min(vars(bench).values()) < 0 or min(v for k, v in vars(bench).items() if k != "seed") < 1:
        raise HeedError(f"{bench}", "heed bench plan", "give numbers of at least 1")
    before = torch.get_num_threads()
    torch.set_num_threads(bench.threads)
    try:
        steps, rows = _steps(bench)
        for step in steps.values():
            step()
        device = torch.device("cpu")
        taken = interleaved(steps, dict.fromkeys(steps, bench.repeats), random.Random(bench.seed), device)
    finally:
        torch.set_num_threads(before)
    found = []
    for name in steps:
        ms = 1e3 * np.array([one[name] for one in taken])
        low, median, high, p99 = (float(x) for x in np.percentile(ms, [10, 50, 90, 99]))
        rate = 1e3 * rows[name] / median
        found.append({"name": name, "ms": median, "low": low, "high": high, "p99": p99, "rows_per_second": rate})
    return {"device": "cpu", "version": heed.__version__, "threads": bench.threads, "rows": found}


def plan_table(result: dict[str, Any]) -> str:
    """The result as Markdown.

    >>> row = {"name": "look", "ms": 2.0, "low": 1.9, "high": 2.4, "p99": 3.0, "rows_per_second": 150000.0}
    >>> print(plan_table({"rows": [row], "threads": 1}))
    | 1 thread | ms, median | 10% to 90% | 99% | model rows a second |
    |---|---|---|---|---|
    | look | 2.00 | 1.90 to 2.40 | 3.00 | 150,000 |
    """
    threads = f"{result['threads']} thread{'s' if result['threads'] > 1 else ''}"
    lines = [f"| {threads} | ms, median | 10% to 90% | 99% | model rows a second |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['name']} | {row['ms']:.2f} | {row['low']:.2f} to {row['high']:.2f} | {row['p99']:.2f} "
        f"| {row['rows_per_second']:,.0f} |"
        for row in result["rows"]
    ]
    return "\n".join(lines)


def _steps(bench: PlanBench) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """The steps that are timed, and how many model rows each evaluates."""
    torch.manual_seed(bench.seed)
    generator = torch.Generator().manual_seed(bench.seed)
    seen = Transitions(STATE, ACTION)
    states = torch.randn(300, STATE, generator=generator)
    actions = torch.rand(300, ACTION, generator=generator) * 2 - 1
    after = states + 0.1 * torch.randn(300, STATE, generator=generator)
    seen.add(states.numpy(), actions.numpy(), after.numpy(), np.zeros(300, np.float32))
    once = FitConfig(updates=1, check_every=1)  # normalisers and shapes as after any fit
    dynamics = EnsembleDynamics(STATE, ACTION, bench.members, bench.hidden)
    dynamics.fit(seen, once, generator)
    blockers = Blockers(STATE, members=bench.members)
    blockers.fit(states, states[:, 0] > 0, generator, once)
    policy = nn.Sequential(nn.Linear(STATE, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, ACTION))

    def act(rows: Tensor) -> Tensor:
        found: Tensor = policy(rows).tanh()
        return found

    looking = Imagination(dynamics, blockers, act, bench.particles, generator=generator)
    planning = Imagination(dynamics, blockers, act, 1, generator=generator)
    state, idle = torch.zeros(STATE), torch.zeros(ACTION)
    always, never = 2.0, -1.0  # thresholds of danger: everything is safe, nothing is
    swerves = torch.cat([torch.eye(ACTION), -torch.eye(ACTION)])
    look = Lookout(looking, bench.look_horizon, always)
    ways_out = Lookout(looking, bench.look_horizon, never, "no_way_out", swerves=swerves)
    search = ICEM(bench.plan_horizon, ACTION, bench.samples, max(2, bench.samples // 8), decay=1.0)
    planner = SafePlanner(search, planning, never, iterations=bench.iterations, enough=1 << 30, deadline=float("inf"))
    futures = bench.members * bench.particles * bench.look_horizon
    planned = bench.members * bench.plan_horizon * bench.samples * bench.iterations
    steps: dict[str, Callable[[], object]] = {
        "look": lambda: look.look(state, idle),
        "look, with 4 ways out": lambda: ways_out.look(state, idle),
        "plan": lambda: planner.plan(state, [act], idle),
    }
    return steps, {"look": futures, "look, with 4 ways out": 5 * futures, "plan": planned}

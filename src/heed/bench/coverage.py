"""Whether a cross-conformal threshold keeps its promise: misses over many random splits of one world's judgements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import betabinom
from torch import Tensor

import heed
from heed.bench.options import CoverageBench
from heed.errors import HeedError
from heed.guard.actions import ActionCoder
from heed.guard.models.blockers import Blockers
from heed.guard.models.config import BLOCKERS_FIT
from heed.guard.models.cross_conformal import CalibratedBlockers
from heed.guard.models.relevance import relevant_columns
from heed.guard.run.environment import surroundings
from heed.oversight.overseers.base import Proposal
from heed.oversight.overseers.specs import overseer_from_spec

MEMBERS = 5
"""Blockers, each of which does without a fifth of the episodes."""
HOLD = 15
"""Steps for which a random action is held at most, so that what moves gains speed and crashes."""


def run_coverage_bench(bench: CoverageBench, tell: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Fit, calibrate and judge once a split.

    Args:
        bench: what.
        tell: follows the splits: done, all.

    Returns:
        What ``heed bench coverage --json`` prints: "version", "splits", "overseer", "blocks" (of all episodes), "steps"
        and "rows"; a row has "eps", "missed" (mean over splits, with "low" and "high", 5% and 95% of the splits),
        "beyond" (share of the splits that miss more than 19 in 20 should, the calibration being chance),
        "flagged" (mean share of the steps let pass that are flagged) and "smallest" calibration (blocks).

    Raises:
        HeedError: numbers below 1, or too few blocks for an eps.
    """
    if min(bench.splits, bench.episodes, bench.updates) < 1 or not bench.eps:
        raise HeedError(f"{bench}", "heed bench coverage", "give numbers of at least 1 and one eps")
    states, blocked, episodes = judged_steps(bench.episodes, bench.overseer, bench.seed, bench.env)
    fit = replace(BLOCKERS_FIT, updates=bench.updates)
    results: dict[float, list[tuple[float, bool, float, int]]] = {eps: [] for eps in bench.eps}
    for split in range(bench.splits):
        generator = torch.Generator().manual_seed(bench.seed * 100_003 + split)
        place = torch.randperm(bench.episodes, generator=generator)[episodes] / bench.episodes
        known = place < 0.5
        folds = (place[known] * bench.episodes).long() % MEMBERS
        labels = (states[known], blocked[known], folds)
        blockers = Blockers(states.shape[1], members=MEMBERS, label_keys=relevant_columns(*labels, generator))
        blockers.fit(states[known], blocked[known], generator, fit, folds)
        judge = CalibratedBlockers.from_folds(blockers, *labels)
        danger = judge.danger_of(states)
        fresh, passed = danger[~known & blocked], danger[~known & ~blocked]
        for eps in bench.eps:
            threshold = judge.threshold(eps)
            if threshold.eps is None or threshold.eps > eps:
                fix = f"the smallest possible from them is {threshold.smallest_eps:.3g}"
                raise HeedError(f"{judge.n} blocks cannot promise a miss rate of {eps:g}", "--eps", fix)
            misses = int((fresh < threshold.value).sum())
            most = betabinom.ppf(0.95, len(fresh), threshold.rank, threshold.n + 1 - threshold.rank)
            flagged = float((passed >= threshold.value).float().mean())
            results[eps].append((misses / len(fresh), misses > most, flagged, threshold.n))
        if tell is not None:
            tell(split + 1, bench.splits)
    rows = []
    for eps, splits in results.items():
        missed, beyond, flags, sizes = (np.array(column) for column in zip(*splits, strict=True))
        low, high = np.percentile(missed, [5, 95])
        rows.append(
            {"eps": eps, "missed": float(missed.mean()), "low": float(low), "high": float(high)}
            | {"beyond": float(beyond.mean()), "flagged": float(flags.mean()), "smallest": int(sizes.min())}
        )
    asked = {"version": heed.__version__, "splits": bench.splits, "overseer": bench.overseer}
    return asked | {"blocks": int(blocked.sum()), "steps": len(blocked), "rows": rows}


def coverage_table(result: dict[str, Any]) -> str:
    """The result as Markdown.

    >>> row = {"eps": 0.1, "missed": 0.08, "low": 0.0, "high": 0.2, "beyond": 0.04, "flagged": 0.01, "smallest": 50}
    >>> print(coverage_table({"splits": 200, "rows": [row]}))
    | promised | missed, mean of 200 splits | 5% to 95% of splits | splits beyond their 95% bound | needless flags |
    |---|---|---|---|---|
    | 10.0% | 8.0% | 0.0% to 20.0% | 4.0% | 1.00% |
    """
    lines = [
        f"| promised | missed, mean of {result['splits']} splits | 5% to 95% of splits | splits beyond their 95% bound "
        "| needless flags |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['eps']:.1%} | {row['missed']:.1%} | {row['low']:.1%} to {row['high']:.1%} | {row['beyond']:.1%} "
        f"| {row['flagged']:.2%} |"
        for row in result["rows"]
    ]
    return "\n".join(lines)


def judged_steps(
    episodes: int, overseer: str, seed: int, env: str = CoverageBench.env
) -> tuple[Tensor, Tensor, Tensor]:
    """Steps of random actions, each held for a while, with an overseer's verdict on each.

    An episode ends at its first block: of what follows nobody would be sure whose doing it was.

    Args:
        episodes: how many.
        overseer: local or far-sighted.
        seed: of starts and actions.
        env: a world whose oracle can judge so.

    Returns:
        The states to which the proposed actions led [N, S], whether they were blocked [N], the episode of each [N].
    """
    world = surroundings(env).env
    coder = ActionCoder(world.action_space)
    judge = overseer_from_spec(overseer, world)
    judge.reset(seed)
    draws = np.random.default_rng(seed)
    rows: list[tuple[NDArray[np.float32], bool, int]] = []
    for episode in range(episodes):
        observation, info = world.reset(seed=seed * 100_003 + episode)
        ended, left, action = False, 0, None
        while not ended:
            if left == 0:
                action, left = _random_action(coder, draws), int(draws.integers(1, HOLD + 1))
            left -= 1
            block = judge.judge(Proposal(observation, action, info, world, episode=episode)).block
            observation, _, terminated, truncated, info = world.step(action)
            rows.append((observation, block, episode))
            ended = terminated or truncated or block
    states, blocked, owners = zip(*rows, strict=True)
    return torch.from_numpy(np.stack(states)), torch.tensor(blocked), torch.tensor(owners)


def _random_action(coder: ActionCoder, draws: np.random.Generator) -> Any:
    if coder.discrete:
        return coder.action(coder.start + draws.integers(coder.size))
    return coder.action(draws.uniform(coder.low, coder.high))

"""Labels from judgements that a store keeps: those of earlier runs, by persons and scripts, that were not retracted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from heed.errors import HeedError
from heed.guard.actions import ActionCoder
from heed.guard.models.labels import Labels
from heed.guard.spaces import check_observations
from heed.oversight.store.store import Judgement, Store, open_store

logger = logging.getLogger(__name__)


def recalled(store: Store, env: gym.Env[Any, Any], name: str, run: str | None = None) -> Labels:
    """The labels that a store's judgements of an environment make, oldest first.

    What was retracted teaches nothing, nor does what was judged in an evaluation. Where an action led is not in the
    store: all next states are NaN, for the dynamics to expect, and no label is a catastrophe.

    Args:
        store: with judgements that `heed.oversight.Recorded` wrote.
        env: whose observations and actions they are about.
        name: the environment's, as the runs were given it.
        run: one run's judgements alone; None takes all runs'.

    Returns:
        Labels whose episodes count down from -1, so that they are no episodes of the run that learns from them.

    Raises:
        HeedError: there are none, or one that is about other states and actions.
    """
    size, coder = check_observations(env.observation_space), ActionCoder(env.action_space)
    given = [judgement for judgement in store.effective("block", run=run) if _is_about(judgement, name)]
    meant, given = _meant_as_well(given), [judgement for judgement in given if not judgement.verdict.get("glimpsed")]
    blocks = {_place(judgement) for judgement in given if judgement.verdict["block"]} | meant
    given = list({_place(judgement): judgement for judgement in reversed(given)}.values())[
        ::-1
    ]  # several may judge one
    if not given:
        runs = ", ".join(store.runs())
        raise HeedError(
            f"no judgements of {name} stand there" + (f" for the run {run}" if run else ""),
            "--judgements",
            f"its runs are {runs}" if runs else "it has no judgements of runs at all",
        )
    states = np.full((len(given), size), np.nan, np.float32)
    actions, episodes = torch.empty(len(given), coder.size), dict[tuple[str, int], int]()
    for row, judgement in enumerate(given):
        seen = np.array(judgement.shown["observation"], np.float32)  # null, of what was no number, is NaN
        action = judgement.shown["action"]
        if seen.shape != (size,) or not coder.valid(action):
            raise HeedError(
                f"judgement {judgement.id} is about {seen.size} numbers and the action {action}: none of {name}",
                "--judgements",
                f"name a run: this one is of {judgement.run}",
            )
        states[row], actions[row] = seen, coder.encode(action)
        episodes.setdefault((judgement.run, judgement.shown["episode"]), -1 - len(episodes))
    return Labels(
        states=torch.from_numpy(states),
        actions=actions,
        next_states=torch.full((len(given), size), torch.nan),
        blocked=torch.tensor([_place(judgement) in blocks for judgement in given]),
        episodes=torch.tensor([episodes[judgement.run, judgement.shown["episode"]] for judgement in given]),
        catastrophes=torch.zeros(len(given), dtype=torch.bool),
        survived=torch.zeros(len(given), dtype=torch.bool),
    )


def recalled_from(place: str, env: gym.Env[Any, Any], name: str) -> Labels:
    """The same of what ``--judgements`` names.

    Args:
        place: a store (see `heed.oversight.open_store`), then ``,RUN`` if one run's alone are wanted.
        env: see `recalled`.
        name: see `recalled`.

    Raises:
        HeedError: no such store, or see `recalled`.
    """
    where, _, run = place.rpartition(",") if "," in place else (place, "", "")
    with closing(open_store(where, "--judgements", new=False)) as store:
        labels = recalled(store, env, name, run or None)
    logger.info("%d earlier judgements, of which %d block", len(labels.blocked), int(labels.blocked.sum()))
    return labels


def _is_about(judgement: Judgement, name: str) -> bool:
    shown = judgement.shown
    about = isinstance(shown, dict) and shown.get("env") == name and shown.get("phase") != "evaluation"
    return about and not judgement.verdict.get("acted")  # who acts in the agent's place says nothing of its action


def _place(judgement: Judgement) -> tuple[str, int, int]:
    return judgement.run, judgement.shown.get("episode", -1), judgement.shown.get("step", -1)


def _meant_as_well(given: Sequence[Judgement]) -> set[tuple[str, int, int]]:
    """Where something passed in silence that a block soon after was about as well (`heed.oversight.Verdict`)."""
    silent = {_place(judgement) for judgement in given if judgement.verdict.get("silent")}
    reached = set()
    for judgement in given:
        run, episode, step = _place(judgement)
        reached |= {(run, episode, step - back) for back in range(1, judgement.verdict.get("credit", 0) + 1)}
    return silent & reached

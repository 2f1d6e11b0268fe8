"""What a page shows of a proposal: a picture, the action in words, imagined futures, and how a person could act."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heed.oversight.overseers.base import Proposal
from heed.oversight.presentation import (
    action_bars,
    action_in_words,
    action_names,
    action_shapes,
    drawn_futures,
    ends_of,
    name_of,
    part_names,
)
from heed.runs.files import to_json
from heed.worlds.registry import oracle_of

logger = logging.getLogger(__name__)

QUALITY = 80
"""Of the frames' JPEG."""


@dataclass(frozen=True)
class View:
    """What a page shows of a proposal.

    Args:
        number: of the proposal, from 1.
        content: all that is shown in words and numbers, as JSON.
        frame: a JPEG; None where the environment renders nothing.
    """

    number: int
    content: dict[str, Any]
    frame: bytes | None


class Viewer:
    """Makes views. What once could not be rendered or drawn is told in words from then on, which is logged."""

    def __init__(self) -> None:
        self._cannot_render, self._cannot_draw = False, False

    def view_of(self, proposal: Proposal, number: int, about: Mapping[str, Any]) -> View:
        """A proposal as a page shows it, with what is to be shown beside it."""
        frame = self._frame_of(proposal.env)
        content = {
            "number": number,
            "episode": proposal.episode,
            "step": proposal.step,
            "observation": to_json(proposal.observation),
            "action": to_json(proposal.action),
            "words": action_in_words(proposal.action, proposal.env),
            "bars": action_bars(proposal.action, proposal.env),
            "shapes": [] if frame is None else self._shapes_of(proposal),
            "acts": controls_of(proposal.env),
            "names": part_names(proposal.env),
            "futures": drawn_futures(proposal),
            "risk": to_json(proposal.risk),
            "asked": proposal.risk is not None,
            **about,
        }
        return View(number, content, frame)

    def _shapes_of(self, proposal: Proposal) -> list[dict[str, Any]]:
        if self._cannot_draw:
            return []
        try:
            return action_shapes(proposal)
        except Exception as problem:  # noqa: BLE001 - a user's function; what it cannot draw is still shown in words
            self._cannot_draw = True
            logger.warning("the action cannot be drawn (%s: %s)", type(problem).__name__, problem)
            return []

    def _frame_of(self, env: gym.Env[Any, Any] | None) -> bytes | None:
        if env is None or env.render_mode != "rgb_array" or self._cannot_render:
            return None
        try:
            return jpeg(np.asarray(env.render()))
        except Exception as problem:  # noqa: BLE001 - a foreign renderer; what it cannot draw is still shown in words
            self._cannot_render = True
            logger.warning("the environment cannot be rendered (%s: %s)", type(problem).__name__, problem)
            return None


def controls_of(env: gym.Env[Any, Any] | None) -> dict[str, Any] | None:
    """What a person who acts in the agent's place can do, as the page needs to know it; None if it knows no keys.

    The oracle says which keys are natural. Else the arrows are the first two axes of a box, and pairs of digits those
    after them; choices have their digits, whatever else.

    >>> controls_of(gym.make("CartPole-v1"))
    {'choices': ['left', 'right'], 'start': 0, 'keys': {'arrowleft': ['left', 0], 'arrowright': ['right', 1]}}
    """
    if env is None:
        return None
    space, names, known = env.action_space, action_names(env), oracle_of(env)
    keys = {} if known is None else {key: [does, to_json(np.asarray(push))] for key, (does, push) in known.keys.items()}
    if isinstance(space, gym.spaces.Discrete):
        choices = [name_of(n, names) for n in range(int(space.n))]
        return {"choices": choices, "start": int(space.start), "keys": keys}
    if isinstance(space, gym.spaces.Box):
        rest, low, high = ends_of(space)
        fits = all(np.shape(push) == rest.shape for _, push in keys.values())
        return {"rest": rest.tolist(), "keys": keys if keys and fits else _axis_keys(rest, low, high, names)}
    return None


_AXIS_KEYS = (("arrowleft", "arrowright"), ("arrowdown", "arrowup"), *((str(n), str(n + 1)) for n in (1, 3, 5, 7)))


def _axis_keys(
    rest: NDArray[Any], low: NDArray[Any], high: NDArray[Any], names: Sequence[Any] | None
) -> dict[str, list[Any]]:
    """Two keys for each axis of a box that can be moved, as far as there are keys."""
    keys: dict[str, list[Any]] = {}
    for axis, pair in enumerate(_AXIS_KEYS[: len(rest)]):
        does = names[axis] if names is not None else (f"axis {axis + 1} less", f"axis {axis + 1} more")
        for key, name, end in zip(pair, does, (low[axis], high[axis]), strict=True):
            if np.isfinite(end) and end != rest[axis]:
                push = np.zeros_like(rest)
                push[axis] = end - rest[axis]
                keys[key] = [name, push.tolist()]
    return keys


def jpeg(picture: np.ndarray[Any, Any]) -> bytes:
    """A picture uint8 [height, width, 3] as a JPEG.

    >>> jpeg(np.zeros((8, 8, 3), np.uint8))[:2].hex()
    'ffd8'
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()

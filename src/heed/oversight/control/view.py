"""What a page shows of a proposal: a picture, the action in words, imagined futures, and how a person could act."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from heed.oversight.overseers.base import Proposal
from heed.oversight.presentation import action_in_words, action_names, drawn_futures, name_of
from heed.runs.files import to_json

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
    """Makes views. An environment that once failed to render is shown in words from then on, which is logged."""

    def __init__(self) -> None:
        self._cannot_render = False

    def view_of(self, proposal: Proposal, number: int, about: Mapping[str, Any]) -> View:
        """A proposal as a page shows it, with what is to be shown beside it."""
        content = {
            "number": number,
            "episode": proposal.episode,
            "step": proposal.step,
            "observation": to_json(proposal.observation),
            "action": to_json(proposal.action),
            "words": action_in_words(proposal.action, proposal.env),
            "acts": controls_of(proposal.env),
            "futures": drawn_futures(proposal),
            "risk": to_json(proposal.risk),
            "asked": proposal.risk is not None,
            **about,
        }
        return View(number, content, self._frame_of(proposal.env))

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

    >>> controls_of(gym.make("CartPole-v1"))
    {'choices': ['left', 'right'], 'start': 0}
    """
    if env is None:
        return None
    space, names = env.action_space, action_names(env)
    if isinstance(space, gym.spaces.Discrete):
        return {
            "choices": [name_of(n, names) for n in range(int(space.n))],
            "start": int(space.start),
        }
    if isinstance(space, gym.spaces.Box):
        low, high = space.low.reshape(-1).tolist(), space.high.reshape(-1).tolist()
        return {"low": low, "high": high, "axes": None if names is None else [list(pair) for pair in names]}
    return None


def jpeg(picture: np.ndarray[Any, Any]) -> bytes:
    """A picture uint8 [height, width, 3] as a JPEG.

    >>> jpeg(np.zeros((8, 8, 3), np.uint8))[:2].hex()
    'ffd8'
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()

"""A proposed action as a person at the page sees it: in words, as bars, and on the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from heed.oversight.overseers.base import Proposal
from heed.worlds.registry import oracle_of

FAINT = 0.05
"""Share of an action's range below which it counts as nothing."""


def action_in_words(action: Any, env: gym.Env[Any, Any] | None) -> str:
    """What an action would do.

    Names come from the environment's oracle, or from its own ``get_action_meanings``; without either, actions
    have numbers.

    Args:
        action: as the environment takes it.
        env: the environment; None where it is out of reach.

    >>> import heed.worlds
    >>> action_in_words(np.array([0.5, -1.0]), gym.make("heed/PointHazard-v0"))
    'right 50%, down 100%'
    """
    names = None if env is None else action_names(env)
    if isinstance(action, int | np.integer):
        space = None if env is None else env.action_space
        return name_of(int(action) - (int(space.start) if isinstance(space, gym.spaces.Discrete) else 0), names)
    values = np.asarray(action, float).reshape(-1)
    numbers = ", ".join(f"{value:+.2f}" for value in values[:8]) + (", ..." if len(values) > 8 else "")
    if names is None or len(names) != len(values):
        return numbers
    shares = applied_shares(values, env)
    if np.isnan(shares).any():
        return numbers
    parts = [
        f"{less if share < 0 else more} {abs(share):.0%}"
        for (less, more), share in zip(names, shares, strict=True)
        if abs(share) >= FAINT and (less if share < 0 else more)
    ]
    return ", ".join(parts) or "nothing"


def applied_shares(values: NDArray[Any], env: gym.Env[Any, Any] | None) -> NDArray[np.float64]:
    """What an action of a box does, as shares [A] in [-1, 1] of what each axis can do at most.

    The oracle says what the environment applies; without one, 0, or the end that is nearest to it, is nothing, and the
    ends of the axis are all. NaN where nobody knows: of an axis without an end, or no number.

    Args:
        values: the action, [A].
        env: the environment; None where it is out of reach.

    >>> from gymnasium.spaces import Box
    >>> class Press(gym.Env): action_space = Box(np.array([0.0, -1.0]), np.array([4.0, 2.0]))
    >>> applied_shares(np.array([3.0, -0.5]), Press()).tolist()
    [0.75, -0.5]
    """
    known = None if env is None else oracle_of(env)
    if known is not None and known.applied is not None:
        shares = np.asarray(known.applied(values), np.float64)
        if shares.shape == values.shape:
            return shares
    if env is None or not isinstance(env.action_space, gym.spaces.Box):
        return np.full(len(values), np.nan)
    rest, low, high = ends_of(env.action_space)
    reach = np.where(values < rest, rest - low, high - rest)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.clip((values - rest) / reach, -1.0, 1.0)
    return np.where(values == rest, 0.0, np.where(np.isfinite(reach), shares, np.nan))


def ends_of(space: gym.spaces.Box) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """No action, the lower and the upper end of a box, each [A]: no action is 0, or the end that is nearest to it.

    >>> [each.tolist() for each in ends_of(gym.spaces.Box(-4.0, -1.0, (1,)))]
    [[-1.0], [-4.0], [-1.0]]
    """
    low, high = (np.asarray(end, np.float64).reshape(-1) for end in (space.low, space.high))
    return np.clip(0.0, low, high), low, high


MOST_BARS = 24
"""Axes of an action that are drawn."""


def action_bars(action: Any, env: gym.Env[Any, Any] | None) -> list[dict[str, Any]]:
    """An action of a box as bars: of each axis, what less and more of it does, and its share; none of a choice.

    >>> import heed.worlds
    >>> action_bars(np.array([0.5, -1.0]), gym.make("heed/PointHazard-v0"))[0]
    {'less': 'left', 'more': 'right', 'share': 0.5}
    """
    if isinstance(action, int | np.integer):
        return []
    values = np.asarray(action, float).reshape(-1)
    names = None if env is None else action_names(env)
    if names is None or len(names) != len(values):
        names = [("", f"axis {axis + 1}") for axis in range(len(values))]
    shares = applied_shares(values, env)
    bars = zip(names, shares.tolist(), strict=True)
    drawn = [{"less": less, "more": more, "share": round(share, 4)} for (less, more), share in bars if share == share]
    return drawn[:MOST_BARS]


MOST_SHAPES = 16
"""Arrows and flames that are drawn."""


def action_shapes(proposal: Proposal, /) -> list[dict[str, Any]]:
    """The proposed action as its world draws it onto the picture; nothing where it draws none, or there is no picture.

    Returns:
        Of each: ``kind``, "arrow" or "flame", and ``start`` and ``end``, shares of width and height from the upper left
        corner.

    >>> import heed.worlds
    >>> env = gym.make("CartPole-v1", render_mode="rgb_array")
    >>> action_shapes(Proposal(np.zeros(4), 1, env=env))
    [{'kind': 'arrow', 'start': (0.541667, 0.75), 'end': (0.641667, 0.75)}]
    """
    env = proposal.env
    known = None if env is None or env.render_mode != "rgb_array" else oracle_of(env)
    if env is None or known is None or known.action_in_frame is None:
        return []
    shapes = known.action_in_frame(env.unwrapped, proposal.observation, proposal.action)
    return [
        {"kind": type(shape).__name__.lower(), "start": shape.start, "end": shape.end}
        for shape in shapes
        if np.isfinite([shape.start, shape.end]).all()
    ][:MOST_SHAPES]


def action_names(env: gym.Env[Any, Any]) -> Sequence[Any] | None:
    """Names of an environment's actions: of choices, each one's; of a box, what less and more of each axis does.

    None where nobody says them, or says them of other actions than these.
    """
    known, space = oracle_of(env), env.action_space
    meanings = getattr(env.unwrapped, "get_action_meanings", None)
    for names in (None if known is None else known.action_names, meanings() if callable(meanings) else None):
        if names and _names_actions(names, space):
            return list(names)
    return None


def _names_actions(names: Sequence[Any], space: gym.Space[Any]) -> bool:
    if isinstance(space, gym.spaces.Discrete):
        return len(names) == int(space.n) and all(isinstance(name, str) for name in names)
    pairs = all(not isinstance(pair, str) and len(pair) == 2 for pair in names)
    return pairs and isinstance(space, gym.spaces.Box) and len(names) == np.prod(space.shape)


def part_names(env: gym.Env[Any, Any] | None) -> list[str] | None:
    """Names of the parts of what the agent observes; None where nobody says them, or says them of other parts.

    >>> part_names(gym.make("CartPole-v1"))
    ['position, m', 'speed, m/s', 'tilt, rad', 'turning, rad/s']
    """
    known = None if env is None else oracle_of(env)
    if env is None or known is None or known.variable_names is None:
        return None
    return (
        list(known.variable_names) if len(known.variable_names) == np.prod(env.observation_space.shape or ()) else None
    )


def name_of(choice: int, names: Sequence[Any] | None) -> str:
    """The name of a choice, counted from 0, or its number.

    >>> name_of(2, ["NOOP", "FIRE", "RIGHTFIRE"]), name_of(3, None)
    ('rightfire', 'action 3')
    """
    if names is None or not 0 <= choice < len(names):
        return f"action {choice}"
    return str(names[choice]).lower().replace("_", " ")


MOST = 20
"""Futures that are drawn."""


def drawn_futures(proposal: Proposal, /) -> dict[str, Any] | None:
    """The futures of a proposal as lines, None where the guard imagined none.

    Returns:
        ``over``: whether the lines lie over the frame; ``axes``: the numbers of the two parts of the state that are
        drawn where they do not; ``ways``: [N][H + 1][2], shares of width and height from the upper left corner, with
        None for what is not finite; ``risks``: [N]. The riskiest come last, so that they lie on top.

    >>> ways = np.array([[[0.0, 1.0], [2.0, 3.0]], [[0.0, 1.0], [4.0, 1.0]]])
    >>> proposal = Proposal(np.zeros(2), 0, futures=ways, future_risks=np.array([0.9, 0.1]))
    >>> lines = drawn_futures(proposal)
    >>> lines["over"], lines["axes"], lines["risks"], lines["ways"][0]
    (False, [0, 1], [0.1, 0.9], [[0.0, 1.0], [1.0, 1.0]])
    """
    if proposal.futures is None or proposal.future_risks is None:
        return None
    order = np.argsort(proposal.future_risks, kind="stable")[-MOST:]
    futures, risks = np.asarray(proposal.futures, float)[order], np.asarray(proposal.future_risks, float)[order]
    env = proposal.env
    known = None if env is None else oracle_of(env)
    framed = env is not None and env.render_mode == "rgb_array"
    if known is not None and known.in_frame is not None and framed:
        lines, axes = known.in_frame(futures), None
    else:
        keys = (known.label_keys if known is not None else None) or ()
        axes = [*keys, *(axis for axis in range(futures.shape[-1]) if axis not in keys)][:2]
        lines = _in_box(futures[..., axes])
    rounded = [
        [[round(float(x), 4), round(float(y), 4)] if np.isfinite([x, y]).all() else None for x, y in line]
        for line in lines
    ]
    return {"over": axes is None, "axes": axes, "ways": rounded, "risks": [round(float(risk), 3) for risk in risks]}


def _in_box(points: NDArray[Any]) -> NDArray[Any]:
    """Points [..., 2], or numbers [..., 1] at even steps, in a box of width and height 1, the second upwards."""
    if points.shape[-1] == 1:
        steps = np.broadcast_to(np.arange(points.shape[-2], dtype=float)[:, None], points.shape)
        points = np.concatenate([steps, points], axis=-1)
    finite = np.where(np.isfinite(points), points, np.nan).reshape(-1, 2)
    low, high = np.nanmin(finite, axis=0), np.nanmax(finite, axis=0)
    shares: NDArray[Any] = (points - low) / np.where(high > low, high - low, 1.0)
    shares[..., 1] = 1 - shares[..., 1]
    return shares

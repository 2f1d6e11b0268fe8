"""Which policies of a front stand for a preference, and with which shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linprog

from heed.balance import check_preference
from heed.balance.minnorm import min_norm_weights
from heed.compare.picking.adapters import CONFIG, require_weights
from heed.errors import HeedError

SAME = 1e-6
"""Distance below which two preferences are one."""
_NOTHING = 1e-8
"""Share below which a policy is none of the mixture's: the solver's rounding."""


@dataclass(frozen=True)
class FrontPoint:
    """A policy of a front.

    Args:
        preference: that it was trained for, [K].
        values: its mean value of each objective in the last evaluation, [K]; NaN where that was not finite.
        adapter: where its adapter should lie, in peft's format; None where the front knows of none.
        tag: what has to stand before a prompt, where one adapter serves all preferences; else "".
    """

    preference: tuple[float, ...]
    values: tuple[float, ...]
    adapter: Path | None
    tag: str = ""

    def name(self, names: Sequence[str]) -> str:
        """What a server may call it.

        >>> FrontPoint((0.3, 0.7), (8.0, -0.5), Path("a")).name(["help", "harmless"])
        'help-0.3-harmless-0.7'
        """
        return "-".join(f"{name}-{weight:g}" for name, weight in zip(names, self.preference, strict=True))

    @property
    def folder(self) -> Path:
        """The folder of its adapter.

        Raises:
            HeedError: there is none, as the front was trained elsewhere, or trained whole models; or it is broken.
        """
        if self.adapter is not None and (self.adapter / CONFIG).is_file():
            require_weights(self.adapter)
            return self.adapter
        if self.adapter is not None and (self.adapter / "config.json").is_file():
            fix = "this folder is the policy's model: take it as it is"
            raise HeedError("whole models were trained, and only adapters can be picked", str(self.adapter), fix)
        where = str(self.adapter or f"preference {_shown(self.preference)}")
        raise HeedError("a policy of this front has no adapter here", where, "take the folder in which it was trained")


@dataclass(frozen=True)
class Pick:
    """What stands for a preference.

    Args:
        asked: the preference, [K].
        parts: one policy, or the up to K that are mixed.
        shares: of each part in the change of weights; > 0, and they sum to 1.
    """

    asked: tuple[float, ...]
    parts: tuple[FrontPoint, ...]
    shares: tuple[float, ...]

    @property
    def stands_for(self) -> tuple[float, ...]:
        """The preference that the mixture has, [K]: the asked one, or the nearest that is within reach."""
        mixed = np.array(self.shares) @ np.array([part.preference for part in self.parts])
        return tuple(float(weight) for weight in mixed)

    @property
    def exact(self) -> bool:
        """Whether it stands for what was asked, or for something near."""
        return bool(np.allclose(self.stands_for, self.asked, rtol=0, atol=SAME))


def pick_from(points: Sequence[FrontPoint], preference: Sequence[float]) -> Pick:
    """Choose the policies that stand for a preference.

    One that was trained for it, by itself; else a mixture of at most K. Of all mixtures those come nearest that stand
    for the asked preference, or for the point of the front's hull that is nearest to it; of these the one whose parts
    have the least variance about it. With two objectives these are its two neighbours. Nothing is taken beyond the
    outermost: past them the nearest stands for itself.

    Args:
        points: of one method and seed.
        preference: weights on the simplex, [K].

    Raises:
        HeedError: it is no preference of so many objectives, or nothing was trained for it and one adapter is told its
            preference by its prompts, of which there is nothing to mix.

    >>> points = [FrontPoint((x, 1 - x), (0.0, 0.0), Path(str(x))) for x in (0.25, 0.5, 0.75)]
    >>> found = pick_from(points, [0.4, 0.6])
    >>> [(part.preference, round(share, 6)) for part, share in zip(found.parts, found.shares)]
    [((0.25, 0.75), 0.4), ((0.5, 0.5), 0.6)]
    >>> pick_from(points, [0.9, 0.1]).stands_for
    (0.75, 0.25)
    """
    aim = check_preference(preference, len(points[0].preference)).numpy()
    asked = tuple(float(weight) for weight in preference)
    own = [point for point in points if np.abs(np.array(point.preference) - aim).max() < SAME]
    if own:
        return Pick(asked, (own[0],), (1.0,))
    if any(point.tag for point in points):
        raise HeedError(
            "this policy is told its preference by its prompts, and nothing was trained for this one",
            "--preference",
            f"take one of {'; '.join(_shown(point.preference) for point in points)}",
        )
    shares = _shares(np.array([point.preference for point in points]), aim)
    taken = [(point, float(share)) for point, share in zip(points, shares, strict=True) if share > 0]
    return Pick(asked, tuple(point for point, _ in taken), tuple(share for _, share in taken))


def _shares(preferences: np.ndarray, aim: np.ndarray) -> np.ndarray:
    """The shares [N] of the preferences [N, K] in the mixture that comes nearest, with the least variance about it.

    They are a vertex of the linear program's K constraints, so that at most K are not 0.
    """
    away = torch.from_numpy(preferences - aim)
    within = min_norm_weights(away @ away.T).weights.numpy()
    nearest = within @ preferences
    found = linprog(
        ((preferences - nearest) ** 2).sum(1),
        A_eq=np.vstack([preferences[:, :-1].T, np.ones(len(preferences))]),
        b_eq=[*nearest[:-1], 1.0],
    )
    some = found.x if found.success else within  # a mixture all the same, if of more parts
    shares = np.where(some < _NOTHING, 0.0, some)
    return np.asarray(shares / shares.sum())


def _shown(preference: Sequence[float]) -> str:
    return ",".join(f"{weight:g}" for weight in preference)

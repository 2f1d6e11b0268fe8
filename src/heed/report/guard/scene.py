"""Where a guarded run's states are drawn: before a known world's backdrop, else in the plane of two variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from heed.report.common.formats import number
from heed.report.common.plot_style import Floats
from heed.worlds import Backdrop, Disc, Rectangle, registered_oracle

WIDTH = 1200
"""Of every scene, in its own units; the page scales it."""


class Tick(NamedTuple):
    """A number or a name on a scene's edge; ``anchor`` is SVG's: start, middle or end."""

    x: float
    y: float
    anchor: str
    text: str


@dataclass(frozen=True)
class Scenery:
    """A drawing plane.

    Args:
        height: of the scene; its width is `WIDTH`.
        project: states [T, ..., S] of successive steps to places [T, ..., 2] in the scene.
        shapes: what stands still there, from back to front.
        about: what one sees, for a caption.
        ticks: what is written there.
    """

    height: int
    project: Callable[[Floats], Floats]
    shapes: tuple[Rectangle | Disc, ...]
    about: str
    ticks: tuple[Tick, ...] = ()

    @property
    def backdrop(self) -> Markup:
        """What stands still, as SVG."""
        return Markup("").join([*map(_drawn, self.shapes), *map(_written, self.ticks)])

    def line(self, states: Floats) -> str:
        """A way through states [T, S] as the points of an SVG line; it ends where a state is not finite.

        Args:
            states: of successive steps.
        """
        places = self.project(states)
        finite = np.asarray(np.isfinite(places).all(-1))
        whole = len(finite) if finite.all() else int(finite.argmin())
        room = np.array([WIDTH, self.height])
        near = np.clip(places[:whole], -room, 2 * room)  # how far beyond the picture makes no difference
        return " ".join(f"{x:.0f},{y:.0f}" for x, y in near)


def scenery(env: str, env_kwargs: Mapping[str, Any], seen: Sequence[Floats], keys: Sequence[int] | None) -> Scenery:
    """The drawing plane of an environment.

    Args:
        env: its id, as the run was given it.
        env_kwargs: as the run was given them.
        seen: the states that are to be drawn, of T successive steps, [T, ..., S] each.
        keys: the variables that catastrophes depend on, if the run was given them; else the oracle's are taken.
    """
    known = registered_oracle(env, **env_kwargs)
    if known is not None and known.backdrop is not None:
        return _before(known.backdrop)
    chosen = keys or (known.label_keys if known is not None else None)
    size = seen[0].shape[-1]
    return _plane(seen, [key for key in chosen or () if key < size], variable_names(env, size))


def variable_names(env: str, size: int) -> list[str]:
    """What the state variables are called.

    >>> variable_names("heed/PointHazard-v0", 4)[0], variable_names("mine:Robot", 4)[2]
    ('x', 'state[2]')
    """
    known = registered_oracle(env)
    names = (known.variable_names if known is not None else None) or ()
    return list(names) if len(names) == size else [f"state[{index}]" for index in range(size)]


def _before(backdrop: Backdrop) -> Scenery:
    """Places before what stands still in a world, at the page's scale."""
    scale = WIDTH / backdrop.width

    def project(states: Floats) -> Floats:
        return np.asarray(backdrop.place(states) * scale)

    shapes = tuple(
        Disc(shape.kind, shape.x * scale, shape.y * scale, shape.radius * scale)
        if isinstance(shape, Disc)
        else Rectangle(shape.kind, *(scale * n for n in (shape.left, shape.top, shape.width, shape.height)))
        for shape in backdrop.shapes
    )
    return Scenery(round(backdrop.height * scale), project, shapes, f"{backdrop.about} ")


def _plane(seen: Sequence[Floats], keys: Sequence[int], names: Sequence[str]) -> Scenery:
    """Two state variables against each other, or a single one over the steps.

    Args:
        seen: [T, ..., S] each.
        keys: variables to choose from; all if there are none.
        names: of all variables, [S].
    """
    rows = np.concatenate([states.reshape(-1, states.shape[-1]) for states in seen])
    rows = rows[np.isfinite(rows).all(1)] if np.isfinite(rows).all(1).any() else np.zeros_like(rows[:1])
    candidates = list(keys) or list(range(len(names)))
    chosen = sorted(sorted(candidates, key=lambda key: -float(rows[:, key].std()))[:2])
    over_steps = len(chosen) == 1
    low, high = np.percentile(rows[:, chosen], (0.5, 99.5), axis=0)
    if over_steps:
        longest = max(len(states) for states in seen)
        low, high = np.array([0.0, low[0]]), np.array([longest - 1.0, high[0]])
    reach = np.where(high > low, high - low, 1.0)
    low, high = low - 0.06 * reach * (0 if over_steps else 1, 1), high + 0.06 * reach
    height = 2 * WIDTH // 3

    def project(states: Floats) -> Floats:
        values = states[..., chosen]
        if over_steps:
            steps = np.arange(len(states)).reshape(-1, *[1] * (values.ndim - 1))
            values = np.concatenate([np.broadcast_to(steps, values.shape), values], axis=-1)
        shares = (values - low) / (high - low)
        return np.asarray(np.stack([shares[..., 0] * WIDTH, (1 - shares[..., 1]) * height], axis=-1))

    across, up = ("steps ahead", names[chosen[0]]) if over_steps else (names[chosen[0]], names[chosen[1]])
    ticks = (
        Tick(16, height - 20, "start", number(low[0])),
        Tick(WIDTH / 2, height - 20, "middle", f"{across} →"),
        Tick(WIDTH - 16, height - 20, "end", number(high[0])),
        Tick(16, 48, "start", f"{number(high[1])}  ↑ {up}"),
        Tick(16, height - 70, "start", number(low[1])),
    )
    why = "which catastrophes depend on" if keys else "which vary most"
    about = (
        f"Up: {up}, over the steps ahead. "
        if over_steps
        else f"Across: {across}; up: {up}: the two state variables {why}. "
    )
    return Scenery(height, project, (Rectangle("floor", 0, 0, WIDTH, height),), about, ticks)


def _drawn(shape: Rectangle | Disc) -> Markup:
    if isinstance(shape, Disc):
        disc = Markup('<circle class="{}" cx="{:.0f}" cy="{:.0f}" r="{:.0f}"/>')
        return disc.format(shape.kind, shape.x, shape.y, shape.radius)
    rectangle = Markup('<rect class="{}" x="{:.0f}" y="{:.0f}" width="{:.0f}" height="{:.0f}"/>')
    return rectangle.format(shape.kind, shape.left, shape.top, shape.width, shape.height)


def _written(tick: Tick) -> Markup:
    return Markup('<text class="tick" x="{:.0f}" y="{:.0f}" text-anchor="{}">{}</text>').format(*tick)

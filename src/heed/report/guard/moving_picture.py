"""A guard's blocks as a short animation: what it imagined, how its plan swerves, what really followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from PIL import Image

from heed import worlds
from heed.errors import HeedError
from heed.report.common.gather import gather
from heed.report.common.plot_style import Floats
from heed.report.guard.scene import WIDTH, Scenery, scenery
from heed.report.guard.snapshots import Arrays, read_snapshots
from heed.runs.config import setting
from heed.runs.files import replacing

PIXELS = 640
"""Width of the picture; its text can still be read at 400."""
STRIP = 84
"""Pixels below the scene, for the words."""
STEP_MS, HOLD_MS, LAST_MS = 70, 1100, 1500
"""How long a frame of a movement is shown, the last one of a part, and the last one of a block."""
COLOURS = 128
NEAREST = 0.32
"""Share of a scene's width that is shown at least."""
FORMATS = {".gif": "GIF", ".png": "PNG"}

ANCHORS = {"start": "left", "middle": "center", "end": "right"}
PAPER, INK, SOFT, PLAN = "#fdfcfa", "#1d2328", "#5d666e", "#0b6b4f"
FILLS = {"floor": "#fdfcfa", "goal": "#b5dccf", "hazard": "#f4d5d2"}
DANGER = LinearSegmentedColormap.from_list("danger", ["#3f8fd0", "#3f8fd0", "#e3a02c", "#c4262e"])
"""From safe to the threshold; what is unsafe is all the last colour."""


@dataclass(frozen=True)
class Part:
    """How far each part of a frame has come, in steps; None hides it.

    Args:
        words: below the scene: what is seen, and a quieter second line.
        fan: of the imagined futures.
        faded: whether they recede behind what comes next.
        plan: of the plan.
        happened: of what followed.
        milliseconds: for which the frame is shown.
    """

    words: tuple[str, str]
    fan: int | None = None
    faded: bool = False
    plan: int | None = None
    happened: int | None = None
    milliseconds: int = STEP_MS


@dataclass(frozen=True)
class Snapshot:
    """One block as it is drawn, in the scene's own places.

    Args:
        futures: of the policy, in each member and particle, [N, H + 1, 2].
        danger: of their steps, as a share of the threshold, [N, H].
        plan: what replaced it, the mean over the futures that the planner imagined, [P + 1, 2].
        happened: what followed, [T + 1, 2].
    """

    futures: Floats
    danger: Floats
    plan: Floats
    happened: Floats

    @property
    def unsafe(self) -> int:
        """How many futures meet what the blockers call unsafe."""
        return int((self.danger >= 1).any(1).sum())


def write_moving_picture(run: Path | str, file: Path | str, at: Sequence[int] = (), blocks: int = 3) -> Path:
    """Draw some of a guarded run's blocks as an animation.

    Args:
        run: its folder.
        file: ends in ``.gif``, or in ``.png`` for an animated PNG.
        at: steps of the run with a block that is to be drawn, counted from 1 as its report tells them.
        blocks: without these, so many at most, each of another episode: those that show most (`telling`).

    Returns:
        The file.

    Raises:
        HeedError: the run imagined nothing that could be drawn, or the file cannot be written.
    """
    file = Path(file)
    if file.suffix not in FORMATS:
        raise HeedError(f"'{file.suffix}' is no moving picture's ending", str(file), "take .gif or .png")
    snapshots, drawing = snapshots_of(run, at, blocks)
    moving = [(frame, part.milliseconds) for shown in snapshots for frame, part in frames(shown, drawing)]
    moving = moving[-1:] + moving[:-1]  # the same loop; where nothing moves, as on paper, all of a block is seen
    pictures, durations = [frame for frame, _ in moving], [shown for _, shown in moving]
    try:
        with replacing(file) as opened:
            _save(pictures, durations, opened, FORMATS[file.suffix])
    except OSError as error:
        raise HeedError(f"the picture cannot be written: {error.strerror}", str(file), "choose a folder") from error
    return file


def snapshots_of(run: Path | str, at: Sequence[int] = (), blocks: int = 3) -> tuple[list[Snapshot], Scenery]:
    """The blocks of a run that are to be drawn, and where.

    Args:
        run: its folder.
        at: see `write_moving_picture`, as for what follows.
        blocks: so many at most.

    Raises:
        HeedError: there are none, or none at one of the steps.
    """
    record = gather(run)
    kept = read_snapshots(record.path)
    if kept is None or not len(kept["step"]) or not kept["plan_states"].size:
        raise HeedError("no block of this run was answered by a plan", str(run), "give a run of mbhi that took over")
    ways = [kept["happened"], kept["futures"], kept["plan_states"]]
    seen = [way[index].astype(np.float64) for way in ways for index in range(len(kept["step"]))]
    env = str(record.config.get("env", ""))
    drawing = scenery(env, record.config.get("env_kwargs") or {}, seen, setting(record.config, "models.label_keys"))
    drawn = [snapshot_of(kept, index, drawing) for index in range(len(kept["step"]))]
    steps = (kept["step"] + 1).tolist()  # as a page tells them; files count from 0
    if missing := [step for step in at if step not in steps]:
        known = ", ".join(map(str, steps))
        raise HeedError(f"no block of step {missing[0]} was kept", "--at", f"take some of {known}")
    chosen = [steps.index(step) for step in at] or telling(drawn, kept["episode"].tolist(), blocks)
    if not chosen:
        raise HeedError("no block of this run led another way", str(run), "give a longer run")
    return [drawn[index] for index in chosen], drawing


def snapshot_of(kept: Arrays, index: int, drawing: Scenery) -> Snapshot:
    """One block of ``moments.npz``, in the places of a scene.

    Args:
        kept: what `read_snapshots` read.
        index: the block's.
        drawing: where to.
    """
    futures = drawing.project(kept["futures"][index].astype(np.float64))  # [H + 1, E, P, 2]
    steps = kept["danger"][index].astype(np.float64) / max(float(kept["threshold"][index]), 1e-12)
    return Snapshot(
        futures=np.moveaxis(futures.reshape(len(futures), -1, 2), 0, 1),
        danger=np.moveaxis(np.nan_to_num(steps, nan=1.0).reshape(len(steps), -1), 0, 1),
        plan=_finite(drawing.project(kept["plan_states"][index].astype(np.float64).mean((1, 2)))),
        happened=_finite(drawing.project(kept["happened"][index].astype(np.float64))),
    )


def telling(snapshots: Sequence[Snapshot], episodes: Sequence[int], blocks: int) -> list[int]:
    """Which blocks show most, in their order: danger seen early, futures that fan out, and a way that leads elsewhere.

    Args:
        snapshots: of all blocks.
        episodes: of each; one block of an episode is enough.
        blocks: so many at most.
    """

    def tells(shown: Snapshot) -> float:
        last = min(len(shown.plan), len(shown.happened), shown.futures.shape[1]) - 1
        if last < 1:
            return 0.0
        ends = shown.futures[:, last]
        ways = np.stack([shown.plan[last], shown.happened[last]])
        elsewhere = np.linalg.norm(ways - ends.mean(0), axis=1).min()
        early = (shown.danger >= 1).argmax(1).mean()
        return float(np.nan_to_num(np.sqrt(ends.std(0).sum()) * elsewhere * early)) * shown.unsafe

    worth = [tells(shown) for shown in snapshots]
    best: dict[int, int] = {}
    for index in sorted(range(len(snapshots)), key=lambda index: -worth[index]):
        if worth[index] > 0:
            best.setdefault(episodes[index], index)
    return sorted(list(best.values())[:blocks])


def frames(shown: Snapshot, drawing: Scenery) -> Iterator[tuple[Image.Image, Part]]:
    """The frames of one block, each with what it shows.

    Args:
        shown: the block.
        drawing: where it is drawn.
    """
    draw = _stage(drawing)
    for part in parts(shown):
        yield draw(shown, part), part


def parts(shown: Snapshot) -> list[Part]:
    """What one block's frames show: the futures fan out, the plan swerves, and then what really followed."""
    count, reach = shown.danger.shape
    looks = ("The agent proposes an action.", f"The guard imagines {count} futures of it.")
    blocks = (f"{shown.unsafe} of {count} futures turn unsafe: blocked.", "It learnt from blocks what is unsafe.")
    plans = ("The guard plans another way,", "below the danger that it allows.")
    takes = ("What really followed.", "It looks and decides anew at every step.")
    told = [Part(looks, fan=0, milliseconds=HOLD_MS // 2)]
    told += [Part(looks, fan=step) for step in range(2, reach, 2)]
    told += [Part(blocks, fan=reach, milliseconds=HOLD_MS)]
    last = len(shown.plan) - 1
    told += [Part(plans, reach, faded=True, plan=step) for step in range(2, last, 2)]
    told += [Part(plans, reach, faded=True, plan=last, milliseconds=HOLD_MS)]
    last = len(shown.happened) - 1
    told += [Part(takes, reach, faded=True, plan=len(shown.plan) - 1, happened=step) for step in range(1, last)]
    told += [Part(takes, reach, True, len(shown.plan) - 1, last, LAST_MS)]
    return told


def view_of(shown: Snapshot, drawing: Scenery) -> tuple[float, float, float, float]:
    """The part of a scene that a block is shown in: left, top, width and height, in the scene's shape.

    Args:
        shown: the block.
        drawing: the scene; one with a scale written on it is shown whole.
    """
    if drawing.ticks:
        return 0.0, 0.0, float(WIDTH), float(drawing.height)
    room = np.array([WIDTH, drawing.height], np.float64)
    places = np.concatenate([shown.futures.reshape(-1, 2), shown.plan, shown.happened])
    places = np.clip(places[np.isfinite(places).all(1)], 0, room)
    low, high = places.min(0), places.max(0)
    share = min(1.0, max(NEAREST, float(((high - low) / room).max()) * 1.5))
    corner = (low + high - share * room) / 2
    return float(corner[0]), float(corner[1]), float(share * room[0]), float(share * room[1])


def _stage(drawing: Scenery) -> Callable[[Snapshot, Part], Image.Image]:
    """Draws frames over one scene, which is drawn once."""
    height = round(PIXELS * drawing.height / WIDTH)
    figure = Figure(figsize=(PIXELS / 100, (height + STRIP) / 100), dpi=100, facecolor=PAPER)
    canvas = FigureCanvasAgg(figure)
    share = STRIP / (height + STRIP)
    axes = figure.add_axes((0, share, 1, 1 - share))
    axes.axis("off")
    _still(axes, drawing)
    bar = figure.add_axes((0.79, share * 0.56, 0.18, share * 0.13))
    bar.imshow(np.linspace(0, 1, 64)[None], aspect="auto", cmap=DANGER)
    bar.axis("off")
    for x, text, side in ((0.79, "safe", "left"), (0.97, "unsafe", "right")):
        figure.text(x, share * 0.28, text, color=SOFT, fontsize=12, ha=side, va="center")
    words = [
        figure.text(0.025, share * 0.66, "", color=INK, fontsize=16, fontweight="bold", va="center"),
        figure.text(0.025, share * 0.26, "", color=SOFT, fontsize=13.5, va="center"),
    ]

    def draw(shown: Snapshot, part: Part) -> Image.Image:
        left, top, width, tall = view_of(shown, drawing)
        axes.set_xlim(left, left + width)
        axes.set_ylim(top + tall, top)
        for text, line in zip(words, part.words, strict=True):
            text.set_text(line)
        drawn = _moving(axes, shown, part)
        canvas.draw()
        for artist in drawn:
            artist.remove()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

    return draw


def _still(axes: Axes, drawing: Scenery) -> None:
    """What stands still in a scene."""
    axes.add_patch(Rectangle((-WIDTH, -WIDTH), 3 * WIDTH, 3 * WIDTH, color=FILLS["hazard"], linewidth=0))
    for shape in drawing.shapes:
        colour = FILLS[shape.kind]
        if isinstance(shape, worlds.Disc):
            axes.add_patch(Circle((shape.x, shape.y), shape.radius, color=colour, linewidth=0))
        else:
            corner = shape.left, shape.top
            axes.add_patch(Rectangle(corner, shape.width, shape.height, color=colour, linewidth=0))
    for tick in drawing.ticks:
        axes.text(tick.x, tick.y, tick.text, color=SOFT, fontsize=11, ha=ANCHORS[tick.anchor])


def _moving(axes: Axes, shown: Snapshot, part: Part) -> list[Any]:
    """Draw what a frame shows; returns it, to be taken away again."""
    drawn: list[Any] = []
    if part.fan:
        ways = shown.futures[:, : part.fan + 1]
        pieces = np.stack([ways[:, :-1], ways[:, 1:]], axis=2).reshape(-1, 2, 2)
        colours = DANGER(np.clip(np.maximum.accumulate(shown.danger, 1)[:, : part.fan], 0, 1).ravel())
        colours[:, 3] = 0.28 if part.faded else 0.85
        fan = LineCollection(pieces.tolist(), colors=colours, linewidths=2.0, capstyle="round", zorder=3)
        drawn.append(axes.add_collection(fan))
    if part.plan:
        way = shown.plan[: part.plan + 1]
        drawn += axes.plot(*way.T, color=PAPER, linewidth=8.5, solid_capstyle="round", zorder=4)
        drawn += axes.plot(*way.T, color=PLAN, linewidth=4.6, solid_capstyle="round", zorder=5)
    here = shown.happened[part.happened or 0]
    if part.happened:
        trail = shown.happened[: part.happened + 1]
        drawn += axes.plot(*trail.T, ".", color=INK, markersize=7.5, markeredgewidth=0, zorder=6)
    drawn += axes.plot(*here, "o", color=INK, markersize=16, markeredgecolor=PAPER, markeredgewidth=2, zorder=7)
    return drawn


def _finite(way: Floats) -> Floats:
    """A way [T, 2] up to its first place that is none."""
    whole = np.isfinite(way).all(1)
    return way if whole.all() else way[: int(whole.argmin())]


def _save(pictures: Sequence[Image.Image], durations: Sequence[int], file: BinaryIO, kind: str) -> None:
    """Write frames with one palette for all, so that what stands still is not stored again."""
    some = np.concatenate([np.asarray(picture) for picture in pictures[:: max(1, len(pictures) // 8)]])
    palette = Image.fromarray(some).quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    few[0].save(
        file, format=kind, save_all=True, append_images=few[1:], duration=list(durations), loop=0, optimize=False
    )

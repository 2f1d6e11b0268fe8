"""Snapshots of a guard's blocks as pictures: what it imagined, where that is unsafe, and what was done instead."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from heed.errors import HeedError
from heed.report.common.blocks import Block, Key, Note, Player, Scene
from heed.report.common.formats import number
from heed.report.common.gather import RunRecord
from heed.report.common.plot_style import Floats, colour_of, css_colour
from heed.report.guard.scene import WIDTH, Scenery, scenery
from heed.runs.config import setting

Arrays = Mapping[str, NDArray[Any]]
STILLS = 6
"""Snapshots shown at once where there is no player: on paper, and without scripts."""
MEMBER_COLOURS = tuple(css_colour(colour_of(index)) for index in (0, 2, 4, 6, 5, 3))
"""Of the members; orange is left out, being too near to the red of danger."""
_TAKEN = {
    "planner": "the planner's",
    "fallback": "the fallback, as no safe plan was found",
    "blocker": "the declared safe action",
    "person": "the overseer's",
}


def read_snapshots(folder: Path) -> dict[str, NDArray[Any]] | None:
    """Read ``moments.npz``.

    Args:
        folder: of the run.

    Returns:
        Its arrays; None where the run has none.

    Raises:
        HeedError: it cannot be read.
    """
    file = folder / "moments.npz"
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as stored:
            found = dict(stored.items())
            _ = found["futures"], found["danger"], found["happened"], found["step"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise HeedError("the snapshots of blocks cannot be read", where=str(file), fix="delete it") from error
    return found


def snapshots_block(run: RunRecord) -> Block:
    """Show what the guard imagined when it blocked.

    Args:
        run: a guarded run.
    """
    kept = read_snapshots(run.path)
    if kept is None:
        return Note("This run kept no snapshots of blocks: there is no moments.npz.", missing=True)
    count = len(kept["step"])
    if not count:
        return Note("Nothing was imagined and then blocked in this run.", missing=True)
    ways = [kept["happened"], kept["futures"], *([kept["plan_states"]] if _planned(kept) else [])]
    seen = [way[index].astype(np.float64) for way in ways for index in range(count)]
    env = str(run.config.get("env", ""))
    drawing = scenery(env, run.config.get("env_kwargs") or {}, seen, setting(run.config, "models.label_keys"))
    stills = {int(place) for place in np.linspace(0, count - 1, min(STILLS, count)).round()}
    scenes = [
        Scene(
            snapshot_picture(kept, index, drawing),
            snapshot_caption(kept, index),
            _photograph(kept, index),
            still=index in stills,
        )
        for index in range(count)
    ]
    return Player(
        scenes=scenes,
        backdrop=Markup('<symbol id="backdrop" viewBox="0 0 {0} {1}">{2}</symbol>').format(
            WIDTH, drawing.height, drawing.backdrop
        ),
        horizon=max(len(way) for way in seen) - 1,
        title="What the guard imagined when it blocked.",
        caption=_caption(kept, drawing),
        key=_key(kept),
    )


def snapshot_picture(kept: Arrays, index: int, drawing: Scenery) -> Markup:
    """Draw one snapshot: the policy's own future in each member and particle, the plan, and what happened.

    Args:
        kept: what `read_snapshots` read.
        index: of the snapshot.
        drawing: where to.
    """
    futures, unsafe = kept["futures"][index], kept["danger"][index] >= kept["threshold"][index]
    ways = [] if _without_futures(kept) else [(e, p) for e in range(futures.shape[1]) for p in range(futures.shape[2])]
    lines = [
        _line("unsafe", drawing.line(futures[start : end + 1, e, p]), start)
        for e, p in ways
        for start, end in stretches(unsafe[:, e, p])
    ]
    lines += [_line(f"future m{e % len(MEMBER_COLOURS)}", drawing.line(futures[:, e, p])) for e, p in ways]
    if _planned(kept):
        lines.append(_line("plan", drawing.line(kept["plan_states"][index].mean((1, 2)))))
    lines.append(_line("happened", drawing.line(kept["happened"][index])))
    x, y = drawing.project(kept["happened"][index][:1].astype(np.float64))[0]
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="What the guard imagined at step {step}">'
        '<use href="#backdrop" width="{w}" height="{h}"/>{lines}'
        '<circle class="start" cx="{x:.0f}" cy="{y:.0f}" r="13"/></svg>'
    ).format(w=WIDTH, h=drawing.height, step=int(kept["step"][index]) + 1, lines=Markup("").join(lines), x=x, y=y)


def snapshot_caption(kept: Arrays, index: int) -> str:
    """Describe one snapshot: what was proposed, what the look showed, what was executed.

    Args:
        kept: what `read_snapshots` read.
        index: of the snapshot.
    """
    first, source = int(kept["first_unsafe"][index]), str(kept["source"][index])
    text = (
        f"Step {int(kept['step'][index]) + 1:,}, episode {int(kept['episode'][index]) + 1:,}. Proposed: "
        f"{_action(kept['proposed'][index])}, risk {number(float(kept['risk'][index]))} where less than "
        f"{number(float(kept['limit'][index]))} was let pass"
    )
    if first >= 0 and not _without_futures(kept):
        text += f", unsafe {first + 1} {'step' if first == 0 else 'steps'} ahead"
    taken = _TAKEN.get(source, source)
    if source == "fallback" and kept["feasible"][index] == 1:
        taken = "a safe plan, as the overseer failed"
    return f"{text}. Executed: {_action(kept['executed'][index])}, {taken}."


def stretches(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches of steps in which flags [H] are true without a gap: the first step of each, and the one after its last.

    >>> stretches(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _line(kind: str, points: str, start: int = 0) -> Markup:
    """One line of a scene; ``start`` is the step at which it begins, for the player."""
    return Markup('<polyline class="{}" data-from="{}" points="{}"/>').format(kind, start, points)


def _caption(kept: Arrays, drawing: Scenery) -> str:
    count, blocks = len(kept["step"]), int(kept["blocks"])
    text = f"{count} of the {blocks:,} blocks of autonomy, an even sample of the run. " if count < blocks else ""
    text = text or f"All {count} blocks of autonomy. "
    text += drawing.about
    if _without_futures(kept):
        return (
            text + "This guard imagines no future: it judges the present state and action alone. Dotted: what followed."
        )
    members, particles = kept["futures"].shape[2:4]
    text += (
        f"Thin lines: the proposed action followed by the policy, as {members} "
        f"{'member' if members == 1 else 'members'} of the dynamics tell it, {particles} "
        f"{'time' if particles == 1 else 'times'} each; on red, the steps that the blockers call unsafe. "
    )
    text += "Strong line: where the plan that replaced it leads, on average. " if _planned(kept) else ""
    return text + "Dotted: what really followed; after its first action everything was decided anew."


def _key(kept: Arrays) -> list[Key]:
    members = min(kept["futures"].shape[2], len(MEMBER_COLOURS))
    key = []
    if not _without_futures(kept):
        key += [Key(MEMBER_COLOURS[e], f"member {e + 1}") for e in range(members)]
        key.append(Key("var(--unsafe)", "unsafe", "area"))
    if _planned(kept):
        key.append(Key("var(--ink)", "the plan"))
    return [*key, Key("var(--ink-soft)", "what followed", "dotted")]


def _planned(kept: Arrays) -> bool:
    return bool(kept["plan_states"].ndim == 5 and kept["plan_states"].size)


def _without_futures(kept: Arrays) -> bool:
    """Whether the guard imagines no future (HIRL): such a look is stored as one step that leads nowhere."""
    futures = kept["futures"]
    return futures.shape[1] == 2 and np.array_equal(futures[:, 0], futures[:, 1], equal_nan=True)


def _action(action: Floats) -> str:
    numbers = ", ".join(f"{value:.3g}".replace("-", "−") for value in action[np.isfinite(action)])
    return f"({numbers})" if len(action) > 1 else numbers


def _photograph(kept: Arrays, index: int) -> str:
    """The environment's own picture as an address that holds it; empty where there is none."""
    if not kept["pictured"][index]:
        return ""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, kept["pictures"][index], format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

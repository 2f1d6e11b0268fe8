"""What people did when they acted in the agent's place, as demonstrations that robot learning reads."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from heed.errors import HeedError
from heed.oversight.store.store import Judgement
from heed.runs.files import replacing

FORMATS = ("lerobot", "minari")
LEROBOT_VERSION = "v3.0"
"""Of LeRobot's datasets: what its 0.4 reads."""
_PLACE = {"chunk_index": 0, "file_index": 0}
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"


@dataclass(frozen=True, eq=False)
class Demonstration:
    """What one person did on end, within one episode.

    Args:
        person: who acted.
        run: in which run.
        env: the environment's name.
        episode: its number in that run.
        start: steps before it, in the episode.
        observations: what was shown before each action, float32 [T, S].
        actions: what the person did, in the environment's units: float32 [T, A], or int64 [T] of choices.
    """

    person: str
    run: str
    env: str
    episode: int
    start: int
    observations: NDArray[np.float32]
    actions: NDArray[Any]

    def __len__(self) -> int:
        """Its steps, T."""
        return len(self.actions)


def demonstrations(judgements: Sequence[Judgement]) -> list[Demonstration]:
    """The steps in which people acted in the agent's place, joined where one follows another.

    >>> shown = {"env": "Walk", "episode": 0}
    >>> acted = [
    ...     Judgement("block", "ada", shown | {"observation": [0.1 * n], "step": n}, {"acted": True, "instead": [1.0]})
    ...     for n in (4, 5, 9)
    ... ]
    >>> [(found.start, len(found)) for found in demonstrations(acted)]
    [(4, 2), (9, 1)]
    """
    last = {
        (_episode(each), each.shown["step"]): each for each in judgements if each.kind == "block" and _is_step(each)
    }
    acted = [each for each in last.values() if each.verdict.get("acted")]  # of a step that was judged anew the latest
    acted.sort(key=lambda each: (_episode(each), each.shown["step"]))
    streaks = groupby(enumerate(acted), lambda pair: (_episode(pair[1]), pair[1].shown["step"] - pair[0]))
    return [_joined([each for _, each in streak]) for _, streak in streaks]


def _is_step(judgement: Judgement) -> bool:
    return isinstance(judgement.shown, dict) and {"env", "episode", "step", "observation"} <= judgement.shown.keys()


def _episode(judgement: Judgement) -> tuple[str, str, str, int]:
    return judgement.shown["env"], judgement.run, judgement.person, judgement.shown["episode"]


def _joined(steps: Sequence[Judgement]) -> Demonstration:
    first = steps[0]
    shown = first.shown
    try:
        seen = np.array([np.ravel(np.array(each.shown["observation"], np.float32)) for each in steps])
        done = [each.verdict["instead"] for each in steps]
        (choices,) = {isinstance(each, int) for each in done}  # all of them or none
        actions = np.array(done, np.int64) if choices else np.array([np.ravel(each) for each in done], np.float32)
    except (TypeError, ValueError) as error:
        where = f"judgement {first.id} and after"
        raise HeedError("these observations or actions are no arrays of one size", where, "name another run") from error
    return Demonstration(first.person, first.run, shown["env"], shown["episode"], shown["step"], seen, actions)


def export_demonstrations(judgements: Sequence[Judgement], folder: Path, form: str, fps: float = 10.0) -> list[int]:
    """Write demonstrations into a new folder.

    Args:
        judgements: of which those are taken in which a person acted.
        folder: that is not there yet.
        form: ``lerobot`` is a dataset of LeRobot, version 3.0; ``minari`` a folder of datasets of Minari, with one
            dataset in it, ``heed/demonstrations-v0``; of choices it has those up to the largest that was taken. In
            neither is there a reward, as people saw none: Minari's are NaN. Minari asks for what an action led to, so
            that the last step of each is left out there.
        fps: steps in a second, for LeRobot's timestamps.

    Returns:
        The steps of each demonstration that was written.

    Raises:
        HeedError: nobody acted, several environments or sizes, an unknown format, no pace, Minari is not installed, or
            a folder that is there already or cannot be written.
    """
    if form not in FORMATS:
        raise HeedError(f"'{form}' is no format of demonstrations", "--format", f"take {' or '.join(FORMATS)}")
    found = demonstrations(judgements)
    if form == "minari":
        found = [each for each in found if len(each) > 1]
    if not found:
        raise HeedError("nobody acted in the agent's place", "--demonstrations", "take over at the page, with T")
    kinds = {(each.env, each.observations.shape[1:], each.actions.shape[1:], each.actions.dtype) for each in found}
    if len(kinds) > 1:
        envs = ", ".join(sorted({each.env for each in found}))
        raise HeedError(f"demonstrations of {envs} make no one dataset", "--of", "name one run")
    if not 0 < fps < math.inf:
        raise HeedError(f"{fps:g} steps in a second are no pace", "--fps", "give a number above 0")
    if folder.exists():
        raise HeedError("there is something already", str(folder), "give a folder that is not there")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".demonstrations-") as made:
            (_write_lerobot if form == "lerobot" else _write_minari)(found, Path(made).resolve() / "whole", fps)
            (Path(made) / "whole").rename(folder)
    except OSError as error:
        raise HeedError(
            f"it cannot be written: {error.strerror or error}", str(folder), "give another place"
        ) from error
    return [len(each) - (form == "minari") for each in found]


def _write_lerobot(found: Sequence[Demonstration], folder: Path, fps: float) -> None:
    """As LeRobot's own writer lays it out: frames, episodes, tasks, statistics, and what the columns are."""
    columns = _columns(found, fps)
    task = found[0].env
    starts = np.cumsum([0, *map(len, found)])
    episodes = [
        {
            "episode_index": number,
            "tasks": [task],
            "length": len(each),
            "dataset_from_index": int(starts[number]),
            "dataset_to_index": int(starts[number + 1]),
            **{f"data/{name}": value for name, value in _PLACE.items()},
            **{f"meta/episodes/{name}": value for name, value in _PLACE.items()},
            "person": each.person,
            "run": each.run,
            "run_episode": each.episode,
            "run_step": each.start,
        }
        for number, each in enumerate(found)
    ]
    features = {
        name: {"dtype": str(values.dtype), "shape": [values.shape[1] if values.ndim > 1 else 1], "names": None}
        for name, values in columns.items()
    }
    info = {
        "codebase_version": LEROBOT_VERSION,
        "robot_type": None,
        "total_episodes": len(found),
        "total_frames": int(starts[-1]),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps if fps % 1 else int(fps),
        "splits": {"train": f"0:{len(found)}"},
        "data_path": f"data/{_FILE}",
        "video_path": None,
        "features": features,
    }
    place = _FILE.format(**_PLACE)
    _table(folder / "data" / place, pa.table({name: _arrow(values) for name, values in columns.items()}))
    _table(folder / "meta/episodes" / place, pa.Table.from_pylist(episodes))
    _table(folder / "meta/tasks.parquet", _tasks(task))
    _json(folder / "meta/stats.json", {name: _statistics(values) for name, values in columns.items()})
    _json(folder / "meta/info.json", info)


def _columns(found: Sequence[Demonstration], fps: float) -> dict[str, NDArray[Any]]:
    frames = np.concatenate([np.arange(len(each)) for each in found])
    actions = np.concatenate([each.actions for each in found])
    return {
        "observation.state": np.concatenate([each.observations for each in found]),
        "action": actions if actions.ndim > 1 else actions[:, None].astype(np.float32),
        "timestamp": (frames / fps).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.repeat(np.arange(len(found)), [*map(len, found)]),
        "index": np.arange(len(frames)),
        "task_index": np.zeros(len(frames), np.int64),
    }


def _arrow(values: NDArray[Any]) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _tasks(task: str) -> pa.Table:
    """A frame of pandas whose index are the tasks, which is how LeRobot looks them up."""
    kept: Mapping[str, Any] = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"},
            {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object"},
        ],
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array([0], pa.int64()), "task": [task]})
    return table.replace_schema_metadata({"pandas": json.dumps(kept)})


def _statistics(values: NDArray[Any]) -> dict[str, list[float]]:
    rows = values.reshape(len(values), -1).astype(np.float64)
    known = np.where(np.isfinite(rows).any(0), rows, 0.0)  # of a part that nobody saw there is nothing to tell
    told = {name: getattr(np, f"nan{name}")(known, 0).tolist() for name in ("min", "max", "mean", "std")}
    return told | {"count": [len(rows)]}


def _write_minari(found: Sequence[Demonstration], folder: Path, _fps: float) -> None:
    """By Minari's own writer, which asks the environment where its datasets lie."""
    if find_spec("minari") is None:
        raise HeedError("Minari is not installed", "--format minari", "pip install 'minari[arrow]'")
    import minari
    from gymnasium import spaces
    from minari.data_collector import EpisodeBuffer

    buffers = [
        EpisodeBuffer(
            id=number,
            observations=each.observations,
            actions=each.actions[:-1],
            rewards=[float("nan")] * (len(each) - 1),
            terminations=[False] * (len(each) - 1),
            truncations=[False] * (len(each) - 2) + [True],
        )
        for number, each in enumerate(found)
    ]
    size, actions = found[0].observations.shape[1], np.concatenate([each.actions for each in found])
    unbounded: dict[str, Any] = {"low": -np.inf, "high": np.inf, "dtype": np.float32}
    lowest = min(0, int(actions.min())) if actions.ndim == 1 else 0
    chosen = spaces.Discrete(int(actions.max()) + 1 - lowest, start=lowest) if actions.ndim == 1 else None
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    try:
        minari.create_dataset_from_buffers(
            "heed/demonstrations-v0",
            buffers,
            observation_space=spaces.Box(shape=(size,), **unbounded),
            action_space=chosen or spaces.Box(shape=actions.shape[1:], **unbounded),
            algorithm_name="people",
            author=", ".join(sorted({each.person for each in found})),
            description=f"people who acted in the agent's place in {found[0].env}; there are no rewards",
            data_format="arrow",
        )
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before


def _table(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        pq.write_table(table, file)


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(json.dumps(content, indent=2).encode())

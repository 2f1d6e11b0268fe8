"""What people did in the agent's place, written for LeRobot and Minari, and read back as those read it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from heed.errors import HeedError
from heed.oversight.store.demonstrations import demonstrations, export_demonstrations
from heed.oversight.store.store import Judgement

ENV = "heed/PointHazard-v0"


def acted(step, episode=0, person="ada", run="walk-1", env=ENV, instead=None, **verdict):
    shown = {"env": env, "episode": episode, "step": step, "observation": [0.1 * step, float(episode)], "action": [0.0]}
    done = [0.01 * step] if instead is None else instead
    return Judgement("block", person, shown, {"block": True, "acted": True, "instead": done} | verdict, run=run)


def told():
    """Ada acts for three steps and for two, bob for two of them in another episode; and there are verdicts besides."""
    passed = Judgement(
        "block", "ada", {"env": ENV, "episode": 0, "step": 6, "observation": [9.0, 9.0]}, {"block": True}
    )
    return [acted(3), acted(5), acted(4), passed, acted(8), acted(9), acted(7, episode=2, person="bob"),
            acted(8, episode=2, person="bob")]  # fmt: skip


def test_steps_that_follow_each_other_are_one_demonstration_and_no_verdict_is_one():
    found = demonstrations(told())
    assert [(each.person, each.episode, each.start, len(each)) for each in found] == [
        ("ada", 0, 3, 3), ("ada", 0, 8, 2), ("bob", 2, 7, 2),
    ]  # fmt: skip
    assert found[0].observations.tolist() == np.float32([[0.3, 0], [0.4, 0], [0.5, 0]]).tolist()
    assert found[0].actions.tolist() == np.float32([[0.03], [0.04], [0.05]]).tolist()


def test_lerobot_reads_frames_episodes_tasks_and_statistics(tmp_path):
    out = tmp_path / "out"
    assert export_demonstrations(told(), out, "lerobot", fps=20) == [3, 2, 2]
    frames = pq.read_table(out / "data/chunk-000/file-000.parquet").to_pydict()
    assert frames["frame_index"] == [0, 1, 2, 0, 1, 0, 1] and frames["index"] == [*range(7)]
    assert frames["episode_index"] == [0, 0, 0, 1, 1, 2, 2]
    assert frames["timestamp"] == pytest.approx([0, 0.05, 0.1, 0, 0.05, 0, 0.05])
    assert frames["action"][3] == pytest.approx([0.08]) and frames["observation.state"][6] == pytest.approx([0.8, 2.0])
    episodes = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(each["dataset_from_index"], each["dataset_to_index"], each["length"]) for each in episodes] == [
        (0, 3, 3), (3, 5, 2), (5, 7, 2),
    ]  # fmt: skip
    assert [(each["person"], each["run_step"]) for each in episodes] == [("ada", 3), ("ada", 8), ("bob", 7)]
    tasks = pd.read_parquet(out / "meta/tasks.parquet")
    assert tasks.iloc[0].name == ENV and tasks.task_index.tolist() == [0]
    info = json.loads((out / "meta/info.json").read_text())
    assert (info["total_episodes"], info["total_frames"], info["fps"]) == (3, 7, 20)
    assert info["features"]["action"] == {"dtype": "float32", "shape": [1], "names": None}
    assert info["data_path"].format(chunk_index=0, file_index=0) == "data/chunk-000/file-000.parquet"
    statistics = json.loads((out / "meta/stats.json").read_text())
    assert statistics["action"]["mean"] == pytest.approx([np.mean([0.03, 0.04, 0.05, 0.08, 0.09, 0.07, 0.08])])


def test_minari_reads_what_led_where(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    out = tmp_path / "out"
    monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    assert export_demonstrations([*told(), acted(40)], out, "minari") == [2, 1, 1]  # one step leads nowhere
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(out))
    first, *_ = minari.load_dataset("heed/demonstrations-v0")
    assert first.observations.tolist() == np.float32([[0.3, 0], [0.4, 0], [0.5, 0]]).tolist()
    assert first.actions.tolist() == np.float32([[0.03], [0.04]]).tolist()
    assert first.truncations.tolist() == [False, True] and np.isnan(first.rewards).all()


def test_choices_are_numbers(tmp_path):
    (found,) = demonstrations([acted(1, instead=2), acted(2, instead=0)])
    assert found.actions.tolist() == [2, 0]
    export_demonstrations([acted(1, instead=2), acted(2, instead=0)], tmp_path / "out", "lerobot")
    frames = pq.read_table(tmp_path / "out/data/chunk-000/file-000.parquet").to_pydict()
    assert frames["action"] == [[2.0], [0.0]]


@pytest.mark.parametrize(
    ("judgements", "form", "wrong"),
    [
        ([], "lerobot", "nobody acted in the agent's place"),
        ([acted(1)], "minari", "nobody acted in the agent's place"),
        ([acted(1), acted(2, env="Other")], "lerobot", "of Other, heed/PointHazard-v0 make no one dataset"),
        ([acted(1)], "rlds", "'rlds' is no format"),
    ],
)
def test_what_is_no_dataset_is_one_line_and_writes_nothing(judgements, form, wrong, tmp_path):
    with pytest.raises(HeedError, match=wrong):
        export_demonstrations(judgements, tmp_path / "out", form)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path):
    with pytest.raises(HeedError, match="there is something already"):
        export_demonstrations([acted(1)], tmp_path, "lerobot")
    assert not list(tmp_path.iterdir())

"""What people did in the agent's place, written for LeRobot and Minari, and read back as those read it."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_a_place_that_is_named_from_here_is_where_it_lies(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.chdir(tmp_path)
    export_demonstrations(told(), Path("demos/first"), "minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", "demos/first")
    assert minari.load_dataset("heed/demonstrations-v0").total_steps == 4
    assert [each.name for each in Path("demos").iterdir()] == ["first"]  # nothing half made is left


def test_of_a_step_that_was_gone_through_again_the_latest_counts():
    verdict = Judgement("block", "ada", acted(5).shown, {"block": True}, run="walk-1")
    first = [acted(3), acted(4), acted(5), acted(6)]
    again = [acted(4, instead=[9.0]), verdict]  # after a resume ada acts once more, and then no longer
    found = demonstrations(first + again)
    assert [(each.start, each.actions.ravel().tolist()) for each in found] == [
        (3, np.float32([0.03, 9.0]).tolist()), (6, np.float32([0.06]).tolist()),
    ]  # fmt: skip


def test_choices_that_begin_below_nothing_have_their_place(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    export_demonstrations([acted(n, instead=n % 2 - 1) for n in range(1, 5)], tmp_path / "out", "minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "out"))
    dataset = minari.load_dataset("heed/demonstrations-v0")
    assert (dataset.action_space.start, dataset.action_space.n) == (-1, 2)
    assert next(iter(dataset)).actions.tolist() == [0, -1, 0]


def test_what_nobody_saw_leaves_statistics_that_every_reader_reads(tmp_path):
    unseen = acted(1)
    unseen.shown["observation"] = [None, 1.0]
    export_demonstrations([unseen], tmp_path / "out", "lerobot")
    strict = json.loads((tmp_path / "out/meta/stats.json").read_text(), parse_constant=pytest.fail)
    assert strict["observation.state"]["mean"] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("second", "wrong"),
    [
        (acted(2, instead=3), "no arrays of one size"),
        (
            Judgement("block", "ada", acted(2).shown | {"observation": {"a": 1}}, acted(2).verdict, run="walk-1"),
            "no arr",
        ),
    ],
)
def test_steps_that_are_no_arrays_are_one_line(second, wrong, tmp_path):
    with pytest.raises(HeedError, match=wrong):
        export_demonstrations([acted(1), second], tmp_path / "out", "lerobot")


def test_a_place_that_cannot_be_and_a_pace_that_is_none_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HeedError, match="it cannot be written"):
        export_demonstrations([acted(1)], tmp_path / "file" / "x", "lerobot")
    with pytest.raises(HeedError, match="0 steps in a second are no pace"):
        export_demonstrations([acted(1)], tmp_path / "out", "lerobot", fps=0)

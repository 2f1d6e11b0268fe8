"""The moving picture of a guard's blocks: it shows the file's futures, plan and steps, and stays small."""

import numpy as np
import pytest
from guard_runs import make_guard_run
from PIL import Image

from heed.cli.report import run as run_command
from heed.errors import HeedError
from heed.report.guard.moving_picture import (
    PIXELS,
    frames,
    parts,
    snapshots_of,
    telling,
    view_of,
    write_moving_picture,
)

RED, BLUE, GREEN, BLACK = (196, 38, 46), (63, 143, 208), (11, 107, 79), (29, 35, 40)
"""An unsafe step, a safe one, the plan, the agent and where it went."""


@pytest.fixture(scope="module")
def guard_run(tmp_path_factory):
    return make_guard_run(tmp_path_factory.mktemp("runs") / "mbhi")


@pytest.fixture(scope="module")
def moments(guard_run):
    with np.load(guard_run / "moments.npz") as stored:
        return dict(stored.items())


@pytest.fixture(scope="module")
def drawn(guard_run, moments):
    """The first kept block: what is drawn of it, where, and its frames with their parts."""
    (shown,), drawing = snapshots_of(guard_run, at=[int(moments["step"][0]) + 1])
    return shown, drawing, list(frames(shown, drawing))


def pixel(picture, place, shown, drawing):
    """The colour at a place of the scene."""
    left, top, width, _ = view_of(shown, drawing)
    x, y = ((np.asarray(place) - (left, top)) * PIXELS / width).round().astype(int)
    return picture.getpixel((int(x), int(y)))


def near(colour, other):
    return max(abs(a - b) for a, b in zip(colour, other, strict=True)) < 40


def test_the_futures_the_plan_and_the_way_that_are_drawn_are_the_files(drawn, moments):
    shown, drawing, _ = drawn
    np.testing.assert_allclose(shown.futures[3], drawing.project(moments["futures"][0][:, 1, 1].astype(float)))
    np.testing.assert_allclose(shown.plan, drawing.project(moments["plan_states"][0].astype(float).mean((1, 2))))
    np.testing.assert_allclose(shown.happened, drawing.project(moments["happened"][0].astype(float)))
    np.testing.assert_allclose(shown.danger[:, 2:] * moments["threshold"][0], 0.9)
    assert shown.unsafe == 4


def test_a_block_is_told_from_the_proposal_to_what_really_followed(drawn):
    shown, _, found = drawn
    told = [(part.fan, part.plan, part.happened) for _, part in found]
    steps = len(shown.happened) - 1
    assert told[:3] == [(0, None, None), (2, None, None), (4, None, None)]
    assert told[3:5] == [(4, 2, None), (4, 4, None)]
    assert told[5:] == [(4, 4, step) for step in range(1, steps + 1)]
    assert found[2][1].words[0] == "4 of 4 futures turn unsafe: blocked."


def test_unsafe_steps_are_red_safe_ones_blue_and_the_plan_leads_elsewhere(drawn):
    shown, drawing, found = drawn
    fanned, planned, over = found[2][0], found[4][0], found[-1][0]
    furthest = shown.futures[3]
    assert near(pixel(fanned, furthest[-1], shown, drawing), RED)
    assert near(pixel(fanned, furthest[1], shown, drawing), BLUE)
    assert not near(pixel(fanned, shown.plan[3], shown, drawing), GREEN)
    assert near(pixel(planned, shown.plan[3], shown, drawing), GREEN)
    assert near(pixel(planned, shown.happened[0], shown, drawing), BLACK)
    assert near(pixel(over, shown.happened[-1], shown, drawing), BLACK)


def test_everything_that_is_drawn_lies_in_the_view_unless_it_has_left_the_scene(drawn):
    shown, drawing, _ = drawn
    left, top, width, height = view_of(shown, drawing)
    places = np.concatenate([shown.plan, shown.happened])
    assert (places >= (left, top)).all() and (places <= (left + width, top + height)).all()
    assert height / width == pytest.approx(drawing.height / 1200)


@pytest.mark.parametrize("ending", ["gif", "png"])
def test_the_file_holds_every_frame_and_stays_below_a_megabyte(guard_run, moments, drawn, tmp_path, ending):
    step = int(moments["step"][0]) + 1
    file = write_moving_picture(guard_run, tmp_path / f"guard.{ending}", at=[step])
    with Image.open(file) as picture:
        assert picture.n_frames == len(drawn[2]) == len(parts(drawn[0]))
        assert picture.info["loop"] == 0
        assert picture.size == (PIXELS, drawn[2][0][0].height)
        first = np.asarray(picture.convert("RGB"), np.float64)
    last = np.asarray(drawn[2][-1][0], np.float64)
    assert np.abs(first - last).mean() < 3, "where nothing moves, the end of a block is seen"
    assert file.stat().st_size < 1_000_000


def test_what_tells_most_is_one_block_of_an_episode_with_danger_that_a_plan_avoids(guard_run, moments):
    shown, _ = snapshots_of(guard_run, at=(moments["step"] + 1).tolist())
    harmless = [type(each)(each.futures, each.danger * 0, each.plan, each.happened) for each in shown]
    assert telling(harmless, moments["episode"].tolist(), 3) == []
    chosen = telling(shown, moments["episode"].tolist(), 3)
    assert chosen == sorted(chosen) and len({int(moments["episode"][index]) for index in chosen}) == len(chosen) == 3


def test_the_command_writes_the_file_and_says_where(guard_run, moments, tmp_path, capsys):
    file = tmp_path / "guard.gif"
    run_command([str(guard_run), "--picture", str(file), "--at", ",".join(map(str, moments["step"][:2] + 1))])
    assert capsys.readouterr().out == f"{file}\n"
    assert file.read_bytes()[:6] == b"GIF89a"


def test_what_cannot_be_drawn_is_told_in_one_line(guard_run, tmp_path):
    with pytest.raises(HeedError, match=r"no block of step 1 was kept \(--at\): take some of 6"):
        write_moving_picture(guard_run, tmp_path / "guard.gif", at=[1])
    with pytest.raises(HeedError, match=r"take \.gif or \.png"):
        write_moving_picture(guard_run, tmp_path / "guard.mp4")
    with pytest.raises(HeedError, match="are no steps"):
        run_command([str(guard_run), "--picture", str(tmp_path / "guard.gif"), "--at", "first"])
    with pytest.raises(HeedError, match="cannot be written"):
        write_moving_picture(guard_run, tmp_path / "nowhere" / "guard.gif")


def test_a_run_without_a_plan_has_no_moving_picture(tmp_path):
    run = make_guard_run(tmp_path / "run")
    (run / "moments.npz").unlink()
    with pytest.raises(HeedError, match="no block of this run was answered by a plan"):
        write_moving_picture(run, tmp_path / "guard.gif")

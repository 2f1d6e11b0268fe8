"""Snapshots of blocks as pictures and captions: what was imagined, executed, and what followed."""

import re

import numpy as np
import pytest
from guard_runs import make_guard_run

from heed.report import gather
from heed.report.guard.scene import scenery
from heed.report.guard.snapshots import read_snapshots, snapshot_caption, snapshot_picture, snapshots_block


@pytest.fixture(scope="module")
def guard_run(tmp_path_factory):
    return make_guard_run(tmp_path_factory.mktemp("runs") / "mbhi")


@pytest.fixture
def own_run(tmp_path):
    return make_guard_run(tmp_path / "run")


def test_a_scene_shows_futures_danger_plan_and_what_followed_in_the_arenas_coordinates(guard_run):
    kept = read_snapshots(guard_run)
    number = kept["step"].tolist().index(610)
    drawing = scenery("heed/PointHazard-v0", {}, [], None)
    svg = snapshot_picture(kept, number, drawing)
    lines = re.findall(r'<polyline class="(.*?)" data-from="(\d)" points="(.*?)"/>', svg)
    assert drawing.height == round(6.5 * 1200 / 8.5)

    def points(places):
        return " ".join(f"{(x + 4.25) * 1200 / 8.5:.0f},{(3.25 - y) * 1200 / 8.5:.0f}" for x, y in places)

    x = -3 + 0.02 * 10
    futures = [
        (f"future m{e}", "0", points([(x + pace * t, 0.5) for t in range(5)]))
        for e, pace in ((0, 0.1), (0, 0.2), (1, 0.3), (1, 0.4))
    ]
    unsafe = [("unsafe", "2", points([(x + pace * t, 0.5) for t in range(2, 5)])) for pace in (0.1, 0.2, 0.3, 0.4)]
    plan = ("plan", "0", points([(x, 0.5 + 0.1 * t) for t in range(5)]))
    happened = ("happened", "0", points([(x + 0.02 * t, 0.5) for t in range(21)]))
    assert lines == [*unsafe, *futures, plan, happened]


def test_a_scene_says_what_was_proposed_seen_and_done(guard_run):
    kept = read_snapshots(guard_run)
    assert snapshot_caption(kept, kept["step"].tolist().index(610)) == (
        "Step 611, episode 13. Proposed: (1, 0), risk 0.90 where less than 0.31 was let pass, unsafe 3 steps ahead. "
        "Executed: (−0.5, 0.25), the planner's."
    )
    assert "the fallback, as no safe plan was found" in snapshot_caption(kept, kept["step"].tolist().index(620))


def test_a_guard_that_looks_at_no_future_is_not_shown_to_imagine_one(own_run):
    kept = read_snapshots(own_run)
    kept["futures"] = np.repeat(kept["states"][:, None, None, None], 2, axis=1)
    kept |= {"danger": kept["danger"][:, -1:, :1, :1], "plan_states": np.zeros((40, 0))}
    np.savez(own_run / "moments.npz", **kept)
    block = snapshots_block(gather(own_run))
    assert "This guard imagines no future: it judges the present state and action alone." in block.caption
    assert [key.label for key in block.key] == ["what followed"] and "Strong line" not in block.caption
    for scene in block.scenes:
        assert "ahead" not in scene.caption
        assert re.findall('class="(.*?)"', scene.picture) == ["happened", "start"]


def test_an_environment_without_a_map_is_drawn_in_the_variables_that_catastrophes_depend_on(tmp_path):
    block = snapshots_block(gather(make_guard_run(tmp_path / "run", env="CartPole-v1")))
    assert "Across: position, m; up: tilt, rad: the two state variables which catastrophes depend on." in block.caption
    block = snapshots_block(gather(make_guard_run(tmp_path / "other", env="mine:Robot")))
    assert (
        "Across: state[0]; up: state[1]: the two state variables which vary most." in block.caption
    )  # the plan goes up

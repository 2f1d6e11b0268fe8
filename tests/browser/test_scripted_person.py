"""Who blocks through the page trains the same blockers as an overseer within the process: the very same run."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from scripted_person import ScriptedPerson

from heed.guard.run.build import fitting
from heed.guard.run.config import job_of
from heed.guard.run.train import train_guard
from heed.oversight.control.desk import Desk
from heed.oversight.control.records import Pace
from heed.oversight.overseers.base import Scope
from heed.oversight.overseers.human import HumanOverseer
from heed.web.people import People
from heed.web.serving import serving
from heed.web.watch import WatchServer
from heed.worlds.point_hazard.geometry import Hazards, advance, hits

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]
AS_DUE = {"gate": 1.0, "needless": 1.0}  # hand over after `oversight_steps`, whatever the agreement
SAME = {"env": "heed/PointHazard-v0", "ask_above": 1.0, "audit": 0.0, "evaluation_episodes": 0}


def at_the_last_moment(observation, action):
    """Whether the very next state would be a catastrophe, as `heed.oversight.LocalOverseer` asks."""
    return bool(hits(advance(np.array(observation), np.array(action), Hazards()), Hazards()))


def through_the_page(browser, job, out):
    """Train with a scripted person before a page; the summary."""
    overseer, people = HumanOverseer(Desk(Pace(glance=0.0))), People.named(["ada"])
    found = []
    training = threading.Thread(target=lambda: found.append(train_guard(job, out, person=overseer)), daemon=True)
    with serving(WatchServer(overseer, people, job.env).app) as address:
        page = browser.new_page()
        person = ScriptedPerson(page, at_the_last_moment, looks_s=0.0)
        page.goto(f"{address}/#token={people.token_of('ada')}")
        page.wait_for_selector("#state[data-state='paused']")
        training.start()
        person.judge(lambda: training.is_alive() and not overseer.desk.alone)
        training.join()
        page.close()
    return found[0], person


def decisions(folder):
    table = pq.read_table(folder / "decisions.parquet")
    return table.select(["phase", "decision", "proposed", "executed", "catastrophe"])


def compare(browser, folder, seed, settings):
    """Both ways of judging, with one seed; the summaries, the person and the labels."""
    asked = SAME | settings | {"seed": seed}
    within = train_guard(job_of(asked | {"overseer": "local"}), folder / "within")
    job = job_of(asked | {"env_kwargs": {"render_mode": "rgb_array"}, "overseer": "browser"})
    job.models = fitting(Scope(last_moment=True), job.models)  # as for the overseer within the process
    job.phases = replace(job.phases, background=False)  # so that both repeat to the last bit
    shown, person = through_the_page(browser, job, folder / "page")
    labels = [np.load(folder / name / "labels.npz") for name in ("within", "page")]
    return within, shown, person, labels


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"steps": 500, "oversight_steps": 400, "eps": 0.5, "cap": 0.5} | AS_DUE, id="short"),
        pytest.param({"steps": 10_000}, id="whole", marks=pytest.mark.slow),
    ],
)
def test_a_person_at_the_page_trains_the_blockers_that_the_overseer_trains(browser, tmp_path, settings):
    within, shown, person, labels = compare(browser, tmp_path, 70, settings)
    print(f"within the process {within['catastrophes']}, through the page {shown['catastrophes']}")
    assert person.pressed == shown["judgements"] == within["judgements"]
    assert shown["handed_over_at"] == within["handed_over_at"] is not None
    for name in labels[0].files:
        np.testing.assert_array_equal(labels[0][name], labels[1][name])
    assert decisions(tmp_path / "page").equals(decisions(tmp_path / "within"))
    assert shown["catastrophes"] == within["catastrophes"]
    assert int(labels[0]["blocked"].sum()) > 0

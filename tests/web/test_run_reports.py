"""Reports of a run: made when it has moved on, one at a time, and not too often."""

from __future__ import annotations

import threading

from run_room import begin, log

from heed.web.run_reports import Reports
from heed.web.run_view import RunView


def test_a_report_is_made_again_only_when_the_run_moved_and_not_too_often(tmp_path):
    now, made = [0.0], []

    def report(folder):
        made.append(now[0])
        return f"report {len(made)}"

    view = RunView(begin(tmp_path / "run"))
    reports = Reports(report, every=30.0, clock=lambda: now[0])
    assert reports.of(view).page == "report 1"
    now[0] = 100.0
    assert reports.of(view).page == "report 1"  # nothing has changed
    log(view.folder, {"step": 1, "kl": 1.0})
    assert reports.of(view).page == "report 2"
    log(view.folder, {"step": 2, "kl": 1.0})
    now[0] = 129.0
    assert reports.of(view).page == "report 2"  # too soon
    now[0] = 130.0
    assert reports.of(view).page == "report 3"
    assert made == [0.0, 100.0, 130.0]


def test_one_report_is_made_at_a_time(tmp_path):
    begun, going_on, count = threading.Event(), threading.Event(), []

    def report(folder):
        count.append(folder.name)
        begun.set()
        assert going_on.wait(10)
        return "the report"

    reports, view, found = Reports(report), RunView(begin(tmp_path / "run")), []
    threads = [threading.Thread(target=lambda: found.append(reports.of(view).page)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    going_on.set()
    for thread in threads:
        thread.join(10)
    assert found == ["the report"] * 3 and count == ["run"]

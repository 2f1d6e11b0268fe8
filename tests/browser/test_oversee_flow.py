"""From a person's keys to an agent that acts by itself, in one command: LunarLander, to the hand-over and beyond."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from scripted_person import ScriptedPerson
from waiting import says

from heed.guard.models.calibration import Threshold
from heed.oversight.store.store import Store
from heed.worlds.lunar_lander.rules import dangerous

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
STEPS, OVERSEEN = 460, 400
COMMAND = ["oversee", "--env", "LunarLander-v3", "--env-kwargs", '{"continuous": true}', "--people", "ada"]
COMMAND += ["--port", "0", "--steps", str(STEPS), "--oversight-steps", str(OVERSEEN), "--gate", "1"]
COMMAND += ["--needless", "1", "--audit", "0", "--ask-above", "1"]  # handed over when due, and never asked again
COMMAND += ["--ask-after", "0"]
COMMAND += ["--evaluation-episodes", "0"]
COMMAND += ["--background", "false"]  # so that the step of the hand-over does not hang on how fast this machine fits


def test_a_person_lands_the_lander_until_it_may_fly_by_itself(browser, tmp_path):
    command = [sys.executable, "-m", "heed", *COMMAND, "--out", str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if found := re.search(r"http://\S+", "".join(lines).replace("\n", "")):
                    break
            else:
                pytest.fail(f"no address: {''.join(lines)}")
            page = browser.new_page()
            person = ScriptedPerson(page, lambda observation, _: dangerous(observation))
            page.goto(found.group())
            page.wait_for_selector("body[data-proposal]")
            person.judge(lambda: person.pressed < OVERSEEN and process.poll() is None)
            said, _ = process.communicate(timeout=600)
        finally:
            process.kill()
    assert process.returncode == 0, said
    says(page, "#state", f"the run is over: {STEPS} steps: ")
    assert page.inner_text("#state").endswith(f"its report is {tmp_path / 'run' / 'report.html'}")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["handed_over_at"], summary["completed"]) == (OVERSEEN, True)
    fit = summary["fits"][0]
    rank = fit["promise"] * (fit["blocks"] + 1)  # every block is unseen by one of the blockers
    assert rank == pytest.approx(round(rank))
    assert Threshold(fit["threshold"], fit["promise"], fit["blocks"], round(rank)).miss_bound() < 0.35
    store = Store(f"sqlite:///{tmp_path / 'run' / 'judgements.db'}")
    given = store.effective("block", "ada")
    store.close()
    assert len(given) == OVERSEEN
    labels = [judgement for judgement in given if not judgement.verdict.get("glimpsed")]
    assert summary["judgements"] == len(labels) > 0.95 * OVERSEEN  # a busy server may hear late what was in view
    assert all(judgement.verdict["block"] == dangerous(judgement.shown["observation"]) for judgement in given)
    assert 30 < sum(judgement.verdict["block"] for judgement in given) < OVERSEEN
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000

"""Ctrl-C ends a run with a whole checkpoint; going on gives what would have been."""

import os
import re
import signal
import subprocess
import sys

import pytest
from engineer import QUICK

from heed.cli import console
from heed.compare import front as front_module
from heed.runs.folder import RunFolder
from tiny_runs import metrics, run_all_here, tiny_flags

OWN = ["--model", "model", "--data", "prompts.jsonl", "--objectives", "rewards:brevity", "rewards:by_topic", *QUICK]


def begin(desk, *arguments):
    """A command in a process of its own, as a person starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "heed", *arguments],
        cwd=desk,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def interrupted_at(process, pattern):
    """Send the terminal's Ctrl-C, to all its processes, once a line like this was said."""
    said = ""
    for line in process.stderr:
        said += line
        if re.match(pattern, line):
            os.killpg(process.pid, signal.SIGINT)
            break
    out, rest = process.communicate(timeout=300)
    return process.returncode, out, said + rest


def test_ctrl_c_keeps_a_whole_checkpoint_and_resume_completes_the_run(desk, heed):
    steps = ["--steps", "400", "--checkpoint-every", "400", "--eval-every", "0"]
    code, out, err = interrupted_at(begin(desk, "align", *OWN, *steps, "--out", "run"), "align: 1/400")
    assert code == 130 and out == "" and "Traceback" not in err, err
    assert "go on with: heed align --resume run" in err
    checkpoint = RunFolder.open(desk / "run", writable=False).latest_checkpoint()
    stopped_at = int(checkpoint.name.removeprefix("step-"))
    assert 0 < stopped_at < 400
    assert [line["step"] for line in metrics(desk / "run")] == list(range(stopped_at + 1))


@pytest.mark.parametrize("at", [1, 3])
def test_a_run_that_was_interrupted_equals_the_one_that_was_not(desk, heed, monkeypatch, at):
    """In one process: the signal arrives in the middle of a round."""
    before = signal.getsignal(signal.SIGINT)  # a shell's background jobs are started deaf to it
    steps = ["--steps", "4", "--checkpoint-every", "9"]
    assert heed("align", *OWN, *steps, "--out", "straight")[0] == 0
    shown = console.Bar.show

    def interrupting(bar, name, done, total, numbers=""):
        shown(bar, name, done, total, numbers)
        if (name, done) == ("align", at):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(console.Bar, "show", interrupting)
    code, out, err = heed("align", *OWN, *steps, "--out", "run")
    assert (code, out) == (130, "") and f"stopped at round {at}; go on with: heed align --resume run" in err
    monkeypatch.setattr(console.Bar, "show", shown)
    assert signal.getsignal(signal.SIGINT) is before
    code, out, err = heed("align", "--resume", "run")
    assert (code, out.strip()) == (0, "run/report.html"), err
    assert metrics(desk / "run") == metrics(desk / "straight")
    files = [desk / run / "checkpoints" / "step-4" / "adapter_model.safetensors" for run in ("run", "straight")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_second_ctrl_c_stops_at_once_without_a_traceback(desk, heed, monkeypatch):
    def twice(*_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(console.Bar, "show", twice)
    code, _, err = heed("align", *OWN, "--out", "run")
    assert code == 130 and err.splitlines()[-1] == "heed: error: interrupted; what was written last stands"
    assert RunFolder.open(desk / "run", writable=False).latest_checkpoint().name == "step-1"


def test_ctrl_c_on_a_front_ends_all_runs_and_resume_completes_it(desk, heed, heed_cache, monkeypatch):
    flags = [*tiny_flags(steps=40, checkpoint_every=40), "--methods", "linear", "--preferences", "2"]
    process = begin(desk, "front", *flags, "--workers", "1", "--out", "front")
    code, out, err = interrupted_at(process, "rounds: [1-9]")
    assert code == 130 and out == "" and "Traceback" not in err, err
    assert "stopped; go on with: heed front --resume front" in err
    assert "seeds: 1 -> 2" in heed.refused("front", "--resume", "front", "--seeds", "2")
    monkeypatch.setattr(front_module, "run_all", run_all_here)
    code, out, err = heed("front", "--resume", "front")
    assert (code, out.splitlines()[-1]) == (0, "front/report.html"), err
    assert out.startswith("| method | staircase") and "| linear at 0.1, 0.9 |" in out
    for run in ("linear-0.1-0.9-seed0", "linear-0.9-0.1-seed0"):
        assert [line["step"] for line in metrics(desk / "front" / "runs" / run)] == list(range(41))
    assert "hull, reference 1" in out

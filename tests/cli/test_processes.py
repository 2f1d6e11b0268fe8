"""torchrun starts heed align in two processes: one run folder, one page, one voice."""

import json
import os
import subprocess
import sys

from engineer import QUICK

from tiny_runs import metrics

OWN = ["--model", "model", "--data", "prompts.jsonl", "--objectives", "rewards:brevity", "rewards:by_topic", *QUICK]


def torchrun(desk, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, "-m", "heed", "align", *arguments],
        cwd=desk,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_two_processes_train_one_policy_and_the_first_alone_tells(desk):
    done = torchrun(desk, *OWN, "--out", "run")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["run/report.html"]
    assert done.stderr.count("align: 2/2") == done.stderr.count("adapter: ") == 1
    assert "destroy_process_group" not in done.stderr
    assert [line["step"] for line in metrics(desk / "run")] == [0, 1, 2]
    assert json.loads((desk / "run" / "summary.json").read_text())["completed"] is True

"""The script of all GPU checks: each has its time, one that fails lets the others run, and the status tells."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"
CHECKS = ["tests", "gradients-checkpointing", "gradients-plain", "step", "generate", "vocabulary"]
PYTHON = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
    *"bench step"*) echo "there is no such shape" >&2; exit "$STEP" ;;
    "- "*) cat > /dev/null; echo "table of $4"; [ -s "$2" ] ;;
    *) echo "{}" ;;
esac
"""
TIMEOUT = """#!/bin/sh
echo "$2" >> "$LIMITS"
shift 2
exec "$@"
"""


def run(folder, device, step):
    """Run the script with an interpreter that only says what it was asked for; `step` is its bench's exit status."""
    for name, text in (("python", PYTHON), ("timeout", TIMEOUT)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    own = {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHON": str(folder / "python"), "HEED_DEVICE": device}
    own |= {"OUT": str(folder / "out"), "CALLS": str(folder / "calls"), "LIMITS": str(folder / "limits")}
    done = subprocess.run([SCRIPT], env=os.environ | own | {"STEP": str(step)}, capture_output=True, text=True)
    return done, (folder / "calls").read_text().splitlines(), [*map(int, (folder / "limits").read_text().split())]


@pytest.mark.parametrize(("device", "most"), [("cuda", 600), ("cpu", 300)])
def test_all_limits_together_are_under_ten_minutes_and_on_the_cpu_five(tmp_path, device, most):
    done, calls, limits = run(tmp_path, device, step=0)
    assert done.returncode == 0 and len(limits) == len(CHECKS) and sum(limits) < most
    benches = [call for call in calls if "heed bench" in call]
    assert len(benches) == 4 and all(call.endswith(f"--device {device} --json") for call in benches)
    assert {path.name for path in (tmp_path / "out").glob("*.json")} == {f"{name}.json" for name in CHECKS[1:]}


def test_one_that_fails_lets_the_others_run_and_the_status_tells(tmp_path):
    done, _, _ = run(tmp_path, "cuda", step=3)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("==")] == [f"== {name}" for name in CHECKS]
    assert [line for line in lines if line.startswith("table")] == [
        *["table of gradient_table"] * 2,
        "table of step_table",
        "table of generate_table",
    ]
    assert "there is no such shape" in lines  # the last of what it said
    assert lines[-1] == "failed: step (status 3)"

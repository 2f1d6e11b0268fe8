"""Kill a small guarded run many times at random steps, resume it each time, and finish it.

    python tests/guard/kill_runs.py OUT KILLS SEED [CHANGES]

Each part is a process of its own, forked from this one, which has imported everything, and ended by SIGKILL amidst
a step. CHANGES are settings over those of `kept_runs`, as JSON.
"""

import json
import os
import random
import signal
import sys
from pathlib import Path

import torch
from kept_runs import small_job

from heed.guard.run.train import resume_guard, train_guard


def part(out: Path, changes: dict, steps: int) -> None:
    """Go on with the run, or begin it, and die in the midst of the so-manieth step from here; 0 goes on to the end."""
    done = 0

    def on_step(step, metrics):
        nonlocal done
        done += 1
        if done == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    if (out / "config.yaml").exists():
        resume_guard(out, on_step)
    else:
        train_guard(small_job(**changes), out, on_step)


def forked(out: Path, changes: dict, steps: int) -> int:
    """The signal or exit status of a part in a process of its own."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            part(out, changes, steps)
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Do it, and print after each part that was killed how many were, and which checkpoints there are."""
    out, kills, drawn = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    changes = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    killed = 0
    while killed < kills and forked(out, changes, drawn.randint(1, 14)) == -signal.SIGKILL:
        killed += 1
        print(killed, *sorted(path.name for path in out.glob("checkpoints/step-*")), flush=True)
    finished = json.loads((out / "summary.json").read_text())["completed"]
    assert finished or forked(out, changes, 0) == 0


if __name__ == "__main__":
    main()

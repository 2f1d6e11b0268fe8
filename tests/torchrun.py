"""A script in two processes under torchrun, as users start them."""

import os
import subprocess
import sys
from pathlib import Path

import torch


def two_processes(script: Path, folder: Path, seconds: float) -> list:
    """What each of the two wrote into ``rank-N.pt`` of the folder, which the script is given; it must end well."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    paths = os.pathsep.join([str(script.parent), *sys.path])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    command += [str(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=seconds)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1)]

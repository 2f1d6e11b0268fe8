"""heed doctor: what is installed here, and whether it works together."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import heed
from heed.align.run.apothecary import cache_folder
from heed.balance import METHODS, weighting_from_name
from heed.cli.command import Command
from heed.errors import HeedError

PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "torchjd", "moocore", "numpy", "scipy")


def run(arguments: Sequence[str]) -> None:
    """Parse, look, print; exits with 1 where something does not work."""
    Command("doctor", "Tell what is installed and whether it works together.").parse(arguments)
    print(f"heed {heed.__version__}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    faults = 0
    for name in PACKAGES:
        try:
            print(f"  {name} {version(name)}")
        except PackageNotFoundError:
            faults += 1
            print(f"  {name} is missing: pip install heed")
    if torch.cuda.is_available():
        print(f"  GPU: {torch.cuda.get_device_name()}, {torch.cuda.mem_get_info()[1] / 2**30:.0f} GiB")
    else:
        print("  no CUDA GPU: everything runs on the CPU")
    print(f"  threads: {torch.get_num_threads()} (beside another busy process set OMP_NUM_THREADS=1)")
    print("  weightings: " + ", ".join(_weighting(name) for name in METHODS))
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            print(f"  prepared worlds are kept in {folder} ({_size(folder)})")
    except OSError as error:
        faults += 1
        print(f"  {folder} cannot be written ({error.strerror}): set HEED_CACHE to a folder that can")
    if faults:
        raise SystemExit(1)


def _weighting(name: str) -> str:
    options: dict[str, Any] = {"preference": [0.5, 0.5]} if name in ("pgapo", "tchebycheff") else {}
    if name == "tchebycheff":
        options |= {"ideal": [1.0, 1.0], "nadir": [0.0, 0.0]}
    try:
        weighting_from_name(name, 2, **options)
    except HeedError:
        return f"{name} (needs pip install heed[weightings])"
    return name


def _size(folder: Path) -> str:
    return f"{sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()) / 2**20:.0f} MB"

"""heed doctor: what is installed here, room by room, and whether it works together; tried, not guessed."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import heed
from heed._extras import BASE, EXTRAS, missing_from
from heed.balance import METHODS, weighting_from_name
from heed.errors import HeedError


def run(arguments: Sequence[str]) -> None:
    """Parse, look, print; exits with 1 where something that is installed does not work."""
    about = "Tell what is installed, room by room, and whether it works together."
    _, unknown = argparse.ArgumentParser(prog="heed doctor", description=about).parse_known_args(arguments)
    if unknown:
        raise HeedError(f"there is no option {' '.join(unknown)}", "heed doctor", "leave it out")
    import torch  # once it is asked for, so that --help answers at once

    print(f"heed {heed.__version__}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    for extra in EXTRAS:
        print(f"  {extra if extra != BASE else 'balance'}: {_state(extra)}")
    if torch.cuda.is_available():
        print(f"  GPU: {torch.cuda.get_device_name()}, {torch.cuda.mem_get_info()[1] / 2**30:.0f} GiB")
    else:
        print("  no CUDA GPU: everything runs on the CPU")
    print(f"  threads: {torch.get_num_threads()} (beside another busy process set OMP_NUM_THREADS=1)")
    print("  weightings: " + ", ".join(_weighting(name) for name in METHODS))
    works = bool(missing_from("align")) or _keeps_worlds()
    if not missing_from("guard"):
        from heed.cli.doctor import guarding  # for those who guard

        works = guarding.works() and works
    if not works:
        raise SystemExit(1)


def _keeps_worlds() -> bool:
    """Say where prepared worlds are kept, and whether they can be."""
    from heed.align.run.apothecary import cache_folder  # for those who align

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            print(f"  prepared worlds are kept in {folder} ({_size(folder)})")
    except OSError as error:
        print(f"  {folder} cannot be written ({error.strerror}): set HEED_CACHE to a folder that can")
        return False
    return True


def _state(extra: str) -> str:
    """The versions of what an extra brings, or what it lacks and how to install that."""
    missing = missing_from(extra)
    if not missing:
        return ", ".join(f"{package} {version(package)}" for package in EXTRAS[extra])
    whole = set(EXTRAS[extra]) <= set(missing)
    return ("not installed" if whole else "no " + ", no ".join(missing)) + f": pip install 'heed[{extra}]'"


def _weighting(name: str) -> str:
    try:
        weighting_from_name(name, 2)
    except HeedError as error:  # others lack but a setting, such as a preference
        return f"{name} (needs {error.fix})" if error.fix.startswith("pip install") else name
    return name


def _size(folder: Path) -> str:
    return f"{sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()) / 2**20:.0f} MB"

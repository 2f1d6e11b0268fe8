"""heed demo --real: a real model aligned to people's judgements, by several methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heed.cli.command import out_folder
from heed.cli.compare import following
from heed.cli.console import say
from heed.compare.tables import format_table
from heed.errors import HeedError

OF_WORLDS = ("steps", "guard_steps")
"""Flags of the demonstration on worlds alone."""


def run_real_demo(asked: Mapping[str, Any]) -> None:
    """Run what was asked for, print the table and where its page is.

    Args:
        asked: the flags that were given, by name.
    """
    from heed.compare.real.experiment import run_real  # what reads judgements is for those who want it

    for name in OF_WORLDS:
        if name in asked:
            raise HeedError("a real model's numbers are those of its size", f"--{name}", "leave it out, or give --size")
    if "quick" in asked and "size" in asked:
        raise HeedError("the size is given twice", "--quick, --size", "give one of them")
    resumed = "resume" in asked
    if resumed and "out" in asked:
        raise HeedError("a demonstration that goes on stays where it is", "--out", "give one of --out and --resume")
    size = "quick" if "quick" in asked else asked.get("size")
    out = Path(asked["resume"]) if resumed else out_folder(asked.get("out"), "demo-real")
    given = (size, asked.get("model"), asked.get("data"), asked.get("seed"))
    with following("demo --real", out) as (show, prepare):
        real = run_real(out, *given, prepare, show, resumed)
    for name, told in real["judges"].items():
        share, longer = f"{told['share']:.0%}", f"{told['longer']:.0%}"
        say(f"judge {name}: agrees with {share} of {told['of']} comparisons, length with {longer}")
    print(format_table(real["table"]))
    print(out / "report.html")

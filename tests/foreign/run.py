"""Run the guard where it has never been, as a user would: `heed guard` with one's own environment and overseer.

python tests/foreign/run.py FOLDER [--only boat,room] [--methods mbhi,hirl,none,mbhi-true]
                            [--overseers last-moment,in-time] [--seeds 3] [--steps 8000] [--workers 2] [--again]
python tests/foreign/run.py table [FOLDER] [--steps 8000]
python tests/foreign/run.py keep FOLDER

All settings are heed's defaults but the number of steps, that no episodes are evaluated afterwards, and that an
overseer may take a minute, however busy the machine is. What is finished is not run again, so that the first may be
stopped and repeated, nor is what results.jsonl keeps from other machines, unless --again; the second prints the table
of what is there, the third keeps it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import heed
from foreign.results import STEPS, Came, commit, in_folder, keep, kept, of_folder, stamp
from foreign.table import printed, rows_of
from foreign.ten import METHODS, OVERSEERS, TEN, Foreign, folder_name

TESTS, MOST_WORKERS = Path(__file__).parents[1], 2


@dataclass(frozen=True)
class Run:
    """One run.

    Args:
        foreign: where.
        overseer: a kind.
        method: as `heed guard` names it.
        seed: of the run.
    """

    foreign: Foreign
    overseer: str
    method: str
    seed: int

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return folder_name(self.foreign.name, self.overseer, self.method, self.seed)

    def arguments(self, folder: Path, steps: int) -> list[str]:
        """What `heed guard` is told."""
        told = {
            "env": self.foreign.env,
            "catastrophe": self.foreign.catastrophe,
            "overseer": self.foreign.overseer(self.overseer),
            "method": self.method,
            "steps": steps,
            "seed": self.seed,
            "evaluation_episodes": 0,
            "overseer_timeout": 60,
            "out": folder,
        }
        return [part for name, value in told.items() for part in (f"--{name}", str(value))]


def wanted(only: Sequence[str], methods: Sequence[str], overseers: Sequence[str], seeds: int) -> Iterator[Run]:
    """The runs, seed by seed, so that a table of what is there compares like with like."""
    for seed in range(seeds):
        for foreign in TEN:
            for method in methods:
                if foreign.name not in only or (method == "mbhi-true" and not foreign.true_parts):
                    continue
                for kind in overseers[:1] if method == "none" else overseers:  # without a guard nobody oversees
                    yield Run(foreign, kind, method, seed)


def run(one: Run, out: Path, steps: int) -> bool:
    """Make a run that is not finished; whether it is now. What was stopped stays beside it."""
    folder = out / one.folder
    if finished(folder, steps):
        return True
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.stopped-{len(list(out.glob(f'{folder.name}.stopped-*'))) + 1}"))
    sources = Path(heed.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{sources}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "heed", "guard", *one.arguments(folder, steps)]
    stamp(out, folder.name).write_text(commit())
    with (out / f"{folder.name}.log").open("w") as log:
        subprocess.run(command, env=environment, stdout=log, stderr=log, check=False)
    print(f"{folder.name}: {'finished' if finished(folder, steps) else f'failed, see {folder.name}.log'}", flush=True)
    return finished(folder, steps)


def finished(folder: Path, steps: int) -> bool:
    """Whether a folder holds a finished run of so many steps."""
    came = of_folder(folder)
    return came is not None and came.steps == steps


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, or print the table; 1 if a run failed."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] in (["table"], ["keep"]):
        parser = argparse.ArgumentParser(prog=f"run.py {given[0]}")
        parser.add_argument("folder", type=Path, nargs=None if given[0] == "keep" else "?")
        parser.add_argument("--steps", type=int, default=STEPS)
        told = parser.parse_args(given[1:])
        found = in_folder(told.folder, told.steps) if told.folder else {}
        if given[0] == "keep":
            keep(found)
        print(printed(rows_of(_of_length(kept(), told.steps) | found)))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [foreign.name for foreign in TEN]
    parser.add_argument("folder", type=Path)
    for option, known in (("only", names), ("methods", METHODS), ("overseers", OVERSEERS)):
        parser.add_argument(f"--{option}", type=_list_of(known), default=list(known))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--workers", type=int, default=MOST_WORKERS, choices=range(1, MOST_WORKERS + 1))
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args(given)
    asked.folder.mkdir(parents=True, exist_ok=True)
    there = {} if asked.again else _of_length(kept(), asked.steps)
    runs = [one for one in wanted(asked.only, asked.methods, asked.overseers, asked.seeds) if one.folder not in there]
    with ThreadPoolExecutor(asked.workers) as pool:
        done = list(pool.map(lambda one: run(one, asked.folder, asked.steps), runs))
    print(printed(rows_of(there | in_folder(asked.folder, asked.steps))))
    return 0 if all(done) else 1


def _of_length(runs: Mapping[str, Came], steps: int) -> dict[str, Came]:
    return {name: came for name, came in runs.items() if came.steps == steps}


def _list_of(known: Sequence[str]) -> object:
    def read(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {name!r}; take {', '.join(known)}")
        return names

    return read


if __name__ == "__main__":
    raise SystemExit(main())

"""Flags over YAML over a world's settings over a preset over the defaults: one flat dictionary of settings."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from heed.align.config import AlignConfig
from heed.align.job import AlignJob, defaults
from heed.errors import HeedError
from heed.runs.config import read_yaml

QUICK = {"steps": 8, "eval_every": 0, "eval_completions": 1, "checkpoint_every": 8}
"""What --quick changes: a run of seconds that touches everything and shows nothing."""


def numbers(text: str | list[float]) -> list[float]:
    """Numbers with commas between; a list stays itself.

    >>> numbers(".7,.3")
    [0.7, 0.3]
    """
    if not isinstance(text, str):
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentTypeError(f"'{text}' is not a list of numbers such as .7,.3") from None


def words(text: str | list[str]) -> list[str]:
    """Words with commas between; a list stays itself.

    >>> words("gapo:p=1,mgda")
    ['gapo:p=1', 'mgda']
    """
    return [part for part in text.split(",") if part] if isinstance(text, str) else text


class Command:
    """One command's parser.

    Args:
        name: the command.
        description: one sentence.
    """

    def __init__(self, name: str, description: str) -> None:
        self.parser = ArgumentParser(prog=f"heed {name}", description=description, exit_on_error=False)

    def add(self, *names: str, **options: Any) -> None:
        """Add one option."""
        self.parser.add_argument(*names, **options)

    def parse(self, arguments: Sequence[str]) -> Namespace:
        """Read the arguments; ``--some-flag`` and ``--some_flag`` are the same.

        Raises:
            HeedError: an unknown flag or a value of the wrong kind.
        """
        try:
            return self.parser.parse_args([_underscored(a) for a in arguments])
        except (ArgumentError, ArgumentTypeError) as error:
            reason = " ".join(str(error).split())
            raise HeedError(reason, self.parser.prog, f"see {self.parser.prog} --help") from None


class AlignCommand(Command):
    """A command that takes all settings of an alignment run.

    Args:
        name: the command.
        description: one sentence.
        world: the world where none is named.
        changes: settings that this command has other defaults for.
    """

    def __init__(
        self, name: str, description: str, world: str | None = None, changes: dict[str, Any] | None = None
    ) -> None:
        super().__init__(name, description)
        self.world, self.changes = world, changes or {}
        self.add("config", nargs="?", help="a YAML file of settings; flags go over it")
        self.add("--preset", default="paper", help="paper (critics, PPO) or modern (group-relative, unbiased Gram)")
        self.add("--out", type=str, default=None, help="the run folder (default: below runs/)")
        self.add("--resume", type=str, default=None, help="a run folder to go on with, exactly")
        self.add("--quick", action="store_true", help="a few rounds, to see that everything works")
        lists = {"objectives", "preference", "weights", "ideal", "nadir", "world_objectives"}
        self.parser.add_class_arguments(AlignJob, skip=lists)
        self.parser.add_class_arguments(AlignConfig)
        self.add("--objectives", nargs="+", default=[], help="SPEC...: [name=]TARGET[,key=value...]")
        self.add("--world_objectives", type=words, default=["help", "harmless"], help="names with commas between")
        for flag, what in (
            ("preference", "one weight per objective, on the simplex: .7,.3"),
            ("weights", "raw weights of linear"),
            ("ideal", "tchebycheff: best value of each objective"),
            ("nadir", "tchebycheff: worst value of each objective on the front"),
        ):
            self.add(f"--{flag}", type=numbers, default=None, help=what)

    def settings(self, arguments: Sequence[str]) -> tuple[Namespace, dict[str, Any], dict[str, Any]]:
        """The parsed arguments, all settings, and those that were asked for by a flag or the YAML file."""
        first = self.parse(arguments)
        asked: dict[str, Any] = {}
        if first.config is not None:
            asked |= read_yaml(Path(first.config))
        flags = {a.split("=")[0].removeprefix("--") for a in map(_underscored, arguments) if a.startswith("--")}
        known = {f.name for f in (*dataclasses.fields(AlignJob), *dataclasses.fields(AlignConfig))}
        asked |= {name: first[name] for name in flags & known}
        world = asked.get("world", self.world if not asked.get("model") else None)
        settings = defaults(world, first.preset) | (self.changes if world else {}) | (QUICK if first.quick else {})
        return first, settings | {"world": world} | asked, asked


def _underscored(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument.partition("=")
    return "--" + flag[2:].replace("-", "_") + equals + value


def out_folder(given: str | None, stem: str) -> Path:
    """The run folder: as given, or a new one below runs/."""
    if given is not None:
        return Path(given)
    root = Path("runs")
    number = next(n for n in range(1, 1_000_000) if not (root / f"{stem}-{n}").exists())
    return root / f"{stem}-{number}"

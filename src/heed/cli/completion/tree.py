"""Every command, kind and option as one tree of parsers, which shtab makes scripts of."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pkgutil import resolve_name

import shtab

from heed.cli import COMMANDS, EVERYWHERE
from heed.cli.bench import BENCHMARKS
from heed.cli.compare import KINDS
from heed.cli.completion.options import options_in, positionals_in
from heed.errors import MissingPackageError

SHELLS = {
    "bash": "heed completion bash > ~/.local/share/bash-completion/completions/heed",
    "zsh": "heed completion zsh > _heed, in a folder that $fpath names",
    "fish": "heed completion fish > ~/.config/fish/completions/heed.fish",
}
"""Shell: where its script is looked for."""

WITH_KINDS: dict[str, dict[str, str]] = {
    "bench": {name: each.about for name, each in BENCHMARKS.items()},
    "compare": KINDS,
    "completion": SHELLS,
}
"""Command: its kinds, each with one sentence."""

ALIGNS = {"--preset": "heed.align.config:PRESETS", "--method": "heed.balance:METHODS"}
GUARDS = {"--method": "heed.guard.run.methods:METHODS", "--env": "heed.worlds.registry:WORLDS"}
NAMES = {
    **dict.fromkeys(("align", "front", "compare align"), ALIGNS),
    **dict.fromkeys(("guard", "oversee", "compare guard"), GUARDS),
}
"""Command: the flags whose values are names of a table, of heed's and of one's own, and where the table lies."""


def tree() -> ArgumentParser:
    """A parser that parses nothing, and only tells what there is."""
    root = ArgumentParser("heed", description="reinforcement learning that heeds people")
    commands = root.add_subparsers()
    for name, about in COMMANDS.items():
        command = commands.add_parser(name, help=_plain(about), description=_plain(about))
        if name in WITH_KINDS:
            kinds = command.add_subparsers()
            for kind, told in WITH_KINDS[name].items():
                _fill(kinds.add_parser(kind, help=_plain(told), description=_plain(told)), f"{name} {kind}")
        else:
            _fill(command, name)
    return root


def _fill(parser: ArgumentParser, line: str) -> None:
    """Add what a command's help lists, and what every command takes."""
    text = _help_of(line)
    tables: Mapping[str, str] = NAMES.get(line, {})
    for option in options_in(text):
        if option.flag == "--help":
            continue
        names = resolve_name(tables[option.flag]) if option.flag in tables else ()
        if not option.value:
            parser.add_argument(option.flag, action="store_true", help=_plain(option.about))
            continue
        taken = parser.add_argument(option.flag, nargs="+" if option.several else None, help=_plain(option.about))
        taken.choices = option.choices or tuple(names) or None
        if taken.choices is None and not option.number:
            taken.complete = shtab.FILE  # type: ignore[attr-defined] # where shtab looks for it
    for flag, about in EVERYWHERE.items():
        parser.add_argument(flag, action="store_true", help=_plain(about))
    for name in positionals_in(text):
        parser.add_argument(name).complete = shtab.FILE  # type: ignore[attr-defined] # as above


def _help_of(line: str) -> str:
    """What ``heed LINE --help`` prints, without broken lines; nothing where its packages are not installed."""
    command, *kind = line.split()
    nothing = contextlib.suppress(MissingPackageError, SystemExit)
    with _wide(), contextlib.redirect_stdout(io.StringIO()) as shown, nothing:
        importlib.import_module(f"heed.cli.{command}").run([*kind, "--help"])
    return shown.getvalue()


@contextlib.contextmanager
def _wide() -> Iterator[None]:
    """Within: argparse takes lines to be long."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before


def _plain(text: str) -> str:
    """A help that argparse does not fill in."""
    return text.replace("%", "%%")

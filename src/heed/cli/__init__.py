"""The command line: parse, call, print."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import logging
import os
import select
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence

from heed import __version__
from heed.errors import HeedError, MissingPackageError, RunFailed

COMMANDS = {
    "demo": "both gold values rise: the apothecary from nothing to a report, in minutes",
    "align": "fine-tune one policy to several objectives",
    "front": "a family of policies along preferences, and their front",
    "pick": "the policy of a front for a preference: adapter, mixture, whole model, a server's list",
    "guard": "train an agent under a guard that looks before it leaps",
    "oversee": "the same with a person at a page in the browser, who blocks and lets pass",
    "label": "people compare completions at a page, by several objectives",
    "reward": "comparisons become reward models, one for each objective",
    "judgements": "what people said: read, take back, export, verify",
    "compare": "several methods and seeds under one budget, as a table",
    "report": "write the page of a run",
    "bench": "measure speed",
    "completion": "what bash, zsh and fish complete",
    "doctor": "what is installed here, and whether it works together",
}

EVERYWHERE = {
    "--quiet": "no progress and nothing said beside it: results, warnings of heed's and errors stay",
    "--verbose": "heed's steps one by one, and the libraries' warnings",
    "--debug": "the traceback of what ends a command",
}
"""What every command takes, wherever it stands in the line."""

LEVELS = {"--quiet": logging.WARNING, "--verbose": logging.DEBUG}
"""From which level on heed tells; otherwise from INFO on."""


def usage() -> str:
    """What `heed --help` prints.

    >>> "heed align" in usage()
    True
    """
    lines = ["heed: reinforcement learning that heeds people", "", "usage: heed COMMAND ...", ""]
    lines += [f"  heed {name:<11}{what}" for name, what in COMMANDS.items()]
    lines += ["", "heed COMMAND --help tells a command's options. Every command takes", ""]
    return "\n".join([*lines, *(f"  {flag:<11}{what}" for flag, what in EVERYWHERE.items())])


def error_line(message: str) -> None:
    """One line on standard error."""
    print("heed: error: " + " ".join(message.split()), file=sys.stderr)


def _run(given: Sequence[str]) -> None:
    """Import a command and run it.

    Raises:
        MissingPackageError: whatever part of heed misses a package, it is the command that does.
    """
    try:
        importlib.import_module(f"heed.cli.{given[0]}").run(given[1:])
    except MissingPackageError as error:
        kind = [word for word in given[1:2] if given[0] in ("bench", "compare") and not word.startswith("-")]
        raise MissingPackageError(" ".join(["heed", given[0], *kind]), error.package, error.extras) from error


@contextlib.contextmanager
def _telling(given: Sequence[str]) -> Iterator[None]:
    """Within: as much is told as the flags ask for.

    Raises:
        HeedError: they ask for less and for more.
    """
    asked = [flag for flag in LEVELS if flag in given]
    if len(asked) > 1:
        raise HeedError("one silences what the other tells", ", ".join(asked), "give one of them")
    log = logging.getLogger("heed")
    before = log.level
    log.setLevel(LEVELS[asked[0]] if asked else logging.INFO)
    try:
        with warnings.catch_warnings():
            for flag in asked:
                warnings.simplefilter("ignore" if flag == "--quiet" else "default")
            yield
    finally:
        log.setLevel(before)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 a run failed, 2 a mistake of the user's, 130 interrupted.

    141 where nobody reads its answer to the end, as with ``| head``.
    """
    try:
        try:
            _answer(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer has to go somewhere
        raise SystemExit(141) from None


def _nobody_reads() -> bool:
    """Whether it is the standard output that is broken, and no pipe between processes of a run."""
    looks = select.poll()
    with contextlib.suppress(OSError):  # no file of the system's
        looks.register(sys.stdout.fileno())
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in looks.poll(0))


def _answer(arguments: Sequence[str] | None) -> None:
    """Run one command, and say in one line what keeps it from its end."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    command = [argument for argument in given if argument not in EVERYWHERE]
    if not command or command[0] in ("--help", "-h"):
        print(usage())
        raise SystemExit(0)
    if command[0] == "--version":
        print(__version__)
        raise SystemExit(0)
    try:
        if command[0] not in COMMANDS:
            close = difflib.get_close_matches(command[0], COMMANDS, n=1)
            fix = f"did you mean heed {close[0]}?" if close else f"take one of {', '.join(COMMANDS)}"
            raise HeedError(f"there is no command '{command[0]}'", "heed", fix)
        with _telling(given):
            _run(command)
    except HeedError as error:
        if debug:
            traceback.print_exc()
        error_line(str(error))
        raise SystemExit(2) from None
    except RunFailed as error:
        if debug:
            traceback.print_exc()
        error_line(str(error))
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        error_line("interrupted; what was written last stands")
        raise SystemExit(130) from None

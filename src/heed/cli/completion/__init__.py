"""heed completion: what a shell completes, as a script of the shell's own."""

from __future__ import annotations

from collections.abc import Sequence

import shtab

from heed.cli.completion.tree import SHELLS, tree
from heed.cli.kinds import refused_kind, show_kinds


def run(arguments: Sequence[str]) -> None:
    """Print a shell's script; it is written anew where a new version of heed has other options."""
    if "--help" in arguments or "-h" in arguments:
        show_kinds("completion", SHELLS)
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        raise refused_kind("for which shell?", "completion", SHELLS, arguments)
    print(shtab.complete(tree(), arguments[0]))

"""heed pick: the policy of a front for a preference, as its adapter, a mixture, a whole model or a server's list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from heed.cli.command import Command, refuse_both, refuse_unread
from heed.cli.console import quiet_libraries, say
from heed.errors import HeedError


def run(arguments: Sequence[str]) -> None:
    """Parse; print where the policy lies, or what a server takes."""
    command = Command("pick", "The policy of a front for a preference, or the list that serves them all.")
    command.add("front", help="the folder of a heed front")
    command.add(
        "--preference",
        type=list[float] | None,
        default=None,
        help="weights of the objectives, with commas between: .7,.3",
    )
    command.add("--method", type=str, help="whose policies (default: the front's first method)")
    command.add("--seed", type=int, help="whose policies (default: the front's first seed)")
    command.add("--out", type=str, help="write the policy here: an adapter with its tokenizer and a model card")
    command.add("--merge", action="store_true", help="with --out: a whole model, the adapter merged into its base")
    command.add("--base", type=str, help="with --out: the base, where it lies elsewhere by now")
    command.add("--list", choices=["vllm", "json"], help="instead: all adapters of the front, as a server takes them")
    parsed, given = command.parse(arguments), command.flags(arguments)
    refuse_both(given, "list", "preference")
    refuse_both(given, "list", "out")
    refuse_unread(given, {"merge": "out", "base": "out"})
    if parsed.list is None and parsed.preference is None:
        raise HeedError("which policy?", "--preference", "give weights of the objectives, or --list")

    from heed.compare.picking import adapter_list, pick_from, policies_of, vllm_command, write_picked
    from heed.runs.files import to_json

    quiet_libraries()
    policies = policies_of(Path(parsed.front), parsed.method, parsed.seed)
    if parsed.list == "vllm":
        print(vllm_command(policies))
        return
    if parsed.list == "json":
        print(json.dumps(to_json(adapter_list(policies)), indent=1))
        return
    found = pick_from(policies.points, parsed.preference)
    folders = [part.folder for part in found.parts]
    for part, share, folder in zip(found.parts, found.shares, folders, strict=True):
        say(f"{share:.0%} of {part.name(policies.names)}, {policies.method}, seed {policies.seed}: {folder}")
    if not found.exact:
        say(f"nothing nearer is within reach: it stands for {','.join(f'{x:.3g}' for x in found.stands_for)}")
    if found.parts[0].tag:
        say(f"put this before each prompt: {found.parts[0].tag!r}", needed=True)
    if parsed.out is not None:
        print(write_picked(found, Path(parsed.out), policies, parsed.base, parsed.merge))
    elif len(folders) == 1:
        print(folders[0])
    else:
        raise HeedError(f"{len(folders)} policies are to be mixed", "--preference", "say where to with --out")

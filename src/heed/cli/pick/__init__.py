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

    from heed.compare.picking import adapter_list, pick_from, points_of, vllm_command, write_picked

    quiet_libraries()
    names, method, seed, points = points_of(Path(parsed.front), parsed.method, parsed.seed)
    if parsed.list is not None:
        listed = (
            vllm_command(names, points) if parsed.list == "vllm" else json.dumps(adapter_list(names, points), indent=1)
        )
        print(listed)
        return
    found = pick_from(points, parsed.preference)
    parts = [(part, share) for part, share in zip(found.parts, found.shares, strict=True) if share > 0]
    for part, share in parts:
        say(f"{share:.0%} of {part.name(names)}, {method}, seed {seed}: {part.adapter}")
    if not found.exact:
        say(f"nothing nearer is within reach: it stands for {','.join(f'{x:.3g}' for x in found.stands_for)}")
    if found.parts[0].tag:
        say(f"put this before each prompt: {found.parts[0].tag!r}", needed=True)
    if parsed.out is not None:
        print(write_picked(found, Path(parsed.out), names, points, method, parsed.base, parsed.merge))
    elif len(parts) == 1:
        print(parts[0][0].adapter)
    else:
        raise HeedError("two policies are to be mixed", "--preference", "say where to with --out")

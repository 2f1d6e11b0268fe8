"""Where the pairs of heed label come from: a file, or a model that is asked; and what reward models say of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from heed.align.labelling.config import PairSampling
from heed.align.run.job import APOTHECARY
from heed.cli.command import Command, Setting, settings_in
from heed.cli.console import Bar, say
from heed.errors import HeedError, flag_of
from heed.oversight.comparisons.pairs import Pair, read_pairs

if TYPE_CHECKING:
    from heed.align.objectives.base import ObjectiveSet

SAMPLING = {field.name for field in dataclasses.fields(PairSampling)} - {"seed"} | {"batch_size", "split"}
"""The options that only sampling reads."""


def add_options(command: Command) -> None:
    """The options that say where pairs come from."""
    command.add("--pairs", type=str, default=None, help="a file of JSON lines; with --prompts, where it is written")
    sampled = {
        "prompts": Setting(str, None, ".jsonl, .parquet, a datasets folder or a hub id"),
        "split": Setting(str, None, "which split of the prompts"),
        "world": Setting(Literal["apothecary"], None, "the built-in model and prompts"),
        **{name: each for name, each in settings_in(PairSampling).items() if name != "seed"},
        "model": Setting(str, None, "what is sampled: a model folder or hub id"),
        "batch_size": Setting(int, 16, "prompts whose completions are drawn at once"),
    }
    command.add_group("Pairs sampled from a model, in place of a file of them", sampled)
    ordered = {
        "next": Setting(str, "random", "random, uncertain or conflicting"),
        "reward": Setting(
            list[str], [], "scores by reward models: [name=]TARGET[,key=value...]", {"nargs": "+", "metavar": "SPEC"}
        ),
    }
    command.add_group("Which pair is next", ordered)


def pairs_of(parsed: Any, asked: set[str], objectives: Sequence[str]) -> tuple[list[Pair], Path]:
    """The pairs that the options name, with the scores that are asked for, and their file.

    Raises:
        HeedError: options that contradict each other, or lack one; what the files and models say.
    """
    if parsed.reward and parsed.next == "random":
        fix = "take --next uncertain or --next conflicting, or leave it out"
        raise HeedError("nothing asks for scores", "--reward", fix)
    if parsed.prompts is None and parsed.world is None:
        if parsed.pairs is None:
            fix = "give --pairs FILE, --prompts FILE and --model PATH, or --world apothecary"
            raise HeedError("there are no pairs", "heed label", fix)
        for name in sorted(asked & SAMPLING):
            raise HeedError("only sampling reads this", flag_of(name), "give --prompts too, or leave it out")
        path = Path(parsed.pairs)
        pairs = read_pairs(path)
        rewards = _rewards(parsed.reward, objectives)
    else:
        path = Path(parsed.pairs) if parsed.pairs is not None else _beside(parsed.store)
        rewards = _rewards(parsed.reward, objectives)  # refused before anything is sampled
        unscored = [name for name in objectives if rewards is None or name not in rewards.names]
        if parsed.next != "random" and unscored:
            fix = "give --reward for each objective, or take --next random"
            raise HeedError(f"sampled pairs have no score of {', '.join(unscored)}", f"--next {parsed.next}", fix)
        pairs = _sampled(parsed, asked, path)
    if rewards is None:
        return pairs, path

    from heed.align.labelling.margins import with_margins  # models are for those who ask them

    return with_margins(pairs, rewards), path


def _beside(store: str) -> Path:
    """Where sampled pairs are kept: beside the store, or here if that is no file."""
    return Path("pairs.jsonl") if "://" in store else Path(store).with_name(f"{Path(store).stem}-pairs.jsonl")


def _sampled(parsed: Any, asked: set[str], path: Path) -> list[Pair]:
    from heed.align.data.dataset import load_prompts
    from heed.align.labelling.pairs import sample_pairs

    settings = {field.name: parsed[field.name] for field in dataclasses.fields(PairSampling)}
    with Bar("pairs") as bar:
        if parsed.world is not None:
            prompts, settings = _world(asked, settings, bar)
        else:
            if parsed.model is None:
                raise HeedError("there is no model to sample from", "--model", "give a model folder or a hub id")
            data = load_prompts(parsed.prompts, parsed.split)
            if "tools" in data.column_names and any(data["tools"]):
                raise HeedError("the page does not show a prompt's tools", "--prompts", "leave out the column tools")
            prompts = list(data["prompt"])
        pairing = PairSampling(**settings)
        there = path.exists()
        found = sample_pairs(path, prompts, pairing, parsed.batch_size, lambda n, of: bar.show("sampling", n, of))
    same = len(prompts) * pairing.pairs_per_prompt - len(found)
    say(
        f"{len(found)} pairs {'lie' if there else 'are now'} in {path}"
        + (f"; {same} got the same completion twice, and are left out" if same else "")
    )
    return found


def _world(asked: set[str], settings: dict[str, Any], bar: Bar) -> tuple[list[Any], dict[str, Any]]:
    for name in ("prompts", "split", "model", "template_arguments"):
        if name in asked:
            raise HeedError("a world brings its own model and prompts", flag_of(name), "leave out it, or --world")
    from heed.align.run.apothecary import ApothecarySetup, prepare
    from heed.worlds.apothecary import Apothecary

    preparation = ApothecarySetup()
    settings["model"] = str(prepare(preparation, judges=False, on_stage=bar.show).policy)
    if "max_completion_tokens" not in asked:
        settings["max_completion_tokens"] = APOTHECARY["max_completion_tokens"]
    return Apothecary(preparation.seed).prompts, settings


def _rewards(specs: Sequence[str], objectives: Sequence[str]) -> ObjectiveSet | None:
    """The reward models that are asked for scores; None if there are none."""
    if not specs:
        return None
    from heed.align.objectives.base import ObjectiveSet
    from heed.align.objectives.spec import parse_objective

    rewards = ObjectiveSet([parse_objective(text, "--reward") for text in specs])
    for name in rewards.names:
        if name not in objectives:
            raise HeedError(f"nobody is asked about '{name}'", "--reward", f"name it one of {', '.join(objectives)}")
    return rewards

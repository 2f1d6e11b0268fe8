"""Flags over YAML over a preset over a world's settings over the defaults."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from heed.align.config import PRESETS, AlignConfig
from heed.align.run.job import TYPES, AlignJob, defaults, without_defaults_of_methods
from heed.align.run.weighting import config_class_of, method_of
from heed.balance import WEIGHTINGS, WeightingConfig
from heed.cli.command import Command, Setting, settings_in, words
from heed.errors import HeedError
from heed.runs.config import read_yaml
from heed.runs.sections import documented, nested

QUICK = {"steps": 8, "eval_every": 0, "eval_completions": 1, "checkpoint_every": 8}
"""What --quick changes: a run of seconds that touches everything and shows nothing."""

SETTINGS = {
    name: found for name, found in (settings_in(AlignJob()) | settings_in(AlignConfig())).items() if name in TYPES
}
"""Every setting but those of the methods, which lie in the section ``weighting``."""

BALANCED = "How the objectives are balanced"
GROUPS: dict[str, tuple[str, ...]] = {
    "What is aligned, and to what": (
        *("model", "data", "split", "eval_data", "objectives", "held_out_judges", "template_arguments"),
    ),
    "A built-in world in place of these": (
        "world",
        "world_objectives",
        "world_seed",
        "rewards",
        "judges",
        "ensemble",
        "pessimism",
    ),
    BALANCED: ("method", "gram", "gram_memory", "scope", "jacobian_path"),
    "The rounds": (
        *("steps", "seed", "prompts_per_step", "completions_per_prompt", "epochs", "minibatches", "micro_batch"),
        *("checkpoint_every", "gradient_checkpointing"),
    ),
    "Completions": ("max_completion_tokens", "temperature", "top_p", "top_k", "sampler"),
    "Advantages and surrogate": (
        *("advantage", "gamma", "gae_lambda", "normalise_rewards", "surrogate", "clip_low", "clip_high"),
        "importance_cap",
        *("average_over", "kl_beta", "kl_place", "kl_in", "entropy_beta"),
    ),
    "Critics (advantage gae)": (
        *("critic_learning_rate", "critic_epochs", "critic_value_clip", "critic_rank", "critic_scale"),
    ),
    "Optimiser and adapter": (
        *("learning_rate", "warmup_steps", "cooldown_steps", "beta1", "beta2", "weight_decay"),
        *("max_grad_norm", "max_grad_ratio", "max_kl", "max_fall", "clip_updates"),
        *("lora_r", "lora_alpha", "lora_targets", "dtype"),
    ),
    "Evaluation": ("eval_every", "eval_prompts", "eval_completions", "log_completions_every"),
}
"""How the settings are grouped in --help; what is named nowhere comes last."""


class AlignCommand(Command):
    """A command that takes all settings of an alignment run.

    Args:
        name: the command.
        description: one sentence.
        world: the world where none is named.
        changes: settings that this command has other defaults for.

    Attributes:
        given: the names of what was asked for, once `settings` has read it.
        given_by_flags: those of them that flags gave.
    """

    def __init__(
        self, name: str, description: str, world: str | None = None, changes: dict[str, Any] | None = None
    ) -> None:
        shown = f"The defaults are those of --preset paper with {f'--world {world}' if world else 'no world'}; "
        shown += "with --preset, --world or a settings file beside --help they are those that hold then."
        super().__init__(name, description, shown)
        self.world, self.changes = world, changes or {}
        self.given: set[str] = set()
        self.given_by_flags: set[str] = set()
        self.add("config", nargs="?", help="a YAML file of settings and options; flags go over it")
        self.add(
            "--preset",
            default="paper",
            help="paper (critics, PPO), steady (that, with a way back), modern (group-relative, unbiased Gram)",
        )
        self.add("--out", type=str, default=None, help="the run folder (default: below runs/)")
        self.add("--resume", type=str, default=None, help="a run folder to go on with, exactly")
        self.add("--quick", action="store_true", help="a few rounds, to see that everything works")

    def settings(self, arguments: Sequence[str]) -> tuple[Namespace, dict[str, Any], dict[str, Any]]:
        """What was asked for, by flags or the YAML file, over what holds by itself.

        Args:
            arguments: as typed. With ``--help`` among them the help is shown with the defaults that then hold.

        Returns:
            The command's own options; all settings, those of the methods in the section ``weighting``; the settings
            that were asked for.

        Raises:
            HeedError: an unknown flag, key or preset, a value of the wrong kind, a file that is no mapping.
        """
        wanted = [argument for argument in arguments if argument not in ("--help", "-h")]
        own = {method: config_class_of(method) for method in _own_methods(wanted)}
        left = set(SETTINGS).difference(*GROUPS.values())
        for title, names in (GROUPS | ({"Further settings": tuple(left)} if left else {})).items():
            self.add_group(title, {each: SETTINGS[each] for each in names})
            if title == BALANCED:
                methods = of_methods(WEIGHTINGS | own)
                self.add_group("weighting.: the method's own settings, after the methods that have each", methods)
        asked = self.asked(wanted)
        preset = asked.get("preset", "paper")
        world = asked.get("world", None if asked.get("model") else self.world)
        quick = QUICK if asked.get("quick") else {}
        holding = defaults(world, preset) | (self.changes if world else {}) | PRESETS[preset] | {"world": world} | quick
        if len(wanted) < len(arguments):
            self.show_help({name: holding[name] for name in SETTINGS} | {"preset": preset})
        self.given, self.given_by_flags = set(asked), set(self.flags(wanted))
        named = nested({name: value for name, value in asked.items() if name in self.known_settings})
        options = vars(self.parser.get_defaults().as_flat()) | asked
        own_options = {name: value for name, value in options.items() if name not in self.known_settings}
        if own_options["out"] is not None and own_options["resume"] is not None:
            raise HeedError("a run that goes on stays where it is", "--out", "give one of --out and --resume")
        of_preset = {name: holding[name] for name in PRESETS[preset]} if "preset" in asked else {}
        return Namespace(**own_options), holding | named, of_preset | quick | named

    def upgraded(self, settings: dict[str, Any]) -> dict[str, Any]:
        """What a file holds, without what only older versions wrote: settings of methods that are not the run's."""
        return without_defaults_of_methods(settings)


def of_methods(methods: Mapping[str, type[WeightingConfig]]) -> dict[str, Setting]:
    """The settings of weightings by their full names; of one that several have, the help says what it is to each.

    Args:
        methods: the settings' classes by method.

    >>> of_methods({"mgda-frank-wolfe": WEIGHTINGS["mgda-frank-wolfe"]})["weighting.epsilon"].help
    'mgda-frank-wolfe: step below which the iterations end, > 0.'
    """
    texts: dict[str, dict[str, list[str]]] = {}
    values: dict[str, list[Any]] = {}
    kinds: dict[str, Any] = {}
    for method, config in sorted(methods.items()):
        hints, help_of = typing.get_type_hints(config), documented(config)[1]
        for field in dataclasses.fields(config):
            kinds.setdefault(field.name, hints[field.name])
            values.setdefault(field.name, []).append(getattr(config(), field.name))
            texts.setdefault(field.name, {}).setdefault(help_of.get(field.name, ""), []).append(method)
    return {
        f"weighting.{name}": Setting(
            kind,
            values[name][0] if all(value == values[name][0] for value in values[name]) else None,
            " ".join(f"{', '.join(having)}: {text}" for text, having in texts[name].items()),
        )
        for name, kind in kinds.items()
    }


def _own_methods(arguments: Sequence[str]) -> Iterator[str]:
    """The methods of a user's own, ``module:name``, that arguments or the file among them name."""
    specs: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        flag, _, value = argument.partition("=")
        if flag in ("--method", "--methods") and value:
            specs += words(value)
        elif before in ("--method", "--methods"):
            specs += words(argument)
        elif not before.startswith("--") and Path(argument).suffix in (".yaml", ".yml") and Path(argument).is_file():
            found = read_yaml(Path(argument))
            listed = found.get("methods") or []
            specs += [str(each) for each in (found.get("method", ""), *(listed if isinstance(listed, list) else []))]
    for spec in specs:
        if ":" in spec and spec.partition(":")[0] not in WEIGHTINGS:
            yield method_of(spec)[0]

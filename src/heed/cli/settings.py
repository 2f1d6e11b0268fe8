"""Flags over YAML over a preset over a world's settings over the defaults: one flat dictionary of settings."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, Namespace

from heed.align.config import PRESETS, AlignConfig
from heed.align.run.job import AlignJob, defaults
from heed.cli.command import Command, listed
from heed.errors import HeedError
from heed.runs.config import read_yaml

QUICK = {"steps": 8, "eval_every": 0, "eval_completions": 1, "checkpoint_every": 8}
"""What --quick changes: a run of seconds that touches everything and shows nothing."""

SETTINGS = {field.name for kind in (AlignJob, AlignConfig) for field in dataclasses.fields(kind)}

GROUPS: dict[str, tuple[str, ...]] = {
    "What is aligned, and to what": ("model", "data", "split", "eval_data", "objectives"),
    "A built-in world in place of these": ("world", "world_objectives", "world_seed", "rewards", "judges"),
    "How the objectives are balanced": (
        *("method", "p", "preference", "weights", "ideal", "nadir", "mu", "share_floor", "settle"),
        *("gram", "gram_memory", "scope", "jacobian_path"),
    ),
    "The rounds": (
        *("steps", "seed", "prompts_per_step", "completions_per_prompt", "epochs", "minibatches", "micro_batch"),
        *("checkpoint_every", "gradient_checkpointing"),
    ),
    "Completions": ("max_completion_tokens", "temperature", "top_p", "top_k", "sampler"),
    "Advantages and surrogate": (
        *("advantage", "gamma", "gae_lambda", "normalise_rewards", "surrogate", "clip_low", "clip_high"),
        *("average_over", "kl_beta", "kl_place", "kl_in", "entropy_beta"),
    ),
    "Critics (advantage gae)": (
        *("critic_learning_rate", "critic_epochs", "critic_value_clip", "critic_rank", "critic_scale"),
    ),
    "Optimiser and adapter": (
        *("learning_rate", "warmup_steps", "cooldown_steps", "beta1", "beta2", "weight_decay"),
        *("max_grad_norm", "max_grad_ratio"),
        *("lora_r", "lora_alpha", "lora_targets"),
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
    """

    def __init__(
        self, name: str, description: str, world: str | None = None, changes: dict[str, Any] | None = None
    ) -> None:
        shown = f"The defaults are those of --preset paper with {f'--world {world}' if world else 'no world'}; "
        shown += "with --preset, --world or a settings file beside --help they are those that hold then."
        super().__init__(name, description, shown)
        self.world, self.changes = world, changes or {}
        self.given: set[str] = set()
        self.add("config", nargs="?", help="a YAML file of settings and options; flags go over it")
        self.add("--preset", default="paper", help="paper (critics, PPO) or modern (group-relative, unbiased Gram)")
        self.add("--out", type=str, default=None, help="the run folder (default: below runs/)")
        self.add("--resume", type=str, default=None, help="a run folder to go on with, exactly")
        self.add("--quick", action="store_true", help="a few rounds, to see that everything works")
        left = SETTINGS.difference(*GROUPS.values())
        for title, names in (GROUPS | {"Further settings": tuple(left)} if left else GROUPS).items():
            group = self.parser.add_argument_group(title)
            for kind in (AlignJob, AlignConfig):
                others = {field.name for field in dataclasses.fields(kind)} - set(names) | {"objectives"}
                group.add_class_arguments(kind, as_group=False, skip=others)
            if "objectives" in names:
                group.add_argument(
                    "--objectives", nargs="+", default=[], metavar="SPEC", help="[name=]TARGET[,key=value...]"
                )

    def settings(self, arguments: Sequence[str]) -> tuple[Namespace, dict[str, Any], dict[str, Any]]:
        """What was asked for, by flags or the YAML file, over what holds by itself.

        Args:
            arguments: as typed. With ``--help`` among them the help is shown with the defaults that then hold.

        Returns:
            The command's own options; all settings; the settings that were asked for.

        Raises:
            HeedError: an unknown flag, key or preset, a value of the wrong kind, a file that is no mapping.
        """
        wanted = [argument for argument in arguments if argument not in ("--help", "-h")]
        asked = {k: v for k, v in vars(self.parse(wanted, defaults=False)).items() if v is not None}
        if "config" in asked:
            asked = self._read(Path(asked["config"])) | asked
        preset = asked.get("preset", "paper")
        world = asked.get("world", None if asked.get("model") else self.world)
        quick = QUICK if asked.get("quick") else {}
        holding = defaults(world, preset) | (self.changes if world else {}) | PRESETS[preset] | {"world": world} | quick
        if len(wanted) < len(arguments):
            self.parser.set_defaults({name: holding[name] for name in SETTINGS} | {"preset": preset})
            self.parser.print_help()
            raise SystemExit(0)
        self.given = set(asked)
        named = {name: value for name, value in asked.items() if name in SETTINGS}
        own = vars(self.parser.get_defaults()) | asked
        options = Namespace(**{name: value for name, value in own.items() if name not in SETTINGS})
        if options.out is not None and options.resume is not None:
            raise HeedError("a run that goes on stays where it is", "--out", "give one of --out and --resume")
        of_preset = {name: holding[name] for name in PRESETS[preset]} if "preset" in asked else {}
        return options, holding | named, of_preset | quick | named

    def _read(self, path: Path) -> dict[str, Any]:
        """The settings and options of a YAML file, of the types that the flags have."""
        found = read_yaml(path)
        known = set(vars(self.parser.get_defaults())) - {"config", "resume"}
        for name in found:
            if name not in known:
                raise HeedError(f"no setting is called '{name}'", str(path), f"see {self.parser.prog} --help")
        try:
            values = {name: listed(name, v) if isinstance(v, str) else v for name, v in found.items()}
            specs = values.get("objectives", [])
            if not isinstance(specs, list) or not all(isinstance(spec, str) for spec in specs):
                raise HeedError("objectives is no list of texts", str(path), "write objectives: [SPEC, SPEC]")
            return {k: v for k, v in vars(self.parser.parse_object(values, defaults=False)).items() if k in found}
        except (ArgumentError, ArgumentTypeError) as error:
            raise self.refused(error, str(path)) from None

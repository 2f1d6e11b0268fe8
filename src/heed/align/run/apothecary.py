"""The apothecary's setup: a warm-started policy, and reward models learnt from noisy comparisons.

Both are made from a seed and kept in a cache folder, so that many runs share them.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import platformdirs
import torch

import heed
from heed.align.config import Rewards
from heed.align.models.policy import Policy
from heed.align.models.pretrained import quiet_transformers
from heed.align.objectives.base import Objective
from heed.align.objectives.ensembles import Ensemble
from heed.align.objectives.reward_functions import RewardFunction
from heed.align.objectives.reward_models import HeadSpec, ManyHeadedRewardModel
from heed.align.preferences.comparisons import Comparison
from heed.align.preferences.config import RewardTrainingConfig, TrainingConfig
from heed.align.preferences.reward_training import train_reward_model
from heed.align.preferences.training import OnStep
from heed.align.preferences.warm_start import supervised_warm_start
from heed.align.rollouts import Sampler, Sampling
from heed.errors import HeedError
from heed.runs.config import config_hash
from heed.worlds.apothecary import Apothecary

SetupProgress = Callable[[str, int, int], None]
"""Called with the stage's name, the step and the number of steps."""


@dataclass(frozen=True)
class ApothecarySetup:
    """From what the policy and the reward models of the apothecary are made.

    Args:
        objectives: out of help, harmless, brevity, price.
        seed: of the world, the model and everything drawn.
        hidden: width of the policy.
        layers: depth of the policy.
        demonstrations: of the warm start.
        warm_epochs: passes of the warm start over these.
        comparisons: of two replies each; half of demonstrations, half sampled from the warm-started policy.
        noise: scale of the simulated comparisons' logistic noise, in ranges of the front.
        judge_epochs: passes of the reward model over these.
        ensemble: reward models, each of all objectives, trained on the same comparisons with seeds of their own.
    """

    objectives: tuple[str, ...] = ("help", "harmless")
    seed: int = 0
    hidden: int = 128
    layers: int = 3
    demonstrations: int = 4000
    warm_epochs: float = 4.0
    comparisons: int = 8000
    noise: float = 0.1
    judge_epochs: float = 3.0
    ensemble: int = 1


@dataclass(frozen=True)
class PreparedApothecary:
    """The apothecary with its warm-started policy and, if asked for, its reward models.

    Args:
        world: the world.
        policy: the warm-started policy's folder.
        judges: folders of many-headed reward models: none, one, or an ensemble's.
        accuracy: held-out accuracy of each judge; of an ensemble the first's.
    """

    world: Apothecary
    policy: Path
    judges: tuple[Path, ...] = ()
    accuracy: dict[str, float] = field(default_factory=dict)

    def objectives(self, rewards: Rewards, pessimism: float = 1.0) -> list[Objective]:
        """The world's objectives: learnt reward models, or the exact values, with which only the method can err.

        Args:
            rewards: which.
            pessimism: of an ensemble of reward models.
        """
        names = self.world.names
        if rewards == "gold":
            return [RewardFunction(function, name=name) for name, function in self.world.reward_functions().items()]
        assert self.judges
        heads = [HeadSpec(name, head=name) for name in names]
        judges = [ManyHeadedRewardModel(str(folder), heads, batch_size=256) for folder in self.judges]
        return [Ensemble(judges, names, pessimism)] if len(judges) > 1 else [judges[0]]


def cache_folder() -> Path:
    """The cache folder: ``HEED_CACHE``, or the user's."""
    return Path(os.environ.get("HEED_CACHE") or platformdirs.user_cache_dir("heed"))


def prepare(
    setup: ApothecarySetup, judges: bool, folder: Path | None = None, on_stage: SetupProgress | None = None
) -> PreparedApothecary:
    """Make the world's policy and reward models, or find those that were made before.

    Args:
        setup: from what they are made.
        judges: whether learnt reward models are needed.
        folder: where to keep them; the cache by default.
        on_stage: follows the stages.
    """
    world = Apothecary(setup.seed, setup.objectives)
    policy, first = prepared_folders(setup, folder or cache_folder())
    _once(policy, lambda into: _warm_start(world, setup, into, on_stage))
    if not judges:
        return PreparedApothecary(world, policy)
    made = [first.with_name(f"{first.name}-{member}") if member else first for member in range(setup.ensemble)]
    for member, judge in enumerate(made):
        _once(judge, functools.partial(_train_judges, world, policy, setup, member, on_stage=on_stage))
    accuracy = json.loads((first / "accuracy.json").read_text())
    return PreparedApothecary(world, policy, tuple(made), accuracy)


def prepared_folders(setup: ApothecarySetup, folder: Path) -> tuple[Path, Path]:
    """The folders of a setup's policy and reward models below a cache folder, made or not."""
    world = Apothecary(setup.seed, setup.objectives)
    made = {key: value for key, value in asdict(setup).items() if key != "ensemble"} | {"world": _fingerprint(world)}
    warm_part = {k: made[k] for k in ("world", "seed", "hidden", "layers", "demonstrations", "warm_epochs")}
    root = folder / f"apothecary-{heed.__version__}"
    return root / f"policy-{config_hash(warm_part)[:12]}", root / f"judges-{config_hash(made)[:12]}"


def _fingerprint(world: Apothecary) -> list[Any]:
    """Samples of the world's language and values, which differ between versions of it."""
    shown = world.demonstrations(8, torch.Generator().manual_seed(0))
    gold = world.gold([row["prompt"] for row in shown], [row["completion"] for row in shown])
    return [shown, gold.tolist()]


def _once(target: Path, make: Callable[[Path], None]) -> None:
    """Make a folder whole or not at all; of two processes at once, one's folder is kept."""
    if target.exists():
        return
    try:
        _make(target, make)
    except OSError as error:
        reason = f"the prepared world cannot be kept: {error.strerror or error}"
        raise HeedError(reason, str(target.parent), "make room, or set HEED_CACHE to another folder") from error


def _make(target: Path, make: Callable[[Path], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        made = Path(temporary) / "made"
        with quiet_transformers():
            make(made)
        try:
            made.replace(target)
        except OSError:
            if not target.exists():
                raise
            shutil.rmtree(made)


def _warm_start(world: Apothecary, setup: ApothecarySetup, into: Path, on_stage: SetupProgress | None) -> None:
    generator = torch.Generator().manual_seed(setup.seed)
    supervised_warm_start(
        world.model(setup.seed, setup.hidden, setup.layers),
        world.tokenizer(),
        world.demonstrations(setup.demonstrations, generator),
        into,
        TrainingConfig(learning_rate=2e-3, batch_size=32, epochs=setup.warm_epochs, seed=setup.seed),
        stage_progress("warm start", on_stage),
    )


def _train_judges(
    world: Apothecary, policy: Path, setup: ApothecarySetup, member: int, into: Path, on_stage: SetupProgress | None
) -> None:
    generator = torch.Generator().manual_seed(setup.seed + 1)
    replies = _replies(world, policy, setup.comparisons // 2, generator)
    compared = world.comparisons(setup.comparisons // 2, setup.noise, generator)
    compared += world.comparisons(setup.comparisons // 2, setup.noise, generator, completions=replies)
    report = train_reward_model(
        str(policy),
        world.tokenizer(),
        cast(list[Comparison], compared),
        list(world.names),
        into,
        RewardTrainingConfig(learning_rate=1e-3, batch_size=32, epochs=setup.judge_epochs, seed=setup.seed + member),
        on_step=stage_progress("reward models", on_stage),
    )
    (into / "accuracy.json").write_text(json.dumps(report.accuracy))


def _replies(world: Apothecary, policy: Path, count: int, generator: torch.Generator) -> list[dict[str, Any]]:
    sampler = Sampler(Policy(policy), Sampling(max_tokens=32))
    asked = [world.prompts[i % len(world.prompts)] for i in range(2 * count)]
    replies: list[str] = []
    for lo in range(0, len(asked), 256):
        replies += sampler.roll(asked[lo : lo + 256], generator).completions
    return [{"prompt": prompt, "completion": reply} for prompt, reply in zip(asked, replies, strict=True)]


def stage_progress(name: str, on_stage: SetupProgress | None) -> OnStep | None:
    """A callback for a trainer that reports its steps as those of a stage; None for None."""
    if on_stage is None:
        return None

    def on_step(step: int, total: int, loss: float) -> None:  # noqa: ARG001 - what the trainers call
        on_stage(name, step, total)

    return on_step

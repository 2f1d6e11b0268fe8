"""The built-in world made ready for alignment: a warm-started policy and judges learnt from noisy comparisons.

Everything is made on the spot from a seed, kept in a folder and found again there, so that many runs share it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import platformdirs
import torch

import heed
from heed.align.models.policy import Policy
from heed.align.models.pretrained import quiet_transformers
from heed.align.objectives.base import Objective, RewardFunction
from heed.align.objectives.reward_models import HeadSpec, ManyHeadedRewardModel
from heed.align.preferences.comparisons import Comparison
from heed.align.preferences.reward_training import RewardTrainingConfig, train_reward_model
from heed.align.preferences.training import OnStep, TrainingConfig
from heed.align.preferences.warm_start import supervised_warm_start
from heed.align.rollouts import Sampler, Sampling
from heed.errors import HeedError
from heed.runs.config import config_hash
from heed.worlds.apothecary import Apothecary

OnStage = Callable[[str, int, int], None]
Rewards = Literal["learnt", "gold"]


@dataclass(frozen=True)
class ApothecarySetup:
    """What is made of the world, and how much of it.

    Args:
        objectives: out of help, harmless, brevity, price.
        seed: of the world, the model and everything drawn.
        hidden: width of the policy.
        layers: depth of the policy.
        demonstrations: of the warm start.
        warm_epochs: passes of the warm start over these.
        comparisons: of two replies each; half demonstrated, half the warm policy's own.
        noise: of the comparisons' Bradley-Terry judges, in ranges of the front.
        judge_epochs: passes of the reward model over these.
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


@dataclass(frozen=True)
class Prepared:
    """A world, its warm-started policy and, if asked for, its judges.

    Args:
        world: the world.
        policy: the warm-started policy's folder.
        judges: the many-headed reward model's folder, or None.
        accuracy: held-out accuracy of each judge.
    """

    world: Apothecary
    policy: Path
    judges: Path | None = None
    accuracy: dict[str, float] = field(default_factory=dict)

    def objectives(self, rewards: Rewards) -> list[Objective]:
        """The world's objectives: learnt judges, or gold itself (to see a method without its judges' errors)."""
        names = self.world.names
        if rewards == "gold":
            return [RewardFunction(function, name=name) for name, function in self.world.reward_functions().items()]
        assert self.judges is not None
        return [ManyHeadedRewardModel(str(self.judges), [HeadSpec(name, head=name) for name in names], batch_size=256)]


def cache_folder() -> Path:
    """Where prepared worlds are kept: ``HEED_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("HEED_CACHE") or platformdirs.user_cache_dir("heed"))


def prepare(
    preparation: ApothecarySetup, judges: bool, folder: Path | None = None, on_stage: OnStage | None = None
) -> Prepared:
    """Make the world's policy and judges, or find them.

    Args:
        preparation: what to make.
        judges: whether learnt judges are needed.
        folder: where to keep them; the cache by default.
        on_stage: called with the stage's name, the step and the number of steps.
    """
    world = Apothecary(preparation.seed, preparation.objectives)
    policy, judge = prepared_folders(preparation, folder or cache_folder())
    _once(policy, lambda into: _warm_start(world, preparation, into, on_stage))
    if not judges:
        return Prepared(world, policy)
    _once(judge, lambda into: _train_judges(world, policy, preparation, into, on_stage))
    accuracy = json.loads((judge / "accuracy.json").read_text())
    return Prepared(world, policy, judge, accuracy)


def prepared_folders(preparation: ApothecarySetup, folder: Path) -> tuple[Path, Path]:
    """Where below a cache folder the policy and the judges of a preparation lie, or will."""
    world = Apothecary(preparation.seed, preparation.objectives)
    made = {**asdict(preparation), "world": _fingerprint(world)}
    warm_part = {k: made[k] for k in ("world", "seed", "hidden", "layers", "demonstrations", "warm_epochs")}
    root = folder / f"apothecary-{heed.__version__}"
    return root / f"policy-{config_hash(warm_part)[:12]}", root / f"judges-{config_hash(made)[:12]}"


def _fingerprint(world: Apothecary) -> list[Any]:
    """What tells this world from another version of it: its language and its values."""
    shown = world.demonstrations(8, torch.Generator().manual_seed(0))
    gold = world.gold([row["prompt"] for row in shown], [row["completion"] for row in shown])
    return [shown, gold.tolist()]


def _once(target: Path, make: Callable[[Path], None]) -> None:
    """Make a folder whole or not at all; two processes at once both end with one whole folder."""
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


def _warm_start(world: Apothecary, preparation: ApothecarySetup, into: Path, on_stage: OnStage | None) -> None:
    generator = torch.Generator().manual_seed(preparation.seed)
    supervised_warm_start(
        world.model(preparation.seed, preparation.hidden, preparation.layers),
        world.tokenizer(),
        world.demonstrations(preparation.demonstrations, generator),
        into,
        TrainingConfig(learning_rate=2e-3, batch_size=32, epochs=preparation.warm_epochs, seed=preparation.seed),
        staged("warm start", on_stage),
    )


def _train_judges(
    world: Apothecary, policy: Path, preparation: ApothecarySetup, into: Path, on_stage: OnStage | None
) -> None:
    generator = torch.Generator().manual_seed(preparation.seed + 1)
    said = _replies(world, policy, preparation.comparisons // 2, generator)
    compared = world.comparisons(preparation.comparisons // 2, preparation.noise, generator)
    compared += world.comparisons(preparation.comparisons // 2, preparation.noise, generator, completions=said)
    report = train_reward_model(
        str(policy),
        world.tokenizer(),
        cast(list[Comparison], compared),
        list(world.names),
        into,
        RewardTrainingConfig(learning_rate=1e-3, batch_size=32, epochs=preparation.judge_epochs, seed=preparation.seed),
        on_step=staged("reward models", on_stage),
    )
    (into / "accuracy.json").write_text(json.dumps(report.accuracy))


def _replies(world: Apothecary, policy: Path, count: int, generator: torch.Generator) -> list[dict[str, Any]]:
    sampler = Sampler(Policy(policy), Sampling(max_tokens=32))
    asked = [world.prompts[i % len(world.prompts)] for i in range(2 * count)]
    said: list[str] = []
    for lo in range(0, len(asked), 256):
        said += sampler.roll(asked[lo : lo + 256], generator).completions
    return [{"prompt": prompt, "completion": reply} for prompt, reply in zip(asked, said, strict=True)]


def staged(name: str, on_stage: OnStage | None) -> OnStep | None:
    """What follows the steps of one named stage, as the trainers call it."""
    if on_stage is None:
        return None

    def on_step(step: int, total: int, loss: float) -> None:  # noqa: ARG001 - what the trainers call
        on_stage(name, step, total)

    return on_step

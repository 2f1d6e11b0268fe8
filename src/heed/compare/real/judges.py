"""The judges of the experiment: those that train the policy, and those held out, each tested on what none has seen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from heed.align.models.pretrained import load_tokenizer
from heed.align.objectives.base import Objective
from heed.align.objectives.ngrams import NgramJudge
from heed.align.objectives.reward_models import RewardModel
from heed.align.preferences import RewardTrainingConfig
from heed.align.preferences.comparisons import Comparison, read_comparisons
from heed.align.run.apothecary import SetupProgress
from heed.align.run.reward import learn_rewards
from heed.align.run.reward_job import RewardJob
from heed.compare.real.judgements import Part, agreement, as_chat, better_and_worse, deal, write
from heed.compare.real.sizes import Size
from heed.compare.real.sources import OBJECTIVES, Sources
from heed.errors import HeedError
from heed.runs.files import write_whole

TOKENS = 384
"""That a judge reads of a conversation, from its end."""
LEARNING = RewardTrainingConfig(
    learning_rate=2e-4, warmup_steps=10, held_out=0.0, max_length=TOKENS, precision="bfloat16"
)
LEARNT = "learnt"
"""A file in a judge's folder once it is whole."""
RANK = 16
"""Of the adapter by which a judge is learnt, merged afterwards."""

OTHERS, WORDS = "others", "words"
"""Ends of the names of judges that learnt from other prompts: of the same kind, and of words alone."""


def make_judges(
    folder: Path, model: str, sources: Sources, size: Size, seed: int, on_stage: SetupProgress | None = None
) -> dict[str, dict[str, Any]]:
    """Learn three judges of each objective; those that are there are not learnt again.

    Args:
        folder: of the judges, each in a folder by its name.
        model: whose body those of the policy's kind have.
        sources: of the comparisons.
        size: how many.
        seed: of the training.
        on_stage: follows it; may raise `Stopped`.

    Returns:
        By name, how far each agrees with comparisons that no judge has learnt from (`agreement`).

    Raises:
        HeedError: too few comparisons.
    """
    told: dict[str, dict[str, Any]] = {}
    chat = converses(model)
    every = {name: _dealt(name, getattr(sources, name), size.comparisons, chat) for name in OBJECTIVES}
    for name, dealt in every.items():
        test = dealt["test"][: size.tested]
        for judge, part in ((name, dealt["trained"]), (f"{name}-{OTHERS}", dealt["held_out"])):
            made = folder / judge
            if not (made / LEARNT).exists():
                shutil.rmtree(made, ignore_errors=True)  # stopped before it was whole
                _learn(made, model, part, name, replace(LEARNING, batch_size=size.batch, seed=seed), on_stage)
            told[judge] = _tested(made, partial(RewardModel, made, dtype="bfloat16", max_length=TOKENS), test, name)
        words = folder / f"{name}-{WORDS}"
        if not (words / "agreement.json").exists():
            NgramJudge.fit(better_and_worse(dealt["held_out"], name)).save(words)
        told[words.name] = _tested(words, partial(NgramJudge.load, words), test, name)
    return told


def specs(folder: Path) -> tuple[list[str], list[str]]:
    """The judges as ``--objectives`` and ``--held-out-judges`` name them."""

    def read(judge: str) -> str:
        return f"{judge}={folder / judge},dtype=bfloat16,max_length={TOKENS}"

    held_out = [read(f"{name}-{OTHERS}") for name in OBJECTIVES]
    words = [f"{name}-{WORDS}={folder / f'{name}-{WORDS}'}" for name in OBJECTIVES]
    return [read(name) for name in OBJECTIVES], [*held_out, *words]


def converses(model: str) -> bool:
    """Whether a model is made for conversations: its tokenizer has a chat template."""
    return load_tokenizer(model).chat_template is not None


def _dealt(name: str, source: str, most: int, chat: bool) -> dict[Part, list[Comparison]]:
    """The comparisons of an objective; all are read before the first judge is learnt."""
    comparisons = read_comparisons(source, objective=name)
    dealt = deal(comparisons, name, most)
    if not all(dealt.values()):
        judged = ", ".join(sorted({judged for each in comparisons for judged in each["verdicts"]}))
        fix = f"give more, of several prompts; what is judged here is {judged}"
        raise HeedError(f"too few comparisons of {name}", source, fix)
    return {part: as_chat(found) for part, found in dealt.items()} if chat else dealt


def _learn(
    made: Path,
    model: str,
    comparisons: list[Comparison],
    name: str,
    config: RewardTrainingConfig,
    on_stage: SetupProgress | None,
) -> None:
    file = made.parent / "comparisons" / f"{made.name}.jsonl"
    write(comparisons, file)
    job = RewardJob(comparisons=str(file), objectives=[name], model=model, lora_r=RANK)

    def follow(_stage: str, done: int, total: int) -> None:
        if on_stage is not None:
            on_stage(f"judge {made.name}", done, total)

    learn_rewards(job, config, made, follow)
    write_whole(made / LEARNT, "")


def _tested(made: Path, load: Callable[[], Objective], test: list[Comparison], name: str) -> dict[str, Any]:
    file = made / "agreement.json"
    if not file.exists():
        write_whole(file, json.dumps(agreement(load(), test, name)))
    return dict(json.loads(file.read_text()))

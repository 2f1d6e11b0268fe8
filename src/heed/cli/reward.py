"""heed reward: comparisons become reward models, one head for each objective."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from heed.align.preferences.config import RewardTrainingConfig
from heed.align.run.reward_job import APOTHECARY, RewardJob
from heed.cli.command import Command, settings_in, words
from heed.cli.console import Bar, quiet_libraries, say

if TYPE_CHECKING:
    from heed.align.preferences import RewardTrainingReport


def run(arguments: Sequence[str]) -> None:
    """Parse, train, say how far the models agree with what was held out."""
    quiet_libraries()
    command = Command("reward", "Learn reward models from comparisons: one model with a head for each objective.")
    command.add("comparisons", help="what was judged: .jsonl, .parquet, a datasets folder or a hub id")
    command.add("--out", type=str, required=True, help="a new folder for the model")
    command.add("--objectives", type=str, default="", help="what to learn: names, commas between; all if left out")
    of_job = {name: each for name, each in settings_in(RewardJob).items() if name not in ("comparisons", "objectives")}
    command.add_group("What is learnt, and on which model", of_job)
    command.add_group("How it is trained", settings_in(RewardTrainingConfig))
    asked = {k: v for k, v in vars(command.parse(arguments, defaults=False)).items() if v is not None}
    settings = vars(command.parse(arguments)) | (APOTHECARY if "world" in asked else {}) | asked
    settings["objectives"] = words(settings["objectives"])
    job = RewardJob(**{field.name: settings[field.name] for field in dataclasses.fields(RewardJob)})
    fields = dataclasses.fields(RewardTrainingConfig)
    config = RewardTrainingConfig(**{field.name: settings[field.name] for field in fields})

    from heed.align.run.reward import learn_rewards  # once it is asked for, so that --help answers at once

    with Bar("reward models") as bar:
        report = learn_rewards(job, config, Path(settings["out"]), bar.show)
    for name, share in report.accuracy.items():
        learnt = f"{report.trained[name]} verdicts, {report.ties[name]} ties and {report.skipped[name]} skips aside"
        say(f"{name}: learnt from {learnt}; {_agreement(share, report.held_out[name])}")
    flag, value = ("--judges", f"{report.path}") if job.world else ("--objectives", _spec(report))
    say(f"to train a policy by them: heed align {flag}")
    print(value)


def _spec(report: RewardTrainingReport) -> str:
    """All heads as objectives of heed align."""
    return f"{report.path},heads={'+'.join(report.accuracy)}"


def _agreement(share: float | None, of: int) -> str:
    """How far a head agrees with held-out verdicts, with its exact 95% binomial interval."""
    if share is None:
        return "nothing was held out"
    from heed.runs.statistics import binomial_bounds

    low, high = binomial_bounds(round(share * of), of)
    return f"agrees with {share:.0%} of {of} held out (95% interval {low:.0%} to {high:.0%})"

"""What an alignment run records: metrics, completions, balance, summary; without a run folder only the totals."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import Tensor

import heed
from heed.align.config import AlignConfig
from heed.align.data.conversations import completion_text
from heed.align.evaluation import Evaluation, Gold
from heed.align.objectives.base import ObjectiveSet
from heed.align.rollouts import Rollout
from heed.errors import RunFailed
from heed.runs.config import config_hash
from heed.runs.folder import RunFolder

TAKEN_BACK = ("steps_halved", "steps_undone", "rounds_undone")
"""Metrics that a run with ``max_kl`` or ``max_fall`` counts up."""


class Journal:
    """Writes the run folder of an alignment run.

    Args:
        run: the folder, or None.
        objectives: the run's.
        gold: exact values, where the task has them.
        held_out: objectives that evaluate, and that nothing is trained on.
    """

    def __init__(
        self, run: RunFolder | None, objectives: ObjectiveSet, gold: Gold | None, held_out: ObjectiveSet | None = None
    ) -> None:
        self.run, self.objectives, self.gold, self.held_out = run, objectives, gold, held_out
        self.totals = {"seconds": 0.0, "generation": 0.0, "gradients": 0.0, "tokens": 0.0}
        self.at_start: dict[str, float] = {}
        self.latest: dict[str, float] = {}

    def describe(self, rollout: Rollout, rewards: Tensor) -> dict[str, float]:
        """Metrics of a rollout: TRL's names for rewards and lengths, gold values, share well-formed."""
        metrics: dict[str, float] = {}
        for name, row in zip(self.objectives.names, rewards, strict=True):
            metrics[f"rewards/{name}/mean"] = float(torch.nanmean(row))
            metrics[f"rewards/{name}/std"] = float(deviation_of(row))
            metrics[f"rewards/{name}/scored"] = float((~row.isnan()).double().mean())
        metrics["completions/mean_length"] = float(rollout.sequences.mask.sum(1).double().mean())
        metrics["completions/finished"] = float(rollout.finished.double().mean())
        if self.gold is not None:
            exact = self.gold.gold(rollout.prompts, rollout.completions)
            metrics |= {f"gold/{name}/mean": float(v) for name, v in zip(self.gold.names, exact.mean(0), strict=True)}
            metrics["well_formed"] = float(self.gold.well_formed(rollout.completions).double().mean())
        return metrics

    def balance(self, record: dict[str, Any]) -> None:
        """One line of ``balance.jsonl``: one optimiser step's."""
        if self.run is not None:
            self.run.append("balance", record)

    def rollout(self, step: int, rollout: Rollout, rewards: Tensor) -> None:
        """Write the completions of a training round, with their rewards [K, B]."""
        exact = self.gold.gold(rollout.prompts, rollout.completions) if self.gold is not None else None
        self._completions(step, f"step-{step:06d}", rollout.prompts, rollout.completions, rewards.T, exact)

    def start(self, evaluation: Evaluation | None) -> None:
        """The policy before the first update."""
        metrics = self.evaluated(0, evaluation, "before")
        self.at_start = dict(metrics)
        if metrics:
            self.log(0, metrics)

    def evaluated(self, step: int, evaluation: Evaluation | None, name: str = "after") -> dict[str, float]:
        """Write an evaluation's completions and return its metrics."""
        if evaluation is None:
            return {}
        metrics = {
            f"eval/rewards/{n}": float(torch.nanmean(column))
            for n, column in zip(self.objectives.names, evaluation.rewards.T, strict=True)
        }
        if evaluation.gold is not None and self.gold is not None:
            metrics |= {
                f"eval/gold/{n}": float(v) for n, v in zip(self.gold.names, evaluation.gold.mean(0), strict=True)
            }
            metrics["eval/well_formed"] = float(evaluation.well_formed or 0.0)
        others = {}
        if evaluation.held_out is not None and self.held_out is not None:
            others = dict(zip(self.held_out.names, evaluation.held_out.T, strict=True))
            metrics |= {f"eval/held_out/{n}": float(torch.nanmean(column)) for n, column in others.items()}
        told = (evaluation.prompts, evaluation.completions, evaluation.rewards, evaluation.gold, others)
        self._completions(step, name, *told)
        return metrics

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Log one round."""
        self.totals["seconds"] += metrics.get("seconds/step", 0.0)
        self.totals["generation"] += metrics.get("seconds/generation", 0.0)
        self.totals["gradients"] += metrics.get("seconds/gradients", 0.0)
        self.totals["tokens"] += metrics.get("tokens_per_second", 0.0) * metrics.get("seconds/generation", 0.0)
        for name in TAKEN_BACK:
            if name in metrics:
                self.totals[name] = self.totals.get(name, 0.0) + metrics[name]
        known = {name: value for name, value in metrics.items() if not math.isnan(value)}
        if not self.at_start:
            self.at_start = known
        self.latest |= known
        if self.run is not None:
            self.run.log(step, metrics)

    def finish(
        self, step: int, config: AlignConfig, along: Sequence[tuple[Sequence[float], Evaluation | None]] = ()
    ) -> dict[str, Any]:
        """The run's summary, written where there is a folder; without evaluations it is of the training batches.

        Args:
            step: rounds made.
            config: the run's.
            along: evaluations of a policy of several preferences, with these.
        """
        gold = set(self.gold.names) if self.gold is not None else set()
        objectives: dict[str, dict[str, Any]] = {
            name: {
                "proxy": _value(self.latest, "rewards", name),
                "gold": _value(self.latest, "gold", name),
                "start": _value(self.at_start, "gold" if name in gold else "rewards", name),
                "start_proxy": _value(self.at_start, "rewards", name),
            }
            for name in self.objectives.names
        }
        for name in sorted(gold - set(self.objectives.names)):  # evaluated, not trained on
            exact, start = _value(self.latest, "gold", name), _value(self.at_start, "gold", name)
            objectives[name] = {"proxy": None, "gold": exact, "start": start, "start_proxy": None, "unit": ""}
        for spec in self.objectives.specs:
            objectives[spec.name]["unit"] = spec.reward_unit
        seconds = self.totals["seconds"]
        summary: dict[str, Any] = {
            "kind": "align",
            "seed": config.seed,
            "steps": step,
            "seconds": seconds,
            "version": heed.__version__,
            "made": f"heed {heed.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
            "completed": step >= config.steps,
            "objectives": objectives,
            "held_out": {
                spec.name: {
                    "start": self.at_start.get(f"eval/held_out/{spec.name}"),
                    "end": self.latest.get(f"eval/held_out/{spec.name}"),
                    "unit": spec.reward_unit,
                }
                for spec in (self.held_out.specs if self.held_out is not None else ())
            },
            "kl": self.latest.get("kl"),
            **{name: int(self.totals[name]) for name in TAKEN_BACK if name in self.totals},
            "generated_tokens_per_second": self.totals["tokens"] / max(self.totals["generation"], 1e-9),
            "gradient_seconds_share": self.totals["gradients"] / max(seconds, 1e-9),
        }
        if along:
            summary["along"] = [
                {"preference": list(preference), "values": self.values_of(found)}
                for preference, found in along
                if found
            ]
        if self.run is not None:
            summary |= {"method": self.run.config.get("method"), "config_hash": config_hash(self.run.config)}
            self.run.write_summary(summary)
        return summary

    def values_of(self, evaluation: Evaluation) -> dict[str, float]:
        """Each objective's mean value, exact where that is known."""
        rewards = torch.nanmean(evaluation.rewards, dim=0).tolist()
        values = dict(zip(self.objectives.names, rewards, strict=True))
        if evaluation.gold is not None and self.gold is not None:
            values |= dict(zip(self.gold.names, evaluation.gold.mean(0).tolist(), strict=True))
        return values

    def save_checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Write a checkpoint, where there is a folder."""
        if self.run is not None:
            self.run.save_checkpoint(step, write)

    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint."""
        return self.run.latest_checkpoint() if self.run is not None else None

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs."""
        return {"totals": self.totals, "at_start": self.at_start, "latest": self.latest}

    def restore(self, step: int, state: dict[str, Any]) -> None:
        """Go back to what :meth:`state` returned, and drop what was logged after it."""
        self.totals, self.at_start, self.latest = state["totals"], state["at_start"], state["latest"]
        if self.run is not None:
            self.run.truncate_after(step)

    def _completions(
        self,
        step: int,
        name: str,
        prompts: list[Any],
        completions: list[Any],
        rewards: Tensor,
        exact: Tensor | None,
        held_out: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Write ``completions/<name>.parquet``; rewards and exact values are [B, K], held-out values [B] each."""
        if self.run is None:
            return
        rows: dict[str, list[Any]] = {
            "step": [step] * len(prompts),
            "prompt": [p if isinstance(p, str) else p[-1]["content"] for p in prompts],
            "completion": [completion_text(c) for c in completions],
        }
        rows |= {f"rewards/{n}": c.tolist() for n, c in zip(self.objectives.names, rewards.T, strict=True)}
        if exact is not None and self.gold is not None:
            rows |= {f"gold/{n}": c.tolist() for n, c in zip(self.gold.names, exact.T, strict=True)}
        rows |= {f"held_out/{n}": column.tolist() for n, column in (held_out or {}).items()}
        file = self.run.path / "completions" / f"{name}.parquet"
        datasets.disable_progress_bars()
        try:
            file.parent.mkdir(exist_ok=True)
            datasets.Dataset.from_dict(rows).to_parquet(str(file))
        except OSError as error:
            raise RunFailed(f"{file} could not be written: {error}", self.last_checkpoint()) from error


def deviation_of(row: Tensor) -> Tensor:
    """The standard deviation of what was scored of a row; NaN, which stands for not scored, where nothing was.

    >>> deviation_of(torch.tensor([1.0, float("nan"), 3.0]))
    tensor(1.)
    """
    scored = row[~row.isnan()]
    return scored.std(correction=0) if len(scored) else row.new_tensor(math.nan)


def _value(metrics: dict[str, float], kind: str, name: str) -> float | None:
    """An objective's evaluated value, or the training batch's where nothing was evaluated."""
    return metrics.get(f"eval/{kind}/{name}", metrics.get(f"{kind}/{name}/mean"))

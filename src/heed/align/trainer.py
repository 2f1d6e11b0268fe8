"""AlignTrainer: fine-tune a language model to K objectives at once (GAPO and P-GAPO, Li et al. 2025).

One round reads, top to bottom, like the algorithm: prompts, completions, K rewards, K advantages, K gradients from
(nearly) one backward, their Gram matrix, one weighting, one update.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from heed.align import distributed
from heed.align.advantages import ScoredRollout, estimator_of, kl_row
from heed.align.balancing import Balance, Balancer
from heed.align.conditioning.by_method import conditioning_of
from heed.align.conditioning.tags import WriteTag, check_tags, write_tag
from heed.align.config import AlignConfig
from heed.align.evaluation import Evaluation, Gold, evaluate
from heed.align.gradients import MinibatchGradients, Pass, minibatches_of
from heed.align.importance import Importance
from heed.align.journal import Journal
from heed.align.models.policy import Policy
from heed.align.models.precision import REMEDY, not_finite
from heed.align.models.sequences import parts_of
from heed.align.objectives.base import Objective, ObjectiveSet
from heed.align.prompts import PromptStream, checked_rows
from heed.align.rollouts import Sampler, Sampling
from heed.align.scoring import Replies, Scoring
from heed.align.surrogates import surrogate_for
from heed.align.updates.clipping import GradientBound
from heed.align.updates.falls import FallCheck
from heed.align.updates.schedules import learning_rate
from heed.align.updates.steps import Steps
from heed.balance import GAPO, Linear
from heed.balance.jacobian import JacobianAccumulator
from heed.balance.reward_combination import OneGradient
from heed.balance.weightings.running.double_sampled import SDMGrad
from heed.errors import HeedError, RunFailed
from heed.runs.folder import RunFolder
from heed.runs.randomness import capture_randomness, restore_randomness, seed_everything

logger = logging.getLogger(__name__)

OnStep = Callable[[int, dict[str, float]], None]


class AlignTrainer:
    """Fine-tunes a causal language model to several objectives at once.

    Args:
        model: a transformers model, a model folder or a hub id.
        objectives: what completions are scored by; K columns in all.
        weighting: Gram matrix [K, K] to weights [K]; any torchjd weighting on Gram matrices works.
        dataset: a datasets.Dataset, or a list of dicts, with a column ``prompt``; other columns reach the reward
            functions.
        config: every other choice.
        tokenizer: needed where ``model`` is a model object.
        peft_config: the adapter; None trains all parameters.
        run: where metrics, completions and checkpoints go; None keeps nothing on disk.
        gold: exact values to evaluate by (never to train on), where the task has them.
        held_out: objectives that evaluate, and that nothing is trained on.
        eval_prompts: prompts (or rows) of the evaluations; by default the first ``config.eval_prompts`` rows of the
            dataset.
        write: how a method that has prompts carry numbers writes them.

    Under torchrun each process draws prompts of its own, gradients are averaged, and process 0 writes the run folder.

    Example::

        trainer = AlignTrainer("models/base", [RewardModel("models/helpful"), RewardFunction(brevity)],
                               GAPO(p=1), load_prompts("prompts.jsonl"), AlignConfig(steps=200),
                               peft_config=LoraConfig())
        trainer.train()
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        objectives: Sequence[Objective],
        weighting: Weighting[PSDMatrix] | None = None,
        dataset: Any = None,
        config: AlignConfig | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        peft_config: LoraConfig | None = None,
        run: RunFolder | None = None,
        gold: Gold | None = None,
        held_out: Sequence[Objective] = (),
        eval_prompts: Sequence[Any] | None = None,
        write: WriteTag = write_tag,
    ) -> None:
        distributed.join()
        self.config = config = config or AlignConfig()
        seed_everything(config.seed)
        self.objectives = ObjectiveSet(objectives)
        self.policy = Policy(model, tokenizer, peft_config, config.dtype, config.seed)
        self.prompts = PromptStream(dataset, self.policy, config)
        self.sampler = Sampler(self.policy, _sampling(config), config.sampler)
        self.weighting = GAPO(p=1) if weighting is None else weighting
        if self.K == 1:
            logger.warning("K = 1: plain PPO on %s, there is nothing to balance", self.objectives.names[0])
            self.weighting = Linear([1.0])
        if isinstance(self.weighting, SDMGrad) and config.gram != "unbiased":
            told = "%s is meant for --gram unbiased: a %s Gram matrix holds the gradients' own variance on its diagonal"
            logger.warning(told, type(self.weighting).__name__, config.gram)
        one = isinstance(self.weighting, OneGradient)
        self.balanced = ("combined",) if one else self.objectives.names
        self.estimator = estimator_of(self.policy, self.K, config, self.weighting)
        self.surrogate = surrogate_for(self.weighting, config)
        self.conditioning = conditioning_of(self.weighting, self.objectives.names, config, self.policy, write)
        self.importance = Importance(config.importance_cap)
        self.scoring = Scoring(self.objectives, self.policy, self.importance, self.conditioning, config)
        if config.gradient_checkpointing:
            self.policy.checkpoint_activations()
        self.jacobian = JacobianAccumulator(
            self.policy.model,
            objectives=len(self.balanced) + int(kl_row(config)),
            rank=None if config.advantage == "gae" and not one else self.surrogate.rank,
            path=config.jacobian_path,
            parameters=self.policy.trainable(),
            keep_micro_grams=config.micro_batches > 1,
            checkpointing=config.gradient_checkpointing and self.policy.recomputes_vectorised,
            unfactored=self.policy.unfactored,
        )
        given = (self.surrogate, self.importance, config, len(self.balanced), self.conditioning)
        self.gradients = MinibatchGradients(self.policy, self.jacobian, *given)
        others = ObjectiveSet(held_out) if held_out else None
        self.journal = Journal(run if distributed.rank() == 0 else None, self.objectives, gold, others)
        scope, kept = self.policy.last_layer(), self.journal.last_checkpoint
        self.balancer = Balancer(self.weighting, self.jacobian, len(self.balanced), config, scope, kept)
        parameters, betas = list(self.jacobian.parameters.values()), (config.beta1, config.beta2)
        self.optimizer = torch.optim.AdamW(
            parameters, lr=config.learning_rate, betas=betas, weight_decay=config.weight_decay
        )
        self.generator = torch.Generator(self.policy.device).manual_seed(config.seed + 1_000_003 * distributed.rank())
        self.steps = Steps(self.optimizer, parameters, config.max_kl, config.clip_updates)
        self.falls = FallCheck(self.optimizer, parameters, config.max_fall)
        self.bound = GradientBound(config.max_grad_norm, config.max_grad_ratio)
        self.eval_rows = self.prompts.first(config.eval_prompts)
        if eval_prompts is not None:
            self.eval_rows = checked_rows(eval_prompts, self.policy, config.max_completion_tokens)
        rows = [*self.prompts.rows, *self.eval_rows]
        if numbers := self.conditioning.told():
            check_tags(rows, self.policy, self.objectives.names, write, config.max_completion_tokens, numbers)
        for judges in filter(None, (self.objectives, others)):
            judges.check([row["prompt"] for row in rows], [row.get("tools") for row in rows])
        self.step = 0
        self._started = False

    @property
    def K(self) -> int:  # noqa: N802 - the papers' K
        """Number of objectives."""
        return len(self.objectives.names)

    def train(self, on_step: OnStep | None = None) -> dict[str, Any]:
        """Train to ``config.steps``, from the step that the trainer is at.

        Args:
            on_step: called after every round with its number and metrics.

        Returns:
            The run's summary (docs/align.md, "A run folder").

        Raises:
            HeedError: an objective gave what no optimiser step may see; the last checkpoint is kept.
            RunFailed: a gradient or a weight is not finite, or the disk is full; the last checkpoint is kept.
        """
        if not self._started:
            self._started = True
            self.journal.start(self.evaluate())
            self.checkpoint()
        while self.step < self.config.steps:
            metrics = self.round()
            self.step += 1
            if self.step == self.config.steps and self.config.max_fall > 0:  # no later round looks at the last one
                metrics["rounds_undone"] += self.replies()[1]["rounds_undone"]
            if (self.config.eval_every and self.step % self.config.eval_every == 0) or self.step == self.config.steps:
                metrics |= self.journal.evaluated(self.step, self.evaluate())
            self.journal.log(self.step, metrics)
            if self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps:
                self.checkpoint()
            if on_step is not None:
                on_step(self.step, metrics)
        along = [(preference, self.evaluate(preference)) for preference in self.conditioning.preferences]
        return self.journal.finish(self.step, self.config, along)

    def round(self) -> dict[str, float]:
        """One rollout and the update on it."""
        clock = time.perf_counter()
        replies, told = self.replies()
        rollout, rewards, scored = replies.rollout, replies.rewards, replies.scored
        self.conditioning.observe(self.balancer, rewards)
        parts = parts_of(len(rollout.sequences), self.config.micro_batch)
        advantages = self.estimator.advantages(scored, parts)
        if self.policy.device.type == "cuda":  # which does the scoring when it is asked for, but later
            torch.cuda.synchronize(self.policy.device)
        measured = time.perf_counter()
        gradient_seconds, clipped, length, balance = 0.0, 0.0, 0.0, None
        minibatches = self.minibatches()
        self.steps.begin_round()
        for number, rows in enumerate(minibatches, 1):
            started = time.perf_counter()
            self.conditioning.turn_to(number - 1)
            taken = self.accumulate(scored, advantages, rows, unmoved=number == 1)
            if self.steps.too_far(taken.moved):  # which the next minibatch's forward pass tells
                self.retreat(scored, rows, taken.moved)
                taken = self.accumulate(scored, advantages, rows)
            clipped += taken.clipped
            balance = self.balancer.solve(self.optimizer)
            gradient_seconds += time.perf_counter() - started
            self.journal.balance(balance.record(self.step + 1, self.balanced) | {"minibatch": number})
            length = self.update(balance)
        moved = self.settle(scored, minibatches[-1])
        assert balance is not None
        critic = self.estimator.learn()
        ended = time.perf_counter()
        metrics = self.journal.describe(rollout, rewards)
        metrics |= balance.metrics(self.balanced) | critic | self.importance.metrics()
        metrics |= {
            "direction/norm": length,
            "kl": float(scored.kl.sum() / scored.sequences.mask.sum()),
            "entropy": -float((scored.logp * scored.sequences.mask).sum() / scored.sequences.mask.sum()),
            "clip_ratio": clipped / (self.config.epochs * self.config.minibatches),
            **moved,
            **told,
            "tokens_per_second": distributed.world_size() * replies.tokens / replies.seconds,
            "seconds/step": ended - clock,
            "seconds/generation": replies.seconds,
            "seconds/scoring": measured - clock - replies.seconds,
            "seconds/gradients": gradient_seconds,
        }
        every = self.config.log_completions_every
        if every and (self.step + 1) % every == 0:
            self.journal.rollout(self.step + 1, rollout, rewards)
        values = distributed.mean_of_known(torch.tensor(list(metrics.values()), dtype=torch.float64))
        return dict(zip(metrics, values.tolist(), strict=True))

    def replies(self) -> tuple[Replies, dict[str, float]]:
        """A round's scored completions, and metrics; where all fell by the round before, that one is undone."""
        prompts, columns = self.prompts.draw(self.step)
        scale = self.scoring.scale.value
        replies = self.draw(prompts, columns)
        if self.config.max_fall <= 0:
            return replies, {}
        if undone := self.falls.fell(self.scoring.worth(replies.scored)):
            told = "round %d: every objective fell by over %g standard errors; the round before is undone"
            logger.warning(told, self.step + 1, self.config.max_fall)
            self.falls.go_back()
            self.scoring.scale.value = scale
            replies = self.draw(prompts, columns).after(replies)
        else:
            self.falls.stands()
        self.falls.keep(self.scoring.worth(replies.scored))
        return replies, {"rounds_undone": float(undone)}

    def draw(self, prompts: list[Any], columns: dict[str, list[Any]]) -> Replies:
        """One completion for each prompt, scored and measured."""
        clock = time.perf_counter()
        rollout = self.conditioning.roll(self.sampler, self.step, prompts, self.generator, columns)
        seconds = time.perf_counter() - clock
        rewards = self.scoring.rewards(rollout)
        self.scoring.observe(rewards)
        rollout = self.conditioning.relabelled(rollout, rewards)
        scored = self.scoring.measure(rollout, rewards, self.step)
        return Replies(rollout, rewards, scored, seconds, float(scored.sequences.mask.sum()))

    def accumulate(self, scored: ScoredRollout, advantages: Tensor, rows: Tensor, unmoved: bool = False) -> Pass:
        """Take the K gradients over a minibatch, drawn by the policy as it still is or not."""
        return self.gradients.take(scored, advantages, rows, unmoved)

    def update(self, balance: Balance) -> float:
        """One optimiser step along the weighted sum of the gradients; returns that sum's length, before clipping."""
        weights = balance.weights
        if kl_row(self.config):  # not balanced, but scaled as the objectives are
            weights = torch.cat([weights, weights.sum()[None]])
        direction = self.jacobian.write_gradient(weights)
        if not bool(direction.isfinite().all()):
            reason = f"the update is not finite, so no optimiser step was taken: {REMEDY}"
            raise RunFailed(reason, self.journal.last_checkpoint())
        parameters = list(self.jacobian.parameters.values())
        length = float(direction.norm())
        bound = self.bound(length)
        if length > bound:
            torch.nn.utils.clip_grad_norm_(parameters, bound)
        for group in self.optimizer.param_groups:
            group["lr"] = self.falls.share * learning_rate(self.config, self.step)
        self.steps.take()
        self.optimizer.zero_grad(set_to_none=True)
        self._require_finite()
        return length

    def retreat(self, scored: ScoredRollout, rows: Tensor, moved: float) -> float:
        """Take the last step back until the round has not moved the policy too far; what it has moved it then."""
        while self.steps.too_far(moved):
            self.steps.retreat()
            moved = self.gradients.moved(scored, rows)
        return moved

    def settle(self, scored: ScoredRollout, rows: Tensor) -> dict[str, float]:
        """Take the round's last step back where it went too far; what the round moved, and what was taken back."""
        if self.config.max_kl <= 0:
            return {}
        moved = self.retreat(scored, rows, self.gradients.moved(scored, rows))
        self.steps.end_round()
        if self.steps.undone:
            told = "round %d: steps that moved the policy further than max_kl %g were undone: %d"
            logger.warning(told, self.step + 1, self.config.max_kl, self.steps.undone)
        return {"kl_round": moved, "steps_halved": self.steps.halved, "steps_undone": self.steps.undone}

    def evaluate(self, preference: Sequence[float] | None = None) -> Evaluation | None:
        """Sample the evaluation prompts with a seed of their own; None without such prompts, and but in process 0.

        Args:
            preference: what a policy of several preferences is asked for; equal weights without.
        """
        if not self.eval_rows or distributed.rank() > 0:
            return None
        gold, others = self.journal.gold, self.journal.held_out

        def shown(prompts: Sequence[Any]) -> list[Any]:
            return self.conditioning.shown(prompts, preference)

        with self.conditioning.acting(preference or [1 / self.K] * self.K):
            return evaluate(self.sampler, self.objectives, self.eval_rows, self.config, gold, others, shown)

    def minibatches(self) -> list[Tensor]:
        """Rows of each optimiser step; the completions of a prompt stay together."""
        return minibatches_of(self.config, self.generator, self.policy.device, self.conditioning.in_order)

    # Checkpoints.

    def checkpoint(self) -> None:
        """Write a checkpoint with everything that exact resumption needs; does nothing without a run folder."""
        state = self.state()
        self._require_finite(state["estimator"])

        def write(folder: Path) -> None:
            self.policy.save(folder)
            self.conditioning.save(folder)
            torch.save(state, folder / "trainer.pt")

        self.journal.save_checkpoint(self.step, write)

    def _require_finite(self, others: dict[str, Any] | None = None) -> None:
        """Let no weights that are not finite become a checkpoint, or be trained on."""
        if (name := not_finite({**self.policy.trainable(), **(others or {})})) is not None:
            raise RunFailed(f"a weight is not finite ({name}): {REMEDY}", self.journal.last_checkpoint())

    def state(self) -> dict[str, Any]:
        """Everything beside the weights."""
        return {
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "estimator": self.estimator.state(),
            "balancer": self.balancer.state(),
            "reward_scale": self.scoring.scale.value,
            "falls": self.falls.state(),
            "typical_norm": self.bound.typical,
            "processes": distributed.gather((self.generator.get_state(), capture_randomness())),
            "journal": self.journal.state(),
        }

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint: the run that follows equals the uninterrupted one.

        Raises:
            HeedError: the checkpoint was written by another number of processes.
        """
        state = torch.load(folder / "trainer.pt", map_location="cpu", weights_only=True)
        processes = state["processes"]
        if len(processes) != distributed.world_size():
            there, here = len(processes), distributed.world_size()
            raise HeedError(f"the checkpoint is of {there} processes, not {here}", str(folder), f"start {there}")
        self.policy.restore(folder)
        self.step = state["step"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.estimator.restore(state["estimator"])
        self.balancer.restore(state["balancer"])
        self.scoring.scale.value = state["reward_scale"]
        if "falls" in state:  # older ones have none
            self.falls.restore(state["falls"])
        self.bound.typical = state["typical_norm"]
        generator, randomness = processes[distributed.rank()]
        self.generator.set_state(generator)
        restore_randomness(randomness)
        self.journal.restore(self.step, state["journal"])
        self._started = True


def _sampling(config: AlignConfig) -> Sampling:
    return Sampling(config.max_completion_tokens, config.temperature, config.top_p, config.top_k)

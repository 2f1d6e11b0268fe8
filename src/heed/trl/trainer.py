"""TRL's GRPOTrainer with one gradient a reward function, balanced into one update.

TRL sums the rewards before it takes a gradient. Here each reward function has advantages of its own, by TRL's own
formula, and its loss a gradient of its own; a weighting says how they become one step. What a loss of TRL's makes of
an advantage is asked of TRL itself, at advantages of 1 and -1, on the log-probabilities alone: so every loss type,
clip and correction that it has is the one that is taken apart, and K gradients still cost about one backward
(`heed.balance.jacobian`).
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix
from trl import GRPOTrainer
from trl.trainer.utils import nanstd

from heed.balance import ObservesSpreads, ObservesValues, TellsFigures, cosines, norms, weighting_from_name
from heed.balance.cotangents import Cotangents, Term
from heed.balance.jacobian import JacobianAccumulator
from heed.errors import HeedError, RunFailed
from heed.trl.contract import check_contract, check_settings, check_weighting

WEIGHTING_FILE = "weighting.pt"
"""In a checkpoint's folder: what a weighting remembers from step to step."""
CHECKED = 8
"""Passes at the beginning in which what was composed is held against TRL's loss itself; with several iterations of a
rollout there are clipped ones among them."""


class BalancedGRPOTrainer(GRPOTrainer):
    """GRPOTrainer whose reward functions stay apart up to the update.

    Everything is TRL's own: generation, reward functions, losses, clipping, logging, checkpoints. The KL to the
    reference (`beta`) is no objective: it is added to the balanced gradient, times the sum of the weights.

    Args:
        arguments: as `trl.GRPOTrainer` takes them.
        weighting: from the Gram matrix [K, K] of the K gradients to their weights [K]; or the name of a method
            (`heed.balance.METHODS`).
        weighting_settings: the method's own, where it is named.
        settings: as `trl.GRPOTrainer` takes them.

    Attributes:
        weighting: in use.
        gram: of the last update's gradients, [K, K].
        weights: of the last update's gradients, [K].

    Raises:
        HeedError: TRL is built otherwise than heed knows it, or a setting has no place beside a balance.
    """

    beta: float

    def __init__(
        self,
        *arguments: Any,
        weighting: Weighting[PSDMatrix] | str = "gapo",
        weighting_settings: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        check_contract()
        given = inspect.signature(GRPOTrainer.__init__).bind_partial(self, *arguments, **settings).arguments.get("args")
        if given is not None:  # before a model is loaded
            check_settings(given, "NO")
        super().__init__(*arguments, **settings)
        check_settings(self.args, self.accelerator.distributed_type.value)
        if self.aux_loss_enabled:
            raise HeedError("a router's auxiliary loss is no objective's", "output_router_logits", "turn it off")
        names = self.reward_func_names
        method = weighting if isinstance(weighting, str) else type(weighting).__name__
        if isinstance(weighting, str):
            weighting = weighting_from_name(weighting, len(names), names, **(weighting_settings or {}))
        elif weighting_settings:
            raise HeedError("a weighting that is made has its settings", "weighting_settings", "give its name instead")
        check_weighting(weighting, method)
        self.weighting = weighting
        self.gram, self.weights = torch.empty(0, 0), torch.empty(0)
        self._forward: _Forward | None = None
        self._apart: Tensor | None = None  # rewards of the latest rollout, of all processes, [N, K]
        self._unchecked = CHECKED
        kept_apart = int(self.beta != 0)
        # Without `checkpointing`: TRL's own head does not take part in a backward over several cotangents at once
        self._jacobian = JacobianAccumulator(self.model, len(names) + kept_apart, rank=2)

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if bool((infinite := rewards.isinf().any(0)).any()):
            name = self.reward_func_names[int(infinite.nonzero()[0])]
            raise HeedError(f"the reward '{name}' gave an infinite number", name, "give None for what it cannot score")
        self._apart = rewards
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        assert self._apart is not None
        if self.model.training:
            self._observe(self._apart)
        group = self.num_generations if self.model.training else self.num_generations_eval
        advantages = advantages_of(self._apart, group, self.scale_rewards)
        rows = len(output["advantages"])
        first = self.accelerator.process_index * rows
        # With the batch in front, so that TRL shuffles and splits it with the rest
        output["advantages_apart"] = advantages[first : first + rows]
        return output

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """TRL's loss, for its log; in training the K gradients are taken here, and the last one's backward is empty."""
        if not self.model.training or return_outputs:
            loss: Tensor = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            return loss
        told = self._take(self.accelerator.unwrap_model(model), inputs)
        if self.accelerator.sync_gradients:
            self._update()
        return told.detach().requires_grad_()

    def _get_per_token_logps_and_entropies(self, model: Any, *arguments: Any, **settings: Any) -> Any:
        asked = self._forward
        if asked is None:
            return super()._get_per_token_logps_and_entropies(model, *arguments, **settings)
        if asked.result is None:
            asked.arguments, asked.settings = arguments, settings
            asked.result = super()._get_per_token_logps_and_entropies(model, *arguments, **settings)
            asked.leaf = asked.result[0].detach().requires_grad_()
        others = (part.detach() if isinstance(part, Tensor) else part for part in asked.result[1:])
        return (asked.leaf, *others)

    def _take(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """Add one micro-batch's K gradients; returns TRL's own loss."""
        asked = self._forward = _Forward()
        told: list[Tensor] = []

        def forward(rows: Tensor | None) -> Tensor:
            if told:
                return self._again(model, asked, rows)
            told.append(self._compute_loss(model, inputs))
            assert asked.result is not None
            self._jacobian.recomputes_rows = not asked.has_more_than_rows
            return asked.result[0]

        try:
            self._jacobian.accumulate(forward, lambda _: self._cotangents(model, inputs, asked))
        finally:
            self._forward = None
        return told[0]

    def _again(self, model: nn.Module, asked: _Forward, rows: Tensor | None) -> Tensor:
        """The log-probabilities once more, of some rows or all; nothing is gathered from other processes."""
        take = super()._get_per_token_logps_and_entropies
        ids, mask, *rest = asked.arguments
        if rows is None:
            again: Tensor = take(model, ids, mask, *rest, **asked.settings)[0]
        else:
            again = take(model, ids[rows], mask[rows], *rest)[0]
        return again

    def _cotangents(self, model: nn.Module, inputs: dict[str, Any], asked: _Forward) -> Cotangents:
        """What each reward wants of each token, as TRL's loss has it."""
        advantages = inputs["advantages_apart"].T  # [K, B]
        beta, self.beta = self.beta, 0.0
        try:
            rise = self._asked_of_trl(model, inputs, asked, torch.ones_like(advantages[0]))
            fall = -self._asked_of_trl(model, inputs, asked, -torch.ones_like(advantages[0]))
            found = Cotangents.by_sign(rise, fall, advantages.to(rise.dtype))
            if self._unchecked > 0:
                self._check(model, inputs, asked, found, advantages)
        finally:
            self.beta = beta
        if beta == 0:
            return found
        apart = self._asked_of_trl(model, inputs, asked, torch.zeros_like(advantages[0]))
        own = torch.cat([torch.zeros_like(advantages), torch.ones_like(advantages[:1])]).to(rise.dtype)
        rows = (Term(term.shared, nn.functional.pad(term.coefficients, (0, 0, 0, 1))) for term in found.terms)
        return Cotangents((*rows, Term(apart, own)))

    def _asked_of_trl(self, model: nn.Module, inputs: dict[str, Any], asked: _Forward, advantages: Tensor) -> Tensor:
        """Minus the derivative of TRL's loss by each token's log-probability at these advantages [B], [B, T]."""
        assert asked.leaf is not None
        with torch.enable_grad(), self._logged_once(True):
            loss = self._compute_loss(model, {**inputs, "advantages": advantages})
            (slope,) = torch.autograd.grad(loss, asked.leaf, allow_unused=True)
        return torch.zeros_like(asked.leaf) if slope is None else -slope

    def _check(
        self, model: nn.Module, inputs: dict[str, Any], asked: _Forward, found: Cotangents, advantages: Tensor
    ) -> None:
        """Hold what was composed of two signs against TRL's loss at the advantages themselves, in the first passes."""
        same = True
        for composed, own in zip(found.dense(), advantages, strict=True):
            whole = self._asked_of_trl(model, inputs, asked, own)
            same &= torch.allclose(composed, whole, rtol=1e-3, atol=1e-6 * float(whole.abs().max()))
        wrong = self.accelerator.gather(torch.tensor([not same], device=advantages.device))
        if bool(wrong.any()):  # of any process, so that none waits for the others
            what = f"the loss '{self.loss_type}' is not an advantage times what its sign decides"
            raise HeedError(what, "loss_type", "take another, such as dapo or grpo")
        self._unchecked -= 1

    def _update(self) -> None:
        """Balance the gradients of an accumulation window, and leave the update where the optimiser looks for it."""
        K, names = len(self.reward_func_names), self.reward_func_names
        self._jacobian.all_reduce()
        gram = self._jacobian.gram()[:K, :K].cpu()
        if not bool(gram.isfinite().all()):
            raise RunFailed("a gradient is not finite, so no step was taken: lower learning_rate, or take bf16")
        weights = self.weighting(gram)
        apart = weights.sum()[None] if self.beta != 0 else weights[:0]
        self._jacobian.write_gradient(torch.cat([weights, apart]))
        self._jacobian.zero()
        self.gram, self.weights = gram, weights
        self._log_balance(names)

    def _log_balance(self, names: list[str]) -> None:
        metrics, angle, length = self._metrics["train"], cosines(self.gram), norms(self.gram)
        for k, name in enumerate(names):
            metrics[f"balance/weight/{name}"].append(float(self.weights[k]))
            metrics[f"balance/norm/{name}"].append(float(length[k]))
            for other in range(k + 1, len(names)):
                metrics[f"balance/cosine/{name}~{names[other]}"].append(float(angle[k, other]))
        if isinstance(self.weighting, TellsFigures):
            for name, value in self.weighting.figures(names).items():
                metrics[f"balance/{name}"].append(value)

    def _observe(self, rewards: Tensor) -> None:
        """Show a rollout's rewards [N, K] to a weighting that follows them."""
        if isinstance(self.weighting, ObservesValues):
            self.weighting.observe(torch.nanmean(rewards, dim=0).cpu())
        if isinstance(self.weighting, ObservesSpreads):
            self.weighting.observe_spreads(torch.nanmean(rewards, dim=0).cpu(), nanstd(rewards, dim=0).cpu())

    @contextmanager
    def _logged_once(self, again: bool) -> Iterator[None]:
        """Within: what TRL logs of a loss that was asked for again is forgotten."""
        kept = {name: len(values) for name, values in self._metrics["train"].items()}
        yield
        if again:
            for name, values in self._metrics["train"].items():
                del values[kept.get(name, 0) :]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            torch.save(self.weighting.state_dict(), folder / WEIGHTING_FILE)

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or not self.weighting.state_dict():
            return
        file = Path(checkpoint) / WEIGHTING_FILE
        try:
            self.weighting.load_state_dict(torch.load(file, weights_only=True))
        except FileNotFoundError as error:
            what = f"what {type(self.weighting).__name__} remembers is not here: {WEIGHTING_FILE} is missing"
            raise HeedError(what, str(checkpoint), "go on from one that this trainer wrote") from error
        except (RuntimeError, pickle.UnpicklingError) as error:
            what = f"{WEIGHTING_FILE} is not of {type(self.weighting).__name__}"
            raise HeedError(what, str(file), "go on with the weighting that wrote it") from error


class _Forward:
    """One forward pass of TRL's, kept while its loss is asked for several times."""

    def __init__(self) -> None:
        self.arguments: tuple[Any, ...] = ()
        self.settings: dict[str, Any] = {}
        self.result: tuple[Any, ...] | None = None
        self.leaf: Tensor | None = None

    @property
    def has_more_than_rows(self) -> bool:
        """Whether something besides ids and mask went in, such as pictures, whose tensors have no row each."""
        return any(isinstance(part, Tensor | list) for part in self.settings.values())


def advantages_of(rewards: Tensor, group: int, scale: str) -> Tensor:
    """Each reward's advantages, as TRL has them of one reward function alone.

    Args:
        rewards: of all processes, [N, K]; NaN where a function did not score a completion.
        group: completions of a prompt, consecutive rows.
        scale: by the deviation of the group, of the whole batch, or by none (`GRPOConfig.scale_rewards`).

    Returns:
        [N, K]; 0 where nothing was scored.

    >>> advantages_of(torch.tensor([[1.0, 5.0], [3.0, torch.nan]]), 2, "none").tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    grouped = rewards.view(-1, group, rewards.shape[1])
    advantages = grouped - torch.nanmean(grouped, dim=1, keepdim=True)
    if scale == "group" and group > 1:
        advantages = advantages / (nanstd(grouped, dim=1, keepdim=True) + 1e-4)
    elif scale == "batch":
        advantages = advantages / (nanstd(rewards, dim=0) + 1e-4)
    advantages = advantages.view_as(rewards)
    return torch.where(advantages.isnan(), 0.0, advantages)

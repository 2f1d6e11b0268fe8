"""Blockers: what has learnt from judgements where a person would say stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from heed.errors import HeedError
from heed.guard.models.config import BLOCKERS_FIT, BatchConfig
from heed.guard.models.ensemble import Normaliser, StackedMLP, balanced, learn_members

BLOCKER_INPUTS = ("next_state", "state", "state_action")
"""What a blocker may judge."""


class DangerJudge(Protocol):
    """What finds a step dangerous: learnt blockers, or a known rule."""

    def danger(self, states: Tensor, actions: Tensor, next_states: Tensor) -> Tensor:
        """Danger in [0, 1] of the steps from states [..., S] by actions [..., A] to next states [..., S]: [...]."""
        ...


@dataclass(frozen=True)
class BlockersReport:
    """How a fit went.

    Args:
        unseen: danger of each row as the member tells it that did not learn from it, [N]; NaN for rows of no use.
        loss: each member's cross-entropy on the rows that it did not learn from, both classes counting half, nats, [M];
            ln 2 = .69 is what a guess has.
        positives: blocks among the rows.
        rows: judgements that were of use.
        left_out: those that were not, because something in them is not finite.
        positive_weight: (1 - q) / q, what a block counted for in the fit, q being the share of blocks.
    """

    unseen: Tensor
    loss: Tensor
    positives: int
    rows: int
    left_out: int
    positive_weight: float


@dataclass(frozen=True)
class Reliability:
    """Of how many of those that the blockers call dangerous with probability p, the person says so.

    Blocks count by the weight that they had in the fit, as the blockers' probabilities are meant; perfect blockers lie
    on the diagonal.

    Args:
        predicted: mean probability in each bin, [bins]; NaN in an empty one.
        observed: share of blocks in it, [bins].
        count: rows in it, [bins].
        gap: mean distance from the diagonal over rows, so weighted (expected calibration error).
    """

    predicted: Tensor
    observed: Tensor
    count: Tensor
    gap: float


class Blockers(nn.Module):
    """An ensemble of classifiers that imitates block decisions.

    M small networks, each without one fold of the rows and on a bootstrap resample of the others, drawn within each
    class so that every member sees blocks. In their cross-entropy both classes count half: as if a positive weighed
    ``(1 - q) / q``, q being their share (HIRL's code has the inverse), but by batches of which half are blocks. What
    goes in not finite comes out not finite.

    Args:
        state_size: S.
        action_size: A; needed for ``state_action`` only.
        members: M.
        hidden: units of each hidden layer.
        layers: hidden layers.
        inputs: what is judged: ``next_state``, ``state`` or ``state_action``.
        label_keys: indices of the state variables that the labels depend on; all if None.
        votes: danger is the probability that the votes-th most alarmed member gives (HIRL: 2); the members' mean
            if None.
        seed: of the weights before the first fit.

    Raises:
        HeedError: inputs that are not known, label_keys beyond the state, more votes than members.

    >>> blockers = Blockers(state_size=4, members=5, label_keys=(0, 1))
    >>> blockers.logits(torch.zeros(10, 7, 4)).shape
    torch.Size([5, 10, 7])
    """

    columns: Tensor
    positive_weight: Tensor

    def __init__(
        self,
        state_size: int,
        action_size: int = 0,
        members: int = 5,
        hidden: int = 64,
        layers: int = 2,
        inputs: str = "next_state",
        label_keys: Sequence[int] | None = None,
        votes: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if inputs not in BLOCKER_INPUTS:
            raise HeedError(f"'{inputs}' is nothing a blocker judges", "inputs", f"take {', '.join(BLOCKER_INPUTS)}")
        keys = list(range(state_size)) if label_keys is None else list(label_keys)
        if not keys or not all(0 <= key < state_size for key in keys) or len(set(keys)) < len(keys):
            raise HeedError(
                f"label_keys are {keys}", "label_keys", f"give indices from 0 to {state_size - 1}, each once"
            )
        if votes is not None and not 1 <= votes <= members:
            raise HeedError(f"{votes} votes of {members} members", "votes", f"give 1 to {members}")
        if inputs == "state_action" and action_size < 1:
            raise HeedError("blockers that judge actions need action_size", "action_size", "give it")
        self.members, self.inputs, self.votes = members, inputs, votes
        self.input_size = state_size + (action_size if inputs == "state_action" else 0)
        columns = torch.tensor([*keys, *range(state_size, self.input_size)])
        self.register_buffer("columns", columns)
        self.normaliser = Normaliser(len(columns))
        self.network = StackedMLP([len(columns), *[hidden] * layers, 1], members, seed)
        self.register_buffer("positive_weight", torch.ones(()))

    def inputs_of(self, states: Tensor, actions: Tensor, next_states: Tensor) -> Tensor:
        """What is judged of steps from states [..., S] by action vectors [..., A] to next states [..., S]: [..., D]."""
        if self.inputs == "next_state":
            return next_states
        return states if self.inputs == "state" else torch.cat([states, actions], dim=-1)

    def danger(self, states: Tensor, actions: Tensor, next_states: Tensor) -> Tensor:
        """Danger in [0, 1] of the steps from states [..., S] by actions [..., A] to next states [..., S]: [...]."""
        return self.danger_of(self.inputs_of(states, actions, next_states))

    @torch.no_grad()
    def danger_of(self, inputs: Tensor) -> Tensor:
        """Danger in [0, 1] of inputs [..., D] as a threshold compares it: the members' mean or vote, [...]."""
        return combined(self.probability(inputs), self.votes)

    @torch.no_grad()
    def most_alarmed(self, inputs: Tensor) -> Tensor:
        """The probability of a block of inputs [..., D] that the most alarmed member gives, [...]."""
        return self.probability(inputs).amax(0)

    def logits(self, inputs: Tensor) -> Tensor:
        """Each member's log-odds of a block, [M, ...], of inputs [..., D]; NaN where an input is not finite."""
        if inputs.shape[-1] != self.input_size:
            raise ValueError(f"inputs are [..., {self.input_size}], these are {list(inputs.shape)}")
        rows = inputs.reshape(-1, self.input_size)
        x = self.normaliser(rows[:, self.columns])
        result = self.network(x.expand(self.members, -1, -1)).squeeze(-1)
        # x - x is 0 of a number and NaN of an infinity, in which a logit might stay finite.
        return (result + (rows - rows).sum(-1)).view(self.members, *inputs.shape[:-1])

    def probability(self, inputs: Tensor) -> Tensor:
        """Each member's probability of a block, [M, ...], as if blocks and their absence were equally frequent."""
        return self.logits(inputs).sigmoid()

    @torch.no_grad()
    def disagreement(self, inputs: Tensor) -> Tensor:
        """Standard deviation of the members' probabilities, [...], of inputs [..., D]."""
        return self.probability(inputs).std(0, correction=0)

    def fit(
        self,
        inputs: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        config: BatchConfig = BLOCKERS_FIT,
        folds: Tensor | None = None,
    ) -> BlockersReport:
        """Learn from judgements, from fresh weights; each member does without one fold of the rows.

        So every row is judged by a member that has not seen it, which is what a threshold can be calibrated on, and yet
        all are learnt from (cross-conformal; Vovk 2015). A refit forgets the weights before it: warm-started ones
        have learnt from rows that are unseen now.

        Args:
            inputs: [N, D].
            labels: True for a block, [N].
            generator: of weights, folds, bootstrap and batches.
            config: how.
            folds: number of the member that does without a row, [N]; rows that are alike, as those of one episode are,
                belong in one fold. By default rows are dealt out at random, those of each class evenly.

        Returns:
            The unseen rows' danger and what was learnt from.

        Raises:
            HeedError: fewer than two judgements of either kind, or all of one kind in one fold.
        """
        labels = labels.bool()
        if inputs.shape != (len(labels), self.input_size):
            raise ValueError(f"inputs are [N, {self.input_size}], labels [N]; got {[*inputs.shape]}, {[*labels.shape]}")
        usable = inputs.isfinite().all(1)
        positives, total = int((labels & usable).sum()), int(usable.sum())
        if positives < 2 or total - positives < 2:
            raise HeedError(
                f"{positives} blocks and {total - positives} other judgements: blockers need two of each at least",
                "Blockers.fit",
                "oversee for longer, or give an overseer or a catastrophe rule that blocks"
                if positives < 2
                else "let some actions pass: an overseer that blocks everything teaches nothing",
            )
        classes = [(usable & labels).nonzero().squeeze(1), (usable & ~labels).nonzero().squeeze(1)]
        if folds is None:
            folds = torch.zeros(len(labels), dtype=torch.long)
            for rows in classes:
                folds[rows] = torch.randperm(len(rows), generator=generator) % self.members
        self.positive_weight.fill_(len(classes[1]) / len(classes[0]))
        self.normaliser.fit(inputs[usable][:, self.columns])
        self.network.reset(generator)
        learnt = [self._learnt(rows, folds, config.bootstrap, generator) for rows in classes]
        x, y = self.normaliser(inputs[:, self.columns]), labels.float()

        def loss(batch: Tensor) -> Tensor:
            result = self.network(x[batch]).squeeze(-1)
            return functional.binary_cross_entropy_with_logits(result, y[batch], reduction="none").mean(1)

        decayed = [(parameter, config.weight_decay) for parameter in self.network.weights]
        biases = [(parameter, 0.0) for parameter in self.network.biases]
        learn_members([*decayed, *biases], loss, balanced(learnt, config.batch_size, generator), config)
        with torch.no_grad():
            unseen = self.logits(inputs).gather(0, folds[None])[0]
        losses = [self._balanced_loss(unseen, labels, usable & (folds == member)) for member in range(self.members)]
        return BlockersReport(
            unseen.sigmoid(), torch.stack(losses), positives, total, len(labels) - total, float(self.positive_weight)
        )

    def _balanced_loss(self, logits: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        """Cross-entropy of some rows, each class counting half; NaN where one is missing."""
        each = functional.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
        return (each[rows & labels].mean() + each[rows & ~labels].mean()) / 2

    def _learnt(self, rows: Tensor, folds: Tensor, bootstrap: bool, generator: torch.Generator) -> Tensor:
        """Each member's rows of one class, [M, n], none of them of its own fold."""
        result = []
        for member in range(self.members):
            seen = rows[folds[rows] != member]
            if not len(seen):
                raise HeedError(
                    f"all {len(rows)} judgements of one kind are of one fold", "Blockers.fit", "oversee more episodes"
                )
            chosen = torch.randint(len(seen), (len(rows),), generator=generator) if bootstrap else None
            result.append(seen[torch.arange(len(rows)) % len(seen) if chosen is None else chosen])
        return torch.stack(result)


class KnownBlockers:
    """A rule that is known, in place of blockers.

    Args:
        rule: next states [..., S] to bool [...].

    >>> wall = KnownBlockers(lambda states: states[..., 0] > 4)
    >>> there = torch.tensor([[5.0], [0.0], [float("nan")]])
    >>> wall.danger(there, there, there)
    tensor([1., 0., nan])
    """

    def __init__(self, rule: Callable[[Tensor], Tensor]) -> None:
        self.rule = rule

    def danger(
        self,
        states: Tensor,  # noqa: ARG002 - what judges danger is given the whole step
        actions: Tensor,  # noqa: ARG002 - as above
        next_states: Tensor,
    ) -> Tensor:
        """1 where the rule says so of the next states [..., S], 0 elsewhere, NaN where they are not finite: [...]."""
        return self.rule(next_states).float() + (next_states - next_states).sum(-1)


def combined(probabilities: Tensor, votes: int | None) -> Tensor:
    """The members' probabilities [M, ...] as one, [...]: their mean, or the votes-th largest; NaN if any is.

    At least ``votes`` members say more than p if and only if the votes-th largest is more than p.

    >>> combined(torch.tensor([0.9, 0.1, 0.6, 0.2, 0.3]), votes=2)
    tensor(0.6000)
    """
    mean = probabilities.mean(0)
    if votes is None:
        return mean
    return torch.where(mean.isnan(), mean, probabilities.topk(votes, dim=0).values[-1])


@torch.no_grad()
def reliability_curve(probability: Tensor, labels: Tensor, bins: int, positive_weight: float = 1.0) -> Reliability:
    """Reliability of probabilities [N] against labels, bool [N], in which a block counts ``positive_weight`` times.

    >>> curve = reliability_curve(torch.tensor([0.25, 0.25, 0.75, 0.75]), torch.tensor([0, 1, 1, 1]).bool(), bins=2)
    >>> curve.observed.tolist(), curve.gap
    ([0.5, 1.0], 0.25)
    """
    if bins < 1:
        raise HeedError(f"{bins} bins", "reliability", "give at least 1")
    place = (probability * bins).long().clamp(0, bins - 1)
    weight = torch.where(labels, positive_weight, 1.0)

    def total(values: Tensor) -> Tensor:
        return torch.zeros(bins, dtype=torch.double).index_add(0, place, values.double())

    mass = total(weight)
    predicted, observed = total(weight * probability) / mass, total(weight * labels) / mass
    gap = ((predicted - observed).abs() * mass).nansum() / mass.sum()
    return Reliability(predicted.float(), observed.float(), total(torch.ones_like(weight)).long(), float(gap))

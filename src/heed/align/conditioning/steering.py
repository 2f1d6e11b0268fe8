"""What steers a policy in a round: nothing, a preference in its prompts, or the rewards that are wanted in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from heed.align import distributed
from heed.align.balancing import Balancer
from heed.align.conditioning.joining import joined
from heed.align.conditioning.tags import WriteTag, tagged
from heed.align.config import AlignConfig
from heed.align.data.conversations import prompt_ids
from heed.align.models.policy import Policy
from heed.align.models.sequences import Sequences, parts_of
from heed.align.rollouts import Rollout, Sampler, pad_left
from heed.balance.weightings.combinations.ric import RiC
from heed.balance.weightings.conditioned import Conditioned


class Conditioning:
    """A policy of one behaviour: its prompts carry nothing, its adapter is as it is.

    Attributes:
        preferences: the preferences that one policy is judged at; none here, where a policy follows at most one.
        in_order: whether the minibatches of a round are its prompts in order.

    Args:
        config: the run's.
    """

    preferences: Sequence[Sequence[float]] = ()
    in_order = False

    def __init__(self, config: AlignConfig) -> None:
        self.config = config

    def roll(
        self,
        sampler: Sampler,
        step: int,
        prompts: Sequence[Any],
        generator: torch.Generator,
        columns: Mapping[str, list[Any]],
    ) -> Rollout:
        """A round's completions; its prompts are those without what they carried."""
        asked, rollouts = self.asked(step, prompts), []
        for part, preference in self.parts(len(asked)):
            own = {name: column[part] for name, column in columns.items()}
            with self.acting(preference):
                rollouts.append(sampler.roll(asked[part], generator, own))
        rollout = joined(rollouts, sampler.policy.tokenizer.pad_token_id)
        rollout.prompts = list(prompts)
        return rollout

    def parts(self, rows: int) -> list[tuple[slice, Sequence[float] | None]]:
        """The rows of a round that one policy draws, with the preference that it acts by."""
        return [(slice(0, rows), None)]

    def asked(self, step: int, prompts: Sequence[Any]) -> list[Any]:  # noqa: ARG002 - for those who draw what they carry
        """A round's prompts with what they carry."""
        return list(prompts)

    def observe(self, balancer: Balancer, rewards: Tensor) -> None:
        """Show a round's rewards, [K, B], to the weighting."""
        balancer.observe(rewards)

    def relabelled(self, rollout: Rollout, rewards: Tensor) -> Rollout:  # noqa: ARG002 - for those who relabel
        """The rollout that is learnt from, once its rewards [K, B] are known."""
        return rollout

    def told(self) -> list[list[float]]:
        """The numbers that prompts carry for each preference."""
        return []

    def turn_to(self, minibatch: int) -> None:
        """Make the next gradients, and the next solve, about a minibatch, counted from 0."""

    def acting(self, preference: Sequence[float] | None = None) -> AbstractContextManager[None]:  # noqa: ARG002
        """Within: the policy is that of a preference; by default of the minibatch's."""
        return nullcontext()

    def factors(self, slices: Mapping[str, slice]) -> Tensor | None:  # noqa: ARG002 - for those who act by the adapter
        """What the minibatch's gradients are multiplied by, [n], for parameters at these places; None for 1."""
        return None

    def logp(self, policy: Policy, sequences: Sequences) -> Tensor:
        """Log-probabilities [B, T] of a round's completions under the policies that drew them."""
        found = []
        for part, preference in self.parts(len(sequences)):
            drawn = sequences.rows(part)
            with self.acting(preference):
                few = [drawn.rows(each) for each in parts_of(len(drawn), self.config.micro_batch)]
                found += [policy.logp(each, self.config.temperature) for each in few]
        return torch.cat(found)

    def save(self, folder: Path) -> None:
        """Write what a saved policy needs in order to be steered, into its folder."""

    def shown(self, prompts: Sequence[Any], preference: Sequence[float] | None) -> list[Any]:  # noqa: ARG002 - the others'
        """Prompts as the policy is asked for a preference in an evaluation."""
        return list(prompts)


class ByMinibatch(Conditioning):
    """Each minibatch is of one of the trained preferences, drawn anew each round.

    Args:
        weighting: a weighting for each preference.
        names: of the objectives.
        config: the run's.
    """

    in_order = True

    def __init__(self, weighting: Conditioned, names: Sequence[str], config: AlignConfig) -> None:
        super().__init__(config)
        self.weighting, self.names = weighting, names
        self.preferences = weighting.preferences
        self.drawn: list[int] = []

    def draw(self, step: int) -> None:
        """Draw the minibatches' preferences: the same in every process, whose gradients are averaged."""
        own = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        count, minibatches = len(self.preferences), self.config.minibatches
        orders = [torch.randperm(count, generator=own) for _ in range(-(-minibatches // count))]
        self.drawn = torch.cat(orders)[:minibatches].tolist()

    def observe(self, balancer: Balancer, rewards: Tensor) -> None:
        """Show each minibatch's rewards to its preference's own weighting."""
        for minibatch, part in enumerate(rewards.chunk(self.config.minibatches, dim=1)):
            self.turn_to(minibatch)
            balancer.observe(part)

    def turn_to(self, minibatch: int) -> None:
        """Make the next solve about a minibatch; those of later epochs are the first's again."""
        self.weighting.turn_to(self.drawn[minibatch % self.config.minibatches])


class ByPrompt(ByMinibatch):
    """The prompts of a minibatch carry its preference.

    Args:
        weighting: a weighting for each preference.
        names: of the objectives.
        config: the run's.
        write: how numbers are written before a prompt.
    """

    def __init__(self, weighting: Conditioned, names: Sequence[str], config: AlignConfig, write: WriteTag) -> None:
        super().__init__(weighting, names, config)
        self.write = write

    def asked(self, step: int, prompts: Sequence[Any]) -> list[Any]:
        """A round's prompts, each with its minibatch's preference."""
        self.draw(step)
        each = len(prompts) // self.config.minibatches
        return [self.shown([prompt], self.preferences[self.drawn[i // each]])[0] for i, prompt in enumerate(prompts)]

    def told(self) -> list[list[float]]:
        """The preferences themselves."""
        return [list(preference) for preference in self.preferences]

    def shown(self, prompts: Sequence[Any], preference: Sequence[float] | None) -> list[Any]:
        """Prompts that carry a preference; equal weights where none is asked for."""
        weights = [1 / len(self.names)] * len(self.names) if preference is None else preference
        return [tagged(prompt, self.names, weights, self.write) for prompt in prompts]


class ByReward(Conditioning):
    """Prompts carry the rewards that are wanted, and are learnt with those that were got (RiC).

    Args:
        method: levels, and what is kept.
        names: of the objectives.
        config: the run's.
        write: how numbers are written before a prompt.
        tokenizer: the policy's.
    """

    def __init__(
        self,
        method: RiC,
        names: Sequence[str],
        config: AlignConfig,
        write: WriteTag,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        super().__init__(config)
        self.method, self.names, self.write = method, names, write
        self.preferences, self.tokenizer = method.preferences, tokenizer

    def asked(self, step: int, prompts: Sequence[Any]) -> list[Any]:
        """A round's bare prompts, and later those that ask for what a random preference wants."""
        if not self.method.asks:
            return list(prompts)
        group = self.config.completions_per_prompt
        own = torch.Generator().manual_seed((self.config.seed * 1_000_003 + step) * 1009 + distributed.rank())
        draws = -torch.rand(len(prompts) // group, len(self.names), generator=own, dtype=torch.float64).log()
        weights = draws / draws.sum(1, keepdim=True)  # evenly over the simplex
        return [self.shown([prompt], weights[i // group].tolist())[0] for i, prompt in enumerate(prompts)]

    def told(self) -> list[list[float]]:
        """The rewards that are wanted for each preference."""
        return [self.method.wanted(preference).tolist() for preference in self.preferences]

    def relabelled(self, rollout: Rollout, rewards: Tensor) -> Rollout:
        """The same completions behind the levels that they got; their probabilities are yet to be taken.

        Which rewards there are, of all processes, is taken in first.
        """
        self.method.see(torch.cat(distributed.gather(rewards.cpu()), dim=1))
        levels = self.method.levels(rewards.cpu()).T.tolist()
        tools = rollout.columns.get("tools") or [None] * len(rollout.prompts)
        rows = [
            prompt_ids(tagged(prompt, self.names, level, self.write), self.tokenizer, own)
            for prompt, level, own in zip(rollout.prompts, levels, tools, strict=True)
        ]
        old = rollout.sequences
        ids, attention = (part.to(old.ids.device) for part in pad_left(rows, self.tokenizer.pad_token_id))
        said = old.ids[:, -old.width :]
        mask = old.mask.to(attention)
        sequences = Sequences(torch.cat([ids, said], 1), torch.cat([attention, mask], 1), old.mask)
        columns = rollout.columns
        return Rollout(rollout.prompts, rollout.completions, sequences, rollout.finished, columns, None)

    def observe(self, balancer: Balancer, rewards: Tensor) -> None:
        """Nothing: it weighs nothing."""

    def shown(self, prompts: Sequence[Any], preference: Sequence[float] | None) -> list[Any]:
        """Prompts that ask for what a preference wants; all at the best where none is asked for."""
        weights = [1 / len(self.names)] * len(self.names) if preference is None else preference
        wanted = self.method.wanted(weights).tolist()
        return [tagged(prompt, self.names, wanted, self.write) for prompt in prompts]

"""The apothecary as one object: prompts, gold, demonstrations, comparisons, tokenizer, model, exact front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heed.errors import HeedError
from heed.worlds.apothecary.comparisons import (
    collected_pairs,
    comparisons,
    demonstrated_pairs,
    demonstrations,
    numpy_generator,
)
from heed.worlds.apothecary.front import ExactFront
from heed.worlds.apothecary.language import (
    WORDS_PER_PRESCRIPTION,
    WORDS_PER_WARNING,
    customers,
    parse_reply,
    render_prompt,
    render_shares,
    words,
)
from heed.worlds.apothecary.pharmacy import (
    COMPLAINTS,
    MALFORMED,
    REMEDIES,
    Array,
    Pharmacy,
    check_objectives,
    dose_vectors,
)

if TYPE_CHECKING:  # transformers takes seconds to import, and only the two methods that make models need it
    from transformers import MistralForCausalLM, PreTrainedTokenizerFast

COMPLAINTS_OF = {render_prompt(who): who for who in customers()}
"""The complaints (indices) behind each of the 84 prompts."""


class Apothecary:
    """A text world with exact answers: a customer names complaints, the reply names remedies and doses.

    Args:
        seed: which complaint each remedy is for, and the remedies' exact strengths.
        objectives: names out of help, harmless, brevity, price, in the order of the values [K].

    Attributes:
        names: the objectives.
        prompts: the 84 prompts, plain strings.
        pharmacy: strengths, side effects and prices.

    Raises:
        HeedError: if an objective is unknown or named twice.

    >>> world = Apothecary(objectives=("harmless", "brevity", "price"))
    >>> world.gold(world.prompts[:2], ["mint 1 .", "rest"]).tolist()
    [[-0.25, -3.0, -6.0], [-10.0, -30.0, -100.0]]
    """

    def __init__(self, seed: int = 0, objectives: Sequence[str] = ("help", "harmless")) -> None:
        check_objectives(tuple(objectives))
        self.seed, self.names = seed, tuple(objectives)
        self.prompts = list(COMPLAINTS_OF)
        self.pharmacy = Pharmacy.stocked(seed)

    def gold(self, prompts: Sequence[str], completions: Sequence[str]) -> Tensor:
        """True values, float64 [B, K], of completions; those of malformed ones are `pharmacy.MALFORMED`.

        Raises:
            HeedError: if a prompt is not one of `prompts`, or the two lengths differ.
        """
        if len(prompts) != len(completions):
            raise HeedError(
                f"{len(prompts)} prompts for {len(completions)} completions", where="gold", fix="give one prompt each"
            )
        size = len(completions)
        doses, complaints = np.zeros((size, len(REMEDIES))), np.zeros((size, len(COMPLAINTS)))
        warned, readable, counts = np.zeros(size, bool), np.zeros(size, bool), np.zeros(size)
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            complaints[row, _complaints_of(prompt)] = 1.0
            reply = parse_reply(completion)
            if reply is not None:
                readable[row], warned[row] = True, reply.side_effect is not None
                counts[row] = reply.word_count
                for remedy, dose in reply.prescriptions:
                    doses[row, remedy] += dose
        values = self._values(doses, complaints, warned, counts)
        lowest = np.array([MALFORMED[name] for name in self.names])
        return torch.from_numpy(np.where(readable[:, None], values, lowest))

    def well_formed(self, completions: Sequence[str]) -> Tensor:
        """Which completions can be read, bool [B]: one to three prescriptions and at most one warning."""
        return torch.tensor([parse_reply(text) is not None for text in completions], dtype=torch.bool)

    def write_tag(self, names: Sequence[str], shares: Sequence[float]) -> str:  # noqa: ARG002 - the order says which
        """Numbers in [0, 1] before a prompt, in the world's own few words (`render_shares`)."""
        return render_shares(shares)

    def reward_functions(self) -> dict[str, GoldReward]:
        """One function per objective, with the signature of TRL's reward functions."""
        return {name: GoldReward(self, name) for name in self.names}

    def demonstrations(self, n: int, generator: torch.Generator) -> list[dict[str, str]]:
        """``n`` rows ``{"prompt", "completion"}`` for a warm start: well-formed, diverse, far from optimal."""
        return demonstrations(self.pharmacy, n, generator)

    def comparisons(
        self,
        n: int,
        noise: float,
        generator: torch.Generator,
        completions: Sequence[Mapping[str, str]] | None = None,
        tie: float = 0.02,
    ) -> list[dict[str, Any]]:
        """``n`` comparisons ``{"prompt", "left", "right", "verdicts", "margins"}`` by a noisy judge.

        Args:
            n: how many.
            noise: scale of the Bradley-Terry noise per objective, in units of the front's range; 0 for none.
            generator: where all chance comes from.
            completions: rows ``{"prompt", "completion"}`` to draw pairs from (a policy's samples, say); None for
                demonstrations, some of them with a word missing.
            tie: differences perceived as no larger, in units of the front's range, are ties.

        Raises:
            HeedError: if noise or tie is negative, or no prompt has two different completions.
        """
        if noise < 0 or tie < 0:
            raise HeedError(
                f"noise {noise} and tie {tie}", where="comparisons", fix="give numbers that are not negative"
            )
        rng = numpy_generator(generator)
        if completions is None:
            pairs = demonstrated_pairs(self.pharmacy, n, rng)
        else:
            pairs = collected_pairs(completions, n, rng)
        ranges = self.front().ranges
        return comparisons(pairs, lambda p, c: self.gold(p, c).numpy(), self.names, ranges, noise, tie, rng)

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """A tokenizer of whole words for prompts and replies, padding on the left."""
        from heed.worlds.apothecary.model import make_tokenizer

        return make_tokenizer()

    def model(self, seed: int, hidden: int = 128, layers: int = 3) -> MistralForCausalLM:
        """A randomly initialised Mistral for `tokenizer`; the default has 0.5 million parameters."""
        from heed.worlds.apothecary.model import make_model

        return make_model(seed, hidden, layers)

    def front(self) -> ExactFront:
        """The exact front of expected values over the 84 prompts, computed once for each seed and objectives."""
        return _front(self.seed, self.names)

    def _reply_values(self) -> list[Array]:
        """Per prompt the values [N, K] of every meaningful reply: totals of doses, each with and without a warning."""
        totals, fewest = dose_vectors()
        doses = np.concatenate([totals, totals]).astype(np.float64)
        warned = np.repeat([False, True], len(totals))
        counts = WORDS_PER_PRESCRIPTION * np.tile(fewest, 2) + WORDS_PER_WARNING * warned
        return [
            self._values(doses, np.isin(np.arange(len(COMPLAINTS)), who), warned, counts)
            for who in COMPLAINTS_OF.values()
        ]

    def _values(self, doses: Array, complaints: NDArray[Any], warned: NDArray[np.bool_], counts: NDArray[Any]) -> Array:
        """Values [B, K] of replies by total doses [B, remedies], complaints, warnings [B] and words [B]."""
        of = {
            "help": lambda: self.pharmacy.help(doses, complaints),
            "harmless": lambda: self.pharmacy.harmless(doses, warned),
            "brevity": lambda: -counts,
            "price": lambda: self.pharmacy.price(doses),
        }
        return np.stack([of[name]() for name in self.names], axis=1).astype(np.float64)


@dataclass(frozen=True)
class GoldReward:
    """One gold objective as a reward function in TRL's manner; TRL reads its ``__name__``."""

    world: Apothecary
    objective: str

    @property
    def __name__(self) -> str:
        return self.objective

    def __call__(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        **columns: Any,  # noqa: ARG002 - TRL passes every column of the dataset by name
    ) -> list[float]:
        """Gold values of the completions, one float each."""
        column = self.world.names.index(self.objective)
        return [float(value) for value in self.world.gold(prompts, completions)[:, column]]


@lru_cache(maxsize=32)
def _front(seed: int, names: tuple[str, ...]) -> ExactFront:
    world = Apothecary(seed, names)
    return ExactFront.of(names, world._reply_values())


@lru_cache(maxsize=1024)
def _complaints_of(prompt: str) -> tuple[int, ...]:
    known = COMPLAINTS_OF.get(" ".join(words(prompt)))
    if known is None:
        raise HeedError(
            f"no customer of the apothecary says {prompt[:60]!r}",
            where="prompt",
            fix="use the prompts of Apothecary.prompts",
        )
    return known

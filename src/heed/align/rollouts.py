"""Prompts to completions, by transformers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, StaticCache, TopKLogitsWarper, TopPLogitsWarper

from heed.align.data.conversations import as_message_completion, prompt_ids
from heed.align.generation.continuous import ContinuousBatching, why_not_continuous
from heed.align.models.policy import Policy
from heed.align.models.precision import overflowed
from heed.align.models.sequences import Sequences, positions
from heed.align.sampler_check import CHECKED_TOKENS, mismatch, spread, why_not_static
from heed.errors import HeedError

logger = logging.getLogger(__name__)

SamplerMethod = Literal["auto", "continuous", "static", "generate"]

LOOPS: dict[str, str] = {
    "continuous": "continuous batching",
    "static": "the static-cache loop",
    "generate": "transformers' generate",
}

LOOP_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError)
"""What a model may raise that reads its cache in another way than a loop keeps it."""

NEXT: dict[str, SamplerMethod] = {"continuous": "static", "static": "generate"}
"""The loop that takes over where one does not fit."""


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Args:
        max_tokens: longest completion, tokens.
        temperature: > 0.
        top_p: nucleus; 1 keeps all.
        top_k: 0 keeps all.
    """

    max_tokens: int = 32
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


@dataclass
class Rollout:
    """Completions that a policy sampled.

    Args:
        prompts: as in the dataset, one for each completion, [B].
        completions: text, or a message list where the prompt is one, [B].
        sequences: the tokens.
        finished: whether the completion ended by itself, bool [B].
        columns: the dataset's other columns, one value for each completion.
        logp: log-probabilities of the drawn tokens at the sampling temperature, [B, T], where the sampler has them
            and drew from the whole distribution; None otherwise.
    """

    prompts: list[Any]
    completions: list[Any]
    sequences: Sequences
    finished: Tensor
    columns: dict[str, list[Any]] = field(default_factory=dict)
    logp: Tensor | None = None

    @property
    def completion_ids(self) -> list[list[int]]:
        """The tokens of each completion, its end included, as TRL's reward functions get them."""
        tokens = self.sequences.ids[:, -self.sequences.width :]
        return [row[keep.bool()].tolist() for row, keep in zip(tokens.cpu(), self.sequences.mask.cpu(), strict=True)]


class Sampler:
    """Draws completions from a policy.

    ``continuous`` decodes in slots, with the adapter merged and, on a GPU, in CUDA graphs (`heed.align.generation`);
    ``static`` keeps keys and values in one buffer of fixed size and decodes the whole batch at once; ``generate`` is
    transformers' own loop. ``auto`` takes the first of these that fits the model. The first rollout compares the
    log-probabilities of what is drawn with the model's own: a loop that draws from another model gives way to the
    next, and ``generate`` to ``generate`` without a cache, which is logged.

    Args:
        policy: what is sampled.
        sampling: how.
        method: ``auto``, ``continuous``, ``static`` or ``generate``.

    Raises:
        HeedError: a loop was asked for that does not fit the model.
    """

    def __init__(self, policy: Policy, sampling: Sampling, method: SamplerMethod = "auto") -> None:
        self.policy, self.sampling = policy, sampling
        self._auto, self._checked = method == "auto", False
        self._keeps_cache = True
        self.method = self._fitting("continuous") if method == "auto" else method
        reason = self._why_not(self.method)
        if reason is not None:
            what = f"{LOOPS[self.method]} does not fit {self._model}: {reason}"
            raise HeedError(what, f"--sampler {method}", "take generate, or auto")
        self._ends = torch.tensor(policy.end_ids, device=policy.device)
        self._warpers = LogitsProcessorList()
        if sampling.top_k > 0:
            self._warpers.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            self._warpers.append(TopPLogitsWarper(sampling.top_p))
        self._continuous: ContinuousBatching | None = None

    def roll(
        self,
        prompts: Sequence[Any],
        generator: torch.Generator,
        columns: Mapping[str, list[Any]] | None = None,
        greedy: bool = False,
    ) -> Rollout:
        """One completion for each prompt.

        Args:
            prompts: texts or message lists.
            generator: draws the tokens; fastest on the policy's device.
            columns: the dataset's other columns; the chat template is given what is in ``tools``.
            greedy: take the likeliest token instead of drawing.

        Raises:
            HeedError: logits that are not finite, as of a model that overflows in float16; in the first rollout, the
                loop does not draw from the model that is trained.
        """
        tokenizer = self.policy.tokenizer
        tools = (columns or {}).get("tools") or [None] * len(prompts)
        rows = [prompt_ids(prompt, tokenizer, own) for prompt, own in zip(prompts, tools, strict=True)]
        ids, attention = pad_left(rows, tokenizer.pad_token_id)
        ids, attention = ids.to(self.policy.device), attention.to(self.policy.device)
        drawn = None if self._checked else self._first(ids, attention, generator, greedy)
        tokens, logp = self._loop(ids, attention, generator, greedy) if drawn is None else drawn
        if greedy or self._warpers:
            logp = None
        mask, finished = completion_mask(tokens, self._ends)
        tokens = torch.where(mask.bool(), tokens, tokenizer.pad_token_id)
        sequences = Sequences(torch.cat([ids, tokens], 1), torch.cat([attention, mask], 1), mask)
        texts = [
            tokenizer.decode(row[keep.bool()], skip_special_tokens=True)
            for row, keep in zip(tokens.cpu(), mask.cpu(), strict=True)
        ]
        completions = [
            text if isinstance(prompt, str) else as_message_completion(text)
            for text, prompt in zip(texts, prompts, strict=True)
        ]
        return Rollout(
            list(prompts), completions, sequences, finished, dict(columns or {}), None if logp is None else logp * mask
        )

    @property
    def _model(self) -> str:
        return type(self.policy.causal_lm).__name__

    def _say(self, loop: str, reason: str) -> None:
        logger.warning("%s is sampled by %s: %s", self._model, loop, reason)

    def _why_not(self, method: SamplerMethod) -> str | None:
        """What keeps a loop from fitting the model; None if nothing does that can be told beforehand."""
        if method == "generate":
            return None
        return why_not_static(self.policy.causal_lm) or (
            why_not_continuous(self.policy) if method == "continuous" else None
        )

    def _fitting(self, method: SamplerMethod, refused: tuple[SamplerMethod, str] | None = None) -> SamplerMethod:
        """The first loop from this one on that fits the model, which is said where it is not this one."""
        while method != "generate":
            reason = self._why_not(method)
            if reason is None and not self.policy.causal_lm._can_compile_fullgraph:
                reason = "transformers does not mark it as fit for that"
            if reason is None:
                break
            refused, method = (method, reason), NEXT[method]
        if refused is not None:
            self._say(f"{LOOPS[method]}, not by {LOOPS[refused[0]]}", refused[1])
        return method

    def _loop(
        self, ids: Tensor, attention: Tensor, generator: torch.Generator, greedy: bool
    ) -> tuple[Tensor, Tensor | None]:
        with torch.no_grad(), self.policy.generating():
            if self.method == "continuous":
                prompts = [row[keep.bool()] for row, keep in zip(ids, attention, strict=True)]
                tokens, logp = self._slots().draw(prompts, generator, greedy)
                if not bool(logp.isfinite().all()):
                    raise self._overflow()
                return tokens, logp
            if self.method == "static":
                return self._static(ids, attention, generator, greedy)
            return self._generate(ids, attention, generator, greedy, self.sampling.max_tokens)

    def _first(
        self, ids: Tensor, attention: Tensor, generator: torch.Generator, greedy: bool
    ) -> tuple[Tensor, Tensor | None] | None:
        """Check the loop by what it draws, which is returned; generate, which records nothing, by tokens beforehand."""
        rows, state = spread(attention), generator.get_state()
        while self.method != "generate":
            drawn, reason = None, None
            try:
                drawn = self._loop(ids, attention, generator, greedy)
                reason = self._compare(ids[rows], attention[rows], *(part[rows] for part in drawn if part is not None))
            except torch.OutOfMemoryError:
                raise
            except LOOP_ERRORS as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
            if reason is None:
                self._checked = True
                return drawn
            if not self._auto:
                what = f"{LOOPS[self.method]} does not draw from {self._model}: {reason}"
                raise HeedError(what, f"--sampler {self.method}", "take auto")
            self.method = self._fitting(NEXT[self.method], (self.method, reason))
            self._continuous = None
            generator.set_state(state)
        reason = self._generate_differs(ids[rows], attention[rows], greedy)
        if reason is not None:
            self._say("transformers' generate without a cache, which is slow", reason)
            self._keeps_cache = False
            reason = self._generate_differs(ids[rows], attention[rows], greedy)
        if reason is not None:
            what = f"transformers' generate does not draw from {self._model}: {reason}"
            raise HeedError(what, "--model", "take another architecture, or another version of transformers")
        self._checked = True
        return None

    def _generate_differs(self, ids: Tensor, attention: Tensor, greedy: bool) -> str | None:
        own = torch.Generator(ids.device).manual_seed(0)
        limit = min(CHECKED_TOKENS, self.sampling.max_tokens)
        with torch.no_grad(), self.policy.generating():
            tokens, logp = self._generate(ids, attention, own, greedy, limit, record=True)
        assert logp is not None
        return self._compare(ids, attention, tokens, logp)

    def _compare(self, ids: Tensor, attention: Tensor, tokens: Tensor, logp: Tensor) -> str | None:
        mask, _ = completion_mask(tokens, self._ends)
        sequences = Sequences(torch.cat([ids, tokens], 1), torch.cat([attention, mask], 1), mask)
        return mismatch(self.policy, sequences, logp, self.sampling.temperature)

    def _slots(self) -> ContinuousBatching:
        """Made when first needed: on a GPU it stays with its captured steps."""
        if self._continuous is None:
            sampling = self.sampling
            self._continuous = ContinuousBatching(self.policy, sampling.max_tokens, sampling.temperature, self._warpers)
        return self._continuous

    def _static(
        self, ids: Tensor, attention: Tensor, generator: torch.Generator, greedy: bool
    ) -> tuple[Tensor, Tensor]:
        model, (B, P), limit = self.policy.model, ids.shape, self.sampling.max_tokens
        eos, ends = self.policy.tokenizer.eos_token_id, self._ends
        cache = StaticCache(config=self.policy.causal_lm.config, max_cache_len=P + limit)
        seen = torch.cat([attention, attention.new_ones(B, limit)], 1)
        where = positions(seen)
        tokens = ids.new_full((B, limit), eos)
        logp = torch.zeros(B, limit, device=ids.device)
        done = torch.zeros(B, dtype=torch.bool, device=ids.device)
        fresh, start = ids, 0
        for t in range(limit):
            logits = model(
                input_ids=fresh,
                attention_mask=seen[:, : P + t],
                position_ids=where[:, start : P + t],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            drawn = self._draw(ids, logits, generator, greedy)
            tokens[:, t] = torch.where(done, eos, drawn)
            logp[:, t] = self._logp_of(drawn, logits)
            done |= torch.isin(drawn, ends)
            if bool(done.all()):
                return tokens[:, : t + 1], logp[:, : t + 1]
            fresh, start = tokens[:, t : t + 1], P + t
        return tokens, logp

    def _logp_of(self, drawn: Tensor, logits: Tensor) -> Tensor:
        """Log-probabilities [B] of the tokens [B] at the sampling temperature, from logits [B, vocabulary]."""
        scaled = (logits.float() / self.sampling.temperature).log_softmax(-1)
        return scaled.gather(1, drawn[:, None]).squeeze(1)

    def _draw(self, ids: Tensor, logits: Tensor, generator: torch.Generator, greedy: bool) -> Tensor:
        self._require_finite(logits)
        if greedy:
            return logits.argmax(-1)
        warped = self._warpers(ids, logits.float() / self.sampling.temperature)
        share = warped.softmax(-1).to(generator.device)
        return torch.multinomial(share, 1, generator=generator).squeeze(1).to(ids.device)

    def _checked_logits(self, _ids: Tensor, logits: Tensor) -> Tensor:
        self._require_finite(logits)
        return logits

    def _require_finite(self, logits: Tensor) -> None:
        """Refuse logits [B, vocabulary] that give no probabilities; on CUDA drawing by them would end the process."""
        if bool(logits.amax(-1).isfinite().logical_not().any()):  # some models set those of single tokens to -inf
            raise self._overflow()

    def _overflow(self) -> HeedError:
        name = self.policy.causal_lm.name_or_path or self._model
        setting = "--dtype" if self.policy.peft_config is not None else "dtype in its config.json"
        return overflowed("the model's logits", name, self.policy.causal_lm.dtype, setting)

    def _generate(
        self,
        ids: Tensor,
        attention: Tensor,
        generator: torch.Generator,
        greedy: bool,
        limit: int,
        record: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        tokenizer, model = self.policy.tokenizer, self.policy.causal_lm
        config = GenerationConfig(
            max_new_tokens=limit,
            do_sample=not greedy,
            temperature=None if greedy else self.sampling.temperature,
            top_p=None if greedy else self.sampling.top_p,
            top_k=None if greedy else self.sampling.top_k,
            eos_token_id=self._ends.tolist(),
            pad_token_id=tokenizer.pad_token_id,
            use_cache=self._keeps_cache,
            return_dict_in_generate=True,
            output_logits=record,
        )
        # generate draws from the global state: lend it ours, so that resume and seeds hold.
        devices = [ids.device] if ids.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            seed = int(torch.randint(1 << 62, (), generator=generator, device=generator.device))
            torch.manual_seed(seed)
            # What is not set above would come from the model's own defaults: a repetition penalty, banned tokens, ...
            own, model.generation_config = model.generation_config, GenerationConfig()
            try:
                output = model.generate(
                    input_ids=ids,
                    attention_mask=attention,
                    generation_config=config,
                    logits_processor=LogitsProcessorList([self._checked_logits]),
                )
            finally:
                model.generation_config = own
        tokens = output.sequences[:, ids.shape[1] :]
        if not record:
            return tokens, None
        logp = [self._logp_of(tokens[:, t], logits) for t, logits in enumerate(output.logits)]
        return tokens, torch.stack(logp, 1)


def completion_mask(tokens: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """1 up to and including the first of the end tokens, and whether there is one."""
    ended = torch.isin(tokens, ends)
    before = ended.cumsum(1) - ended.long() == 0
    return before.long(), ended.any(1)


def pad_left(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token lists to ids and attention mask, [B, P] each.

    >>> ids, attention = pad_left([[5], [6, 7]], pad=0)
    >>> ids.tolist(), attention.tolist()
    ([[0, 5], [6, 7]], [[0, 1], [1, 1]])
    """
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    attention = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, attention

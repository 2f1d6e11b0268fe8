"""Continuous batching: whatever slots, refills and moves there are, each prompt gets its own completion."""

import pytest
import torch
from scipy.stats import chisquare
from tiny_policies import EOS, PROMPTS, TOKENIZER, lora, tiny_policy
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    LogitsProcessorList,
    MistralConfig,
    PhiConfig,
    Qwen2Config,
    TopKLogitsWarper,
)

from heed.align.generation import continuous
from heed.align.generation.continuous import ContinuousBatching, why_not_continuous
from heed.align.models.policy import Policy
from heed.align.models.sequences import Sequences
from heed.align.rollouts import Sampler, Sampling, completion_mask, pad_left

SHAPE = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": EOS,
    "pad_token_id": 0,
}
KINDS = {
    "llama": LlamaConfig(**SHAPE),
    "phi": PhiConfig(**SHAPE),
    "mistral, a window shorter than a prompt": MistralConfig(**SHAPE, sliding_window=4),
    "gemma 2, every other layer in a window": Gemma2Config(**SHAPE, head_dim=8, sliding_window=4),
    "qwen 2, the last layer in a window": Qwen2Config(
        **SHAPE, use_sliding_window=True, sliding_window=5, max_window_layers=2
    ),
}
LIMIT = 20


def policy_of(config) -> Policy:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "embed" not in name:
                parameter *= 5  # sharper than random: what is likeliest depends on the prompt
    policy = Policy(model, TOKENIZER, lora())
    with torch.no_grad():
        for name, parameter in policy.trainable().items():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return policy


def batching(policy, limit=LIMIT, slots=0, temperature=1.0, warpers=()) -> ContinuousBatching:
    return ContinuousBatching(policy, limit, temperature, LogitsProcessorList(warpers), slots)


def ids_of(prompts) -> list[torch.Tensor]:
    return [torch.tensor(TOKENIZER(prompt)["input_ids"]) for prompt in prompts]


def generator(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def as_sequences(prompts, tokens) -> Sequences:
    ids, attention = pad_left([prompt.tolist() for prompt in prompts], 0)
    mask, _ = completion_mask(tokens, torch.tensor([EOS]))
    return Sequences(torch.cat([ids, tokens], 1), torch.cat([attention, mask], 1), mask)


MIXED = [*PROMPTS[:5], PROMPTS[0], PROMPTS[0], "a", *PROMPTS[7:10], PROMPTS[8]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slots", [0, 3])
def test_tokens_are_drawn_from_the_model_and_their_log_probabilities_are_its_own(kind, slots):
    policy = policy_of(KINDS[kind])
    prompts = ids_of(MIXED)
    tokens, logp = batching(policy, slots=slots).draw(prompts, generator())
    batch = as_sequences(prompts, tokens)
    with torch.no_grad():
        own = policy.logp(batch)
    assert 0 < int(batch.mask.sum()) < batch.mask.numel()  # some end before others
    torch.testing.assert_close(logp * batch.mask, own, rtol=0, atol=2e-4)
    assert float(own.sum() / batch.mask.sum()) < -0.3


@pytest.mark.parametrize("kind", KINDS)
def test_the_likeliest_tokens_do_not_depend_on_the_slots(kind):
    policy, prompts = policy_of(KINDS[kind]), ids_of(MIXED)
    alone = [batching(policy).draw([prompt], generator(), greedy=True)[0][0] for prompt in prompts]
    assert len({tuple(row.tolist()) for row in alone}) > 3
    for slots in (0, 1, 3, 5):
        found, _ = batching(policy, slots=slots).draw(prompts, generator(), greedy=True)
        for row, expected in zip(found, alone, strict=True):
            assert row[: len(expected)].tolist() == expected.tolist()
            assert (row[len(expected) :] == EOS).all()


def test_completions_that_have_ended_are_decoded_no_longer():
    policy = tiny_policy()
    drawer = batching(policy, limit=32)
    rows: list[int] = []
    policy.causal_lm.register_forward_pre_hook(
        lambda _m, _a, given: rows.append(len(given["input_ids"])), with_kwargs=True
    )
    prompts = ids_of([PROMPTS[0]] * 64)
    tokens, _ = drawer.draw(prompts, generator())
    mask, ended = completion_mask(tokens, torch.tensor([EOS]))
    read, decoded = rows[0], rows[1:]
    assert ended.float().mean() > 0.5
    assert read == 1  # a prompt that 64 share is read once
    assert decoded[0] == 64 and decoded[-1] < 48 and len(decoded) == tokens.shape[1]
    needed = int(mask.sum())
    assert needed <= sum(decoded) < needed / 0.75 + 64


def test_prompts_are_read_a_few_at_a_time_where_they_are_long(monkeypatch):
    policy, prompts = policy_of(KINDS["llama"]), ids_of(MIXED)
    expected, _ = batching(policy).draw(prompts, generator(), greedy=True)
    monkeypatch.setattr(continuous, "PREFILL_TOKENS", 20)
    shapes: list[int] = []
    policy.causal_lm.register_forward_pre_hook(
        lambda _m, _a, given: shapes.append(given["input_ids"].numel()) if given["input_ids"].shape[1] > 1 else None,
        with_kwargs=True,
    )
    found, _ = batching(policy).draw(prompts, generator(), greedy=True)
    assert torch.equal(found, expected)
    assert len(shapes) >= 2 and max(shapes) <= 20


def test_draws_follow_the_softmax():
    policy = tiny_policy()
    prompt = ids_of(PROMPTS[:1])[0]
    with torch.no_grad():
        share = policy.model(input_ids=prompt[None]).logits[0, -1].double().div(0.7).softmax(-1)
    tokens, logp = batching(policy, limit=1, temperature=0.7).draw([prompt] * 4000, generator(3))
    torch.testing.assert_close(logp[:, 0].double(), share.log()[tokens[:, 0]], rtol=0, atol=1e-4)
    counts = torch.bincount(tokens[:, 0], minlength=len(share))
    assert chisquare(counts.numpy(), (4000 * share).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("height", [0.0, 1 - 2**-53, None])
def test_what_warpers_rule_out_is_never_drawn(height, monkeypatch):
    policy = tiny_policy()
    prompt = ids_of(PROMPTS[:1])[0]
    with torch.no_grad():
        best = policy.model(input_ids=prompt[None]).logits[0, -1].topk(2).indices.tolist()
    if height is not None:
        monkeypatch.setattr(torch, "rand", lambda *size, dtype, generator: torch.full(size, height, dtype=dtype))
    tokens, _ = batching(policy, limit=1, warpers=[TopKLogitsWarper(2)]).draw([prompt] * 300, generator())
    expected = {0.0: {min(best)}, None: set(best)}.get(height, {max(best)})
    assert set(tokens[:, 0].tolist()) == expected


def test_a_larger_batch_after_a_smaller_one_and_the_other_way_round():
    policy = policy_of(KINDS["llama"])
    drawer, prompts = batching(policy), ids_of(MIXED)
    expected, _ = batching(policy).draw(prompts, generator(), greedy=True)
    few, _ = batching(policy).draw(prompts[:2], generator(), greedy=True)
    long = [torch.cat([prompt] * 9) for prompt in prompts[:4]]
    lengthy, _ = batching(policy).draw(long, generator(), greedy=True)
    for wanted, told in (
        (few, prompts[:2]),
        (expected, prompts),
        (few, prompts[:2]),
        (lengthy, long),
        (few, prompts[:2]),
    ):
        assert torch.equal(drawer.draw(told, generator(), greedy=True)[0], wanted)


def test_what_does_not_fit_slots_is_told_beforehand():
    policy = tiny_policy()
    assert why_not_continuous(policy) is None
    policy.causal_lm.config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2" in why_not_continuous(policy)
    policy.causal_lm.config._attn_implementation = "sdpa"
    policy.causal_lm.config.layer_types = ["full_attention", "linear_attention"]
    assert "linear_attention" in why_not_continuous(policy)


def test_the_sampler_takes_it_by_name():
    policy = tiny_policy()
    rollout = Sampler(policy, Sampling(8), "continuous").roll(PROMPTS[:6], generator())
    with torch.no_grad():
        own = policy.logp(rollout.sequences)
    torch.testing.assert_close(rollout.logp, own, rtol=0, atol=1e-4)

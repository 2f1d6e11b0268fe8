"""Completions: the static-cache loop against transformers' own generation, and what is drawn against the softmax."""

import pytest
import torch
from tiny_policies import EOS, PROMPTS, TOKENIZER, WORLD, lora, tiny_model, tiny_policy
from transformers import (
    AutoModelForCausalLM,
    BambaConfig,
    BloomConfig,
    FalconConfig,
    GemmaConfig,
    GenerationConfig,
    GPT2Config,
    GPTNeoConfig,
    LlamaConfig,
    Mamba2Config,
    MistralConfig,
    MptConfig,
    Qwen3Config,
    RwkvConfig,
)

from heed.align.models.policy import Policy
from heed.align.rollouts import Sampler, Sampling, completion_mask
from heed.errors import HeedError

SIZE = len(TOKENIZER)
SHAPE = {
    "vocab_size": SIZE,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": EOS,
    "pad_token_id": 0,
}
CONFIGS = {
    "mistral, its default window": MistralConfig(**SHAPE),
    "mistral, a window shorter than a prompt": MistralConfig(**SHAPE, sliding_window=4),
    "mistral, a window that fills up while decoding": MistralConfig(**SHAPE, sliding_window=12),
    "mistral, no window": MistralConfig(**SHAPE, sliding_window=None),
    "llama": LlamaConfig(**SHAPE),
    "qwen": Qwen3Config(**SHAPE),
    "gemma": GemmaConfig(**SHAPE, tie_word_embeddings=False),
    "gpt2": GPT2Config(vocab_size=SIZE, n_embd=16, n_layer=2, n_head=2, n_positions=64, eos_token_id=EOS),
}
UNEVEN = sorted(PROMPTS, key=len)[:3] + sorted(PROMPTS, key=len)[-3:]


def random_policy(config, scale=6.0) -> Policy:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "embed" not in name:
                parameter.data.mul_(scale)  # sharper than random: likeliest tokens do not tie, and depend on the prompt
    return Policy(model, TOKENIZER, lora(target_modules=["c_attn"] if config.model_type == "gpt2" else "all-linear"))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def likeliest_one_by_one(policy, prompt, tokens):
    """Greedy decoding of one prompt without padding and without any cache."""
    ids = policy.tokenizer(prompt, return_tensors="pt")["input_ids"]
    said = []
    for _ in range(tokens):
        said.append(int(policy.model(input_ids=ids, use_cache=False).logits[0, -1].argmax()))
        if said[-1] == EOS:
            break
        ids = torch.cat([ids, torch.tensor([[said[-1]]])], 1)
    return said


def tokens_said(rollout):
    kept = rollout.sequences.mask.bool()
    said = rollout.sequences.ids[:, -rollout.sequences.width :]
    return [row[keep].tolist() for row, keep in zip(said, kept, strict=True)]


@pytest.mark.parametrize("name", CONFIGS)
def test_all_samplers_take_the_likeliest_tokens_of_each_prompt_by_itself(name):
    policy = random_policy(CONFIGS[name])
    assert Sampler(policy, Sampling(12)).method == "continuous"
    with torch.no_grad():
        expected = [likeliest_one_by_one(policy, prompt, 12) for prompt in UNEVEN]
    assert len({tuple(row) for row in expected}) > 1
    for method in ("continuous", "static", "generate"):
        found = Sampler(policy, Sampling(12), method).roll(UNEVEN, generator(), greedy=True)
        assert tokens_said(found) == expected, method
        assert found.finished.tolist() == [row[-1] == EOS for row in expected]


@pytest.mark.parametrize("method", ["continuous", "static", "generate"])
class TestDrawing:
    def test_the_same_seed_draws_the_same_tokens_and_another_seed_others(self, method):
        sampler = Sampler(tiny_policy(), Sampling(8), method)
        first, again, other = (sampler.roll(PROMPTS[:8], generator(s)) for s in (1, 1, 2))
        assert torch.equal(first.sequences.ids, again.sequences.ids) and first.completions == again.completions
        assert first.completions != other.completions

    def test_the_global_random_state_is_left_alone_and_does_not_matter(self, method):
        sampler = Sampler(tiny_policy(), Sampling(8), method)
        torch.manual_seed(1)
        state = torch.get_rng_state()
        first = sampler.roll(PROMPTS[:4], generator()).completions
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(2)
        assert sampler.roll(PROMPTS[:4], generator()).completions == first

    def test_the_generator_moves_on(self, method):
        sampler, shared = Sampler(tiny_policy(), Sampling(8), method), generator()
        assert sampler.roll(PROMPTS[:4], shared).completions != sampler.roll(PROMPTS[:4], shared).completions

    @pytest.mark.parametrize("temperature", [1.0, 0.5])
    def test_first_tokens_are_drawn_in_proportion_to_the_softmax(self, method, temperature):
        policy, size = random_policy(CONFIGS["mistral, no window"], scale=2.0), 4000
        found = Sampler(policy, Sampling(1, temperature=temperature), method).roll([PROMPTS[0]] * size, generator())
        drawn = torch.bincount(found.sequences.ids[:, -1], minlength=SIZE)
        ids = TOKENIZER(PROMPTS[0], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            expected = size * (policy.model(input_ids=ids).logits[0, -1] / temperature).softmax(-1)
        often = expected >= 5
        # Pearson's statistic: mean of degrees of freedom, deviation sqrt(2 df); five deviations are never chance.
        df = int(often.sum())
        statistic = ((drawn - expected)[often].square() / expected[often]).sum()
        assert df > 10
        assert float(statistic) < df + 5 * (2 * df) ** 0.5

    def test_top_k_of_one_is_greedy(self, method):
        policy = tiny_policy()
        greedy = Sampler(policy, Sampling(8), method).roll(PROMPTS[:6], generator(), greedy=True)
        assert tokens_said(Sampler(policy, Sampling(8, top_k=1), method).roll(PROMPTS[:6], generator())) == tokens_said(
            greedy
        )

    def test_top_p_keeps_the_fewest_likeliest_tokens_that_reach_it(self, method):
        policy = random_policy(CONFIGS["mistral, no window"], scale=2.0)
        found = Sampler(policy, Sampling(1, top_p=0.5), method).roll([PROMPTS[0]] * 500, generator())
        ids = TOKENIZER(PROMPTS[0], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            share, order = policy.model(input_ids=ids).logits[0, -1].softmax(-1).sort(descending=True)
        nucleus = int((share.cumsum(0) < 0.5).sum()) + 1
        assert set(found.sequences.ids[:, -1].tolist()) <= set(order[:nucleus].tolist())
        assert nucleus > 2

    def test_the_models_own_generation_settings_do_not_bend_the_distribution(self, method):
        policy = tiny_policy()
        plain = Sampler(policy, Sampling(6), method).roll(PROMPTS[:6], generator())
        own = GenerationConfig(
            repetition_penalty=5.0, top_k=2, temperature=0.1, suppress_tokens=[7, 8], min_new_tokens=6
        )
        policy.causal_lm.generation_config = own
        bent = Sampler(policy, Sampling(6), method).roll(PROMPTS[:6], generator())
        assert torch.equal(bent.sequences.ids, plain.sequences.ids)
        assert policy.causal_lm.generation_config is own

    def test_modes_of_training_are_as_they_were(self, method):
        policy = tiny_policy()
        policy.checkpoint_activations()
        before = [module.training for module in policy.model.modules()]
        Sampler(policy, Sampling(3), method).roll(PROMPTS[:2], generator())
        assert [module.training for module in policy.model.modules()] == before
        assert any(before) and not all(before)


def test_the_samplers_log_probabilities_are_the_policys():
    policy = tiny_policy()
    found = Sampler(policy, Sampling(8, temperature=0.7), "static").roll(PROMPTS[:8], generator())
    with torch.no_grad():
        expected = policy.logp(found.sequences, 0.7)
    assert torch.allclose(found.logp, expected, atol=1e-5)
    assert not found.logp[found.sequences.mask == 0].any()
    assert Sampler(policy, Sampling(8, top_k=3), "static").roll(PROMPTS[:2], generator()).logp is None


def test_masks_end_with_the_first_end_token():
    tokens = torch.tensor([[5, EOS, 7, EOS], [EOS, EOS, EOS, EOS], [5, 6, 7, 8], [5, 6, 7, EOS]])
    mask, finished = completion_mask(tokens, torch.tensor([EOS]))
    assert mask.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert finished.tolist() == [True, True, False, True]


def test_masks_end_with_the_first_of_several_end_tokens():
    mask, finished = completion_mask(torch.tensor([[5, 9, EOS], [5, EOS, 9], [5, 6, 7]]), torch.tensor([EOS, 9]))
    assert mask.tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 1]] and finished.tolist() == [True, True, False]


@pytest.mark.parametrize("method", ["continuous", "static", "generate"])
def test_the_generation_config_s_end_tokens_end_a_completion_as_the_tokenizer_s_does(method):
    """As Gemma's end of turn does, which is not its tokenizer's end token."""
    policy, turn = random_policy(CONFIGS["gemma"]), TOKENIZER.convert_tokens_to_ids(".")
    policy.causal_lm.generation_config.eos_token_id = [turn, EOS]
    likelier = 3.0 * torch.nn.functional.one_hot(torch.tensor([EOS, turn]), SIZE).sum(0)
    policy.causal_lm.lm_head.register_forward_hook(lambda _module, _inputs, logits: logits + likelier)
    assert policy.end_ids == sorted([EOS, turn])
    found = Sampler(policy, Sampling(12), method).roll(PROMPTS[:40], generator())
    said = tokens_said(found)
    assert {row[-1] for row, done in zip(said, found.finished, strict=True) if done} == {EOS, turn}
    assert not any({EOS, turn} & set(row[:-1]) for row in said)
    assert any(len(row) < 12 for row in said)


def test_what_follows_the_end_is_padding_that_nothing_attends_to():
    policy = tiny_policy()
    likelier = 1.5 * torch.nn.functional.one_hot(torch.tensor(EOS), SIZE)
    policy.causal_lm.lm_head.register_forward_hook(lambda _module, _inputs, logits: logits + likelier)
    found = Sampler(policy, Sampling(10)).roll(PROMPTS[:24], generator())
    sequences = found.sequences
    lengths = sequences.mask.sum(1)
    assert 0 < int(found.finished.sum()) < 24 and len(set(lengths.tolist())) > 2
    said = sequences.ids[:, -sequences.width :]
    for b in range(24):
        length = int(lengths[b])
        assert sequences.mask[b].tolist() == [1] * length + [0] * (sequences.width - length)
        assert EOS not in said[b, : length - 1].tolist()
        assert (said[b, length - 1] == EOS) == found.finished[b]
        assert set(said[b, length:].tolist()) <= {TOKENIZER.pad_token_id}
        words = said[b, :length].tolist()
        assert found.completions[b] == TOKENIZER.decode(words, skip_special_tokens=True)
    assert torch.equal(sequences.attention[:, -sequences.width :], sequences.mask)


def test_conversations_are_answered_by_messages_and_texts_by_texts(tokenizer_of):
    tokenizer = tokenizer_of(chat=True)
    config = MistralConfig(**{**SHAPE, "vocab_size": len(tokenizer)})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = Policy(AutoModelForCausalLM.from_config(config), tokenizer)
    talk = [{"role": "user", "content": "fever"}]
    found = Sampler(policy, Sampling(4)).roll([talk, "fever"], generator(), {"dose": [1, 2]})
    assert found.prompts == [talk, "fever"] and found.columns == {"dose": [1, 2]}
    [message] = found.completions[0]
    assert message["role"] == "assistant" and isinstance(message["content"], str)
    assert isinstance(found.completions[1], str)
    width = found.sequences.ids.shape[1] - found.sequences.width
    kept = found.sequences.attention[0, :width].bool()
    template = tokenizer("<user> fever <assistant>", add_special_tokens=False)["input_ids"]
    assert found.sequences.ids[0, :width][kept].tolist() == template


def test_a_generator_of_the_world_draws_for_any_policy_in_batches_of_any_size():
    sampler = Sampler(Policy(tiny_model(), TOKENIZER), Sampling(5))
    shared = generator(3)
    halves = [sampler.roll(WORLD.prompts[lo : lo + 3], shared).completions for lo in (0, 3)]
    assert [len(half) for half in halves] == [3, 3]


ENDS = {"eos_token_id": EOS, "pad_token_id": 0, "bos_token_id": 1}
SMALL = {"vocab_size": SIZE, "hidden_size": 16, "num_hidden_layers": 2, **ENDS}
STATE = {"num_heads": 4, "head_dim": 8, "state_size": 8, "n_groups": 1, "expand": 2, "chunk_size": 8}
HYBRID = {
    **{f"mamba_{name}": value for name, value in {"d_state": 8, "d_head": 8, "n_heads": 4, "n_groups": 1}.items()},
    "mamba_chunk_size": 8,
    "attn_layer_indices": [1],
}
LOCAL = {"attention_types": [[["global", "local"], 1]], "window_size": 4, "num_layers": 2, "num_heads": 2}
OTHERS = {
    "a state space that takes another cache": (Mamba2Config(**SMALL, **STATE), "generate"),
    "a hybrid with a static cache": (BambaConfig(**{**SHAPE, **HYBRID}), "static"),
    "alibi, always": (BloomConfig(vocab_size=SIZE, hidden_size=16, n_layer=2, n_head=2, **ENDS), "generate"),
    "alibi, if asked": (FalconConfig(**SMALL, num_attention_heads=2, alibi=True), "generate"),
    "alibi, marked": (
        MptConfig(vocab_size=SIZE, d_model=16, n_layers=2, n_heads=2, max_seq_len=64, **ENDS),
        "generate",
    ),
    "a window of its own": (GPTNeoConfig(vocab_size=SIZE, hidden_size=16, **LOCAL, **ENDS), "generate"),
    "a recurrence whose state generate forgets": (RwkvConfig(**SMALL), "generate"),
}


def a_model(config, scale=6.0) -> Policy:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(scale)
    return Policy(model, TOKENIZER, reference=False)


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures_are_sampled_by_a_loop_that_draws_from_them(name, caplog):
    config, method = OTHERS[name]
    policy = a_model(config)
    sampler = Sampler(policy, Sampling(8))
    greedy = sampler.roll(UNEVEN, generator(), greedy=True)
    sequences = greedy.sequences
    # The likeliest tokens, one forward each over the whole of what was said so far.
    ids, attention = sequences.ids, sequences.attention
    with torch.no_grad():
        for t in range(ids.shape[1] - sequences.width, ids.shape[1]):
            where = (attention[:, :t].cumsum(1) - 1).clamp(min=0)
            likeliest = policy.model(
                input_ids=ids[:, :t], attention_mask=attention[:, :t], position_ids=where, use_cache=False
            )
            said = attention[:, t].bool()
            assert torch.equal(likeliest.logits[:, -1].argmax(-1)[said], ids[said, t])
    assert sampler.method == method
    sampler.roll(UNEVEN, generator())
    once = (method == "generate") + (config.model_type == "rwkv")
    assert caplog.text.count("is sampled by transformers' generate") == once


def test_loops_that_draw_from_another_model_give_way_and_take_nothing_from_the_generator(caplog):
    """A cache that the model would lose without a word: as those of models whose attention windows are their own."""
    policy = random_policy(CONFIGS["llama"])
    expected = Sampler(policy, Sampling(8), "generate").roll(UNEVEN, generator())

    def without_cache(_module, arguments, given):
        return arguments, {**given, "past_key_values": None}

    policy.causal_lm.model.register_forward_pre_hook(without_cache, with_kwargs=True)
    sampler = Sampler(policy, Sampling(8))
    assert sampler.method == "continuous"
    found = sampler.roll(UNEVEN, generator())
    assert caplog.text.count("nats a token from the model's own") == 2 and "without a cache" in caplog.text
    assert "not by continuous batching" in caplog.text
    assert torch.equal(found.sequences.ids, expected.sequences.ids)
    with pytest.raises(HeedError, match=r"does not draw from LlamaForCausalLM.*--sampler static"):
        Sampler(policy, Sampling(8), "static").roll(UNEVEN, generator())


def test_a_static_loop_is_refused_where_the_model_takes_no_such_cache():
    for config, reason in ((OTHERS["alibi, always"][0], "ALiBi"), (Mamba2Config(**SMALL, **STATE), "past_key_values")):
        with pytest.raises(HeedError, match=f"the static-cache loop does not fit .*{reason}"):
            Sampler(a_model(config), Sampling(4), "static")


@pytest.mark.parametrize(("dtype", "unit"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_rounding_is_no_reason_to_leave_a_loop(dtype, unit, caplog):
    policy = Policy(a_model(CONFIGS["qwen"], scale=4.0).model.to(dtype), TOKENIZER, reference=False)
    sampler = Sampler(policy, Sampling(12))
    found = sampler.roll(UNEVEN, generator())
    with torch.no_grad():
        own = policy.logp(found.sequences)
    assert sampler.method == "continuous" and not caplog.records
    assert float((found.logp - own).abs().sum() / found.sequences.mask.sum()) < unit

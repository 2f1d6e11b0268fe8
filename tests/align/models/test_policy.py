"""A policy's log-probabilities, its reference, its critics' adapter, and what is saved of it."""

import json

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file
from tiny_policies import TOKENIZER, a_batch, lora, tiny_model, tiny_policy
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BioGptConfig,
    FalconConfig,
    GPT2Config,
    OPTConfig,
    Qwen3Config,
    XGLMConfig,
)

from heed.align.models.policy import Policy
from heed.align.models.sequences import Sequences
from heed.balance.cotangents import Cotangents, Term
from heed.balance.jacobian import JacobianAccumulator
from heed.errors import HeedError

LAYERS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def sharp_model():
    """A model whose layers matter: tiny random ones are nearly uniform."""
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    return model


def logp_one_by_one(model, batch, temperature):
    """Every sequence by itself and without padding, by the definition."""
    found = torch.zeros(batch.mask.shape, dtype=torch.float64)
    for b in range(len(batch)):
        ids = batch.ids[b][batch.attention[b].bool()]
        logits = model(input_ids=ids[None], use_cache=False).logits[0].double() / temperature
        said = int(batch.mask[b].sum())
        for t in range(said):
            at = len(ids) - said + t
            found[b, t] = logits[at - 1].log_softmax(-1)[ids[at]]
    return found


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("adapter", [True, False])
def test_logp_is_that_of_each_sequence_by_itself(adapter, temperature):
    policy, batch = tiny_policy(adapter), a_batch()
    with torch.no_grad():
        found = policy.logp(batch, temperature)
        expected = logp_one_by_one(policy.model, batch, temperature)
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert not found[batch.mask == 0].any()


def test_the_adapters_reference_is_the_base_model():
    policy, batch = tiny_policy(), a_batch()
    with torch.no_grad():
        expected = logp_one_by_one(tiny_model(), batch, 0.9)
    assert torch.allclose(policy.reference_logp(batch, 0.9).double(), expected, atol=1e-5)
    assert (policy.logp(batch, 0.9) - policy.reference_logp(batch, 0.9)).abs().max() > 0.1  # the policy has moved


def test_asking_the_reference_leaves_the_adapter_on_and_trainable():
    policy, batch = tiny_policy(), a_batch()
    before, names = policy.logp(batch).detach(), list(policy.trainable())
    policy.reference_logp(batch)
    assert torch.equal(policy.logp(batch).detach(), before)
    assert list(policy.trainable()) == names


def test_the_reference_of_full_fine_tuning_stays_what_the_model_was():
    policy, batch = tiny_policy(adapter=False, moved=0), a_batch()
    at_first = policy.logp(batch).detach()
    assert torch.equal(policy.reference_logp(batch), at_first)
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(0.1)
    assert torch.equal(policy.reference_logp(batch), at_first)
    assert not torch.allclose(policy.logp(batch), at_first, atol=0.1)
    assert not any(p.requires_grad for p in policy.reference.parameters())


def test_a_fresh_adapter_changes_nothing_and_its_seed_decides_its_weights():
    batch = a_batch()
    first, again, other = (Policy(tiny_model(), TOKENIZER, lora(), seed=s).trainable() for s in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    policy = tiny_policy(moved=0)
    assert torch.equal(policy.logp(batch).detach(), policy.reference_logp(batch))


def test_dropout_is_off_so_the_policy_that_is_trained_is_the_one_that_spoke():
    policy = tiny_policy(lora_dropout=0.5)
    assert torch.equal(policy.logp(a_batch()), policy.logp(a_batch()))


def test_checkpointed_activations_are_recomputed_and_change_nothing():
    policy, batch = tiny_policy(lora_dropout=0.5), a_batch()
    calls = []
    layer = policy.model.get_submodule("base_model.model.model.layers.0.mlp")
    layer.register_forward_pre_hook(lambda *_: calls.append(None))

    def gradients():
        calls.clear()
        return torch.autograd.grad(policy.logp(batch).sum(), list(policy.trainable().values()))

    plain, once = gradients(), len(calls)
    policy.checkpoint_activations()
    recomputed, twice = gradients(), len(calls)
    assert (once, twice) == (1, 2)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, recomputed, strict=True))
    with policy.generating():
        assert not any(module.training for module in policy.model.modules())
    gradients()
    assert len(calls) == 2


OWN_DROPOUT = {
    "opt": OPTConfig(vocab_size=60, ffn_dim=24, word_embed_proj_dim=16, max_position_embeddings=32, **LAYERS),
    "biogpt": BioGptConfig(vocab_size=60, intermediate_size=24, max_position_embeddings=32, **LAYERS),
    "falcon": FalconConfig(vocab_size=60, hidden_dropout=0.5, attention_dropout=0.5, **LAYERS),
    "xglm": XGLMConfig(
        vocab_size=60, d_model=16, ffn_dim=24, num_layers=2, attention_heads=2, max_position_embeddings=32
    ),
    "qwen, of attention": Qwen3Config(
        vocab_size=60, head_dim=8, num_key_value_heads=2, attention_dropout=0.5, intermediate_size=24, **LAYERS
    ),
}


@pytest.mark.parametrize("name", OWN_DROPOUT)
def test_layers_that_drop_out_by_themselves_do_not_while_they_are_checkpointed(name):
    config = OWN_DROPOUT[name]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    batch = a_batch()
    batch.ids %= 60
    policy = Policy(model, TOKENIZER, lora())

    def gradients():
        return torch.autograd.grad(policy.logp(batch).sum(), list(policy.trainable().values()))

    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(0.1 * torch.randn_like(parameter))
        at_first, reference = policy.logp(batch), policy.reference_logp(batch)
    plain = gradients()
    policy.checkpoint_activations()
    recomputed = gradients()
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(plain, recomputed, strict=True))
    assert torch.allclose(policy.logp(batch), at_first, atol=1e-6)
    assert torch.equal(policy.logp(batch), policy.logp(batch))
    assert torch.allclose(policy.reference_logp(batch), reference, atol=1e-6)


TARGETS = {
    "all linear layers": {},
    "the head too": {"target_modules": ["q_proj", "lm_head"]},
    "the whole head": {"modules_to_save": ["lm_head"]},
    "dora": {"use_dora": True},
}


@pytest.mark.parametrize("settings", TARGETS.values(), ids=TARGETS)
def test_a_saved_adapter_is_restored_bit_for_bit(tmp_path, settings):
    saved, fresh, batch = tiny_policy(**settings), tiny_policy(moved=0, **settings), a_batch()
    saved.save(tmp_path)
    fresh.restore(tmp_path)
    for name, parameter in saved.trainable().items():
        assert torch.equal(fresh.trainable()[name], parameter), name
    assert torch.equal(fresh.logp(batch), saved.logp(batch))
    assert torch.equal(fresh.reference_logp(batch), saved.reference_logp(batch))
    assert list(fresh.trainable()) == list(saved.trainable())
    stored = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(tensor.numel() for tensor in stored.values()) == sum(p.numel() for p in saved.trainable().values())


@pytest.mark.parametrize("tied", [False, True])
def test_a_saved_full_model_is_restored_bit_for_bit(tmp_path, tied):
    def policy():
        model = tiny_model()
        if tied:
            model.config.tie_word_embeddings = True
            model.tie_weights()
        return Policy(model, TOKENIZER)

    saved, fresh, batch = policy(), policy(), a_batch()
    with torch.no_grad():
        for parameter in saved.trainable().values():
            parameter.mul_(1.3)
    saved.save(tmp_path)
    fresh.restore(tmp_path)
    assert fresh.trainable().keys() == saved.trainable().keys()
    assert all(torch.equal(fresh.trainable()[name], parameter) for name, parameter in saved.trainable().items())
    assert torch.equal(fresh.logp(batch), saved.logp(batch))
    assert not torch.allclose(fresh.reference_logp(batch), saved.logp(batch), atol=1e-3)


def test_a_saved_adapter_loads_with_peft_and_with_transformers_alone(tmp_path):
    tiny_model().save_pretrained(tmp_path / "base")
    TOKENIZER.save_pretrained(tmp_path / "base")
    policy = Policy(tmp_path / "base", peft_config=lora())
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(0.1)
    policy.save(tmp_path / "adapter")
    ids = a_batch().ids
    with torch.no_grad():
        expected = policy.model(input_ids=ids).logits
        with_peft = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tmp_path / "adapter"
        )
        alone = AutoModelForCausalLM.from_pretrained(tmp_path / "adapter")
        assert torch.equal(with_peft(input_ids=ids).logits, expected)
        assert torch.equal(alone(input_ids=ids).logits, expected)
    assert AutoTokenizer.from_pretrained(tmp_path / "adapter")("fever")["input_ids"] == TOKENIZER("fever")["input_ids"]


def test_the_critics_adapter_is_not_the_policys(tmp_path):
    policy, batch = tiny_policy(), a_batch()
    logp, names = policy.logp(batch).detach(), list(policy.trainable())
    critics = policy.add_critic_adapter(seed=3)
    with torch.no_grad():
        for parameter in critics:
            parameter.add_(0.5)
    with policy.critic_adapter():
        hidden = policy.hidden(batch)
        assert all(parameter.requires_grad for parameter in critics)
        hidden.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in critics)
    assert all(parameter.grad is None for parameter in policy.trainable().values())
    assert torch.equal(policy.logp(batch).detach(), logp)
    assert list(policy.trainable()) == names
    assert not torch.allclose(hidden, policy.hidden(batch))
    policy.save(tmp_path)
    assert not (tmp_path / "critic").exists()
    restored = tiny_policy(moved=0)
    restored.restore(tmp_path)
    assert torch.equal(restored.logp(batch).detach(), logp)


def test_hidden_states_are_those_that_the_head_turns_into_the_completions_tokens():
    policy, batch = tiny_policy(), a_batch()
    with torch.no_grad():
        logits = policy.causal_lm.lm_head(policy.hidden(batch))
        logp = logits.log_softmax(-1).gather(-1, batch.ids[:, -batch.width :, None]).squeeze(-1) * batch.mask
    assert torch.allclose(logp, policy.logp(batch), atol=1e-5)


def test_the_last_layers_parameters_are_those_of_the_last_layer():
    names = tiny_policy().last_layer()
    assert names and all(".layers.1." in name for name in names)
    assert len(names) == len(tiny_policy().trainable()) / 2


def test_rows_of_a_batch_are_its_sequences():
    batch = a_batch()
    few = batch.rows(torch.tensor([3, 0]))
    assert isinstance(few, Sequences) and len(few) == 2 and few.width == batch.width
    assert torch.equal(few.ids, batch.ids[[3, 0]]) and torch.equal(few.mask, batch.mask[[3, 0]])


WITH_EMBEDDINGS = {
    "embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [5, 6, 7]},
    "biases of its own": {"target_modules": ["q_proj"], "lora_bias": True},
    "embeddings and head as a whole": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
}


@pytest.mark.parametrize("critics", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("settings", WITH_EMBEDDINGS.values(), ids=WITH_EMBEDDINGS)
def test_everything_that_an_adapter_trains_has_autograds_gradients_and_is_restored(settings, tied, critics, tmp_path):
    def policy_of():
        model = tiny_model()
        if tied:
            model.config.tie_word_embeddings = True
            model.tie_weights()
        policy = Policy(model, TOKENIZER, lora(**settings))
        if critics:
            policy.add_critic_adapter(seed=3)
        return policy

    policy, batch = policy_of(), a_batch(size=8)
    wanted = {n: p for n, p in policy.model.named_parameters() if p.requires_grad and "critic" not in n.split(".")}
    assert policy.trainable().keys() == wanted.keys()
    with torch.no_grad():
        for parameter in wanted.values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    jacobian = JacobianAccumulator(policy.model, 2, rank=1, path="factored", parameters=policy.trainable())
    coefficients = torch.randn(2, len(batch), generator=torch.Generator().manual_seed(2))
    term = Term(batch.mask.float(), coefficients)
    jacobian.accumulate(
        lambda rows: policy.logp(batch if rows is None else batch.rows(rows)), lambda _: Cotangents((term,))
    )
    for k in range(2):
        loss = (coefficients[k] * policy.logp(batch).sum(1)).sum()
        expected = torch.autograd.grad(loss, list(wanted.values()))
        for name, gradient in zip(wanted, expected, strict=True):
            assert gradient.any(), name
            assert torch.allclose(jacobian.total()[k, jacobian.slices[name]], gradient.flatten(), atol=1e-4), name
    policy.save(tmp_path)
    fresh = policy_of()
    fresh.restore(tmp_path)
    assert all(torch.equal(fresh.trainable()[name], parameter) for name, parameter in wanted.items())
    assert torch.equal(fresh.logp(batch), policy.logp(batch))
    assert torch.equal(fresh.reference_logp(batch), policy.reference_logp(batch))


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_biases_that_the_reference_shares_are_not_trained(bias):
    model = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=60, n_embd=16, n_layer=2, n_head=2, n_positions=32))
    with pytest.raises(HeedError, match=rf"parameters that the reference shares.*bias='{bias}'.*take bias='none'"):
        Policy(model, TOKENIZER, lora(target_modules=["c_attn"], bias=bias))


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_4", "olora", False])
def test_an_adapter_that_changes_the_model_before_training_is_refused(init):
    with pytest.raises(HeedError, match=f"initialisation changes the model.*init_lora_weights={init!r}"):
        Policy(sharp_model(), TOKENIZER, lora(init_lora_weights=init))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("init", [True, "gaussian", "orthogonal", "eva"])
def test_policy_and_reference_begin_as_the_model_with_critics_or_without(init, dtype):
    batch = a_batch()
    with torch.no_grad():
        given = Policy(sharp_model().to(dtype), TOKENIZER, reference=False).logp(batch)
        policy = Policy(sharp_model().to(dtype), TOKENIZER, lora(init_lora_weights=init))
        for _ in range(2):
            unit = 1e-4 if dtype == torch.float32 else 0.1
            assert (policy.logp(batch) - given).abs().mean() < unit
            assert torch.equal(policy.reference_logp(batch), given)
            if "critic" not in policy.model.peft_config:
                policy.add_critic_adapter(seed=3)


class TestWhatCannotBeLoadedIsSaidInOneLine:
    def said(self, *arguments, **settings) -> str:
        with pytest.raises(HeedError) as error:
            Policy(*arguments, **settings)
        assert "\n" not in str(error.value)
        return str(error.value)

    def test_no_such_path(self):
        assert "there is no language model (./no/such/folder)" in self.said("./no/such/folder")

    def test_a_folder_without_a_model(self, tmp_path):
        assert "the folder holds no language model: it has no config.json" in self.said(tmp_path)

    def test_a_config_of_no_known_kind(self, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "abacus"}))
        assert "abacus" in self.said(tmp_path)

    def test_broken_weights(self, tmp_path):
        tiny_model().save_pretrained(tmp_path)
        TOKENIZER.save_pretrained(tmp_path)
        (tmp_path / "model.safetensors").write_bytes(b"torn")
        assert f"no causal language model at '{tmp_path}'" in self.said(tmp_path)

    def test_an_adapter_without_its_base(self, tmp_path):
        tiny_policy().save(tmp_path)
        assert "holds an adapter" in self.said(tmp_path)

    def test_a_model_that_carries_an_adapter(self):
        assert "already carries an adapter" in self.said(get_peft_model(tiny_model(), lora()), TOKENIZER)

    def test_a_model_without_its_tokenizer(self):
        assert "needs its tokenizer" in self.said(tiny_model())

    def test_a_tokenizer_without_an_end(self, tokenizer_of):
        endless = tokenizer_of()
        endless.eos_token = None
        assert "no end token" in self.said(tiny_model(), endless)


def test_a_missing_padding_token_is_made_up_without_touching_the_users_tokenizer(tokenizer_of):
    theirs = tokenizer_of(pad=None)
    assert Policy(tiny_model(), theirs).tokenizer.pad_token_id == theirs.eos_token_id
    assert theirs.pad_token is None


def test_a_padding_token_without_an_embedding_is_not_used(tokenizer_of):
    theirs = tokenizer_of(pad=None)
    theirs.add_special_tokens({"pad_token": "[PAD]"})
    model = tiny_model()
    model.resize_token_embeddings(theirs.pad_token_id)  # the one row that is lacking
    assert Policy(model, theirs).tokenizer.pad_token_id == theirs.eos_token_id
    model.resize_token_embeddings(theirs.pad_token_id + 1)
    assert Policy(model, theirs).tokenizer.pad_token_id == theirs.pad_token_id


def test_an_end_token_without_an_embedding_is_refused(tokenizer_of):
    theirs = tokenizer_of()
    model = tiny_model()
    model.resize_token_embeddings(len(theirs))
    theirs.add_special_tokens({"eos_token": "<end>"})
    with pytest.raises(
        HeedError, match=r"no embedding for the token '<end>' .20.: it has 20 .*resize_token_embeddings"
    ):
        Policy(model, theirs)


def test_a_generation_config_that_transformers_finds_invalid_is_saved_as_it_was(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    own = json.loads((tmp_path / "generation_config.json").read_text()) | {"temperature": 0.6, "top_p": 0.9}
    (tmp_path / "generation_config.json").write_text(json.dumps(own))  # do_sample is missing, as in Llama 2 chat's
    Policy(tmp_path).save(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert (saved["temperature"], saved["top_p"]) == (0.6, 0.9)

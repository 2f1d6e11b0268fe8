"""Log-probabilities a few rows of logits at a time are those of all at once, and so are their gradients."""

import logging

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
    PhiConfig,
    Qwen3Config,
    RecurrentGemmaConfig,
)

from align.tiny_policies import TOKENIZER, a_batch, lora, tiny_policy
from heed.align.models import token_logp
from heed.align.models.policy import Policy
from heed.align.models.token_logp import LogitMap, TokenLogp
from heed.balance.cotangents import Cotangents, Term
from heed.balance.jacobian import JacobianAccumulator

V, HIDDEN = len(TOKENIZER), 32
WEIGHT = (HIDDEN, lora().r)
SHAPE = {
    "vocab_size": V,
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
KINDS = {
    "llama": LlamaConfig(**SHAPE),
    "qwen3, tied": Qwen3Config(**SHAPE, head_dim=8, tie_word_embeddings=True),
    "gemma2, capped": Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=0.7),
    "cohere, scaled": CohereConfig(**SHAPE, logit_scale=0.0625),
    "granite, divided": GraniteConfig(**SHAPE, logits_scaling=8.0),
    "phi, biased": PhiConfig(**SHAPE),
}


def policy_of(config, dtype=torch.float64, **settings) -> Policy:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).to(dtype)
    head = model.get_output_embeddings()
    with torch.no_grad():
        head.weight *= 40  # logits of a trained model's size, at which softmax, scale and cap matter
        if head.bias is not None:
            head.bias.normal_()
    policy = Policy(model, TOKENIZER, lora(**settings))
    with torch.no_grad():
        for name, parameter in policy.trainable().items():
            parameter.data = parameter.data.to(dtype)
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    return policy


def gradients(policy: Policy, batch, rank: int | None = 2, checkpointing: bool = False) -> torch.Tensor:
    """Two objectives' gradients [2, n] with cotangents that clip some tokens of the second sequence."""
    if checkpointing:
        policy.checkpoint_activations()
    jacobian = JacobianAccumulator(policy.model, 2, rank, parameters=policy.trainable(), checkpointing=checkpointing)

    def cotangents(logp: torch.Tensor) -> Cotangents:
        generator = torch.Generator().manual_seed(3)
        shared = torch.rand(logp.shape, generator=generator, dtype=logp.dtype) * batch.mask
        some = torch.zeros_like(shared)
        some[1:4, ::2] = shared[1:4, ::2]
        C = torch.randn(2, len(logp), generator=generator, dtype=logp.dtype)
        return Cotangents((Term(shared, C), Term(some, C.flip(0))))

    jacobian.accumulate(lambda rows: policy.logp(batch if rows is None else batch.rows(rows), 0.8), cotangents)
    return jacobian.total().clone()


@pytest.fixture
def small(monkeypatch):
    """Room for three rows of logits."""
    return lambda rows=3: monkeypatch.setattr(token_logp, "LOGITS_BUDGET", rows * V)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_in_parts_as_whole(kind, checkpointing, small):
    double = "gemma" not in kind  # transformers' own Gemma 2 is NaN in float64 where a row is padded
    policy, batch = policy_of(KINDS[kind], torch.float64 if double else torch.float32), a_batch()
    close = 1e-12 if double else 1e-5
    whole, expected = policy.logp(batch, 0.8), gradients(policy, batch, checkpointing=checkpointing)
    reference = policy.reference_logp(batch, 0.8)
    assert whole.detach().abs().amax() > 3
    small()
    torch.testing.assert_close(policy.logp(batch, 0.8), whole, rtol=0, atol=close)
    torch.testing.assert_close(policy.reference_logp(batch, 0.8), reference, rtol=0, atol=close)
    found = gradients(policy, batch, checkpointing=checkpointing)
    assert expected.norm(dim=1).min() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=10 * close * float(expected.abs().max()))


def test_the_gradient_by_the_hidden_states_is_exact():
    """Beside the adapters' gradients, which transformers' norms round to float32 on their way."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(11, HIDDEN, generator=generator, dtype=torch.float64, requires_grad=True)
    weight, bias = (torch.randn(V, *width, generator=generator, dtype=torch.float64) for width in ((HIDDEN,), ()))
    targets, cotangents = torch.randint(V, (11,), generator=generator), torch.randn(2, 11, generator=generator)
    for to_logits in (LogitMap(), LogitMap(0.3), LogitMap(0.5, 2.0)):
        expected = to_logits(states @ weight.T + bias).div(0.7).log_softmax(-1).gather(1, targets[:, None])[:, 0]
        logp, _ = token_logp.FrozenHeadLogp.apply(states, targets, weight, bias, to_logits, 0.7, 4, True)
        torch.testing.assert_close(logp, expected, rtol=0, atol=1e-12)
        for each in cotangents.double():
            found, own = (torch.autograd.grad(of, states, each, retain_graph=True)[0] for of in (logp, expected))
            assert own.abs().max() > 0.05
            torch.testing.assert_close(found, own, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tied", [False, True])
def test_a_head_that_is_trained_gets_its_gradient(tied, small):
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPE, tie_word_embeddings=tied)
    policy = Policy(AutoModelForCausalLM.from_config(config).double(), TOKENIZER)
    batch, name = a_batch(), "model.embed_tokens.weight" if tied else "lm_head.weight"
    assert name in policy.trainable()
    expected = gradients(policy, batch)
    small(9)
    found = gradients(policy, batch)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_an_adapter_on_the_head_gets_its_gradient(small):
    policy, batch = policy_of(KINDS["llama"], target_modules=["q_proj", "lm_head"]), a_batch()
    assert any("lm_head" in name for name in policy.trainable())
    expected = gradients(policy, batch)
    small(9)
    torch.testing.assert_close(gradients(policy, batch), expected, rtol=1e-9, atol=1e-12)


class _Largest(TorchDispatchMode):
    """The most logits in one tensor: scalars of what ends in the vocabulary and is no weight [hidden or r, V]."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if (
                isinstance(each, torch.Tensor)
                and each.dim() > 1
                and each.shape[-1] == V
                and each.shape[-2] not in WEIGHT
            ):
                self.logits = max(self.logits, each.numel())
        return out


@pytest.mark.parametrize("settings", [{}, {"target_modules": ["q_proj", "lm_head"]}])
def test_no_more_logits_are_held_than_the_budget(settings, small):
    policy, batch = policy_of(KINDS["llama"], **settings), a_batch()
    rows = len(batch) if settings else 3
    with _Largest() as whole:
        gradients(policy, batch)
    small(rows)
    policy.logp(batch)
    with _Largest() as parts:
        gradients(policy, batch)
        policy.reference_logp(batch)
    assert whole.logits >= len(batch) * batch.width * V
    assert parts.logits == rows * V


def test_bfloat16_is_within_its_rounding(small):
    policy, batch = policy_of(KINDS["llama"], torch.bfloat16), a_batch()
    whole = policy.logp(batch)
    small()
    found = policy.logp(batch)
    assert found.dtype == whole.dtype == torch.float32
    assert float((found - whole).detach().abs().max()) < 0.05


def test_a_model_whose_logits_come_in_another_way_holds_them_all(small, caplog):
    policy, batch = tiny_policy(), a_batch()
    expected = policy.logp(batch)
    model = policy.causal_lm
    own = model.forward
    model.forward = lambda **inputs: _shifted(own(**inputs))
    small()
    with caplog.at_level(logging.WARNING):
        moved = TokenLogp(model)
        found = moved(batch)
    assert moved.logit_map is None
    assert "holds the logits of a whole batch" in caplog.text
    assert not torch.allclose(found, expected)


def test_a_cap_that_bends_the_largest_logits_alone_is_not_overlooked():
    torch.manual_seed(0)
    kept = {name: SHAPE[name] for name in ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads")}
    config = RecurrentGemmaConfig(**kept, num_hidden_layers=3, num_key_value_heads=2, head_dim=8, lru_width=HIDDEN)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        model.lm_head.weight *= 60
    for dtype in (torch.float32, torch.bfloat16):
        found = TokenLogp(model.to(dtype)).logit_map
        assert found == LogitMap(1.0, config.logits_soft_cap)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_cap_of_no_known_name_is_not_overlooked(dtype):
    model = policy_of(KINDS["llama"], dtype).causal_lm
    assert TokenLogp(model).logit_map == LogitMap()
    assert _bent(model) is None


def _bent(model) -> LogitMap | None:
    """The map of a model whose logits are bent by a cap that no name tells."""
    own = model.forward

    def capped(**inputs):
        output = own(**inputs)
        output.logits = 30 * torch.tanh(output.logits / 30)
        return output

    model.forward = capped
    return TokenLogp(model).logit_map


def _shifted(output):
    output.logits = output.logits.roll(1, -1)
    return output


def test_what_lies_between_product_and_logits_is_found():
    maps = {kind: TokenLogp(policy_of(config).causal_lm).logit_map for kind, config in KINDS.items()}
    assert maps == {
        "llama": LogitMap(),
        "qwen3, tied": LogitMap(),
        "gemma2, capped": LogitMap(1.0, 0.7),
        "cohere, scaled": LogitMap(0.0625),
        "granite, divided": LogitMap(0.125),
        "phi, biased": LogitMap(),
    }

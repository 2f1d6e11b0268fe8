"""Under checkpointing several terms take one vectorised backward: same gradients, one recomputation."""

import logging
import warnings

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MistralConfig, Qwen3Config

from heed.balance.cotangents import Cotangents, Term
from heed.balance.jacobian import JacobianAccumulator

SEQUENCES, TOKENS, K = 4, 5, 3


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def two_terms() -> Cotangents:
    return Cotangents(
        (
            Term(draw(SEQUENCES, TOKENS, seed=1), draw(K, SEQUENCES, seed=2)),
            Term(draw(SEQUENCES, TOKENS, seed=3), draw(K, SEQUENCES, seed=4)),
        )
    )


def autograd_rows(model, forward, dense):
    rows = []
    for s in dense:
        model.zero_grad()
        (forward() * s).sum().backward()
        rows.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad]))
    return torch.stack(rows)


class Checkpointed(nn.Module):
    """A recomputed block that counts its forwards; `inner` may be an operation of the caller's."""

    def __init__(self, inner=torch.tanh, dropout=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 6).double(), nn.Linear(6, 1).double()
        self.inner, self.dropout, self.forwards = inner, nn.Dropout(dropout), 0

    def block(self, x):
        self.forwards += 1
        return self.second(self.dropout(self.inner(self.first(x))))

    def forward(self, x):
        return checkpoint(self.block, x, use_reentrant=False)[..., 0]


class CubeOfRawMemory(torch.autograd.Function):
    """Stands for a foreign kernel: its backward wants the memory itself, which a vectorised tensor has not."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, delta):
        (x,) = ctx.saved_tensors
        return torch.from_numpy(delta.detach().numpy()) * 3 * x**2


def accumulate(model, checkpointing=True):
    x = draw(SEQUENCES, TOKENS, 3)
    jacobian = JacobianAccumulator(model, K, rank=2, checkpointing=checkpointing)
    oracle = autograd_rows(model, lambda: model(x), two_terms().dense())
    model.forwards = 0
    jacobian.accumulate(lambda rows: model(x), lambda logp: two_terms())
    return jacobian, oracle, x


@pytest.mark.parametrize(("checkpointing", "forwards"), [(True, 2), (False, 3)])
def test_two_terms_share_one_recomputation_when_checkpointing_is_declared(checkpointing, forwards):
    model = Checkpointed()
    jacobian, oracle, _ = accumulate(model, checkpointing)
    assert model.forwards == forwards
    assert torch.allclose(jacobian.total(), oracle, rtol=1e-12, atol=1e-14)


def test_kernel_that_cannot_be_vectorised_is_said_once_and_costs_no_exactness(caplog):
    model = Checkpointed(CubeOfRawMemory.apply)
    with caplog.at_level(logging.WARNING, logger="heed.balance.jacobian"):
        jacobian, oracle, x = accumulate(model)
        assert torch.allclose(jacobian.total(), oracle, rtol=1e-12, atol=1e-14)
        jacobian.accumulate(lambda rows: model(x), lambda logp: two_terms())
    assert torch.allclose(jacobian.total(), 2 * oracle, rtol=1e-12, atol=1e-14)
    assert sum("cannot be vectorised" in record.message for record in caplog.records) == 1


def test_dropout_keeps_the_terms_apart_without_a_word(caplog):
    model = Checkpointed(dropout=0.5).train()
    x = draw(SEQUENCES, TOKENS, 3)
    jacobian = JacobianAccumulator(model, K, rank=2, checkpointing=True)
    with caplog.at_level(logging.WARNING, logger="heed.balance.jacobian"):
        torch.manual_seed(7)
        jacobian.accumulate(lambda rows: model(x), lambda logp: two_terms())
    rows = []
    for s in two_terms().dense():
        torch.manual_seed(7)
        model.zero_grad()
        (model(x) * s).sum().backward()
        rows.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert not caplog.records
    assert torch.allclose(jacobian.total(), torch.stack(rows), rtol=1e-12, atol=1e-14)


class UsedTwice(Checkpointed):
    """The first layer's weight also acts outside its layer."""

    def block(self, x):
        return super().block(x) + (x @ self.first.weight.T).sum(-1, keepdim=True)


def test_weight_used_outside_its_layer_is_found_by_a_vectorised_backward_too(caplog):
    with caplog.at_level(logging.WARNING, logger="heed.balance.jacobian"):
        jacobian, oracle, _ = accumulate(UsedTwice())
    assert torch.allclose(jacobian.total(), oracle, rtol=1e-12, atol=1e-14)
    assert sum("outside their layer" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("config", [MistralConfig, LlamaConfig, Qwen3Config, GemmaConfig])
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_vectorised_terms_equal_autograd_on_every_family(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        config(
            vocab_size=13,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
        ),
        dtype=torch.float64,
    ).train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("_proj" in name)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    ids = torch.randint(13, (SEQUENCES, TOKENS), generator=torch.Generator().manual_seed(0))

    def forward(rows=None):
        return model(input_ids=ids, use_cache=False).logits.log_softmax(-1).amax(-1)

    jacobian = JacobianAccumulator(model, K, rank=2, checkpointing=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "There is a performance drop")
        jacobian.accumulate(forward, lambda logp: two_terms())
    assert jacobian._has_vectorised
    oracle = autograd_rows(model, forward, two_terms().dense())
    # transformers' norms and rotary angles compute in float32 whatever the dtype
    assert float((jacobian.total() - oracle).norm() / oracle.norm()) < 1e-6

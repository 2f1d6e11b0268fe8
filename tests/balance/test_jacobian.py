"""The factored path gives autograd's K gradients, on real architectures and in every arrangement it meets."""

import functools
import logging

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MistralConfig, Qwen3Config

from heed.balance.cotangents import Cotangents, Term
from heed.balance.jacobian import JacobianAccumulator
from heed.balance.recording import LinearRecorder

FAMILIES = {"mistral": MistralConfig, "llama": LlamaConfig, "qwen": Qwen3Config, "gemma": GemmaConfig}
SEQUENCES, PROMPT, TOKENS, VOCABULARY = 5, 3, 6, 31
NORMS_IN_FLOAT32 = 1e-6
"""What float64 reaches on transformers' models: their norms and rotary angles compute in float32 whatever the dtype."""


def make_model(family: str, dtype=torch.float64, checkpointing=False, lora=True) -> nn.Module:
    config = FAMILIES[family](
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=32,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    if lora:
        model = get_peft_model(
            model, LoraConfig(r=2, lora_alpha=4, target_modules="all-linear"), autocast_adapter_dtype=False
        )
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # zero at the start, which would hide every gradient of A
                nn.init.normal_(parameter, std=0.3)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    return model.train()


def make_batch(side: str):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, VOCABULARY, (SEQUENCES, PROMPT + TOKENS), generator=generator)
    attention = torch.ones_like(ids)
    for b in range(SEQUENCES):
        pad = b % 3
        if side == "left":
            attention[b, :pad] = 0
        elif pad:
            attention[b, -pad:] = 0
    return ids, attention


def token_logp(model, ids, attention, rows=None):
    rows = torch.arange(len(ids)) if rows is None else rows
    ids, attention = ids[rows], attention[rows]
    positions = (attention.cumsum(-1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=attention, position_ids=positions, use_cache=False).logits
    logp = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    return logp[:, PROMPT - 1 :] * attention[:, PROMPT:]


def factored_cotangents(K: int, rank: int, dtype) -> Cotangents:
    generator = torch.Generator().manual_seed(2)
    draw = functools.partial(torch.randn, generator=generator, dtype=dtype)
    terms = [Term(draw(SEQUENCES, TOKENS), draw(K, SEQUENCES))]
    if rank == 2:  # the second term touches two sequences of five, as PPO's clip does
        coefficients = draw(K, SEQUENCES)
        coefficients[:, [0, 2, 4]] = 0
        terms.append(Term(draw(SEQUENCES, TOKENS), coefficients))
    if rank == 3:  # a third touches four: it runs through the graph of the whole batch
        coefficients = draw(K, SEQUENCES)
        coefficients[:, 1] = 0
        terms += [Term(draw(SEQUENCES, TOKENS), coefficients), Term(draw(SEQUENCES, TOKENS), coefficients.flip(0))]
    return Cotangents(tuple(terms))


def autograd_rows(model, logp_of, dense):
    """K forwards and K backwards: nothing of ours."""
    rows = []
    for s in dense:
        model.zero_grad(set_to_none=True)
        (logp_of(None) * s).sum().backward()
        rows.append(
            torch.cat(
                [
                    (torch.zeros_like(p) if p.grad is None else p.grad).flatten()
                    for p in model.parameters()
                    if p.requires_grad
                ]
            )
        )
    model.zero_grad(set_to_none=True)
    return torch.stack(rows)


def relative_error(ours, theirs):
    return float((ours - theirs).norm(dim=1).max() / theirs.norm(dim=1).max())


class Experts(nn.Module):
    """A layer on every token beside experts that see flattened tokens: one all of them, one those that are large."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 1)
        self.shared, self.routed = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.double()

    def forward(self, x):
        flat = torch.tanh(self.body(x)).view(-1, 4)
        chosen = flat[:, 0] > 0
        routed = torch.zeros_like(flat)
        if chosen.any():
            routed[chosen] = self.routed(flat[chosen])
        return self.head((self.shared(flat) + routed).view_as(x)).squeeze(-1)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_layer_that_sees_flattened_tokens_falls_to_k_backwards_and_that_is_said_once(rank, checkpointing, caplog):
    model, x = Experts(), torch.randn(SEQUENCES, TOKENS, 4, dtype=torch.float64)
    cotangents = factored_cotangents(3, rank, torch.float64)

    def logp_of(rows):
        few = x if rows is None else x[rows]
        return checkpoint(model, few, use_reentrant=False) if checkpointing else model(few)

    jacobian = JacobianAccumulator(model, 3, rank=rank, path="factored", checkpointing=checkpointing)
    expected = autograd_rows(model, logp_of, cotangents.dense())
    for passes in (1, 2):
        jacobian.accumulate(logp_of, lambda logp: cotangents)
        assert relative_error(jacobian.total(), passes * expected) < 1e-12
    said = [r.getMessage() for r in caplog.records if "K backwards" in r.getMessage()]
    assert said == ["3 parameters (shared.weight, ...) see the tokens of all sequences in one: K backwards"]
    assert "forward" not in vars(model.shared) and set(jacobian._recorder.linears) == {"body", "head"}


def test_an_expert_that_is_first_asked_in_a_later_pass_falls_to_k_backwards_then():
    model, x = Experts(), torch.randn(SEQUENCES, TOKENS, 4, dtype=torch.float64)
    cotangents = factored_cotangents(2, 1, torch.float64)
    with torch.no_grad():
        model.body.weight[0], model.body.bias[0] = 0, -1.0  # no token is large
    jacobian = JacobianAccumulator(model, 2, rank=1, path="factored")
    jacobian.accumulate(lambda rows: model(x), lambda logp: cotangents)
    expected = autograd_rows(model, lambda rows: model(x), cotangents.dense())
    with torch.no_grad():
        model.body.bias[0] = 1.0
    jacobian.accumulate(lambda rows: model(x), lambda logp: cotangents)
    expected += autograd_rows(model, lambda rows: model(x), cotangents.dense())
    assert relative_error(jacobian.total(), expected) < 1e-12


def test_flattened_tokens_that_are_by_chance_as_many_as_sequences_are_not_taken_for_these():
    model, x = Experts(), torch.randn(SEQUENCES, TOKENS, 4, dtype=torch.float64)
    cotangents = factored_cotangents(2, 1, torch.float64)
    with torch.no_grad():  # five large tokens, two of them in one sequence
        model.body.weight[0], model.body.bias[0] = torch.tensor([9.0, 0, 0, 0]), 0.0
    x[..., 0] = -1.0
    for place in ((0, 1), (0, 3), (1, 2), (3, 0), (4, 5)):
        x[place][0] = 1.0
    jacobian = JacobianAccumulator(model, 2, rank=1, path="factored")
    jacobian.accumulate(lambda rows: model(x), lambda logp: cotangents)
    expected = autograd_rows(model, lambda rows: model(x), cotangents.dense())
    assert relative_error(jacobian.total(), expected) < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_factored_equals_autograd_on_every_family(family, rank, checkpointing, dtype):
    model = make_model(family, dtype, checkpointing)
    ids, attention = make_batch("left")
    logp_of = functools.partial(token_logp, model, ids, attention)
    cotangents = factored_cotangents(4, rank, dtype)
    jacobian = JacobianAccumulator(model, 4, rank=rank)
    assert jacobian.path == "factored"
    jacobian.accumulate(logp_of, lambda logp: cotangents)
    assert relative_error(jacobian.total(), autograd_rows(model, logp_of, cotangents.dense())) < (
        1e-5 if dtype == torch.float32 else NORMS_IN_FLOAT32
    )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("K", [1, 2, 8])
def test_padding_side_and_number_of_objectives_do_not_matter(side, K):
    model = make_model("mistral")
    logp_of = functools.partial(token_logp, model, *make_batch(side))
    cotangents = factored_cotangents(K, 2, torch.float64)
    jacobian = JacobianAccumulator(model, K, rank=2, path="factored")
    jacobian.accumulate(logp_of, lambda logp: cotangents)
    assert relative_error(jacobian.total(), autograd_rows(model, logp_of, cotangents.dense())) < NORMS_IN_FLOAT32


@pytest.mark.parametrize("path", ["sequential", "batched"])
def test_vjp_paths_equal_autograd(path):
    model = make_model("llama")
    logp_of = functools.partial(token_logp, model, *make_batch("left"))
    dense = torch.randn(3, SEQUENCES, TOKENS, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    jacobian = JacobianAccumulator(model, 3, path=path)
    jacobian.accumulate(logp_of, lambda logp: Cotangents.from_dense(dense))
    assert relative_error(jacobian.total(), autograd_rows(model, logp_of, dense)) < NORMS_IN_FLOAT32


def test_micro_batches_add_up_to_the_whole():
    model = make_model("qwen")
    ids, attention = make_batch("left")
    cotangents = factored_cotangents(3, 1, torch.float64)
    term = cotangents.terms[0]
    whole = JacobianAccumulator(model, 3, rank=1)
    whole.accumulate(functools.partial(token_logp, model, ids, attention), lambda logp: cotangents)
    parts = JacobianAccumulator(model, 3, rank=1, keep_micro_grams=True)
    for part in (slice(0, 2), slice(2, 5)):
        few = Cotangents((Term(term.shared[part], term.coefficients[:, part]),))
        parts.accumulate(functools.partial(token_logp, model, ids[part], attention[part]), lambda logp, few=few: few)
        parts.end_micro_batch()
    assert relative_error(parts.total(), whole.total()) < NORMS_IN_FLOAT32
    assert torch.allclose(parts.gram(), whole.gram(), rtol=1e-5)
    assert len(parts.micro_grams) == 2
    assert not torch.allclose(sum(parts.micro_grams), whole.gram(), rtol=1e-3)


def test_packed_sequences_are_told_apart_by_segment():
    segments = torch.tensor([[0, 0, 1, 1, 1, 2]]).expand(SEQUENCES, TOKENS) + 3 * torch.arange(SEQUENCES)[:, None]
    generator = torch.Generator().manual_seed(5)
    term = Term(
        torch.randn(SEQUENCES, TOKENS, dtype=torch.float64, generator=generator),
        torch.randn(2, 3 * SEQUENCES, dtype=torch.float64, generator=generator),
        segments,
    )
    linear = nn.Linear(4, 1, dtype=torch.float64)
    x = torch.randn(SEQUENCES, TOKENS, 4, dtype=torch.float64, generator=generator)
    jacobian = JacobianAccumulator(linear, 2, rank=1)
    jacobian.accumulate(lambda rows: linear(x)[..., 0], lambda logp: Cotangents((term,)))
    assert (
        relative_error(jacobian.total(), autograd_rows(linear, lambda rows: linear(x)[..., 0], term.dense()))
        < NORMS_IN_FLOAT32
    )


@pytest.mark.parametrize("family", ["llama", "gemma"])  # gemma's head is tied to its embedding
def test_full_fine_tuning_mixes_linears_with_vjp_for_the_rest(family, caplog):
    model = make_model(family, lora=False)
    logp_of = functools.partial(token_logp, model, *make_batch("left"))
    cotangents = factored_cotangents(2, 2, torch.float64)
    with caplog.at_level(logging.WARNING, logger="heed.balance.jacobian"):
        jacobian = JacobianAccumulator(model, 2, rank=2)
        jacobian.accumulate(logp_of, lambda logp: cotangents)
        jacobian.zero()
        jacobian.accumulate(logp_of, lambda logp: cotangents)
    assert relative_error(jacobian.total(), autograd_rows(model, logp_of, cotangents.dense())) < NORMS_IN_FLOAT32
    assert sum("take K backwards" in record.message for record in caplog.records) == 1


class UsedTwice(nn.Module):
    """A linear whose weight also acts outside its layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(4, 4, dtype=torch.float64)
        self.outer = nn.Linear(4, 1, dtype=torch.float64)

    def forward(self, x):
        return self.outer(torch.tanh(self.inner(x)) @ self.inner.weight)[..., 0]


def test_weight_used_outside_its_layer_is_found_and_left_to_vjp(caplog):
    model = UsedTwice()
    x = torch.randn(SEQUENCES, TOKENS, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cotangents = factored_cotangents(3, 1, torch.float64)
    jacobian = JacobianAccumulator(model, 3, rank=1)
    oracle = autograd_rows(model, lambda rows: model(x), cotangents.dense())
    with caplog.at_level(logging.WARNING, logger="heed.balance.jacobian"):
        for _ in range(2):
            jacobian.zero()
            jacobian.accumulate(lambda rows: model(x), lambda logp: cotangents)
            assert relative_error(jacobian.total(), oracle) < 1e-12
    assert sum("outside their layer" in record.message for record in caplog.records) == 1


def test_a_contraction_that_would_mix_sequences_is_refused_by_name():
    linear = nn.Linear(4, 1, bias=False, dtype=torch.float64)
    recorder = LinearRecorder(torch.zeros(2, 4), {"head": linear}, {id(linear.weight): slice(0, 4)})
    x, (term,) = torch.randn(SEQUENCES * TOKENS, 4), factored_cotangents(2, 1, torch.float64).terms
    with recorder.contracting([term]), pytest.raises(RuntimeError, match=r"head has 30 rows for 5 sequences"):
        recorder.contract("head", x, torch.randn(1, SEQUENCES * TOKENS, 1))


def test_dropout_keeps_one_graph_so_that_all_objectives_see_one_mask():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1)).double().train()
    x = torch.randn(SEQUENCES, TOKENS, 4, dtype=torch.float64)
    cotangents = factored_cotangents(2, 2, torch.float64)
    calls = []

    def logp_of(rows):
        calls.append(rows)
        return model(x if rows is None else x[rows])[..., 0]

    torch.manual_seed(7)
    jacobian = JacobianAccumulator(model, 2, rank=2)
    jacobian.accumulate(logp_of, lambda logp: cotangents)
    assert calls == [None]
    rows = []
    for s in cotangents.dense():
        torch.manual_seed(7)
        model.zero_grad()
        (model(x)[..., 0] * s).sum().backward()
        rows.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert relative_error(jacobian.total(), torch.stack(rows)) < 1e-12


def test_second_term_of_few_sequences_runs_on_these_alone():
    model = make_model("mistral")
    ids, attention = make_batch("left")
    seen = []

    def logp_of(rows):
        seen.append(None if rows is None else rows.tolist())
        return token_logp(model, ids, attention, rows)

    def taken(**changed):
        jacobian = JacobianAccumulator(model, 4, rank=2)
        vars(jacobian).update(changed)
        jacobian.accumulate(logp_of, lambda logp: factored_cotangents(4, 2, torch.float64))
        return jacobian.total()

    apart = taken()
    assert seen == [None, [1, 3]]
    together = taken(recomputes_rows=False)  # where a forward knows no single rows
    assert seen[2:] == [None] and relative_error(together, apart) < NORMS_IN_FLOAT32


def test_written_gradient_is_the_negative_weighted_sum_in_each_parameter():
    model = make_model("mistral")
    logp_of = functools.partial(token_logp, model, *make_batch("left"))
    cotangents = factored_cotangents(2, 1, torch.float64)
    jacobian = JacobianAccumulator(model, 2, rank=1)
    jacobian.accumulate(logp_of, lambda logp: cotangents)
    direction = jacobian.write_gradient(torch.tensor([0.25, 2.0], dtype=torch.float64))
    ours = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    model.zero_grad(set_to_none=True)
    s = cotangents.dense()
    (-(logp_of(None) * (0.25 * s[0] + 2 * s[1])).sum()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert torch.allclose(ours[name], parameter.grad, rtol=1e-5, atol=1e-6), name
    assert torch.allclose(direction, 0.25 * jacobian.total()[0] + 2 * jacobian.total()[1])


def test_gram_in_a_metric_and_over_named_parameters_equals_its_definition():
    linear = nn.Linear(3, 2, dtype=torch.float64)
    x = torch.randn(SEQUENCES, TOKENS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cotangents = factored_cotangents(2, 1, torch.float64)
    jacobian = JacobianAccumulator(linear, 2, rank=1)
    jacobian.accumulate(lambda rows: linear(x).sum(-1), lambda logp: cotangents)
    J, metric = jacobian.total(), torch.rand(8, dtype=torch.float64) + 0.1
    assert torch.allclose(jacobian.gram(metric), J @ metric.diag() @ J.T)
    assert torch.allclose(jacobian.gram(only=["bias"]), J[:, 6:] @ J[:, 6:].T)


def test_checkpointed_block_of_plain_modules_also_factors():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    x = torch.randn(SEQUENCES, TOKENS, 4, dtype=torch.float64)

    def logp_of(rows):
        return checkpoint(block, x, use_reentrant=False)[..., 0]

    cotangents = factored_cotangents(3, 3, torch.float64)
    jacobian = JacobianAccumulator(block, 3, rank=3)
    jacobian.accumulate(logp_of, lambda logp: cotangents)
    assert relative_error(jacobian.total(), autograd_rows(block, logp_of, cotangents.dense())) < 1e-12

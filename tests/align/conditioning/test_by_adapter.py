"""One policy for all preferences by the ranks of its adapter: what is drawn, learnt and saved is of one preference."""

import json

import pytest
import torch
from peft import PeftModel
from tiny_policies import TOKENIZER, lora, tiny_model
from tiny_trainers import FUNCTIONS, tiny_trainer
from torch.func import functional_call

from heed.align.conditioning.by_adapter import ByAdapter
from heed.align.conditioning.gates import GATES, PreferenceGates, check_rank, gates, write_adapter
from heed.align.conditioning.joining import joined
from heed.align.models.policy import Policy
from heed.align.run.job import AlignJob
from heed.balance import weighting_from_name
from heed.errors import HeedError

PREFERENCES = [[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]]


def moved(trainer, size=0.05):
    """A trainer whose adapter is no longer that of the beginning, which changes nothing."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trainer.policy.trainable().values():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return trainer


def gated_trainer(method="conditioned:linear", options=None, **settings):
    weighting = weighting_from_name(method, 2, **{"preferences": 3, **(options or {})})
    return tiny_trainer(FUNCTIONS[:2], weighting=weighting, **{"minibatches": 2, "prompts_per_step": 4, **settings})


def drawn(trainer):
    prompts, columns = trainer.prompts.draw(trainer.step)
    return prompts, trainer.conditioning.roll(trainer.sampler, trainer.step, prompts, trainer.generator, columns)


@pytest.mark.parametrize(
    ("rank", "preference", "shared", "expected"),
    [
        (4, [0.5, 0.5], 0.5, [1, 1, 1, 1]),
        (4, [1.0, 0.0], 0.0, [2, 2, 0, 0]),
        (7, [0.2, 0.8], 0.25, [1, 1, 1, 0.4, 0.4, 1.6, 1.6]),
        (6, [0.5, 0.25, 0.25], 0.5, [1, 1, 1, 1.5, 0.75, 0.75]),
    ],
)
def test_ranks_count_what_their_objective_weighs(rank, preference, shared, expected):
    torch.testing.assert_close(gates(rank, preference, shared), torch.tensor(expected, dtype=torch.float32))


def test_an_adapter_without_a_rank_for_each_objective_is_refused_with_the_rank_that_would_do():
    with pytest.raises(HeedError, match=r"of rank 3 with 50% for all.*give at least 4"):
        gates(3, [0.5, 0.5], 0.5)
    assert gates(4, [1.0, 0.0], 0.5).tolist() == [1, 1, 2, 0]
    for rank, shared in ((10, 0.8), (20, 0.9), (3, 1 / 3)):  # 2 are left, though 10 * (1 - 0.8) is 1.9999...
        assert check_rank(rank, 2, shared) == 1
        with pytest.raises(HeedError, match=f"give at least {rank},"):
            check_rank(rank - 1, 2, shared)


def test_a_policy_without_such_an_adapter_is_refused():
    with pytest.raises(HeedError, match=r"no ranks that a preference could weigh.*through prompt"):
        PreferenceGates(Policy(tiny_model(), TOKENIZER), 2, 0.5)
    with pytest.raises(HeedError, match="critics are not told the preference"):
        gated_trainer(advantage="gae")
    with pytest.raises(HeedError, match="would mix the preferences"):
        gated_trainer(gram_memory=0.9)


def test_an_adapter_whose_rows_are_no_ranks_is_refused():
    policy = Policy(tiny_model(), TOKENIZER, lora())
    name = next(name for name in policy.trainable() if ".lora_A." in name)
    layer = policy.model.get_submodule(name.rpartition(".lora_A.")[0])
    layer.lora_A["default"].weight = torch.nn.Parameter(torch.zeros(4, 3, 2, 2))  # as of a convolution
    with pytest.raises(HeedError, match="on experts or convolutions"):
        PreferenceGates(policy, 2, 0.5)


def test_rounds_of_other_preferences_are_not_compared():
    with pytest.raises(HeedError, match="2 minibatches are not of the same ones of 3 preferences"):
        gated_trainer(max_fall=3.0)
    with pytest.raises(HeedError, match="RiC asks for other rewards"):
        gated_trainer("ric", max_fall=3.0)
    assert gated_trainer(options={"preferences": 2}, max_fall=3.0).config.max_fall == 3


@pytest.mark.parametrize("rank", [0, 3])
def test_a_job_whose_adapter_has_too_few_ranks_is_refused_before_anything_is_prepared(rank):
    with pytest.raises(HeedError, match="--lora-r"):
        AlignJob(method="conditioned:pgapo", lora_r=rank).build_weighting(["help", "harmless"])


def test_within_the_change_of_weights_is_the_weighed_sum_of_the_ranks_and_afterwards_as_before():
    trainer = moved(gated_trainer())
    layer = trainer.policy.causal_lm.model.layers[0].self_attn.q_proj
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    before = {name: p.detach().clone() for name, p in trainer.policy.trainable().items()}
    expected = layer.scaling["default"] * b @ torch.diag(gates(len(a), [0.9, 0.1], 0.5)) @ a
    with trainer.conditioning.acting([0.9, 0.1]):
        torch.testing.assert_close(layer.get_delta_weight("default"), expected)
    assert all(torch.equal(p, before[name]) for name, p in trainer.policy.trainable().items())
    with pytest.raises(KeyError), trainer.conditioning.acting([0.9, 0.1]):
        raise KeyError
    assert all(torch.equal(p, before[name]) for name, p in trainer.policy.trainable().items())


def test_each_minibatch_is_drawn_by_the_policy_of_its_preference():
    trainer = moved(gated_trainer(), size=0.3)
    state = trainer.generator.get_state()
    prompts, rollout = drawn(trainer)
    assert rollout.prompts == prompts and isinstance(trainer.conditioning, ByAdapter)
    trainer.generator.set_state(state)
    said = []
    for half, index in enumerate(trainer.conditioning.drawn):
        with trainer.conditioning.acting(PREFERENCES[index]):
            said += trainer.sampler.roll(prompts[4 * half : 4 * half + 4], trainer.generator).completions
    assert rollout.completions == said
    torch.testing.assert_close(trainer.conditioning.logp(trainer.policy, rollout.sequences), rollout.logp)
    assert not torch.allclose(trainer.policy.logp(rollout.sequences), rollout.logp, atol=1e-3)


def test_rollouts_are_joined_with_prompts_on_the_left_and_completions_on_the_right():
    trainer = gated_trainer()
    some = [trainer.sampler.roll([prompt], trainer.generator) for prompt in ("rest", "mix five tea and salt")]
    both = joined(some, TOKENIZER.pad_token_id)
    assert both.completion_ids == [ids for part in some for ids in part.completion_ids]
    for row, part in enumerate(some):
        ids = both.sequences.ids[row][both.sequences.attention[row].bool()]
        assert ids.tolist() == part.sequences.ids[0][part.sequences.attention[0].bool()].tolist()
        width = part.sequences.width
        torch.testing.assert_close(both.logp[row, :width], part.logp[0])
    torch.testing.assert_close(trainer.policy.logp(both.sequences), both.logp)


def test_gradients_are_those_of_the_factors_without_gates():
    """By autograd, through the gates."""
    trainer = moved(gated_trainer("conditioned:pgapo", kl_beta=0.0))
    replies = trainer.draw(*trainer.prompts.draw(0))
    advantages = trainer.estimator.advantages(replies.scored, [slice(0, 8)])
    rows = trainer.minibatches()[1]
    trainer.conditioning.turn_to(1)
    trainer.accumulate(replies.scored, advantages, rows)
    preference = PREFERENCES[trainer.conditioning.drawn[1]]
    batch = replies.scored.sequences.rows(rows)
    raw = dict(trainer.jacobian.parameters)
    gated = {n: p * gates(len(p), preference, 0.5)[:, None] if ".lora_A." in n else p for n, p in raw.items()}

    class Logp(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = trainer.policy.model

        def forward(self):
            return trainer.policy.logp(batch)

    logp = functional_call(Logp(), {f"model.{name}": value for name, value in gated.items()}, ())
    for k in range(2):
        raised = (advantages[k, rows][:, None] * logp * batch.mask).sum() / batch.mask.sum()
        expected = torch.cat([g.flatten() for g in torch.autograd.grad(raised, list(raw.values()), retain_graph=True)])
        found = trainer.jacobian.total()[k]
        assert float((found - expected).norm()) <= 2e-5 * float(expected.norm()) and float(expected.norm()) > 1e-3


def test_micro_batches_gram_matrices_are_of_the_same_gradients():
    trainer = moved(gated_trainer(gram="unbiased", micro_batch=2))
    replies = trainer.draw(*trainer.prompts.draw(0))
    advantages = trainer.estimator.advantages(replies.scored, [slice(0, 8)])
    trainer.conditioning.turn_to(0)
    total = torch.zeros_like(trainer.jacobian.total())
    trainer.accumulate(replies.scored, advantages, trainer.minibatches()[0])
    micro, whole = [gram.clone() for gram in trainer.jacobian.micro_grams], trainer.jacobian.total().clone()
    weights = replies.scored.sequences.mask[:4].sum()
    for part in (slice(0, 2), slice(2, 4)):
        alone = gated_trainer(minibatches=4)
        moved(alone)
        alone.conditioning.drawn = [trainer.conditioning.drawn[0]] * 4
        alone.conditioning.turn_to(0)
        rows = torch.arange(8)[part]
        alone.accumulate(replies.scored, advantages, rows)
        share = alone.jacobian.total() * replies.scored.sequences.mask[rows].sum() / weights
        total += share
        torch.testing.assert_close(micro.pop(0), share.double() @ share.double().T, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(whole, total, rtol=1e-4, atol=1e-6)


def test_an_adapter_of_one_preference_is_the_policy_of_it_for_peft(tmp_path):
    trainer = moved(gated_trainer(run=tmp_path / "run"))
    trainer.checkpoint()
    folder = tmp_path / "run" / "checkpoints" / "step-0"
    assert json.loads((folder / GATES).read_text()) == {"objectives": ["vowels", "length"], "shared": 0.5}
    write_adapter(folder, [0.2, 0.8], tmp_path / "own")
    loaded = PeftModel.from_pretrained(tiny_model(), str(tmp_path / "own")).eval()
    ids = torch.tensor([TOKENIZER("fever and cough").input_ids])
    with torch.no_grad(), trainer.conditioning.acting([0.2, 0.8]):
        expected = trainer.policy.model(input_ids=ids).logits
    with torch.no_grad():
        torch.testing.assert_close(loaded(input_ids=ids).logits, expected)
        assert not torch.allclose(trainer.policy.model(input_ids=ids).logits, expected, atol=1e-4)


def test_what_is_no_policy_of_all_preferences_gives_no_adapter(tmp_path):
    with pytest.raises(HeedError, match=r"gates\.json is missing"):
        write_adapter(tmp_path, [0.2, 0.8], tmp_path / "own")
    (tmp_path / GATES).write_text('{"objectives": ["a", "b"], "shared": 0.5}')
    with pytest.raises(HeedError, match="3 weights for 2 objectives"):
        write_adapter(tmp_path, [0.2, 0.4, 0.4], tmp_path / "own")

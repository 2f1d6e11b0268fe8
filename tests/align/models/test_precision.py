"""What is trained is float32, whatever the checkpoint's dtype; what is not finite is never written."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from tiny_policies import TOKENIZER, a_batch, lora, tiny_model
from tiny_trainers import PROMPTS, QUICK, length, tiny_trainer, vowels

from heed.align.config import AlignConfig
from heed.align.models.policy import Policy
from heed.align.objectives.reward_functions import RewardFunction
from heed.align.rollouts import Sampler, Sampling
from heed.align.trainer import AlignTrainer
from heed.errors import HeedError, RunFailed
from heed.runs.folder import RunFolder

NARROW = [torch.bfloat16, torch.float16]


def trainer_of(model, folder=None, peft_config=None, tokenizer=TOKENIZER, **settings) -> AlignTrainer:
    objectives = [RewardFunction(vowels), RewardFunction(length)]
    run = None if folder is None else RunFolder.create(folder, {"method": "gapo", "seed": 0}, "align")
    config = AlignConfig(**{**QUICK, "kl_beta": 0.0, "warmup_steps": 0, **settings})
    rows = [{"prompt": prompt} for prompt in PROMPTS[:10]]
    return AlignTrainer(model, objectives, None, rows, config, tokenizer, peft_config, run)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("from_folder", [True, False])
def test_full_fine_tuning_of_16_bits_moves_what_that_of_the_same_weights_in_32_moves(tmp_path, dtype, from_folder):
    """At a rate at which 16 bits round nearly every update of the weights away, and all of the norms'."""
    narrow = tiny_model().to(dtype)
    given = {name: p.detach().float().clone() for name, p in narrow.named_parameters()}
    wide = copy.deepcopy(narrow).float()
    if from_folder:
        narrow.save_pretrained(tmp_path / "narrow")
        narrow = tmp_path / "narrow"
        wide = tiny_model()  # whose buffers were never rounded
        wide.load_state_dict(given)
    found, expected = trainer_of(narrow, learning_rate=1e-6), trainer_of(wide, learning_rate=1e-6)
    for trainer in (found, expected):
        trainer.train()
    for name, parameter in expected.policy.trainable().items():
        assert torch.equal(found.policy.trainable()[name], parameter), name
        assert not torch.equal(parameter, given[name]), name
    batch = a_batch()
    assert torch.equal(found.policy.reference_logp(batch), expected.policy.reference_logp(batch))


def test_a_run_of_a_16_bit_checkpoint_keeps_its_masters(tmp_path):
    trainer = trainer_of(tiny_model().to(torch.bfloat16), tmp_path / "run", learning_rate=1e-6)
    trainer.train()
    folder = trainer.journal.last_checkpoint()
    stored = load_file(folder / "model.safetensors")
    assert all(torch.equal(stored[name], p) for name, p in trainer.policy.trainable().items() if name in stored)
    again = trainer_of(tiny_model().to(torch.bfloat16), learning_rate=1e-6)
    again.restore(folder)
    for name, parameter in trainer.policy.trainable().items():
        assert torch.equal(again.policy.trainable()[name], parameter), name


@pytest.mark.parametrize("critics", [False, True])
@pytest.mark.parametrize("layers", [["lm_head"], ["embed_tokens", "norm"]])
def test_whole_layers_beside_an_adapter_are_trained_in_float32_on_a_16_bit_base(layers, critics):
    policy = Policy(tiny_model().to(torch.bfloat16), TOKENIZER, lora(target_modules=["q_proj"], modules_to_save=layers))
    trained = list(policy.trainable().values()) + (policy.add_critic_adapter(seed=3) if critics else [])
    assert all(parameter.dtype == torch.float32 for parameter in trained)
    assert policy.causal_lm.model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16
    batch = a_batch()
    before = policy.logp(batch).detach()
    assert (before - policy.reference_logp(batch)).abs().max() < 0.1
    gradients = torch.autograd.grad(policy.logp(batch).sum(), list(policy.trainable().values()), allow_unused=True)
    assert sum(gradient is not None and bool(gradient.any()) for gradient in gradients) >= 2 + len(layers)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bits_for_all_parameters_are_refused_and_allowed_for_an_adapters_base(tmp_path, dtype):
    tiny_model().save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    with pytest.raises(HeedError, match=f"updates of {dtype} weights round away .--dtype {dtype}.: leave it out"):
        trainer_of(tmp_path, tokenizer=None, dtype=dtype)
    policy = trainer_of(tmp_path, peft_config=lora(), tokenizer=None, dtype=dtype).policy
    assert policy.causal_lm.dtype == getattr(torch, dtype)
    assert all(parameter.dtype == torch.float32 for parameter in policy.trainable().values())


def test_weights_that_are_not_finite_end_the_run_and_are_never_a_checkpoint(tmp_path):
    trainer = tiny_trainer(run=tmp_path / "run", checkpoint_every=1)
    weight = next(iter(trainer.policy.trainable().values()))
    trainer.optimizer.register_step_post_hook(lambda *_: weight.data.mul_(float("inf")))  # as overflow does
    with pytest.raises(RunFailed, match=r"a weight is not finite \(.*lora_.*\): lower --learning-rate.*step-0"):
        trainer.train()
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-0"]
    stored = load_file(tmp_path / "run" / "checkpoints" / "step-0" / "adapter_model.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in stored.values())


def test_critics_that_are_not_finite_are_never_a_checkpoint(tmp_path):
    trainer = tiny_trainer(run=tmp_path / "run", advantage="gae")
    trainer.checkpoint()
    with torch.no_grad():
        trainer.estimator.critics.heads.bias.fill_(float("nan"))
    with pytest.raises(RunFailed, match=r"a weight is not finite \(.*\): lower --learning-rate"):
        trainer.checkpoint()
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-0"]


def loud_model():
    """Its logits are finite in float32 and bfloat16, and beyond the range of float16."""
    model = tiny_model()
    with torch.no_grad():
        model.model.norm.weight.fill_(6e4)
        model.lm_head.weight.mul_(50)
    return model


def test_a_policy_that_overflows_in_float16_is_refused_with_the_dtype_to_take(tmp_path):
    loud_model().half().save_pretrained(tmp_path / "loud")
    TOKENIZER.save_pretrained(tmp_path / "loud")
    for dtype in ("auto", "float16"):
        with pytest.raises(
            HeedError, match=r"logits are not finite in float16 .*loud.: .* --dtype to bfloat16 or float32"
        ):
            Policy(tmp_path / "loud", peft_config=lora(), dtype=dtype)
    for dtype in ("bfloat16", "float32"):
        Policy(tmp_path / "loud", peft_config=lora(), dtype=dtype)


@pytest.mark.parametrize("method", ["auto", "continuous", "static", "generate"])
@pytest.mark.parametrize("greedy", [True, False])
@pytest.mark.parametrize("round_", ["the first rollout", "a later one"])
def test_logits_that_overflow_while_sampling_are_one_line(method, greedy, round_):
    policy = Policy(tiny_model().half(), TOKENIZER, lora())  # finite where it is looked at
    sampler = Sampler(policy, Sampling(4), method)

    def draw():
        sampler.roll(PROMPTS[:3], torch.Generator().manual_seed(0), greedy=greedy)

    if round_ == "a later one":
        draw()
    loud = loud_model().state_dict()
    policy.causal_lm.load_state_dict(
        {name: loud[name] for name in ("model.norm.weight", "lm_head.weight")}, strict=False
    )
    with pytest.raises(HeedError, match="the model's logits are not finite in float16"):
        draw()


def test_logits_of_minus_infinity_are_no_overflow():
    policy = Policy(tiny_model(), TOKENIZER, reference=False)
    mute = torch.zeros(len(TOKENIZER))
    mute[5] = -torch.inf
    policy.causal_lm.lm_head.register_forward_hook(lambda _layer, _inputs, logits: logits + mute)
    for method in ("continuous", "static", "generate"):
        drawn = Sampler(policy, Sampling(6), method).roll(PROMPTS[:6], torch.Generator().manual_seed(0))
        assert 5 not in drawn.sequences.ids[:, -drawn.sequences.width :]

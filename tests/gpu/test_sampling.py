"""Sampling on the device: the seed decides, and every loop draws from the model that is trained."""

from typing import get_args, get_type_hints

import pytest
import torch
from scipy.stats import chi2
from tiny_policies import PROMPTS, TOKENIZER, lora, tiny_model
from transformers import LogitsProcessorList

from heed.align.config import AlignConfig
from heed.align.data.conversations import prompt_ids
from heed.align.generation.continuous import ContinuousBatching
from heed.align.models.policy import Policy
from heed.align.rollouts import Sampler, Sampling
from heed.errors import HeedError

pytestmark = pytest.mark.gpu
METHODS = get_args(get_type_hints(AlignConfig)["sampler"])
ASKED = [PROMPTS[i] for i in (0, 3, 7, 3, 9, 1)]


def policy_on(device, dtype=torch.float32):
    """A policy away from its reference, on a model whose next tokens are not all alike."""
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.mul_(10)
    policy = Policy(model.to(device=device, dtype=dtype), TOKENIZER, lora())
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in policy.trainable().items():
            if "lora_B" in name:
                parameter += (0.3 * torch.randn(parameter.shape, generator=generator)).to(device)
    return policy


def sampler_of(policy, method):
    try:
        return Sampler(policy, Sampling(max_tokens=12), method)
    except HeedError as refusal:
        pytest.skip(str(refusal))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_same_seed_draws_the_same_completions_and_another_draws_others(device, method, dtype):
    sampler = sampler_of(policy_on(device, dtype), method)
    drawn = [sampler.roll(ASKED, torch.Generator(device).manual_seed(seed)).completion_ids for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    again = sampler_of(policy_on(device, dtype), method)
    assert again.roll(ASKED, torch.Generator(device).manual_seed(1)).completion_ids == drawn[0]


@pytest.mark.parametrize("method", METHODS)
def test_greedy_completions_are_those_of_each_prompt_by_itself(device, method):
    policy = policy_on(device)
    generator = torch.Generator(device).manual_seed(0)
    drawn = sampler_of(policy, method).roll(ASKED, generator, greedy=True).completion_ids
    alone = sampler_of(policy, "generate")
    assert drawn == [alone.roll([prompt], generator, greedy=True).completion_ids[0] for prompt in ASKED]


@pytest.mark.parametrize("method", ["continuous", "static"])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)], ids=str)
def test_the_log_probabilities_that_are_recorded_are_those_that_are_trained(device, method, dtype, most):
    policy = policy_on(device, dtype)
    rollout = sampler_of(policy, method).roll(ASKED, torch.Generator(device).manual_seed(3))
    assert rollout.logp.device.type == device.type
    with torch.no_grad():
        own = policy.logp(rollout.sequences)
    assert float((own - rollout.logp).abs().sum() / rollout.sequences.mask.sum()) < most
    assert float(rollout.logp.std()) > 0.1


def test_draws_follow_the_softmax_token_by_token_and_in_replays(device):
    """Noise that rows or steps shared, or a replay did not renew, would show in the second token given the first."""
    policy = policy_on(device)
    prompt = torch.tensor(prompt_ids(ASKED[0], TOKENIZER), device=device)
    drawer = ContinuousBatching(policy, 2, 1.0, LogitsProcessorList())
    generator = torch.Generator(device).manual_seed(4)

    def fits(tokens, prefix):
        with torch.no_grad():
            share = policy.model(input_ids=prefix[None]).logits[0, -1].double().softmax(-1).cpu()
        counts = torch.bincount(tokens.cpu(), minlength=len(share)).double()
        common = share * len(tokens) >= 5
        rare = [] if bool(common.all()) else [~common]
        seen = torch.cat([counts[common], *(counts[each].sum()[None] for each in rare)])
        expected = len(tokens) * torch.cat([share[common], *(share[each].sum()[None] for each in rare)])
        assert int(common.sum()) > 3
        assert float(((seen - expected) ** 2 / expected).sum()) < chi2.ppf(1 - 1e-4, len(seen) - 1)

    for _ in range(2):
        tokens, _ = drawer.draw([prompt] * 4000, generator)
        fits(tokens[:, 0], prompt)
        ends = torch.tensor(policy.end_ids, device=device)
        going_on = tokens[~torch.isin(tokens[:, 0], ends)]
        likeliest = going_on[:, 0].mode().values
        fits(going_on[going_on[:, 0] == likeliest, 1], torch.cat([prompt, likeliest[None]]))


def test_each_shape_of_a_decode_step_is_captured_once_and_refills_do_not_change_a_completion(device):
    """In float32: on a GPU by replayed graphs, which would keep old weights or rows if an address changed."""
    policy = policy_on(device)
    prompts = [torch.tensor(prompt_ids(prompt, TOKENIZER), device=device) for prompt in ASKED * 4]
    expected, _ = ContinuousBatching(policy, 12, 1.0, LogitsProcessorList()).draw(prompts, torch.Generator(), True)
    drawer = ContinuousBatching(policy, 12, 1.0, LogitsProcessorList(), slots=5)
    shapes = []
    for _ in range(2):
        tokens, _ = drawer.draw(prompts, torch.Generator(), greedy=True)
        assert torch.equal(tokens, expected)
        shapes.append(len(drawer.graphs))
    assert shapes[0] == shapes[1]
    assert (shapes[0] > 0) == (device.type == "cuda")
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(0.5)
    moved, logp = drawer.draw(prompts, torch.Generator(), greedy=True)
    afresh, own = ContinuousBatching(policy, 12, 1.0, LogitsProcessorList()).draw(prompts, torch.Generator(), True)
    assert not torch.equal(moved, expected)
    assert torch.equal(moved, afresh)
    torch.testing.assert_close(logp, own, rtol=0, atol=1e-3)

"""An adapter merged for a rollout computes the same, and is taken out to the last bit."""

import pytest
import torch
from tiny_policies import a_batch, lora, tiny_model, tiny_policy

from heed.align.generation.merging import MergedAdapter, mergeable
from heed.align.models.policy import POLICY_ADAPTER, Policy
from heed.worlds.apothecary import Apothecary

TOKENIZER = Apothecary(seed=0).tokenizer()


def logits_of(policy) -> torch.Tensor:
    batch = a_batch()
    with torch.no_grad():
        return policy.model(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False).logits


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"target_modules": ["q_proj", "down_proj"]}])
def test_merged_as_apart(settings):
    policy = Policy(tiny_model(), TOKENIZER, lora(**settings))
    with torch.no_grad():
        for name, parameter in policy.trainable().items():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    weights = {name: value.clone() for name, value in policy.model.state_dict().items()}
    with policy.model.disable_adapter():
        base = logits_of(policy)
    apart = logits_of(policy)
    assert float((apart - base).abs().max()) > 0.05
    merge = MergedAdapter(policy.model, POLICY_ADAPTER)
    for _ in range(2):
        with merge.merged():
            torch.testing.assert_close(logits_of(policy), apart, rtol=0, atol=1e-4)
    assert torch.equal(logits_of(policy), apart)
    assert all(torch.equal(value, weights[name]) for name, value in policy.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in policy.trainable().values()) and policy.trainable()


def test_merged_weights_follow_the_adapter_and_stay_where_they_are():
    policy = tiny_policy()
    merge = MergedAdapter(policy.model, POLICY_ADAPTER)
    with merge.merged():
        first = logits_of(policy)
    where = [buffer.data_ptr() for buffer in merge.buffers]
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter += 0.05
    with merge.merged():
        second = logits_of(policy)
    assert [buffer.data_ptr() for buffer in merge.buffers] == where
    assert float((first - second).abs().max()) > 1e-3
    torch.testing.assert_close(second, logits_of(policy), rtol=0, atol=1e-4)


def test_the_base_comes_back_when_the_rollout_fails():
    policy = tiny_policy()
    before = logits_of(policy)
    with pytest.raises(KeyError), MergedAdapter(policy.model, POLICY_ADAPTER).merged():
        raise KeyError("an interrupted rollout")
    assert torch.equal(logits_of(policy), before)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"lora_bias": True, "target_modules": ["q_proj"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "trainable_token_indices": [3]},
    ],
)
def test_other_adapters_are_not_merged(settings):
    model = tiny_model()
    if settings.get("lora_bias"):
        for layer in model.model.layers:
            layer.self_attn.q_proj.bias = torch.nn.Parameter(torch.zeros(layer.self_attn.q_proj.out_features))
    policy = Policy(model, TOKENIZER, lora(**settings))
    assert not mergeable(policy.model, POLICY_ADAPTER)
    with pytest.raises(ValueError, match="plain LoRA"):
        MergedAdapter(policy.model, POLICY_ADAPTER)


def test_a_whole_model_has_nothing_to_merge():
    assert not mergeable(tiny_policy(adapter=False).model, POLICY_ADAPTER)

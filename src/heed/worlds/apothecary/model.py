"""A tokenizer of whole words and a Mistral of half a million parameters, both made on the spot."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from heed.worlds.apothecary.language import vocabulary

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
LONGEST = 64
"""Positions of the model; a prompt takes at most 7 tokens, a demonstrated reply 13 with its end."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word or mark, ``<s>`` in front as Mistral's own tokenizer puts it, padding on the left.

    >>> tokenizer = make_tokenizer()
    >>> tokenizer.decode(tokenizer("mint 1.").input_ids)
    '<s> mint 1 .'
    """
    index = {word: number for number, word in enumerate((*SPECIAL, *vocabulary()))}
    core = Tokenizer(models.WordLevel(index, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", index["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=LONGEST,
        clean_up_tokenization_spaces=False,
    )


def make_model(seed: int, hidden: int = 128, layers: int = 3) -> MistralForCausalLM:
    """A randomly initialised model for `make_tokenizer`'s words; the global random state is left as it was.

    Args:
        seed: the same seed draws the same weights.
        hidden: width, a multiple of 32 (heads of 32, two queries to a key as in Mistral).
        layers: depth; the default has 0.5 million parameters.
    """
    config = MistralConfig(
        vocab_size=len(SPECIAL) + len(vocabulary()),
        hidden_size=hidden,
        intermediate_size=hidden * 5 // 2,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=max(1, hidden // 64),
        max_position_embeddings=LONGEST,
        sliding_window=None,
        tie_word_embeddings=False,
        pad_token_id=SPECIAL.index("<pad>"),
        bos_token_id=SPECIAL.index("<s>"),
        eos_token_id=SPECIAL.index("</s>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MistralForCausalLM(config)

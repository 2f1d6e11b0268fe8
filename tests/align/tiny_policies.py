"""Tiny policies over the apothecary's words, made on the spot, and batches to try them on."""

import torch
from peft import LoraConfig
from transformers import PreTrainedModel

from heed.align.models.policy import Policy
from heed.align.models.sequences import Sequences
from heed.worlds.apothecary import Apothecary

WORLD = Apothecary(seed=0)
TOKENIZER = WORLD.tokenizer()
PROMPTS = WORLD.prompts
EOS, PAD = TOKENIZER.eos_token_id, TOKENIZER.pad_token_id


def tiny_model(seed: int = 0) -> PreTrainedModel:
    return WORLD.model(seed, hidden=32, layers=2)


def lora(**settings) -> LoraConfig:
    return LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings})


def tiny_policy(adapter: bool = True, moved: float = 0.3, dtype=torch.float32, **settings) -> Policy:
    """A policy that has already left its reference: with ``moved`` = 0 it is still there."""
    policy = Policy(tiny_model().to(dtype), TOKENIZER, lora(**settings) if adapter else None)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in policy.trainable().items():
            if adapter and dtype == torch.float64:
                parameter.data = parameter.data.double()
            if moved and (not adapter or "lora_B" in name):
                parameter += moved * torch.randn(parameter.shape, generator=generator).to(dtype) / 10 ** (not adapter)
    return policy


def a_batch(size: int = 5, tokens: int = 6, seed: int = 1) -> Sequences:
    """Prompts of several lengths padded left, completions of several lengths padded right."""
    generator = torch.Generator().manual_seed(seed)
    prompt = 5
    ids = torch.randint(4, len(TOKENIZER), (size, prompt + tokens), generator=generator)
    attention, mask = torch.ones_like(ids), torch.ones(size, tokens, dtype=torch.long)
    for b in range(size):
        attention[b, : b % 4] = 0
        mask[b, tokens - b % 3 :] = 0
    attention[:, prompt:] = mask
    ids = torch.where(attention.bool(), ids, PAD)
    return Sequences(ids, attention, mask)

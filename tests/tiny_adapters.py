"""A tiny model with adapters of random factors, and what they change."""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from heed.compare.picking import FrontPoint, Policies


def save_base(folder, dtype=torch.float32, **settings):
    """Save a model that nothing was trained on."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 20} | settings
    LlamaForCausalLM(LlamaConfig(num_attention_heads=2, num_key_value_heads=1, **sizes)).to(dtype).save_pretrained(
        folder
    )
    return folder


def loaded(folder):
    """A saved model, in the dtype in which it was saved."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto")


def adapter(base, folder, seed, **settings):
    """Save an adapter with random factors."""
    torch.manual_seed(seed)
    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]} | settings)
    model = get_peft_model(loaded(base).float(), config)
    model.peft_config["default"].base_model_name_or_path = str(base)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


def change(base, folder):
    """What an adapter changes each weight of the base by, as peft merges it."""
    before = loaded(base).state_dict()
    after = PeftModel.from_pretrained(loaded(base), folder).merge_and_unload().state_dict()
    return {name: after[name] - before[name] for name in before}


def policies(points, method="pgapo", version=""):
    """Points as those of a front."""
    return Policies(("help", "harmless"), method, 0, tuple(points), version)


def between(folders):
    """Adapters as the two ends of a front."""
    ends = ((0.0, 1.0), (1.0, 0.0))
    return [FrontPoint(end, (1.0, 2.0), folder) for end, folder in zip(ends, folders, strict=True)]

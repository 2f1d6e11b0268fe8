"""TRL's trainer and heed's on one tiny model, by plain gradient descent, so that an update shows the gradient."""

import copy
import warnings
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import LlamaConfig, LlamaForCausalLM
from trl import GRPOConfig, GRPOTrainer

from heed.trl import BalancedGRPOTrainer
from heed.worlds.apothecary.world import Apothecary

PROMPTS = ["cough and fever ?", "rash and gout ?", "fever and colic ?", "gout and cough ?"]


@pytest.fixture(scope="session")
def tokenizer():
    found = Apothecary().tokenizer()
    found.padding_side = "left"
    return found


@pytest.fixture(scope="session")
def base(tokenizer):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, **heads, **ids)).eval()


@pytest.fixture
def trained(base, tokenizer, tmp_path):
    """Make a trainer, with rewards and changes of its config, and train it, unless it takes no steps."""

    def train(rewards, balanced=True, steps=2, resume=None, adapter=True, folder="run", columns=None, **changes):
        own = {name: changes.pop(name) for name in list(changes) if name.startswith("weighting")}
        settings = {
            "output_dir": str(tmp_path / folder), "max_steps": steps, "per_device_train_batch_size": 8,
            "num_generations": 4, "max_completion_length": 12, "learning_rate": 0.5, "optim": "sgd",
            "max_grad_norm": 0.0, "lr_scheduler_type": "constant", "report_to": "none", "use_cpu": True, "bf16": False,
            "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1,
        } | changes  # fmt: skip
        data = Dataset.from_dict({"prompt": PROMPTS * 4} | {n: v * 4 for n, v in (columns or {}).items()})
        lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], lora_dropout=0.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TRL's own, of a model without a generation config and the like
            trainer = (BalancedGRPOTrainer if balanced else GRPOTrainer)(
                copy.deepcopy(base), rewards, args=GRPOConfig(**settings), train_dataset=data,
                processing_class=tokenizer, peft_config=lora if adapter else None, **own,
            )  # fmt: skip
            if steps:
                trainer.train(resume_from_checkpoint=None if resume is None else str(Path(tmp_path) / resume))
        return trainer

    return train


@pytest.fixture
def weights_of():
    """All that is trained, as one vector."""
    return lambda trainer: torch.cat([p.detach().flatten() for p in trainer.model.parameters() if p.requires_grad])

"""What each of two processes does under torchrun; test_two_ranks.py looks at their results."""

import copy
import os
import sys
import warnings
from pathlib import Path

import torch
from datasets import Dataset
from reward_functions import length, sage
from transformers import LlamaConfig, LlamaForCausalLM
from trl import GRPOConfig, GRPOTrainer

from heed.balance import Linear
from heed.trl import BalancedGRPOTrainer
from heed.worlds.apothecary.world import Apothecary

RANK = int(os.environ.get("RANK", "0"))


def sparse(completions, **_):
    """Tells completions apart in the first process alone."""
    return [0.0] * len(completions) if RANK else length(completions)


def trained(kind, rewards, folder, **own):
    """All weights before and after two steps, and the last Gram matrix where there is one."""
    tokenizer = Apothecary().tokenizer()
    tokenizer.padding_side = "left"
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    base = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), num_attention_heads=2, **sizes, **ids)).eval()
    settings = {
        "output_dir": str(folder), "max_steps": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2,
        "num_generations": 4, "max_completion_length": 8, "learning_rate": 0.05, "optim": "sgd", "max_grad_norm": 0.0,
        "lr_scheduler_type": "constant", "report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no",
        "disable_tqdm": True,
    }  # fmt: skip
    prompts = ["cough and fever ?", "rash and gout ?", "fever and colic ?", "gout and cough ?"] * 4
    data = Dataset.from_dict({"prompt": prompts})
    trainer = kind(
        copy.deepcopy(base), rewards, args=GRPOConfig(**settings), train_dataset=data, processing_class=tokenizer, **own
    )
    flat = [p.detach().flatten().clone() for p in trainer.accelerator.unwrap_model(trainer.model).parameters()]
    trainer.train()
    after = [p.detach().flatten() for p in trainer.accelerator.unwrap_model(trainer.model).parameters()]
    return {"before": torch.cat(flat), "after": torch.cat(after), "gram": getattr(trainer, "gram", None)}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    out = Path(sys.argv[1])
    torch.save(
        {
            "theirs": trained(GRPOTrainer, [length], out / "theirs"),
            "ours": trained(BalancedGRPOTrainer, [length], out / "ours", weighting=Linear([1.0])),
            "sparse": trained(BalancedGRPOTrainer, [sparse, sage], out / "sparse"),
        },
        out / f"rank-{RANK}.pt",
    )

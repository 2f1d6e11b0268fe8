"""Peak memory, seconds and gradients of the log-probabilities of a large vocabulary: whole, and a few tokens at a time.

python benchmarks/vocabulary.py [--sequences 8] [--tokens 1024] [--vocabulary 152000] [--hidden 896] [--device cpu]

A random Qwen-like model of two thin layers, whose head is all that is large, and a LoRA policy over it. Each way runs
in a process of its own: its peak is the process's beyond what it had before (CPU), or the allocator's (CUDA). With
--whole N the whole way is measured on N of the sequences, and its memory and seconds, which grow with the tokens, are
told for all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from peft import LoraConfig
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from heed.align.models import token_logp
from heed.align.models.policy import Policy
from heed.align.models.sequences import Sequences
from heed.worlds.apothecary import Apothecary


def policy_of(vocabulary: int, hidden: int, device: str) -> Policy:
    """A LoRA policy of two layers; the same weights in every process."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=16,
        tie_word_embeddings=True,
    )
    tokenizer: PreTrainedTokenizerFast = Apothecary(seed=0).tokenizer()
    policy = Policy(Qwen3ForCausalLM(config).to(device), tokenizer, LoraConfig(r=8, target_modules="all-linear"))
    with torch.no_grad():
        for name, parameter in policy.trainable().items():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return policy


def peak(device: str) -> float:
    """Most memory so far, MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def reset(device: str) -> float:
    """Forget the peak; what is held now, MiB."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    Path("/proc/self/clear_refs").write_text("5")
    return peak(device)


def measure(way: str, asked: argparse.Namespace, sequences: int, gradients: Path) -> dict[str, float]:
    """One way's peak memory and seconds for a forward and a backward; its gradients of one sequence are saved."""
    policy = policy_of(asked.vocabulary, asked.hidden, asked.device)
    if way == "whole":
        token_logp.LOGITS_BUDGET = sys.maxsize
    generator = torch.Generator().manual_seed(1)  # drawn row by row: the first are the same however many there are
    rows = [torch.randint(asked.vocabulary, (2, asked.tokens + 1), generator=generator) for _ in range(sequences)]
    ids, others = torch.stack(rows).to(asked.device).unbind(1)
    batch = Sequences(ids, torch.ones_like(ids), torch.ones_like(ids[:, 1:]))
    weight = others[:, 1:] / asked.vocabulary - 0.5

    def step(rows: slice) -> torch.Tensor:
        loss = (policy.logp(batch.rows(rows)) * weight[rows]).mean()
        found = torch.autograd.grad(loss, list(policy.trainable().values()))
        return torch.cat([gradient.flatten() for gradient in found])

    torch.save(step(slice(0, 1)).cpu(), gradients)
    before, started = reset(asked.device), time.perf_counter()
    step(slice(None))
    if asked.device == "cuda":
        torch.cuda.synchronize()
    return {"peak_mib": peak(asked.device) - before, "seconds": time.perf_counter() - started}


def main() -> None:
    """Measure both, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("sequences", 8), ("tokens", 1024), ("vocabulary", 152_000), ("hidden", 896), ("whole", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=Path("vocabulary-out"), help="folder for the gradients")
    parser.add_argument("--way", choices=["whole", "parts"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    few = asked.whole or asked.sequences
    if asked.way:
        sequences = few if asked.way == "whole" else asked.sequences
        print(json.dumps(measure(asked.way, asked, sequences, asked.out / f"{asked.way}.pt")))
        return
    found: dict[str, dict[str, float]] = {}
    for way in ("parts", "whole"):
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        found[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found["whole"] = {name: value * asked.sequences / few for name, value in found["whole"].items()}
    parts, whole = (torch.load(asked.out / f"{way}.pt") for way in ("parts", "whole"))
    print(
        json.dumps(
            {
                **{way: {name: round(value, 2) for name, value in figures.items()} for way, figures in found.items()},
                "whole_measured_on": few,
                "memory_ratio": round(found["parts"]["peak_mib"] / found["whole"]["peak_mib"], 4),
                "seconds_ratio": round(found["parts"]["seconds"] / found["whole"]["seconds"], 3),
                "gradients_relative_error": float((parts - whole).norm() / whole.norm()),
                "shape": {name: getattr(asked, name) for name in ("sequences", "tokens", "vocabulary", "hidden")},
                "device": asked.device,
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()

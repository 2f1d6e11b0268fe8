"""What it costs to keep rewards apart in TRL's own loop: a step of heed's subclass over one of GRPOTrainer, in turn.

python benchmarks/trl_rewards.py [--shape 30m] [--completions 32] [--tokens 32] [--rewards 3] [--repeats 15]
                                  [--beta 0]

Both train the same random model, which they share, on the same prompts with the same reward functions, within TRL's
loop: generation, scoring, gradients and update. Lower is better; 1 is TRL's own.
"""

from __future__ import annotations

import argparse
import random
import tempfile

import torch
from peft import LoraConfig

from heed.align.config import AlignConfig
from heed.bench.options import GROUP
from heed.bench.shapes import LORA_RANK, SHAPES, base_model, never_end, sharing_weights, words_tokenizer
from heed.bench.step import PROMPT_TOKENS, rewards
from heed.bench.timing import Spread, interleaved
from heed.bench.trl_step import TRLStep


def main() -> None:
    """Print both, and their ratio in each round: median, 10% and 90%."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="30m")
    for name, default in (("completions", 32), ("tokens", 32), ("rewards", 3), ("repeats", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--beta", type=float, default=0.0, help="of the KL to the reference, as TRL's default")
    told = parser.parse_args()
    shape, device = SHAPES[told.shape], torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    base = never_end(base_model(shape, device, dtype, 0, context=PROMPT_TOKENS + told.tokens), 0)
    ids = torch.randint(1, shape.vocabulary, (4 * told.completions // GROUP, PROMPT_TOKENS))
    prompts = [" ".join(f"w{token}" for token in row) for row in ids.tolist()]
    config = AlignConfig(
        steps=1_000_000,
        prompts_per_step=told.completions // GROUP,
        completions_per_prompt=GROUP,
        max_completion_tokens=told.tokens,
        learning_rate=1e-5,
        kl_beta=told.beta,
    )
    lora = LoraConfig(r=LORA_RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    with tempfile.TemporaryDirectory() as folder:
        steps = {
            name: TRLStep(
                sharing_weights(base),
                words_tokenizer(shape.vocabulary),
                lora,
                prompts,
                rewards(told.rewards, set()),
                config,
                folder,
                balanced=name == "balanced",
            )
            for name in ("trl", "balanced")
        }
        for step in steps.values():
            step.step()
        timed = {name: step.step for name, step in steps.items()}
        rounds = interleaved(timed, dict.fromkeys(timed, told.repeats), random.Random(0), device)
        for step in steps.values():
            step.close()
    for name in timed:
        print(name, Spread.of([each[name] for each in rounds]))
    print("ratio", Spread.of([each["balanced"] / each["trl"] for each in rounds]))


if __name__ == "__main__":
    main()

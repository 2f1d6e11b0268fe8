"""What an engineer brings: a model folder, a judge's folder, prompts and a reward module; made tiny on the spot."""

from pathlib import Path

from transformers import AutoModelForSequenceClassification, MistralConfig

from heed.worlds.apothecary import Apothecary

WORLD = Apothecary(seed=0)
FLAGS = [
    *("--steps", "2", "--prompts-per-step", "2", "--completions-per-prompt", "2", "--micro-batch", "0"),
    *("--max-completion-tokens", "5", "--eval-prompts", "2", "--eval-completions", "1", "--eval-every", "0"),
    *("--checkpoint-every", "1", "--lora-r", "4", "--lora-alpha", "8", "--cooldown-steps", "0", "--warmup-steps", "0"),
]
REWARDS = """
import math
def brevity(completions, **columns): return [-float(len(c.split())) for c in completions]
def letters(completions, **columns): return [float(len(c)) for c in completions]
def raises(completions, **columns): raise KeyError("dose")
def too_few(completions, **columns): return [1.0]
def nan(completions, **columns): return [0.0] * (len(completions) - 1) + [math.nan]
def inf(completions, **columns): return [math.inf] * len(completions)
def silent(completions, **columns): return [None] * len(completions)
"""


def bring(folder: Path) -> None:
    """Put everything into a folder."""
    model, tokenizer = WORLD.model(0, hidden=32, layers=1), WORLD.tokenizer()
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    config = MistralConfig(**{**model.config.to_dict(), "num_labels": 1, "pad_token_id": tokenizer.pad_token_id})
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder / "judge")
    tokenizer.save_pretrained(folder / "judge")
    (folder / "prompts.jsonl").write_text(
        "".join(f'{{"prompt": "{p}", "id": {i}}}\n' for i, p in enumerate(WORLD.prompts[:6]))
    )
    (folder / "engineers_rewards.py").write_text(REWARDS)

"""What an engineer brings: an own model, own prompts, an own reward function and an own reward model."""

import json
from pathlib import Path

import torch
from transformers import MistralConfig, MistralForSequenceClassification

from heed.cli import main
from heed.worlds.apothecary import Apothecary

WORLD = Apothecary()
CHAT = "{% for m in messages %}{{ m.content }} {% endfor %}{% if add_generation_prompt %}. {% endif %}"
QUICK = [
    *("--steps", "2", "--prompts-per-step", "4", "--completions-per-prompt", "2", "--max-completion-tokens", "6"),
    *("--lora-r", "2", "--micro-batch", "0", "--eval-prompts", "2", "--eval-completions", "1"),
    *("--checkpoint-every", "1"),
]
REWARDS = """
CALLS = []

def brevity(completions, **columns):
    return [-float(len(text(c).split())) for c in completions]

def by_topic(prompts, completions, topic):
    return [1.0 if t == "cough" and "sage" in text(c) else 0.0 for t, c in zip(topic, completions)]

def text(completion):
    return completion if isinstance(completion, str) else completion[0]["content"]

def after(calls, values):
    def score(completions, **columns):
        CALLS.append(len(completions))
        if len(CALLS) <= calls:
            return brevity(completions)
        return values(completions)
    return score

def raising(completions):
    raise RuntimeError("the judge is away")

raises = after(2, raising)
raises_at_once = after(0, raising)
too_few = after(2, lambda c: brevity(c)[:-1])
nan = after(2, lambda c: [*brevity(c)[:-1], float("nan")])
infinite = after(2, lambda c: [*brevity(c)[:-1], float("inf")])
"""
"""The start's evaluation and one round are scored before the later functions go wrong."""


def write_lines(file: Path, rows) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def save_model(folder: Path, chat: bool = False) -> Path:
    with torch.random.fork_rng():
        WORLD.model(3, hidden=32, layers=1).save_pretrained(folder)
    tokenizer = WORLD.tokenizer()
    if chat:
        tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    return folder


THINKING = CHAT + "{% if enable_thinking is defined and not enable_thinking %}sage {% endif %}"
"""A chat template with a variable of its own."""


def save_thinking_model(folder: Path) -> Path:
    """A chat model whose template knows the variable enable_thinking, and ends in "sage " where that is false."""
    tokenizer = WORLD.tokenizer()
    tokenizer.chat_template = THINKING
    tokenizer.save_pretrained(save_model(folder))
    return folder


def save_judge(folder: Path) -> Path:
    tokenizer = WORLD.tokenizer()
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        MistralForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def bring(folder: Path) -> Path:
    """Everything into one folder: model, chat-model, judge, prompts.jsonl, chats.jsonl."""
    save_model(folder / "model")
    save_model(folder / "chat-model", chat=True)
    save_judge(folder / "judge")
    topics = [("cough" if "cough" in prompt else "other", prompt) for prompt in WORLD.prompts[:12]]
    write_lines(folder / "prompts.jsonl", [{"prompt": prompt, "topic": topic} for topic, prompt in topics])
    write_lines(
        folder / "chats.jsonl",
        [{"prompt": [{"role": "user", "content": prompt}], "topic": t} for t, prompt in topics],
    )
    return folder


class CommandLine:
    """Runs commands in this process: exit code, standard output, standard error."""

    def __init__(self, capsys) -> None:
        self.capsys = capsys

    def __call__(self, *arguments) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code or 0
        return code, *self.capsys.readouterr()

    def refused(self, *arguments, code: int = 2) -> str:
        """The one line of a command that must be refused."""
        found, out, err = self(*arguments)
        lines = [line for line in err.splitlines() if line.startswith("heed: error: ")]
        assert (found, out, len(lines)) == (code, "", 1), (found, out, err)
        assert "Traceback" not in err and err.splitlines()[-1] == lines[0]
        return lines[0].removeprefix("heed: error: ")

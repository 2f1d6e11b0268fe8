"""Settings of runs that take a second, and how to compare what they wrote."""

import json
from pathlib import Path

import yaml

from heed.align.run.job import defaults, in_sections
from heed.align.run.train import train
from heed.compare.align_runs import trainer_of
from heed.compare.pool import Progress
from heed.compare.tasks import is_finished, summary_of
from heed.worlds.apothecary import Apothecary

TINY = {
    "steps": 4,
    "learning_rate": 0.03,
    "prompts_per_step": 4,
    "completions_per_prompt": 2,
    "max_completion_tokens": 12,
    "lora_r": 4,
    "lora_alpha": 4,
    "lora_targets": "q_proj,v_proj,lm_head",
    "critic_rank": 2,
    "warmup_steps": 1,
    "cooldown_steps": 1,
    "eval_every": 0,
    "eval_prompts": 6,
    "eval_completions": 1,
    "checkpoint_every": 2,
}
TIMES = ("seconds/", "tokens_per_second")


def save_tiny_model(folder: Path) -> Apothecary:
    """Save a tiny model and its tokenizer as somebody's own; whose words it knows."""
    world = Apothecary(seed=0)
    world.model(0, hidden=32, layers=2).save_pretrained(folder)
    world.tokenizer().save_pretrained(folder)
    return world


def tiny_settings(**changes):
    """All settings of a tiny run on the apothecary with gold rewards."""
    return in_sections(defaults("apothecary", "paper") | {"world": "apothecary", "rewards": "gold"} | TINY | changes)


def tiny_defaults(world, preset):
    """In place of `heed.align.run.job.defaults`, where a command takes no other settings."""
    return defaults(world, preset) | TINY


def tiny_flags(**changes):
    """The same as flags."""
    settings = {"world": "apothecary", "rewards": "gold"} | TINY | changes
    return [text for name, value in settings.items() for text in (f"--{name}", str(value))]


def metrics(run: Path):
    """The lines of ``metrics.jsonl`` but for the times."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith(TIMES)} for line in found]


def contents(folder: Path):
    """Bytes and time of change of every file."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def run_all_here(tasks, workers, on_progress=None, on_finished=None):
    """What the pool does, without its processes, which take seconds to start."""
    for done, task in enumerate(tasks, 1):
        if not is_finished(task):
            train(trainer_of(task))
        if on_finished is not None:
            on_finished(task, summary_of(task))
        if on_progress is not None:
            on_progress(Progress(done, len(tasks), done, len(tasks), task.label))
    return [summary_of(task) for task in tasks]


def without_sections(config: Path):
    """Write a run's ``config.yaml`` as the version before the sections did: every method's settings, all in one row."""
    settings = yaml.safe_load(config.read_text())
    old = {"p": 1.0, "preference": None, "weights": None, "ideal": None, "nadir": None}
    old |= {"mu": 0.03, "share_floor": 0.15, "settle": 20}
    own = {name: value for name, value in settings.pop("weighting").items() if name in old}
    config.write_text(yaml.safe_dump(settings | old | own, sort_keys=False))

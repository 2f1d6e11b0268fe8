"""Trainers of tiny policies with rewards that can be computed by hand."""

from pathlib import Path

from tiny_policies import PROMPTS, TOKENIZER, lora, tiny_model

from heed.align.conditioning.tags import write_tag
from heed.align.config import AlignConfig
from heed.align.objectives.reward_functions import RewardFunction
from heed.align.trainer import AlignTrainer
from heed.runs.folder import RunFolder

QUICK = {
    "steps": 2,
    "prompts_per_step": 4,
    "completions_per_prompt": 2,
    "micro_batch": 0,
    "max_completion_tokens": 6,
    "learning_rate": 1e-2,
    "advantage": "leave_one_out",
    "surrogate": "plain",
    "kl_beta": 0.1,
    "eval_prompts": 2,
    "eval_completions": 2,
    "eval_every": 0,
}


MIDDLE: dict = {}
HEAD_TOO = {"target_modules": ["q_proj", "v_proj", "down_proj", "lm_head"]}
"""With an adapter on the head even a random base learns fast."""


def vowels(completions, **_):
    return [float(sum(letter in "aeiou" for letter in said)) for said in completions]


def length(completions, **_):
    return [0.1 * len(said) for said in completions]


def late_words(completions, **_):
    return [float(sum(word > "m" for word in said.split())) for said in completions]


def doses(completions, **_):
    return [float(said.count("dose") + said.count("take")) for said in completions]


FUNCTIONS = (vowels, length, late_words, doses)


def tiny_trainer(
    functions=FUNCTIONS[:2],
    weighting=None,
    run: Path | None = None,
    adapter=MIDDLE,
    dataset=None,
    model=None,
    write=write_tag,
    **settings,
) -> AlignTrainer:
    config = AlignConfig(**{**QUICK, **settings})
    folder = None
    if run is not None:
        again = (run / "config.yaml").exists()
        folder = RunFolder.open(run) if again else RunFolder.create(run, {"method": "gapo", "seed": 0}, "align")
    return AlignTrainer(
        model or tiny_model(),
        [f if not callable(f) else RewardFunction(f) for f in functions],
        weighting,
        dataset or [{"prompt": prompt, "number": i} for i, prompt in enumerate(PROMPTS[:10])],
        config,
        tokenizer=TOKENIZER,
        peft_config=lora(**adapter) if adapter is not None else None,
        run=folder,
        write=write,
    )

"""Fine-tune a language model to two rewards at once, by GAPO, and save its adapter.

Run it: python examples/align_two_rewards.py                       a tiny model, made on the spot, in a minute
        python examples/align_two_rewards.py MODEL PROMPTS.jsonl   yours: a folder or hub id, and lines {"prompt": ...}
"""

import sys

from peft import LoraConfig

from heed.align import AlignConfig, AlignTrainer, RewardFunction, load_prompts
from heed.balance import GAPO
from heed.worlds.apothecary import Apothecary

HERBS = {"fennel", "mint", "nettle", "sage", "thyme", "willow"}


def brevity(completions: list[str], **columns: object) -> list[float]:  # TRL's signature
    return [-float(len(completion.split())) for completion in completions]


def herbs(completions: list[str], **columns: object) -> list[float | None]:  # None would be: not scored
    return [float(len(HERBS.intersection(completion.split()))) for completion in completions]


if len(sys.argv) > 2:
    model, tokenizer, prompts = sys.argv[1], None, load_prompts(sys.argv[2])
    config = AlignConfig(steps=200)
else:
    world = Apothecary()
    model, tokenizer = world.model(seed=0, hidden=64, layers=2), world.tokenizer()
    prompts = [{"prompt": prompt} for prompt in world.prompts]
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    config = AlignConfig(steps=steps, max_completion_tokens=12, learning_rate=0.01, advantage="leave_one_out")

trainer = AlignTrainer(
    model,
    [RewardFunction(brevity), RewardFunction(herbs)],  # or RewardModel("a/reward-model"), RewardService("http://...")
    GAPO(p=1),
    prompts,
    config,
    tokenizer=tokenizer,
    peft_config=LoraConfig(target_modules="all-linear"),
)
summary = trainer.train()
for name, found in summary["objectives"].items():
    print(f"{name}: {found['start']:.2f} -> {found['proxy']:.2f}")
trainer.policy.save("balanced")  # in peft's format

"""Fine-tune a language model to two rewards at once, by GAPO, and save its adapter.

Run it: python examples/align_two_rewards.py                                          a tiny model, made on the spot
        python examples/align_two_rewards.py --model PATH --prompts FILE --tokens 128   yours, lines {"prompt": ...}
"""

import argparse

from peft import LoraConfig

from heed.align import AlignConfig, AlignTrainer, RewardFunction, load_prompts
from heed.balance import GAPO
from heed.worlds.apothecary import Apothecary

HERBS = {"fennel", "mint", "nettle", "sage", "thyme", "willow"}


def brevity(completions: list[str], **columns: object) -> list[float]:  # TRL's signature
    return [-float(len(completion.split())) for completion in completions]


def herbs(completions: list[str], **columns: object) -> list[float | None]:  # None would be: not scored
    return [float(len(HERBS.intersection(completion.split()))) for completion in completions]


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--model", help="a folder or hub id; without one a tiny model is made")
parser.add_argument("--prompts", help="JSON lines, parquet or a datasets folder, with a column prompt")
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--tokens", type=int, default=12, help="of the longest completion")
given = parser.parse_args()
world = Apothecary()
tiny = given.model is None

trainer = AlignTrainer(
    world.model(seed=0, hidden=64, layers=2) if tiny else given.model,
    [RewardFunction(brevity), RewardFunction(herbs)],  # or RewardModel("a/reward-model"), RewardService("http://...")
    GAPO(p=1),
    load_prompts(given.prompts) if given.prompts else [{"prompt": prompt} for prompt in world.prompts],
    AlignConfig(steps=given.steps, max_completion_tokens=given.tokens, learning_rate=0.01 if tiny else 5e-5),
    tokenizer=world.tokenizer() if tiny else None,
    peft_config=LoraConfig(target_modules="all-linear"),
)
summary = trainer.train()
for name, values in summary["objectives"].items():
    print(f"{name}: {values['start']:.2f} -> {values['proxy']:.2f}")
trainer.policy.save("balanced")  # in peft's format; examples/deploy.py loads it

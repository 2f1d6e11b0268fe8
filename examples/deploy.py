"""Load what was trained into another process: a policy with its guard, or an aligned language model.

Run it: python examples/deploy.py guard RUN             the folder of a heed guard run
        python examples/deploy.py model FOLDER [BASE]   a checkpoint of heed align; BASE where it does not name its own
"""

import sys
from pathlib import Path

import numpy as np
import torch
import yaml


def guarded(run: Path):
    """The trained policy, and the guard with its models fitted to all that the run has seen (it keeps no weights)."""
    from heed.guard.models import Labels, Transitions
    from heed.guard.run.build import build
    from heed.guard.run.config import job_of

    made = build(job_of(yaml.safe_load((run / "config.yaml").read_text())))
    made.learner.set_parameters(str(run / "learner.zip"))
    with np.load(run / "labels.npz") as stored:
        made.phases.labels.add_stored(Labels(**{name: torch.from_numpy(stored[name]) for name in stored}))
    made.phases.labels.transitions = Transitions.load(run / "transitions.npz")
    made.phases.refit()
    made.guard.observers.clear()  # from here on it looks ahead, and neither learns nor asks
    return made.guard, made.learner


def aligned(folder: Path, base: str | None = None):
    """The model with the adapter merged into it, and its tokenizer: transformers' own, ready to serve."""
    from peft import PeftConfig, PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = base or PeftConfig.from_pretrained(folder).base_model_name_or_path
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(found), folder).merge_and_unload()
    return model, AutoTokenizer.from_pretrained(folder)


if __name__ == "__main__" and sys.argv[1:2] == ["guard"]:
    guard, learner = guarded(Path(sys.argv[2]))
    observation, _ = guard.reset(seed=0)
    for _ in range(int(sys.argv[3]) if len(sys.argv) > 3 else 300):
        action, _ = learner.predict(observation, deterministic=True)
        observation, _, terminated, truncated, info = guard.step(action)
        told = info["guard"]
        print(f"{told['decision']} by {told['source']}, risk {told['risk']:.3f}, {told['latency_ms']:.0f} ms")
        if terminated or truncated:
            break
elif __name__ == "__main__":
    model, tokenizer = aligned(Path(sys.argv[2]), *sys.argv[3:4])
    tokens = model.generate(**tokenizer("cough and fever ?", return_tensors="pt"), max_new_tokens=16, do_sample=False)
    print(tokenizer.decode(tokens[0], skip_special_tokens=True))

"""Load what was trained into another process: a policy with its guard, or an aligned language model.

Run it: python examples/deploy.py guard RUN             the folder of a heed guard run
        python examples/deploy.py model FOLDER [BASE]   a checkpoint of heed align; BASE where it does not name its own
"""

import sys
from pathlib import Path

import yaml


def guarded(run: Path):
    """The guard that a run has saved, in front of the run's environment; it neither learns nor asks."""
    import gymnasium as gym

    import heed.worlds  # noqa: F401 - registers heed's own environments
    from heed.guard import Guard

    settings = yaml.safe_load((run / "config.yaml").read_text())
    return Guard.load(run / "guard", gym.make(settings["env"], **settings["env_kwargs"]))


def aligned(folder: Path, base: str | None = None):
    """The model with the adapter merged into it, and its tokenizer: transformers' own, ready to serve."""
    from peft import PeftConfig, PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = base or PeftConfig.from_pretrained(folder).base_model_name_or_path
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(found), folder).merge_and_unload()
    return model, AutoTokenizer.from_pretrained(folder)


if __name__ == "__main__" and sys.argv[1:2] == ["guard"]:
    guard = guarded(Path(sys.argv[2]))
    observation, _ = guard.reset(seed=0)
    for _ in range(int(sys.argv[3]) if len(sys.argv) > 3 else 300):
        observation, _, terminated, truncated, info = guard.step(guard.policy.predict(observation))
        told = info["guard"]
        print(f"{told['decision']} by {told['source']}, risk {told['risk']:.3f}, {told['latency_ms']:.0f} ms")
        if terminated or truncated:
            break
elif __name__ == "__main__":
    model, tokenizer = aligned(Path(sys.argv[2]), *sys.argv[3:4])
    tokens = model.generate(**tokenizer("cough and fever ?", return_tensors="pt"), max_new_tokens=16, do_sample=False)
    print(tokenizer.decode(tokens[0], skip_special_tokens=True))

"""The Python of README and docs runs: every block under a `<!-- runnable -->` mark, as written but for the sizes."""

import doctest
import json
import re
from pathlib import Path

import pytest
import torch
from socket_person import SocketPerson
from transformers import MistralConfig, MistralForSequenceClassification

from heed.worlds.apothecary import Apothecary

ROOT = Path(__file__).parent.parent
RUNNABLE = re.compile(r"<!-- runnable -->\n```python\n(.*?)```", flags=re.DOTALL)
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, block in enumerate(RUNNABLE.findall(page.read_text()))
]
SMALL = {
    "AlignConfig(steps=200)": (
        "AlignConfig(steps=1, prompts_per_step=2, completions_per_prompt=2, micro_batch=0, max_completion_tokens=8, "
        "eval_prompts=2, eval_completions=1)"
    ),
    "learner.learn(10_000)": "learner.learn(150)",
    "range(1000)": "range(12)",
    "steps=10_000, evaluation_episodes=0": "steps=12, evaluation_episodes=0",
    'print(person.addresses["ada"])': 'SocketPerson(person.addresses["ada"])',
}
"""What a reader's machine has time for and a test has not; in place of a reader at the page, a script."""


@pytest.fixture
def a_users_folder(tmp_path, monkeypatch):
    """A current folder with the models and the prompts that the README speaks of."""
    world = Apothecary()
    base, tokenizer = world.model(seed=0, hidden=32, layers=1), world.tokenizer()
    settings = {**base.config.to_dict(), "num_labels": 1, "architectures": None}
    with torch.random.fork_rng():
        judge = MistralForSequenceClassification(MistralConfig(**settings))
    for model, name in ((base, "base"), (judge, "helpful")):
        model.save_pretrained(tmp_path / "models" / name)
        tokenizer.save_pretrained(tmp_path / "models" / name)
    lines = [json.dumps({"prompt": prompt}) for prompt in world.prompts[:4]]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_and_docs_have_runnable_blocks():
    assert len(BLOCKS) >= 7


@pytest.mark.parametrize("block", BLOCKS)
def test_the_block_runs(block, a_users_folder):
    for size, small in SMALL.items():
        block = block.replace(size, small)
    with torch.random.fork_rng():
        if ">>>" in block:
            example = doctest.DocTestParser().get_doctest(block, {}, "block", None, None)
            assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example).failed == 0
        else:
            exec(compile(block, "block", "exec"), {"__name__": "reader", "SocketPerson": SocketPerson})


def test_links_between_the_pages_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        targets = re.findall(r"(?<!!)\[[^\]]*\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        assert targets or page.name == "CONTRIBUTING.md"
        assert [target for target in targets if not (ROOT / target).exists()] == []

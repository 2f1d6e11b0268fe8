"""README and docs are true: their Python runs, their links lead somewhere, and what they name is there."""

import doctest
import json
import re
import warnings
from pathlib import Path
from pkgutil import resolve_name

import pytest
import torch
import yaml
from PIL import Image
from socket_person import SocketPerson
from transformers import MistralConfig, MistralForSequenceClassification

import heed
from heed.worlds.apothecary import Apothecary

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
RUNNABLE = re.compile(r"<!-- runnable -->\n```python\n(.*?)```", flags=re.DOTALL)
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
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


def anchors(page):
    """What a link may name behind the `#`: the page's headings, as GitHub and MkDocs spell them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_lead_somewhere(page):
    links = re.findall(r"\[[^\]]*\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text())
    places = [(page.parent / target if target else page, anchor) for target, anchor in links]
    assert [place for place, _ in places if not place.exists()] == []
    inside = [(place, anchor) for place, anchor in places if place.suffix == ".md" and not anchor.startswith("only-")]
    assert [(place.name, anchor) for place, anchor in inside if anchor and anchor not in anchors(place)] == []


def is_there(name):
    """Whether a dotted name is found under this very name, and not only as one that has moved."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            resolve_name(name)
        except (ImportError, AttributeError, DeprecationWarning):
            return False
    return True


def test_every_module_and_name_in_the_pages_is_there():
    assert is_there("heed.guard.Guard") and not is_there("heed.guard.Guarded") and not is_there("heed.guard.judges")
    text = "\n".join(page.read_text() for page in PAGES)
    names = sorted(set(re.findall(r"`(heed(?:\.\w+)+)(?:\(.*?\))?`", text)))
    assert len(names) > 40
    assert [name for name in names if not is_there(name)] == []


def test_every_path_in_contributing_and_every_script_in_the_pages_is_there():
    told = re.findall(r"`((?:\w+/)+(?:\w+\.py)?|\w+\.py)`", (ROOT / "CONTRIBUTING.md").read_text())
    places = (ROOT, ROOT / "src" / "heed", ROOT / "src" / "heed" / "balance" / "weightings")
    named = [path for path in told if "NAME" not in path and not path.startswith("test_")]
    assert len(named) > 30
    assert [path for path in named if not any((place / path).exists() for place in places)] == []
    scripts = {name for page in PAGES for name in re.findall(r"examples/\w+\.py", page.read_text())}
    assert {f"examples/{script.name}" for script in (ROOT / "examples").glob("*.py")} <= scripts
    assert [script for script in scripts if not (ROOT / script).exists()] == []


def test_the_readmes_pictures_are_small_and_one_of_them_moves():
    shown = re.findall(r'<img src="([^"]+)" width="\d+%" alt="([^"]+)">', (ROOT / "README.md").read_text())
    pictures = [ROOT / name for name, text in shown if len(text) > 80]  # told in words, too
    assert len(pictures) == len(shown) == 2
    assert sum(picture.stat().st_size for picture in pictures) < 1_000_000
    frames = []
    for picture in pictures:
        with Image.open(picture) as opened:
            frames.append(opened.n_frames if picture.suffix == ".gif" else 1)
    assert max(frames) > 30


def test_a_citation_names_this_version_and_both_papers():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == heed.__version__ and cited["license"] == "Apache-2.0"
    readme = (ROOT / "README.md").read_text()
    for paper in cited["references"]:
        assert f"title = {{{paper['title']}}}" in readme
        assert all(author["family-names"] in readme for author in paper["authors"])
        assert paper["identifiers"][0]["value"].removeprefix("arXiv:") in readme

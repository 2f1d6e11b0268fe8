"""README and docs are true: their Python runs, their links lead somewhere, and what they name is there."""

import dataclasses
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
from heed._moved import MOVED
from heed.align.config import AlignConfig
from heed.align.labelling.config import PairSampling
from heed.align.preferences import RewardTrainingConfig
from heed.align.run.job import TYPES as ALIGN
from heed.align.run.job import AlignJob
from heed.align.run.reward_job import RewardJob
from heed.balance import WEIGHTINGS
from heed.cli.bench import BENCHMARKS
from heed.guard.run.config import TYPES as GUARD
from heed.guard.run.config import GuardJob
from heed.runs.sections import documented, flat, leaves
from heed.worlds.apothecary import Apothecary

ROOT = Path(__file__).parent.parent
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "evidence").glob("*.md")),
)
SECTIONS = (type(section) for section in vars(GuardJob()).values() if dataclasses.is_dataclass(section))
SETTINGS_OF = (AlignJob, AlignConfig, GuardJob, *SECTIONS)
NAMES = {
    ".".join(parts[start:])
    for name in (*ALIGN, *GUARD, *(f"weighting.{name}" for kind in WEIGHTINGS.values() for name in leaves(kind)))
    for parts in [name.split(".")]
    for start in range(len(parts))
}
"""Every setting, by its full name and all its ends."""
NOT_OURS = {
    *("ConFIG", "ExcessMTL", "GradDrop", "MoDo", "SDMGrad", "TrimmedMean"),  # torchjd's, which are not taken
    *("Dict", "Tuple"),  # Gymnasium's spaces, which are refused
    "EvalCallback",  # Stable-Baselines3's
    *("CHANGED", "TYPED", "HEED_TEST_POSTGRES", "constraints", "txt", "CONTRIBUTING", "Tab"),
}
"""What pages name that is not in the package."""
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
    'print(person.addresses["ada"])': 'SocketPerson(person.addresses["ada"], watches=True)',
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
    if any(f"{name}.".startswith(f"{old}.") for old in MOVED):  # once it was imported it warns no more
        return False
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


def inline(text):
    """What stands between backticks in running text."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def commands(text):
    """Lines of shell blocks that call heed, and what running text quotes of them."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)).replace("\\\n", " ")
    typed = [line for line in blocks.splitlines() if re.match(r"\s*heed ", line)]
    return typed + [quoted for quoted in inline(text) if quoted.startswith(("--", "heed "))]


def test_every_flag_in_the_pages_is_a_commands():
    source = "\n".join(file.read_text() for file in (ROOT / "src" / "heed" / "cli").rglob("*.py"))
    benches = tuple(each.asked for each in BENCHMARKS.values())
    classes = (PairSampling, RewardJob, RewardTrainingConfig, *benches)
    flags = NAMES | {field.name for each in classes for field in dataclasses.fields(each)}
    flags |= {flag.replace("-", "_") for flag in re.findall(r'"--([\w-]+)"', source)} | {"help"}
    flags |= set(re.findall(r'"(\w+)": Setting\(', source))
    told = {
        flag for page in PAGES for line in commands(page.read_text()) for flag in re.findall(r"--([a-z][\w.-]*)", line)
    }
    assert len(told) > 100
    assert sorted(flag for flag in told if flag.replace("-", "_") not in flags) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_of_code_in_a_page_occurs_in_the_code(page):
    code = [file for file in (ROOT / "src" / "heed").rglob("*") if file.suffix in (".py", ".js", ".html")]
    words = {word for file in code if file.name != "_moved.py" for word in re.findall(r"\w+", file.read_text())}
    whole = (re.fullmatch(r"([A-Za-z_]\w*(?:\.\w+)*)(?:\(.*\))?", quoted) for quoted in inline(page.read_text()))
    named = {part for found in whole if found for part in found[1].split(".")}
    assert sorted(named - words - NOT_OURS) == []


def flat_defaults():
    """Every setting's default, by its full name."""
    weightings = {name: vars(kind()) for name, kind in WEIGHTINGS.items()}
    own = {name: value for settings in weightings.values() for name, value in settings.items()}
    return own | vars(AlignConfig()) | flat(dataclasses.asdict(GuardJob()), GUARD)


def test_every_setting_that_methods_names_is_one_and_has_the_default_that_it_tells():
    text = (ROOT / "docs" / "methods.md").read_text()
    told = " ".join(text for kind in SETTINGS_OF for text in documented(kind)[1].values())
    values = set(re.findall(r"\w+", told)) | {*WEIGHTINGS}
    single = {quoted for quoted in inline(text) if re.fullmatch(r"[a-z][a-z0-9_]*", quoted)}
    assert len(single) > 40
    assert sorted(single - NAMES - values) == []
    defaults = {name.rpartition(".")[2]: value for name, value in flat_defaults().items()}
    numbers = re.findall(r"`-{0,2}([\w-]+)` \((?:\*\*ours\*\*; )?([\d.,]*\d)\b", text)
    assert len(numbers) > 12
    compared = {name: (float(number.replace(",", "")), defaults[name.replace("-", "_")]) for name, number in numbers}
    assert {name: pair for name, pair in compared.items() if pair[0] != pair[1]} == {}


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

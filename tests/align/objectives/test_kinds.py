"""A new kind of objective says in its own file how the command line names it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from heed.align.objectives import kinds
from heed.align.objectives.base import Objective, ObjectiveSpec
from heed.align.objectives.kinds import COMMON_KEYS, ObjectiveKind, ObjectiveText, kind_of, register_objective_kind
from heed.align.objectives.spec import parse_objective
from heed.errors import HeedError

ONE_FILE = """
import torch

from heed.align.objectives.base import Objective, ObjectiveSpec
from heed.align.objectives.kinds import ObjectiveKind, register_objective_kind


class Counts(Objective):
    def __init__(self, word, name=None, **options):
        self.word, self.specs = word, (ObjectiveSpec(name or word, **options),)

    def score(self, prompts, completions, columns):
        return torch.tensor([[float(completion.count(self.word))] for completion in completions])


register_objective_kind(
    ObjectiveKind(
        "count://WORD",
        lambda target: target.startswith("count://"),
        lambda text: Counts(text.target.removeprefix("count://"), text.name, **text.options()),
    )
)
"""


class Constant(Objective):
    def __init__(self, value, name):
        self.value, self.specs = value, (ObjectiveSpec(name or "constant"),)

    def score(self, prompts, completions, columns):
        return torch.full((len(completions), 1), self.value)


@pytest.fixture
def constants(monkeypatch):
    """Let texts name constants, in this test alone."""
    monkeypatch.setattr(kinds, "KINDS", dict(kinds.KINDS))
    register_objective_kind(
        ObjectiveKind(
            "const://NUMBER",
            lambda target: target.startswith("const://"),
            lambda text: Constant(float(text.target.removeprefix("const://")), text.name),
        )
    )


def test_a_registered_kind_is_asked_before_reward_models(constants):
    assert parse_objective("half=const://0.5").score(["p"], ["c"], {}).tolist() == [[0.5]]
    assert parse_objective("half=const://0.5").specs[0].name == "half"
    assert kind_of("owner/judge").last and not kind_of("builtins:len").last


def test_options_are_converted_and_others_refused():
    text = ObjectiveText(None, "https://ann:secret@judge.example/x", {"scale": "2", "unit": "words"}, "--objectives")
    assert text.options(COMMON_KEYS) == {"scale": 2.0, "unit": "words"}
    with pytest.raises(HeedError, match=r"'scale' is no option of judge.example/x \(--objectives scale=2\)"):
        text.options({"sign": float})


def test_a_kind_is_one_new_file_of_the_package(tmp_path):
    """In a copy of the package that has the file, and nothing else of it."""
    import heed

    shutil.copytree(Path(heed.__file__).parent, tmp_path / "heed", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "heed" / "align" / "objectives" / "counting.py").write_text(ONE_FILE)
    asks = (
        "from heed.align.objectives.spec import parse_objective\n"
        "made = parse_objective('tea=count://tea,scale=.5')\n"
        "print(made.specs[0].name, made.score(['p'], ['tea and tea'], {}).tolist())"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", asks]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment, timeout=120
    )
    assert done.stdout.strip() == "tea [[2.0]]"

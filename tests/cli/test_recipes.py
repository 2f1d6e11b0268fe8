"""Every file in recipes/ is one that `heed align` takes, and says of each value why it is so."""

from pathlib import Path

import pytest
import yaml

from heed.align.run.job import check_source, split_settings
from heed.balance.methods.gapo import PGAPOConfig
from heed.cli.settings import AlignCommand

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
EXPERIMENT = next(file for file in RECIPES if file.stem == "gapo-mistral-7b")
PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()


def settings(*arguments):
    return AlignCommand("align", "Align.").settings([str(argument) for argument in arguments])[1]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_is_read_whole_and_its_settings_can_be(file):
    told = yaml.safe_load(file.read_text())
    job, config = split_settings(settings(file))
    check_source(job)
    job.build_weighting(["helpful", "harmless"])
    held = {**vars(job), **vars(config)}
    own = told.pop("weighting", {})
    told.pop("preset")
    assert {name: held[name] for name in told} == told
    assert {name: getattr(job.weighting, name) for name in own} == own


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_says_why_beside_every_setting_and_has_its_row_on_the_page(file):
    lines = file.read_text().splitlines()
    assert [line for line in lines if line[:1].isalpha() and " # " not in line] == []
    assert f"recipes/{file.name}" in PAGE


def test_flags_go_over_a_recipe(tmp_path):
    over = settings(EXPERIMENT, "--p", "2", "--steps", "3")
    assert (over["weighting"], over["steps"], over["scope"]) == ({"p": 2.0}, 3, "last_layer")


def test_the_paper_s_points_of_pgapo_are_the_same_recipe_with_another_method():
    job, _ = split_settings(settings(EXPERIMENT, "--method", "pgapo", "--preference", ".2,.8"))
    assert job.weighting == PGAPOConfig([0.2, 0.8])

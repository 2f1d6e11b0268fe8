"""Flags over YAML over a preset over a world's settings over the defaults, and the help that shows what holds."""

import dataclasses
import re

import pytest

from heed.align.config import AlignConfig
from heed.align.run.job import AlignJob, defaults
from heed.cli.command import Command, out_folder
from heed.cli.settings import GROUPS, QUICK, SETTINGS, AlignCommand
from heed.errors import HeedError


def settings(*arguments, **kinds):
    return AlignCommand("align", "Align.", **kinds).settings(arguments)


def help_of(capsys, *arguments, **kinds):
    with pytest.raises(SystemExit) as ended:
        settings(*arguments, **kinds)
    assert ended.value.code == 0
    return " ".join(capsys.readouterr().out.split()).split("positional arguments:")[1]


def shown_default(text, flag):
    return re.search(rf"--{flag} .*?default: ([^)]*)\)", text)[1]


def test_each_layer_goes_over_the_one_below(tmp_path):
    (tmp_path / "a.yaml").write_text("preset: modern\nworld: apothecary\nsteps: 9\nseed: 4\nrewards: gold\n")
    _, found, asked = settings(str(tmp_path / "a.yaml"), "--seed", "5")
    world = defaults("apothecary", "modern")
    assert (found["steps"], found["seed"], found["rewards"]) == (9, 5, "gold")
    assert (found["advantage"], found["lora_r"]) == ("group", world["lora_r"])
    assert found["temperature"] == AlignConfig().temperature
    assert {"steps", "seed", "rewards", "world", "advantage"} <= set(asked) and "temperature" not in asked


def test_options_of_the_command_may_stand_in_the_file_too(tmp_path):
    (tmp_path / "a.yaml").write_text("out: there\nquick: true\nsteps: 3\n")
    parsed, found, _ = settings(str(tmp_path / "a.yaml"), "--preset", "modern")
    assert (parsed.out, parsed.quick, parsed.preset) == ("there", True, "modern")
    assert found["steps"] == 3 and found["eval_every"] == QUICK["eval_every"]  # what is asked for goes over --quick


def test_numbers_of_a_file_are_numbers_however_they_are_written(tmp_path):
    (tmp_path / "a.yaml").write_text("learning_rate: 1e-3\npreference: .7,.3\nideal: [1, 2]\nworld_objectives: a,b\n")
    _, found, _ = settings(str(tmp_path / "a.yaml"))
    assert (found["learning_rate"], found["preference"], found["ideal"]) == (1e-3, [0.7, 0.3], [1.0, 2.0])
    assert found["world_objectives"] == ["a", "b"]


def test_lists_are_written_with_commas_and_dashes_may_stand_for_underscores():
    flags = ["--preference", ".7,.3", "--nadir=-1,-2.5", "--world-objectives", "help,price", "--learning-rate", "1e-4"]
    _, found, _ = settings(*flags, "--objectives", "a=m:f,sign=-1", "b")
    assert (found["preference"], found["nadir"]) == ([0.7, 0.3], [-1.0, -2.5])
    assert (found["world_objectives"], found["learning_rate"]) == (["help", "price"], 1e-4)
    assert found["objectives"] == ["a=m:f,sign=-1", "b"]


def test_a_command_has_a_world_of_its_own_unless_a_model_is_named():
    kinds = {"world": "apothecary", "changes": {"rewards": "gold"}}
    assert settings(**kinds)[1] == defaults("apothecary", "paper") | {"world": "apothecary", "rewards": "gold"}
    assert settings("--model", "m", **kinds)[1]["world"] is None


def test_a_preset_that_is_asked_for_goes_over_the_world_s_settings_and_the_command_s():
    kinds = {"world": "apothecary", "changes": {"advantage": "leave_one_out", "steps": 200}}
    _, found, asked = settings("--preset", "modern", **kinds)
    told = {"advantage": "group", "gram": "unbiased", "micro_batch": 8, "gram_memory": 0.9}
    assert {name: found[name] for name in told} == told and {name: asked[name] for name in told} == told
    assert (found["steps"], found["minibatches"]) == (200, defaults("apothecary", "paper")["minibatches"])


def test_quick_is_a_wish_for_the_settings_that_it_stands_for():
    _, found, asked = settings("--quick", "--steps", "3")
    assert asked == QUICK | {"steps": 3} and {name: found[name] for name in asked} == asked


def test_resume_and_out_exclude_each_other():
    with pytest.raises(HeedError, match="one of --out and --resume"):
        settings("--resume", "a", "--out", "b")


def test_help_shows_every_setting_once_in_groups_with_the_default_that_holds(capsys):
    text = help_of(capsys, "--help")
    for name in SETTINGS:
        assert len(re.findall(rf" --{name} ", text.split("The defaults are")[0])) == 1, name
    for title in GROUPS:
        assert f"{title}:" in text
    for kind in (AlignJob, AlignConfig):
        for field in dataclasses.fields(kind):
            if field.default is not dataclasses.MISSING and field.default is not None:
                assert shown_default(text, field.name) == str(field.default)
    assert "<function" not in text and "Defaults" not in text
    assert "no world" in text


def test_help_beside_a_world_a_preset_or_a_file_shows_what_holds_then(capsys, tmp_path):
    text = help_of(capsys, "--world", "apothecary", "-h")
    assert shown_default(text, "lora_r") == str(defaults("apothecary", "paper")["lora_r"])
    assert shown_default(text, "world") == "apothecary"
    (tmp_path / "a.yaml").write_text("preset: modern\n")
    text = help_of(capsys, str(tmp_path / "a.yaml"), "--help")
    assert (shown_default(text, "advantage"), shown_default(text, "preset")) == ("group", "modern")


def test_help_of_a_command_with_other_defaults_shows_these(capsys):
    text = help_of(capsys, "--help", world="apothecary", changes={"rewards": "gold"})
    assert (shown_default(text, "rewards"), shown_default(text, "world")) == ("gold", "apothecary")
    assert shown_default(text, "max_completion_tokens") == str(defaults("apothecary", "paper")["max_completion_tokens"])


def test_the_groups_name_settings_that_there_are_and_none_twice():
    named = [name for names in GROUPS.values() for name in names]
    assert set(named) == SETTINGS and len(named) == len(SETTINGS)


def test_a_wrong_value_is_named_with_its_option():
    command = Command("demo", "A demo.")
    command.add("--steps", type=int, default=1, help="rounds")
    with pytest.raises(HeedError, match=r"steps cannot be 'ten' \(heed demo\): see heed demo --help"):
        command.parse(["--steps", "ten"])


def test_a_run_without_a_name_gets_the_first_free_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "align-1").mkdir(parents=True)
    assert str(out_folder(None, "align")) == "runs/align-2"
    assert str(out_folder("there", "align")) == "there"

"""Flags over YAML over a preset over a world's settings over the defaults, and the help that shows what holds."""

import dataclasses
import re
from dataclasses import dataclass

import pytest
import torch
import yaml

from heed.align.config import AlignConfig
from heed.align.run.job import AlignJob, defaults, split_settings
from heed.balance import WEIGHTINGS
from heed.balance.methods.gapo import GAPOConfig
from heed.cli.command import Command, out_folder
from heed.cli.settings import GROUPS, QUICK, SETTINGS, AlignCommand
from heed.errors import HeedError, flag_of


def settings(*arguments, **kinds):
    return AlignCommand("align", "Align.", **kinds).settings(arguments)


def help_of(capsys, *arguments, **kinds):
    with pytest.raises(SystemExit) as ended:
        settings(*arguments, **kinds)
    assert ended.value.code == 0
    return " ".join(capsys.readouterr().out.split()).split("positional arguments:")[1]


def shown_default(text, flag):
    return re.search(rf"{flag_of(flag)} .*?default: ([^)]*)\)", text)[1]


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
    assert (found["learning_rate"], found["weighting"]) == (1e-3, {"preference": [0.7, 0.3], "ideal": [1.0, 2.0]})
    assert found["world_objectives"] == ["a", "b"]


def test_null_unsets_what_a_file_has_set_where_a_setting_may_be_none(tmp_path):
    (tmp_path / "a.yaml").write_text("world: apothecary\njudges: there\nideal: [1, 2]\neval_data: a.jsonl\n")
    flags = ["--judges", "null", "--ideal", "null", "--eval_data=null", "--world", "null", "--model", "m"]
    _, found, asked = settings(str(tmp_path / "a.yaml"), *flags)
    assert [found[name] for name in ("judges", "eval_data", "world", "model")] == [None, None, None, "m"]
    assert found["weighting"] == {"ideal": None} and found["lora_r"] == defaults(None, "paper")["lora_r"]
    assert {"judges", "eval_data", "world"} <= set(asked)


def test_lists_are_written_with_commas_and_dashes_may_stand_for_underscores():
    flags = ["--preference", ".7,.3", "--nadir=-1,-2.5", "--world-objectives", "help,price", "--learning-rate", "1e-4"]
    _, found, _ = settings(*flags, "--objectives", "a=m:f,sign=-1", "b")
    assert found["weighting"] == {"preference": [0.7, 0.3], "nadir": [-1.0, -2.5]}
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
        assert len(re.findall(rf" {flag_of(name)} ", text.split("The defaults are")[0])) == 1, name
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
    assert set(named) == set(SETTINGS) and len(named) == len(SETTINGS)


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


OLD_ALIGN = """\
world: apothecary
rewards: learnt
judges: null
world_objectives:
- help
- harmless
world_seed: 0
model: null
objectives: []
method: gapo
p: 1.0
preference: null
weights: null
ideal: null
nadir: null
mu: 0.03
share_floor: 0.15
settle: 20
lora_r: 64
lora_targets: q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj,lm_head
steps: 4
seed: 3
learning_rate: 0.001
gram: plain
"""
"""Of a run's ``config.yaml``, as the version before the sections wrote it."""


def test_a_file_without_sections_means_what_it_did(tmp_path):
    (tmp_path / "old.yaml").write_text(OLD_ALIGN)
    _, found, _ = settings(str(tmp_path / "old.yaml"))
    assert split_settings(found)[0].weighting == GAPOConfig(p=1.0)
    (tmp_path / "old.yaml").write_text(OLD_ALIGN.replace("p: 1.0", "p: 2.0"))
    _, found, _ = settings(str(tmp_path / "old.yaml"), "--floor", "0.1")
    assert split_settings(found)[0].weighting == GAPOConfig(p=2.0, floor=0.1)
    job, config = split_settings(yaml.safe_load(OLD_ALIGN))  # what a run folder of old is resumed from
    assert (job.weighting, job.world, config.steps, config.seed) == (GAPOConfig(p=1.0), "apothecary", 4, 3)
    with pytest.raises(HeedError, match=r"gapo has no mu .--mu.: take --method tchebycheff"):
        split_settings(yaml.safe_load(OLD_ALIGN) | {"mu": 0.1})


@pytest.mark.parametrize("flag", ["--p", "--weighting.p"])
def test_a_setting_of_the_method_has_a_full_name_and_a_short_one(flag, tmp_path):
    assert settings(flag, "2")[1]["weighting"] == {"p": 2.0}
    for text in ("weighting: {p: 2}", "weighting.p: 2", "p: 2"):
        (tmp_path / "a.yaml").write_text(text)
        assert settings(str(tmp_path / "a.yaml"))[1]["weighting"] == {"p": 2.0}


def test_a_short_name_is_that_of_the_setting_nearest_to_the_root():
    _, found, _ = settings("--seed", "3", "--weighting.seed", "4", "--method", "pcgrad")
    assert (found["seed"], found["weighting"]) == (3, {"seed": 4})


TYPED = {
    **dict.fromkeys(("p", "floor", "c", "norm_eps", "alpha", "ridge", "beta", "eps", "epsilon"), ("0.125", 0.125)),
    **dict.fromkeys(
        ("max_norm", "mu", "share_floor", "average", "power", "agreement", "rate", "proportional", "lean"),
        ("0.125", 0.125),
    ),
    **dict.fromkeys(("n_byzantine", "n_selected", "max_iterations", "iterations", "every", "settle"), ("7", 7)),
    **dict.fromkeys(("index", "seed", "max_iters"), ("7", 7)),
    **dict.fromkeys(("preference", "weights", "ideal", "nadir", "tau"), (".5,.5", [0.5, 0.5])),
    **dict.fromkeys(("unit_gradients", "outer_preference", "keep_scale"), ("true", True)),
    "scale_mode": ("rmse", "rmse"),
    "constraints": ("help>=2", "help>=2"),
    "inner": ("mgda", "mgda"),
    "objective": ("help", "help"),
    "judged": ("help", "help"),
    "preferences": ("7", 7),
    "offline": ("7", 7),
    "through": ("prompt", "prompt"),
    "shared": ("0.25", 0.25),
    "inner_settings": ('{"c": 0.3}', {"c": 0.3}),
}
"""What is typed for a setting of a weighting, and what that means."""


@pytest.mark.parametrize("method", sorted(WEIGHTINGS))
def test_every_setting_of_every_weighting_is_reachable_by_a_flag(method):
    own = [field.name for field in dataclasses.fields(WEIGHTINGS[method])]
    flags = [text for name in own for text in (f"--weighting.{name}", TYPED[name][0])]
    job, _ = split_settings(settings("--method", method, *flags)[1])
    assert dataclasses.asdict(job.weighting) == {name: TYPED[name][1] for name in own}


def test_a_weighting_of_one_s_own_brings_its_flags(tmp_path, monkeypatch):
    (tmp_path / "my_weighting.py").write_text(
        "from dataclasses import dataclass\n"
        "from heed.balance import Linear, WeightingConfig\n\n\n"
        "@dataclass(frozen=True)\n"
        "class First(WeightingConfig):\n"
        '    """All for the first.\n\n    Args:\n        first_share: of the first objective.\n    """\n\n'
        "    first_share: float = 1.0\n\n"
        "    def build(self, objectives):\n"
        "        return Linear([self.first_share] + [0.0] * (objectives.count - 1))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    method = "my_weighting:First"
    for arguments in (["--method", method, "--first-share", "0.5"], ["a.yaml", "--weighting.first_share=0.5"]):
        (tmp_path / "a.yaml").write_text(f"method: {method}\n")
        job, _ = split_settings(settings(*arguments)[1])
        gram = torch.eye(2)
        assert job.build_weighting(("a", "b"))(gram).tolist() == [0.5, 0.0]
    with pytest.raises(HeedError, match="no setting is called 'first_share'"):
        settings("--first-share", "0.5")
    with pytest.raises(HeedError, match=r"heed\.errors:HeedError is no weighting"):
        settings("--method", "heed.errors:HeedError")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("weighting: {q: 2}", "no setting is called 'weighting.q' .*a.yaml.: "),
        ("weighting: 2", "no setting is called 'weighting'|weighting cannot be '2'"),
        ("weighting: {p: two}", "weighting.p cannot be 'two' .*a.yaml.: give a number"),
        ("p: 2\nweighting: {p: 3}", "weighting.p is set twice .*a.yaml.: leave out one"),
        ("stepz: 3", "no setting is called 'stepz' .*a.yaml.: did you mean steps"),
        ("steps: many", "steps cannot be 'many' .*a.yaml.: give a whole number"),
        ("gram: round", "gram cannot be 'round' .*a.yaml.: give plain or unbiased or adam"),
        ("preference: a,b", "'a,b' is not a list of numbers .*a.yaml"),
        ("resume: there", "no setting is called 'resume'"),
    ],
)
def test_a_wrong_line_of_a_file_is_named_with_the_file(tmp_path, text, said):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(HeedError, match=said) as refusal:
        settings(str(tmp_path / "a.yaml"))
    assert "\n" not in str(refusal.value)


@dataclass
class Part:
    """A part.

    Args:
        rate: of the part.
    """

    rate: float = 0.5


@dataclass
class Whole:
    """A whole.

    Args:
        steps: how many.
        first: the one.
        second: the other.
    """

    steps: int = 1
    first: Part = dataclasses.field(default_factory=Part)
    second: Part = dataclasses.field(default_factory=Part)


def test_a_short_name_of_several_settings_is_refused_with_their_full_names(tmp_path, capsys):
    command = Command("demo", "A demo.")
    command.add("config", nargs="?", help="a file")
    command.add_sections(Whole(), "The whole")
    (tmp_path / "a.yaml").write_text("rate: 2")
    for arguments, dashes in ((["--rate", "2"], "--"), ([str(tmp_path / "a.yaml")], "")):
        with pytest.raises(HeedError, match=rf"called 'rate' .*: say {dashes}first\.rate or {dashes}second\.rate"):
            command.asked(arguments)
    assert command.asked(["--first.rate", "2", "--steps", "3"]) == {"first.rate": 2.0, "steps": 3}
    with pytest.raises(SystemExit):
        command.show_help({})
    text = " ".join(capsys.readouterr().out.split())
    assert "first.: the one: --first.rate RATE of the part. (number, default: 0.5)" in text

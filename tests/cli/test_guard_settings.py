"""The settings of heed guard, on the command line and in files: sections, short names, and one-line refusals."""

import pytest

from heed.cli.command import Command
from heed.cli.guard import QUICK, guard_settings
from heed.errors import HeedError
from heed.guard.run.config import TYPES, GuardJob, job_of


def command():
    made = Command("guard", "Guard.")
    made.add("config", nargs="?", help="a file")
    made.add("--out", type=str, default=None, help="the run folder")
    return made


def settings(*arguments):
    return guard_settings(command(), arguments)


@pytest.mark.parametrize("flag", ["--learner", "--learner.learner"])
def test_a_flag_may_be_full_or_short(flag):
    own, asked = settings(flag, "sac", "--planning.horizon=5", "--plan-gamma", "0.9", "--dynamics.updates", "7")
    assert asked == {
        "learner.learner": "sac",
        "planning.horizon": 5,
        "planning.plan_gamma": 0.9,
        "models.dynamics.updates": 7,
    }
    assert own == {"config": None, "out": None}


def test_flags_go_over_a_file_which_may_have_sections_or_none(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "horizon: 9\nlearner: td3\nmodels:\n  eps: 1e-2\n  blockers: {updates: 3}\nout: there\nlabel_keys: [0, 1]\n"
    )
    own, asked = settings(str(tmp_path / "a.yaml"), "--eps", "0.2")
    assert own["out"] == "there"
    job = job_of(QUICK, asked)
    assert (job.planning.horizon, job.learner.learner, job.models.eps, job.models.label_keys) == (9, "td3", 0.2, (0, 1))
    assert (job.models.blockers.updates, job.steps) == (3, QUICK["steps"])


def test_every_setting_has_a_flag_by_its_full_name_that_help_shows_once(capsys):
    made = command()
    guard_settings(made, [])
    with pytest.raises(SystemExit):
        made.show_help({})
    text = capsys.readouterr().out
    shown = [line.split()[0] for line in text.split("positional arguments")[1].splitlines() if line.startswith("  --")]
    assert len(set(shown)) == len(shown) == len(TYPES) + 1  # and --out
    for title in ("learner.:", "phases.:", "planning.:", "models.:", "models.dynamics.:", "models.blockers.:"):
        assert f"\n{title} " in text
    assert "--horizon HORIZON" in text and "default: 20" in text and "--blockers.learning-rate" in text
    assert "default: 0.01" in text  # of the blockers, which are fitted otherwise than any ensemble is by default
    for name in TYPES:
        assert settings(f"--{name}", "{}" if name == "env_kwargs" else _text(name))[1].keys() == {name}


def _text(name):
    """Some text that a setting takes."""
    value = GuardJob()
    for part in name.split("."):
        value = getattr(value, part)
    yes_or_no = ("phases.background", "models.survival")
    choices = dict.fromkeys(yes_or_no, "true") | {
        "learner.learns_from": "both",
        "learner.preference": ".7,.3",
        "models.label_keys": "0,1",
    }
    return choices.get(name, str(value).lower() if isinstance(value, bool) else str(value or 1))


def test_null_unsets_what_a_file_has_set_where_a_setting_may_be_none(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "label_keys: [0, 1]\nstore: a.db\ninputs: state\npreference: [.7, .3]\ngrace: 2\ncatastrophe: mine:far\n"
    )
    flags = ["--label-keys", "null", "--store=null", "--inputs", "null", "--preference=null", "--grace", "null"]
    _, asked = settings(str(tmp_path / "a.yaml"), *flags)
    job = job_of(asked)
    assert (job.models.label_keys, job.store, job.models.inputs, job.learner.preference) == (None, None, None, None)
    assert (job.phases.grace, job.catastrophe) == (None, "mine:far")
    for flag in ("--particles", "--mode", "--block-ends"):
        with pytest.raises(HeedError, match=r"cannot be 'None'"):
            settings(flag, "null")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--horizn", "3"], "no setting is called 'horizn' .--horizn.: did you mean --horizon"),
        (["--updates", "3"], "'updates' .--updates.: say --models.dynamics.updates or --models.blockers.updates"),
        (["--horizon", "far"], "planning.horizon cannot be 'far'"),
        (["--mode", "replac"], "mode cannot be 'replac'"),
        (["--models", "3"], "no setting is called 'models'"),
        (["a.yaml"], "planning.horizon cannot be 'far' .a.yaml.: give a whole number"),
        (["b.yaml"], "no setting is called 'horizn' .b.yaml.: did you mean horizon"),
        (["c.yaml"], "no such config file"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("planning: {horizon: far}")
    (tmp_path / "b.yaml").write_text("horizn: 3")
    with pytest.raises(HeedError, match=said) as refusal:
        settings(*arguments)
    assert "\n" not in str(refusal.value)

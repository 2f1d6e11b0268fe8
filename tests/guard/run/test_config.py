"""A job's settings: in sections and by short names, from files of old, and refused in one line where they are wrong."""

import dataclasses

import pytest
import yaml

from heed.errors import HeedError, flag_of
from heed.guard import phases
from heed.guard.learners.config import LearnerConfig
from heed.guard.models import config as models
from heed.guard.models.calibration import Judged, accept_refit
from heed.guard.models.config import ModelsConfig
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning import config as planning
from heed.guard.planning.config import PlanningConfig
from heed.guard.run import config
from heed.guard.run.build import build
from heed.guard.run.config import TYPES, GuardJob, complete, job_of, settings_of, variant
from heed.guard.run.methods import METHODS
from heed.runs.config import to_yaml
from heed.runs.sections import typed

OLD = """\
env: heed/PointHazard-v0
env_kwargs: {}
method: mbhi
overseer: local
overseer_timeout: 1.0
catastrophe: null
store: null
judgements: null
mode: replace
penalty: 1.0
learner: auto
learns_from: null
block_penalty: -0.2
block_ends: false
balance: none
preference: null
imagined: 0
imagined_horizon: 3
imagined_penalty: -5.0
real_share: 0.5
gradient_steps: 1
rollout_steps: 512
steps: 4000
seed: 3
learning_rate: 0.001
learning_starts: 500
batch_size: 128
entropy: 0.1
gamma: 0.98
hidden: 128
evaluation_episodes: 20
oversight_steps: 3000
refit_every: 1000
refit_on_catastrophe: true
most_judgements: 0
least_blocks: 5
gate: 0.35
ask_above: 1.0
horizon: 20
particles: 4
block_when: no_way_out
release: 0.5
risk: max
grace: null
planner: icem
plan_samples: 64
plan_iterations: 3
plan_particles: 1
plan_horizon: 0
deadline: 0.0
plan_margin: 0.5
plan_gamma: 0.98
termination: auto
members: 5
dynamics_hidden: 200
inputs: null
label_keys: null
threshold: conformal
eps: 0.1
cap: 0.03
range_margin: 0.02
"""
"""A run's whole ``config.yaml``, as the version before the sections wrote it."""

AS_IT_WAS = GuardJob(
    steps=4000,
    seed=3,
    planning=PlanningConfig(horizon=20, block_when="no_way_out", release=0.5),
    models=ModelsConfig(cap=0.03, range_margin=0.02),
)
"""The job that it means, in settings whose defaults have changed since."""


def test_a_file_of_old_means_what_it_did():
    assert job_of(yaml.safe_load(OLD)) == AS_IT_WAS
    changed = OLD.replace("label_keys: null", "label_keys:\n- 0\n- 1").replace("learner: auto", "learner: td3")
    job = job_of(yaml.safe_load(changed.replace("batch_size: 128", "batch_size: 32")))
    assert (job.models.label_keys, job.learner.learner, job.learner.batch_size) == ((0, 1), "td3", 32)
    assert job.models.dynamics == ModelsConfig().dynamics  # which has a batch_size of its own


def test_what_a_run_folder_records_is_the_job_again():
    job = job_of({"horizon": 5, "label_keys": [0, 1], "models.dynamics.updates": 7, "env_kwargs": {"a": {"b": 1}}})
    assert job_of(yaml.safe_load(to_yaml(job))) == job
    assert yaml.safe_load(to_yaml(complete(yaml.safe_load(OLD)))) == yaml.safe_load(to_yaml(AS_IT_WAS))


def test_every_way_to_say_a_setting_means_the_same():
    wanted = GuardJob(
        learner=LearnerConfig(gamma=0.9),
        phases=PhasesConfig(gate=0.5),
        planning=PlanningConfig(horizon=5),
        models=ModelsConfig(members=3, blockers=dataclasses.replace(ModelsConfig().blockers, updates=9)),
    )
    short = {"gamma": 0.9, "gate": 0.5, "horizon": 5, "members": 3, "blockers.updates": 9}
    full = {
        "learner.gamma": 0.9, "phases.gate": 0.5, "planning.horizon": 5, "models.members": 3,
        "models.blockers.updates": 9,
    }  # fmt: skip
    sections = {
        "learner": {"gamma": 0.9}, "phases": {"gate": 0.5}, "planning": {"horizon": 5},
        "models": {"members": 3, "blockers": {"updates": 9}},
    }  # fmt: skip
    assert job_of(short) == job_of(full) == job_of(sections) == wanted
    assert job_of(short, {"planning": {"horizon": 6}}).planning.horizon == 6  # later ones go over earlier ones
    assert job_of({"dynamics.updates": 9}).models.dynamics.updates == 9


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"horizn": 3}, "no setting is called 'horizn' .config.: did you mean horizon"),
        ({"planning": {"horizn": 3}}, "no setting is called 'planning.horizn' .config.: did you mean planning.horizon"),
        ({"models": {"horizon": 3}}, "no setting is called 'models.horizon'"),
        (
            {"updates": 3},
            "called 'updates' .*: say models.dynamics.updates or models.blockers.updates",
        ),
        ({"horizon": "far"}, "planning.horizon cannot be 'far' .config.: give a whole number"),
        ({"horizon": 2.5}, "planning.horizon cannot be '2.5'"),
        ({"refit_on_catastrophe": "yes"}, "cannot be 'yes' .config.: give true or false"),
        ({"mode": "replac"}, "mode cannot be 'replac' .config.: give replace or penalty or block or shadow"),
        ({"label_keys": "all"}, "label_keys cannot be 'all' .config.: give a list, each a whole number or null"),
        ({"env_kwargs": 3}, "env_kwargs cannot be '3' .config.: give a mapping"),
        ({"models": 3}, "no setting is called 'models'"),
        ({"horizon": 3, "planning": {"horizon": 4}}, "planning.horizon is set twice .config.: leave out one"),
    ],
)
def test_what_is_wrong_is_one_line(settings, said):
    with pytest.raises(HeedError, match=said) as refusal:
        job_of(settings)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_changes_settings_that_there_are_and_nothing_else(name):
    changes = METHODS[name].changes
    assert {key: typed(value, TYPES[key], key, name) for key, value in changes.items()} == changes
    planning, models = METHODS[name].configure(PlanningConfig(), ModelsConfig())
    expected = job_of(changes)
    assert (planning, models) == (expected.planning, expected.models)


def test_a_row_of_a_comparison_changes_settings_by_full_or_short_names():
    job = job_of({"eps": 0.2})
    row = variant("hirl:horizon=5:models.members=3:overseer=local,miss=0.05:label_keys=[0]", job)
    assert row == job_of(
        {"eps": 0.2, "method": "hirl", "horizon": 5, "members": 3, "overseer": "local,miss=0.05", "label_keys": [0]}
    )
    assert settings_of({"horizon": 5}) == {"planning.horizon": 5}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *[(name, -1) for name in ("cap", "gate", "horizon", "range_margin", "refit_every", "grace", "most_judgements")],
        *[(name, -1) for name in ("learning_starts", "imagined", "evaluation_episodes", "seed", "least_blocks")],
        *[
            (name, 0)
            for name in ("plan_samples", "plan_iterations", "plan_particles", "particles", "members", "release")
        ],
        *[
            (name, 0)
            for name in ("overseer_timeout", "refit_every", "batch_size", "hidden", "dynamics_hidden", "steps")
        ],
        *[(name, 0) for name in ("gradient_steps", "rollout_steps", "learning_rate", "entropy", "eps", "real_share")],
        *[
            ("cap", 5),
            ("eps", 1.0),
            ("eps", 1.5),
            ("release", 5),
            ("plan_margin", 9),
            ("plan_gamma", 3.0),
            ("gamma", 2.0),
        ],
        *[("block_penalty", 5.0), ("penalty", -1.0), ("deadline", -1), ("ask_above", -1.0), ("horizon", 1_000_000)],
        *[("oversight_steps", -5), ("catastrophe_reward", 1.0), ("members", 1), ("seed", 2**32), ("real_share", 3.0)],
        *[("gate", float("nan")), ("penalty", float("inf")), ("label_keys", ()), ("label_keys", (0, 0))],
        *[("label_keys", (-1,)), ("inputs", "foo"), ("threshold", "foo"), ("planner", "foo"), ("risk", "cvar:2")],
        *[("risk", "worst"), ("block_when", "never")],
    ],
)
def test_what_no_run_could_follow_is_refused_before_anything_is_made(setting, value):
    with pytest.raises(HeedError, match=rf"^[^\n]*\({flag_of(setting)}\b[^\n]*\): (give|take) [^\n]*$"):
        job_of({setting: value}).check()


@pytest.mark.parametrize(
    "settings",
    [
        {"cap": 1.0}, {"cap": 0}, {"gate": 1}, {"oversight_steps": 0}, {"most_judgements": 0}, {"horizon": 0},
        {"grace": 0}, {"deadline": 0}, {"label_keys": (1, 0)}, {"gamma": 1.0}, {"penalty": 0}, {"ask_above": 0},
        {"catastrophe_reward": 0},
    ],
)  # fmt: skip
def test_the_ends_of_what_may_be_are_accepted(settings):
    job_of(settings).check()


def test_names_are_taken_as_the_papers_spell_them():
    job = job_of({"planner": "iCEM", "risk": "CVaR:.2", "method": "HIRL", "learner.learner": "SAC"})
    job.check()
    assert (job.planning.planner, job.planning.risk, job.method, job.learner.learner) == (
        "icem",
        "cvar:.2",
        "hirl",
        "sac",
    )


def test_a_cap_of_one_caps_nothing():
    flags_all = Judged([0.9, 0.8], [0.7, 0.75, 0.95], threshold=0.6)
    accepted = accept_refit(None, flags_all, cap=1.0)
    assert (accepted.accepted, accepted.threshold, accepted.flagged) == (True, 0.6, 1.0)


def test_label_keys_beyond_the_state_and_a_planner_that_cannot_choose_are_refused_before_the_run():
    with pytest.raises(HeedError, match=r"the label keys are \[7\] \(--label-keys\): .* from 0 to 3"):
        build(job_of({"label_keys": (7,)}))
    with pytest.raises(HeedError, match=r"mppi averages actions, which choices cannot be \(--planner\)"):
        build(job_of({"env": "CartPole-v1", "overseer": "rule", "planner": "MPPI"}))
    with pytest.raises(HeedError, match=r"ppo normalises its advantages over a batch of 1 \(--batch-size\)"):
        build(job_of({"learner.learner": "ppo", "batch_size": 1}))


def test_every_number_among_the_settings_has_its_bounds():
    tables = {
        "": config.BOUNDS,
        "baselines.": config.BASELINES_BOUNDS,
        "learner.": config.LEARNER_BOUNDS,
        "phases.": phases.BOUNDS,
    }
    tables |= {"planning.": planning.BOUNDS, "models.": models.BOUNDS}
    bounded = {f"{section}{name}" for section, table in tables.items() for name in table}
    numbers = {name for name, kind in TYPES.items() if kind in (int, float, int | None, float | None)}
    own = ("models.dynamics.", "models.blockers.", "baselines.")  # they check themselves as they are made
    assert {name for name in numbers if not name.startswith(own)} - bounded == set()

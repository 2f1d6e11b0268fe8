"""How far the models can be trusted: equal to a direct computation, on nothing that they were fitted to."""

import copy
import json

import numpy as np
import pytest
import torch
from double_integrator import driven
from guard_worlds import CartEnv, full_ahead

from heed.guard.decisions import Decision, Step
from heed.guard.evaluation import LEAST, dynamics_error, since
from heed.guard.guard import Guard
from heed.guard.labels import LabelCollector
from heed.guard.models.blockers import KnownBlockers
from heed.guard.models.config import FitConfig, ModelsConfig
from heed.guard.models.dynamics import KnownDynamics
from heed.guard.models.models import Models
from heed.guard.models.transitions import Transitions
from heed.guard.models.unseen import folds_of
from heed.guard.phases import Phases
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.config import PlanningConfig
from heed.guard.run.diagnostics import blockers_reliability, diagnosed
from heed.oversight.overseers.base import Verdict
from heed.oversight.overseers.scripted import RuleOverseer

FAST = FitConfig(updates=150, check_every=50)
CONFIG = ModelsConfig(members=1, dynamics_hidden=16, eps=0.2, dynamics=FAST, blockers=FAST)


def joined(*parts):
    transitions = Transitions(2, 1)
    for part in parts:
        transitions.add(*(column.numpy() for column in part.tensors()))
    return transitions


@pytest.fixture(scope="module")
def fitted():
    """Judges whose dynamics were fitted to the first 400 of 640 transitions."""
    models = Models(2, 1, CONFIG)
    seen, later = driven(400, seed=0), driven(240, seed=1)
    models.learnt.fit(seen, FAST, models.generator)
    return models, joined(seen, later), later


def test_the_error_is_that_of_the_steps_after_the_last_fit(fitted):
    models, transitions, later = fitted
    result = dynamics_error(models, transitions, horizon=4)
    rows = [row.numpy() for row in later.tensors()[:3]]
    gone = [
        (start, rows)
        for start in range(len(later) - 3)
        if all((rows[2][start + i] == rows[0][start + i + 1]).all() for i in range(3))
    ]
    squares = np.zeros((4, 2))
    for start, (states, actions, following) in gone:
        at = torch.from_numpy(states[start])[None]
        for t in range(4):
            at = models.learnt.mean(at, torch.from_numpy(actions[start + t])[None])  # of one member
            squares[t] += (at[0].numpy() - following[start + t]) ** 2 / len(gone)
    assert result["steps"] == 4 and result["windows"] == len(gone) and result["transitions"] == 240
    np.testing.assert_allclose(result["error"], np.sqrt(squares), rtol=1e-4)
    windows = np.concatenate(
        [np.concatenate([states[s : s + 4], following[s + 3 : s + 4]]) for s, (states, _, following) in gone]
    )
    np.testing.assert_allclose(result["spread"], windows.std(0, ddof=1), rtol=1e-5)


def test_the_calibration_counts_how_often_the_truth_lies_within(fitted):
    models, transitions, later = fitted
    result = dynamics_error(models, transitions, horizon=4)
    states, actions, following = later.tensors()[:3]
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([models.learnt.step(states[None], actions[None], generator)[0][0] for _ in range(4000)])
    for level, covered in zip(result["levels"], result["coverage"], strict=True):
        low, high = draws.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2]), dim=0)
        expected = ((following >= low) & (following <= high)).float().mean(0)
        assert covered[:2] == pytest.approx(expected.tolist(), abs=0.06)


def test_too_few_steps_after_the_last_fit_tell_nothing(fitted):
    models, transitions, _ = fitted
    judged = joined(driven(400, seed=0), since(transitions, len(transitions) - LEAST + 1))
    assert dynamics_error(models, judged, 4) == (
        f"{LEAST - 1} steps came after the last fit, fewer than {LEAST}; the others it has seen"
    )


def test_where_episodes_are_short_fewer_steps_are_followed(fitted):
    models, transitions, _ = fitted
    short = joined(since(transitions, 240), driven(300, seed=2, length=6))
    models.learnt.fitted_to = len(short) - 300
    try:
        result = dynamics_error(models, short, horizon=20)
    finally:
        models.learnt.fitted_to = 400
    assert result["steps"] == len(result["error"]) == 6 and result["windows"] == 50


def test_what_is_known_or_was_never_fitted_has_no_error():
    never = Models(2, 1, CONFIG)
    assert dynamics_error(never, driven(200, seed=0), 3) == "they were never fitted"
    known = Models(2, 1, CONFIG, known_dynamics=KnownDynamics(lambda s, a: (s, s.sum(-1))))
    assert dynamics_error(known, driven(200, seed=0), 3) == "the dynamics are known, not learnt"


def labelled(episodes=40, length=12, blocks=True):
    """A person blocks where the state is beyond .5, in episodes of random states."""
    draw, collector = np.random.default_rng(0), LabelCollector(2, 1, grace=0)
    for episode in range(episodes):
        for timestep in range(length):
            state, following = draw.uniform(-1, 1, (2, 2)).astype(np.float32)
            blocked = blocks and bool(following[0] > 0.5)
            decision = Decision(0.0, 0.0, "block" if blocked else "allow", "person", verdict=Verdict(blocked))
            one, last = np.zeros(1, np.float32), timestep == length - 1
            collector.add(Step(state, one, one, decision, following, 0.0, last, False, False, {}, episode=episode))
    return collector


def test_the_reliability_is_that_of_labels_as_the_blocker_judges_them_that_has_not_seen_them():
    collector, config = labelled(), ModelsConfig(members=3, inputs="state", eps=0.2, dynamics=FAST, blockers=FAST)
    models = Models(2, 1, config)
    models.fit(collector)
    result, labels = blockers_reliability(models, collector), collector.labels()
    folds = folds_of(labels, 3)
    danger = models.blockers.probability(labels.states).gather(0, folds[None])[0].detach().numpy()
    blocked = labels.blocked.numpy()
    assert result["labels"] == len(blocked) and result["blocks"] == blocked.sum()
    weight = np.where(blocked, float(models.blockers.positive_weight), 1.0)
    place = np.minimum((danger * 10).astype(int), 9)
    distance = 0.0
    for number in range(10):
        inside = place == number
        assert result["count"][number] == inside.sum()
        if inside.any():
            predicted, observed = (np.average(x[inside], weights=weight[inside]) for x in (danger, blocked))
            assert result["predicted"][number] == pytest.approx(predicted, abs=1e-5)
            assert result["observed"][number] == pytest.approx(observed, abs=1e-5)
            distance += abs(predicted - observed) * weight[inside].sum() / weight.sum()
    assert result["gap"] == pytest.approx(distance, abs=1e-5)


def test_labels_that_are_all_alike_say_nothing():
    assert "labels are all alike" in blockers_reliability(Models(2, 1, CONFIG), labelled(blocks=False))


def phases_of(horizon, **changes):
    """A cart whose overseer blocks nothing."""
    guard = Guard(CartEnv(), RuleOverseer(lambda observation, info: False))
    planning = PlanningConfig(horizon=horizon, planner="none", plan_samples=8, particles=1)
    known = KnownBlockers(lambda states: states[..., 0] > 100)
    models = Models.from_config(CONFIG, 2, 1, known_danger=known)
    guard.reset(seed=0)
    return Phases(guard, full_ahead, PhasesConfig(**changes), planning, models)


def drive(phases, steps):
    generator = np.random.default_rng(0)
    for _ in range(steps):
        phases.guard.step(generator.uniform(-0.2, 0.2, 1).astype(np.float32))


def test_the_file_is_plain_data_with_a_reason_for_what_is_missing():
    phases = phases_of(oversight_steps=1000, horizon=0)
    drive(phases, 20)
    result = diagnosed(phases)
    assert json.loads(json.dumps(result, allow_nan=False)) == {
        "dynamics": None, "blockers": None,
        "missing": {"dynamics": "they were never fitted", "blockers": "they were never fitted"},
    }  # fmt: skip


def test_where_a_run_ends_with_a_refit_the_fit_before_it_was_tested_on_the_steps_between_them():
    phases = phases_of(oversight_steps=60, refit_every=80, horizon=3)
    drive(phases, 139)
    assert phases.phase.value == "autonomy" and phases.dynamics_error is None
    before = copy.deepcopy(phases.models)
    drive(phases, 1)
    assert phases.models.learnt.fitted_to == 140
    result = diagnosed(phases)
    assert result["dynamics"] == dynamics_error(before, phases.labels.transitions, 3)
    assert (result["dynamics"]["steps"], result["dynamics"]["windows"], result["dynamics"]["transitions"]) == (
        3,
        78,
        80,
    )
    assert result["missing"] == {"blockers": "what is dangerous is known, not learnt"}


def test_a_row_that_is_not_finite_does_not_spoil_the_error(fitted):
    models, transitions, _ = fitted
    spoilt = joined(transitions)
    spoilt.add([np.nan, 0.0], [0.0], [0.0, 0.0], 0.0)
    assert dynamics_error(models, spoilt, 4) == dynamics_error(models, transitions, 4)

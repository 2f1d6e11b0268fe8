"""Oversight, fit, autonomy, on the cart: in a bare loop, without any learner."""

import copy
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from guard_worlds import WALL, CartEnv, advance, braking, full_ahead

from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.labels import LabelCollector, Labels
from heed.guard.models.blockers import Blockers, KnownBlockers
from heed.guard.models.calibration import RefitDecision, Threshold, accept_refit
from heed.guard.models.dynamics import KnownDynamics
from heed.guard.models.ensemble import FitConfig
from heed.guard.models.models import Models, ModelsConfig, folds_of
from heed.guard.phases import Phase, Phases, PhasesConfig
from heed.oversight.overseers.base import Verdict
from heed.oversight.overseers.scripted import LocalOverseer

FAST = FitConfig(updates=300, check_every=50)
JUDGES = ModelsConfig(
    members=3,
    dynamics_hidden=32,
    label_keys=(0,),
    eps=0.2,
    dynamics=FAST,
    blockers=FAST,
)
CONFIG = PhasesConfig(
    oversight_steps=600, refit_every=10_000, horizon=20, particles=2, plan_samples=16, deadline=60.0, judges=JUDGES
)


class ShortCart(CartEnv):
    """Episodes of 40 steps that begin before the wall, at speeds from which the brake still suffices."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform([-1, -0.5], [0.3, 0.9]).astype(np.float32)
        self.steps = 0
        return self.state, {}

    def step(self, action):
        self.steps += 1
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self.steps >= 40, info


def next_state(env):
    return lambda action: advance(
        torch.from_numpy(env.unwrapped.state), torch.as_tensor(np.asarray(action, np.float32)) / 2
    ).numpy()


def phases_of(config=CONFIG, seed=0, **settings):
    env = ShortCart()
    overseer = LocalOverseer(next_state(env), lambda state: state[0] >= WALL)
    brake = lambda seen: braking(torch.from_numpy(seen)).numpy() * 2  # noqa: E731
    guard = Guard(env, overseer, safe_action=brake)
    return Phases(guard, full_ahead, config, seed=seed, brake=braking, **settings)


def drive(phases, steps, seed=0, ahead=0.6):
    """A driver who mostly goes full ahead; episodes go on from call to call."""
    guard, generator = phases.guard, np.random.default_rng(seed)
    if guard.observation is None:
        guard.reset(seed=seed)
    for _ in range(steps):
        push = 2.0 if generator.random() < ahead else generator.uniform(-2, 2)
        _, _, terminated, truncated, _ = guard.step(np.array([push], np.float32))
        if terminated or truncated:
            guard.reset()
    return phases


@pytest.fixture(scope="module")
def handed_over():
    return drive(drive(phases_of(), 600), 400, seed=1)


def test_the_first_steps_are_overseen_and_the_guard_then_looks_for_itself(handed_over):
    rows = handed_over.log.rows
    assert [row["phase"] for row in rows] == ["oversight"] * 600 + ["autonomy"] * 400
    assert all(row["asked"] for row in rows[:600]) and not any(row["asked"] for row in rows[600:])
    assert handed_over.memory.judgements == 600
    assert all(np.isnan(row["risk"]) for row in rows[:600]) and not any(np.isnan(row["risk"]) for row in rows[600:])
    assert {row["source"] for row in rows[600:]} >= {"policy", "planner"}


def test_looking_ahead_saves_what_a_last_moment_overseer_cannot(handed_over):
    rows = handed_over.log.rows
    overseen = sum(row["catastrophe"] for row in rows[:600])
    alone = sum(row["catastrophe"] for row in rows[600:])
    assert overseen >= 20 and alone <= 2


def test_blocks_come_out_of_need(handed_over):
    """Most of what was blocked would have left the brake too late or nearly so."""
    rows = handed_over.log.rows[600:]
    blocked = [row for row in rows if row["decision"] == "block"]
    assert 0 < len(blocked) < 0.8 * len(rows)


def test_a_catastrophe_that_only_a_person_sees_is_one_of_the_run():
    class Ada:
        name = "ada"

        def judge(self, moment):
            return Verdict(moment.step == 3, catastrophe=moment.step == 3)

        def reset(self, seed):
            """Nothing to forget."""

    phases = phases_of()
    phases.guard.overseer = Ada()
    drive(phases, 6)
    assert [row["catastrophe"] for row in phases.log.rows] == [False, False, False, True, False, False]


def test_too_few_blocks_prolong_the_oversight_and_say_so(caplog):
    with caplog.at_level(logging.INFO, logger="heed"):
        phases = drive(phases_of(replace(CONFIG, oversight_steps=100, judges=replace(JUDGES, eps=0.01))), 125)
    assert phases.phase is Phase.OVERSIGHT and phases.next_fit in (130, 140)
    assert any("cannot promise a miss rate of 0.01" in record.message for record in caplog.records)


def test_the_gate_holds_autonomy_back_until_the_miss_bound_is_met():
    phases = drive(phases_of(replace(CONFIG, gate=0.0)), 640)
    assert phases.phase is Phase.OVERSIGHT and phases.reports and phases.guard.lookout is None


def test_a_spent_budget_ends_the_run_and_never_begins_autonomy():
    config = replace(CONFIG, oversight_steps=20, least_blocks=1000, most_judgements=30)
    with pytest.raises(HeedError, match="judgements are spent"):
        drive(phases_of(config), 200)


def test_a_catastrophe_in_autonomy_refits_at_once():
    phases = drive(phases_of(), 600)
    fits = len(phases.reports)
    assert fits == 1 and phases.phase is Phase.AUTONOMY
    phases.guard.mode = "shadow"  # what the guard says is not done
    while not phases.log.rows[-1]["catastrophe"] or phases.log.rows[-1]["phase"] == "oversight":
        drive(phases, 1, seed=len(phases.log.rows), ahead=1.0)
    assert len(phases.reports) == 2


def test_known_dynamics_and_danger_need_no_fit_and_let_nothing_happen():
    known = KnownDynamics(lambda s, a: (advance(s, a), advance(s, a)[..., 0] - s[..., 0]))
    danger = KnownBlockers(lambda states: states[..., 0] >= WALL)
    config = replace(CONFIG, oversight_steps=1)
    phases = drive(phases_of(config, known_dynamics=known, known_danger=danger), 400)
    rows = phases.log.rows[1:]
    assert [(report.dynamics, report.decision) for report in phases.reports] == [(None, None)]
    assert not any(row["catastrophe"] for row in rows)
    assert len({row["episode"] for row in rows if row["decision"] == "block"}) >= 5


def test_the_overseer_is_asked_in_autonomy_where_members_disagree():
    phases = drive(drive(phases_of(replace(CONFIG, ask_above=0.0)), 600), 30, seed=3)
    assert all(row["asked"] for row in phases.log.rows[600:])
    phases = drive(drive(phases_of(replace(CONFIG, ask_above=0.0, most_judgements=610)), 600), 30, seed=3)
    assert sum(row["asked"] for row in phases.log.rows[600:]) == 10


def test_somebody_must_oversee():
    with pytest.raises(HeedError, match="nobody to learn from"):
        Phases(Guard(ShortCart()), full_ahead, CONFIG)


def test_the_next_state_of_a_blocked_action_is_what_the_dynamics_expects():
    phases = drive(phases_of(), 600)
    labels, judges = phases.memory.labels(), phases.judges
    unknown = labels.next_states.isnan().any(1)
    assert 0 < int(unknown.sum()) < len(unknown)
    inputs = judges.inputs_of(labels)
    truth = advance(labels.states[unknown], labels.actions[unknown])
    torch.testing.assert_close(inputs[unknown], truth, atol=0.05, rtol=0)
    assert torch.equal(inputs[~unknown], labels.next_states[~unknown])


def test_an_unknown_threshold_rule_is_refused():
    with pytest.raises(HeedError, match="sets no threshold"):
        Models(2, 1, ModelsConfig(threshold="half"))
    with pytest.raises(HeedError, match="0 blocks"):
        Models(2, 1, JUDGES).fit(LabelCollector(2, 1))


def test_the_threshold_is_calibrated_on_what_each_blocker_says_of_episodes_that_it_never_saw():
    phases = drive(phases_of(), 600)
    labels, judges = phases.memory.labels(), phases.judges
    folds = folds_of(labels, 3)
    for episode in labels.episodes.unique():  # of 40 steps each
        assert folds[labels.episodes == episode].unique().numel() == 1
    told = judges.blockers.probability(judges.inputs_of(labels))
    torch.testing.assert_close(judges.unseen, told.gather(0, folds[None])[0])
    calibrated = phases.reports[0].calibrated
    assert calibrated.n == int(labels.blocked.sum())
    assert calibrated.value in judges.unseen[labels.blocked].tolist()


def test_stretches_with_blocks_are_dealt_out_evenly_and_a_long_episode_has_several():
    episodes = torch.cat([torch.zeros(250), torch.ones(30), torch.full((30,), 2.0), torch.full((30,), 7.0)]).long()
    blocked = torch.zeros(340, dtype=torch.bool)
    blocked[[10, 150, 151, 240, 270, 330]] = True  # in the first episode's three parts, the second and the last
    nothing = torch.zeros(340, 1)
    labels = Labels(nothing, nothing, nothing, blocked, episodes, blocked)
    folds = folds_of(labels, 5)
    assert folds[blocked].tolist() == [0, 1, 1, 2, 3, 4]
    assert folds_of(labels, 3)[blocked].tolist() == [0, 0, 0, 0, 1, 2]  # three episodes for three members: left whole
    parts = torch.cat([torch.arange(250) // 100, torch.zeros(90)]).long()
    for pair in torch.stack([episodes, parts], 1).unique(dim=0):
        together = (episodes == pair[0]) & (parts == pair[1])
        assert folds[together].unique().numel() == 1


def test_where_a_refit_is_refused_what_came_since_is_unseen_by_the_fit_in_force():
    phases = drive(drive(phases_of(), 600), 40, seed=3)
    judges, known = phases.judges, phases.judges.unseen.clone()
    with pytest.MonkeyPatch.context() as patch:
        refused = RefitDecision(False, judges.threshold, 0.0, 0.0, "refused")
        patch.setattr("heed.guard.models.models.accept_refit", lambda *_, **__: refused)
        report = judges.fit(phases.memory, dynamics=False)
    labels = phases.memory.labels()
    since = judges.blockers.danger_of(judges.inputs_of(labels)[len(known) :])
    assert len(since) >= 30
    torch.testing.assert_close(judges.unseen, torch.cat([known, since]))
    missed = int((judges.unseen[labels.blocked] < judges.threshold).sum())
    assert report.in_force.rank == missed + 1 and report.in_force.n == int(labels.blocked.sum())


def test_one_seed_makes_one_run():
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        phases = drive(drive(phases_of(), 600), 60, seed=1)
        found.append([(r["decision"], r["risk"], r["executed"]) for r in phases.log.rows[600:]])
    assert found[0] == found[1] and any(decision == "block" for decision, _, _ in found[0])


def test_the_budget_ends_oversight():
    phases = drive(phases_of(replace(CONFIG, most_judgements=590)), 600)
    assert phases.handed_over_at == 590 and phases.memory.judgements == 590


def test_a_row_that_is_not_finite_does_not_blind_the_guard():
    phases = drive(phases_of(), 600)
    phases.memory.transitions.add([np.nan, 0.0], [0.0], [0.0, 0.0], 0.0)
    row = phases.memory._rows[5]
    phases.memory._rows.append((row[0] * np.nan, row[1], row[2] * np.inf, True, row[4], True))
    phases._refit()
    assert not phases.guard.faults
    assert bool(torch.isfinite(phases.judges.reach.low).all()) and 0 < phases.judges.threshold < 1
    assert phases.guard.lookout.look(torch.tensor([-1.0, 0.0]), torch.zeros(1)).risk < phases.judges.threshold


def test_a_refit_that_fails_leaves_the_judges_as_they_were():
    phases = drive(phases_of(), 600)
    lookout, threshold = phases.guard.lookout, phases.judges.threshold
    phases.memory._rows = phases.memory._rows[:2]
    phases._refit()
    assert phases.guard.lookout is lookout and phases.judges.threshold == threshold
    assert any("refit failed" in fault for fault in phases.guard.faults)


def test_a_refit_that_fails_halfway_leaves_the_dynamics_and_the_range_as_they_were():
    phases = drive(drive(phases_of(), 600), 60, seed=1)
    judges, eyes = phases.judges, phases.guard.lookout
    learnt, reach, before = judges.dynamics, judges.reach, copy.deepcopy(judges.learnt.state_dict())
    blockers, unseen, told = judges.blockers, judges.unseen, phases.foretold
    phases.memory._rows = [row for row in phases.memory._rows if row[3]]  # blocks enough, and nothing let pass
    phases.memory.transitions.add([50.0, 0.0], [0.0], [50.0, 0.0], 0.0)
    phases._refit()
    assert any("0 other judgements" in fault for fault in phases.guard.faults) and len(phases.reports) == 1
    assert judges.dynamics is learnt and eyes.imagination.dynamics is learnt and phases.guard.lookout is eyes
    after = judges.learnt.state_dict()
    assert all(torch.equal(after[name], kept) for name, kept in before.items())
    assert judges.learnt.fitted_to == 600 and judges.reach is reach and phases.foretold is told
    assert judges.blockers is blockers and judges.unseen is unseen


def test_a_refit_begins_with_the_weights_of_the_fit_in_force():
    """What is fitted is a copy, and with it all that is in force changes at once."""
    phases = drive(phases_of(), 600)
    judges, seen = phases.judges, []
    by_hand, generator = copy.deepcopy(judges.learnt), torch.Generator()
    generator.set_state(judges.generator.get_state())
    by_hand.fit(phases.memory.transitions, judges.config.dynamics, generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "heed.guard.models.models.folds_of", lambda *found: seen.append(judges.learnt) or folds_of(*found)
        )
        before = judges.learnt
        judges.fit(phases.memory)
    assert seen == [before] and judges.learnt is not before
    after = judges.learnt.state_dict()
    assert all(torch.equal(after[name], fitted) for name, fitted in by_hand.state_dict().items())


def test_the_guard_lets_go_and_plans_as_the_configuration_says():
    phases = drive(phases_of(replace(CONFIG, release=0.3, plan_margin=0.7)), 600)
    lookout, planner = phases.guard.lookout, phases.guard.planner
    assert lookout.release == 0.3 and planner.safe == pytest.approx(0.7 * phases.judges.threshold)


def test_a_fit_that_misses_all_that_it_has_not_seen_opens_no_gate(monkeypatch):
    monkeypatch.setattr("heed.guard.models.models.promised", lambda value, scores: Threshold(value))
    phases = drive(phases_of(), 640)
    assert phases.handed_over_at is None and phases.reports
    assert phases.phase is Phase.OVERSIGHT


def test_a_fit_that_could_not_be_made_is_no_fit_in_force(monkeypatch):
    seen = []
    decide = accept_refit
    monkeypatch.setattr("heed.guard.models.models.accept_refit", lambda old, new, **rest: seen.append(old) or decide(
        old, new, **rest))  # fmt: skip
    phases = phases_of(replace(CONFIG, oversight_steps=10_000))
    drive(phases, 600)
    judges, fit = phases.judges, Blockers.fit

    def fails(self, *rest):
        raise HeedError("all judgements of one kind are of one fold")

    monkeypatch.setattr(Blockers, "fit", fails)
    with pytest.raises(HeedError):
        judges.fit(phases.memory)
    monkeypatch.setattr(Blockers, "fit", fit)
    judges.fit(phases.memory, dynamics=False)
    judges.fit(phases.memory, dynamics=False)
    assert seen[0] is None and seen[1] is not None

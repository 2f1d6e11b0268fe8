"""Oversight, fit, autonomy, on the cart: in a bare loop, without any learner."""

import copy
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from cart_phases import CONFIG, MODELS, PLANNING, Run, ShortCart, drive, run_of
from guard_worlds import WALL, Person, advance, full_ahead

from heed.errors import HeedError
from heed.guard.agreement import Agreement
from heed.guard.decision_log import DecisionLog
from heed.guard.decisions import Decision, Step
from heed.guard.guard import Guard
from heed.guard.intervention import AskWhenUnsure, Beside, FailClosed, Lookahead, Overseen, Shadow
from heed.guard.models.blockers import KnownBlockers
from heed.guard.models.dynamics import KnownDynamics
from heed.guard.models.labels import Labels
from heed.guard.models.models import Models
from heed.guard.phases import Phase, Phases
from heed.oversight.overseers.base import Verdict


@pytest.fixture(scope="module")
def handed_over():
    return drive(drive(run_of(), 600), 400, seed=1)


def test_the_first_steps_are_overseen_and_the_guard_then_looks_for_itself(handed_over):
    rows = handed_over.rows
    assert [row["phase"] for row in rows] == ["oversight"] * 600 + ["autonomy"] * 400
    assert all(row["asked"] for row in rows[:600]) and not any(row["asked"] for row in rows[600:])
    assert handed_over.phases.labels.judgements == 600
    assert all(np.isnan(row["risk"]) for row in rows[:600]) and not any(np.isnan(row["risk"]) for row in rows[600:])
    assert {row["source"] for row in rows[600:]} >= {"policy", "planner"}


def test_looking_ahead_saves_what_a_last_moment_overseer_cannot(handed_over):
    rows = handed_over.rows
    overseen = sum(row["catastrophe"] for row in rows[:600])
    alone = sum(row["catastrophe"] for row in rows[600:])
    assert overseen >= 20 and alone <= 2


def test_blocks_come_out_of_need(handed_over):
    """Most of what was blocked would have left the brake too late or nearly so."""
    rows = handed_over.rows[600:]
    blocked = [row for row in rows if row["decision"] == "block"]
    assert 0 < len(blocked) < 0.8 * len(rows)


def test_each_phase_swaps_the_one_intervention():
    run = run_of()
    assert isinstance(run.guard.intervention, FailClosed) and isinstance(run.strategy, Overseen)
    assert isinstance(drive(run, 299).strategy, Overseen) and isinstance(drive(run, 1).strategy, Beside)
    first = drive(run, 299).strategy
    assert isinstance(drive(run, 1).strategy, Lookahead) and run.strategy is not first
    before = run.strategy
    run.phases.refit()
    assert isinstance(run.strategy, Lookahead) and run.strategy is not before
    assert run.strategy.lookout.threshold == run.strategy.planner.threshold == run.phases.models.threshold
    for asks in ({"ask_above": 0.4}, {"audit": 0.01}):
        assert isinstance(drive(run_of(replace(CONFIG, **asks)), 600).strategy, AskWhenUnsure)


@pytest.mark.parametrize(
    ("mode", "sources", "executes_all"),
    [
        ("block", {"policy", "blocker"}, False),
        ("penalty", {"policy", "planner"}, False),
        ("shadow", {"policy", "planner"}, True),
    ],
)
def test_a_mode_says_what_a_block_does(mode, sources, executes_all):
    known = KnownDynamics(lambda s, a: (advance(s, a), advance(s, a)[..., 0] - s[..., 0]))
    danger = KnownBlockers(lambda states: states[..., 0] >= WALL)
    config = replace(CONFIG, oversight_steps=60)
    run = drive(run_of(config, mode=mode, known_dynamics=known, known_danger=danger), 160)
    alone = run.rows[60:]
    assert {row["source"] for row in alone} - {"fallback"} == sources
    blocked = [row for row in run.rows if row["decision"] == "block"]
    assert {row["phase"] for row in blocked} == {"oversight", "autonomy"}
    assert {row["executed"] == row["proposed"] for row in blocked} == {executes_all}


def test_an_unknown_mode_is_refused():
    for mode in ("maybe", "off"):
        with pytest.raises(HeedError, match=f"'{mode}' is no mode"):
            run_of(mode=mode)


def test_a_catastrophe_that_only_a_person_sees_is_one_of_the_run():
    class Ada(Person):
        def judge(self, proposal):
            self.verdict = {"catastrophe": proposal.step == 3}
            return super().judge(proposal)

    run = drive(run_of(overseer=Ada(lambda proposal: proposal.step == 3)), 6)
    assert [row["catastrophe"] for row in run.rows] == [False, False, False, True, False, False]


def test_too_few_blocks_prolong_the_oversight_and_say_so(caplog):
    with caplog.at_level(logging.INFO, logger="heed"):
        run = drive(run_of(replace(CONFIG, oversight_steps=100, least_blocks=50)), 125)
    assert run.phases.phase is Phase.OVERSIGHT and run.phases.next_fit == 130 and not run.phases.reports
    assert any("blocks so far, 50 are the least to learn from" in record.message for record in caplog.records)


def test_the_gate_holds_autonomy_back_until_the_miss_bound_is_met():
    run = drive(run_of(replace(CONFIG, gate=0.0)), 640)
    assert run.phases.phase is Phase.OVERSIGHT and run.phases.reports and isinstance(run.strategy, Beside)


def test_a_spent_budget_ends_the_run_and_never_begins_autonomy():
    config = replace(CONFIG, oversight_steps=20, least_blocks=1000, most_judgements=30)
    with pytest.raises(HeedError, match="judgements are spent"):
        drive(run_of(config), 200)


def test_a_catastrophe_in_autonomy_refits_at_once():
    run = drive(run_of(), 600)
    fits = len(run.phases.reports)
    assert fits == 2 and run.phases.phase is Phase.AUTONOMY
    run.guard.intervention = Shadow(run.guard.intervention)  # what the guard says is not done
    while not run.rows[-1]["catastrophe"] or run.rows[-1]["phase"] == "oversight":
        drive(run, 1, seed=len(run.rows), ahead=1.0)
    assert len(run.phases.reports) == 3


def test_known_dynamics_and_danger_need_no_fit_and_let_nothing_happen():
    known = KnownDynamics(lambda s, a: (advance(s, a), advance(s, a)[..., 0] - s[..., 0]))
    danger = KnownBlockers(lambda states: states[..., 0] >= WALL)
    config = replace(CONFIG, oversight_steps=1)
    run = drive(run_of(config, known_dynamics=known, known_danger=danger), 400)
    rows = run.rows[1:]
    assert {(report.dynamics, report.decision) for report in run.phases.reports} == {(None, None)}
    assert not any(row["catastrophe"] for row in rows)
    assert len({row["episode"] for row in rows if row["decision"] == "block"}) >= 5


def test_the_overseer_is_asked_in_autonomy_where_members_disagree():
    run = drive(drive(run_of(replace(CONFIG, ask_above=0.0)), 600), 30, seed=3)
    assert all(row["asked"] for row in run.rows[600:])
    run = drive(drive(run_of(replace(CONFIG, ask_above=0.0, most_judgements=610)), 600), 30, seed=3)
    assert sum(row["asked"] for row in run.rows[600:]) == 10


def test_somebody_must_oversee():
    with pytest.raises(HeedError, match="nobody to learn from"):
        Phases(Guard(ShortCart()), full_ahead, CONFIG)


def test_one_seed_makes_one_run():
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        run = drive(drive(run_of(), 600), 60, seed=1)
        results.append([(r["decision"], r["risk"], r["executed"]) for r in run.rows[600:]])
    assert results[0] == results[1] and any(decision == "block" for decision, _, _ in results[0])


def test_the_budget_ends_oversight():
    run = drive(run_of(replace(CONFIG, most_judgements=590)), 600)
    assert run.phases.handed_over_at == 590 and run.phases.labels.judgements == 590


def test_a_row_that_is_not_finite_does_not_blind_the_guard():
    run = drive(run_of(), 600)
    phases = run.phases
    phases.labels.transitions.add([np.nan, 0.0], [0.0], [0.0, 0.0], 0.0)
    yes, some = torch.tensor([True]), phases.labels.labels()
    bad = torch.full((1, 2), torch.nan), some.actions[5:6], torch.full((1, 2), torch.inf)
    phases.labels.add_stored(Labels(*bad, yes, some.episodes[5:6], yes, ~yes))
    phases.refit()
    assert not run.guard.faults and len(phases.reports) == 3
    assert -2 < phases.models.reach.low[0] < -1 and 0 < phases.models.threshold < 1
    assert run.strategy.lookout.look(torch.tensor([-1.0, 0.0]), torch.zeros(1)).risk < phases.models.threshold


def test_a_refit_that_fails_leaves_the_models_as_they_were():
    run = drive(run_of(), 600)
    intervention, threshold = run.guard.intervention, run.phases.models.threshold
    run.keep_labels(slice(2))
    run.phases.refit()
    assert run.guard.intervention is intervention and run.phases.models.threshold == threshold
    assert any("refit failed" in fault for fault in run.guard.faults)


def test_a_refit_that_fails_halfway_leaves_the_dynamics_and_the_range_as_they_were():
    run = drive(drive(run_of(), 600), 60, seed=1)
    phases, models, intervention = run.phases, run.phases.models, run.guard.intervention
    learnt, reach, before = models.dynamics, models.reach, copy.deepcopy(models.learnt.state_dict())
    blockers, unseen, error = models.blockers, models.unseen, phases.dynamics_error
    run.keep_labels(phases.labels.labels().blocked)  # blocks enough, and nothing let pass
    phases.labels.transitions.add([50.0, 0.0], [0.0], [50.0, 0.0], 0.0)
    phases.refit()
    assert any("0 other judgements" in fault for fault in run.guard.faults) and len(phases.reports) == 2
    assert models.dynamics is learnt and run.strategy.lookout.imagination.dynamics is learnt
    assert run.guard.intervention is intervention
    after = models.learnt.state_dict()
    assert all(torch.equal(after[name], kept) for name, kept in before.items())
    assert models.learnt.fitted_to == 450 and models.reach is reach and phases.dynamics_error is error
    assert models.blockers is blockers and models.unseen is unseen


def test_the_guard_lets_go_and_plans_as_the_configuration_says():
    run = drive(run_of(planning=replace(PLANNING, release=0.3, plan_margin=0.7)), 600)
    lookout, planner = run.strategy.lookout, run.strategy.planner
    assert lookout.release == 0.3 and planner.safe == pytest.approx(0.7 * run.phases.models.threshold)


def judged(blocked, beside, episode=0, timestep=0, terminated=False, catastrophe=False, because=""):
    """A step that a person judged, and what the guard beside them would have decided."""
    verdict = Verdict(blocked)
    choice = "block" if blocked else "allow"
    decision = Decision(0, 0, choice, "policy", verdict=verdict, beside=beside, because=because)
    state, action = np.zeros(2, np.float32), np.zeros(1, np.float32)
    parts = (state, action, action, decision, state, 0.0, terminated, False, catastrophe, {})
    return Step(*parts, episode=episode, timestep=timestep)


def test_oversight_begins_again_where_audits_show_misses_and_ends_where_guard_and_overseer_agree(caplog):
    run = drive(run_of(replace(CONFIG, audit=0.01)), 600)
    phases = run.phases
    assert phases.phase is Phase.AUTONOMY and phases.agreement.blocks == 0
    for episode in range(3):  # .05 ** (1 / 3) = .37 are missed at least, with 95% confidence
        assert phases.phase is Phase.AUTONOMY
        phases(judged(True, "allow", episode=10_000 + episode))
    assert phases.phase is Phase.OVERSIGHT and phases.handed_back == 1 and isinstance(run.strategy, Beside)
    assert phases.agreement.refuted and not phases.models.met  # it is not forgiven for want of evidence
    assert any("the guard missed what the overseer blocked" in record.message for record in caplog.records)
    drive(run, 400, seed=4)
    assert phases.phase is Phase.AUTONOMY and phases.handed_over_at == 600


def test_a_guard_that_disagrees_goes_on_being_watched_and_one_of_which_too_little_is_known_takes_over(caplog):
    caplog.set_level(logging.INFO, logger="heed")
    phases = drive(run_of(replace(CONFIG, gate=0.01)), 600).phases
    assert phases.phase is Phase.OVERSIGHT  # so small a share takes 300 blocks to show
    phases.agreement = Agreement(20)
    phases.next_fit = 900
    for n in range(40):
        phases.agreement.add(judged(n % 2 == 0, "allow", episode=n))
    phases.models.met = {(0, 10_000 + n, 0): [0.9] for n in range(40)}
    drive(Run(phases, DecisionLog()), 330)
    assert phases.phase is Phase.OVERSIGHT and phases.steps > 900  # all blocks were missed
    stale = {(0, 10_000 + n, 0) for n in range(40)}  # what a refuted guard saw is no measure for the next
    assert not phases.models.met.keys() & stale
    assert any("disagrees with the overseer: misses 20" in record.message for record in caplog.records)
    assert phases.agreement.misses < 5  # another fit is counted anew
    phases = drive(run_of(replace(CONFIG, gate=0.01)), 899).phases
    assert phases.phase is Phase.OVERSIGHT and phases.agreement.misses == 0
    drive(Run(phases, DecisionLog()), 61)
    assert phases.phase is Phase.AUTONOMY and phases.handed_over_at == 900


@pytest.mark.parametrize(("needless", "passes", "after"), [(13, 174, Phase.OVERSIGHT), (0, 400, Phase.AUTONOMY)])
def test_half_as_long_again_hands_over_only_where_needless_blocks_are_known_to_be_few(needless, passes, after):
    config = replace(CONFIG, oversight_steps=200, least_blocks=2, gate=0.01, needless=0.15)
    run = drive(run_of(config), 299)
    assert run.phases.phase is Phase.OVERSIGHT and run.phases.reports
    seen = Agreement(20, blocks=3, passes=passes, needless=needless)  # 7.5% of 174 may be as much as 39%
    assert not seen.allows(0.01, 0.15) and not seen.refutes(0.01, 0.15)
    run.phases.agreement, run.phases.next_fit = seen, 300
    assert drive(run, 1).phases.phase is after


def test_what_was_seen_by_another_look_says_nothing_of_this_one(monkeypatch):
    """Twenty steps ahead while nothing is known of the overseer; ten, and counted anew, once they block in time."""
    told = iter([None, None, False])
    monkeypatch.setattr("heed.guard.models.models.survivors_agree", lambda *_: next(told))
    run = drive(run_of(planning=replace(PLANNING, horizon=None)), 449)  # fitted at 300, again at 450
    phases = run.phases
    assert phases.models.late is None and phases.agreement.horizon == 20
    phases.refit(dynamics=False)
    assert phases.models.late is None and phases.agreement.passes > 100 and phases.models.met
    phases.refit(dynamics=False)
    assert phases.models.late is False and phases.agreement.horizon == 10
    assert (phases.agreement.passes, phases.agreement.blocks, phases.models.met) == (0, 0, {})
    assert run.strategy.lookahead.lookout.horizon == 10 and run.strategy.lookahead.lookout.block_when == "no_plan"


def test_phases_bring_models_of_their_own_where_none_are_given():
    phases = Phases(Guard(ShortCart(), Person(lambda _: False)), full_ahead, seed=3)
    expected = Models.from_config(phases.models.config, 2, 1, 3)
    assert type(phases.models.termination) is type(expected.termination)
    mine, theirs = (models.learnt.state_dict() for models in (phases.models, expected))
    assert all(torch.equal(mine[name], value) for name, value in theirs.items())


@pytest.mark.parametrize("late", [False, True])
def test_a_guard_that_blocks_on_and_on_asks_one_who_blocks_in_time(late):
    config = replace(CONFIG, ask_after=0.5, audit=0.01 if late else 0.0)
    run = drive(run_of(config, models=replace(MODELS, survival=late)), 600)
    here, asked = run.guard.situations[0], []
    for here.unconfirmed in (9, 10, 20):  # half of 20 steps ahead
        asked.append(run.strategy.stuck(here))
    assert asked == ([False, False, False] if late else [False, True, True])


def test_blockers_that_look_at_no_future_never_call_themselves_stuck():
    config = replace(CONFIG, ask_after=0.5, gate=1.0)
    blind = replace(PLANNING, horizon=0, planner="none")
    run = drive(run_of(config, blind, replace(MODELS, survival=False, inputs="state_action")), 600)
    run.guard.situations[0].unconfirmed = 100
    assert not run.strategy.stuck(run.guard.situations[0])


@pytest.mark.parametrize("late", [False, True])
def test_blocks_that_one_who_blocks_in_time_does_not_confirm_are_learnt_from_at_once_and_not_on_end(late):
    config = replace(CONFIG, ask_after=1.0, refit_every=200)
    phases = drive(run_of(config, models=replace(MODELS, survival=late)), 600).phases
    assert phases.phase is Phase.AUTONOMY and len(phases.reports) == 2
    fits = []
    for number in range(25):  # ten steps between two such fits at least
        phases(judged(False, "block", episode=20_000 + number, because="stuck"))
        fits.append(len(phases.reports))
    assert fits == (25 * [2] if late else 4 * [2] + 10 * [3] + 10 * [4] + [5])
    assert (phases.agreement.passes, phases.agreement.blocks) == (0, 0)  # what a guard asks by itself is no sample
    again = run_of(config, models=replace(MODELS, survival=late)).phases
    again.restore(phases.state())
    assert (again.contradicted, again.fitted_at) == (phases.contradicted, phases.fitted_at) == (0, 0 if late else 625)


@pytest.mark.parametrize(("ask_after", "fits_after"), [(1.0, [PLANNING.horizon, 2 * PLANNING.horizon]), (0.0, [])])
def test_under_an_overseer_at_the_last_moment_a_look_full_of_blocks_that_came_to_nothing_begins_a_fit(
    ask_after, fits_after
):
    config = replace(CONFIG, ask_after=ask_after, audit=0.0, refit_every=20)
    phases = drive(run_of(config, models=replace(MODELS, survival=True)), 600).phases
    phases.next_fit = 10_000
    here, fits = phases.guard.situations[0], []
    for on_end in range(1, 2 * PLANNING.horizon + 1):
        here.unconfirmed, before = on_end, len(phases.reports)
        alone = replace(judged(True, None), decision=Decision(0, 0, "block", "fallback"))
        phases(alone)
        fits += [on_end] if len(phases.reports) > before else []
    assert fits == fits_after


def test_a_refuted_fit_is_not_protected_until_another_is_in_force():
    phases = drive(run_of(replace(CONFIG, gate=0.01)), 600).phases
    assert phases.phase is Phase.OVERSIGHT and not phases.models.refuted
    protected = []
    started = phases.refits.start
    phases.refits.start = lambda *given: (protected.append(not phases.models.refuted), started(*given))
    phases.agreement = Agreement(20)
    phases.next_fit = phases.steps + 41
    for n in range(41):
        phases(judged(n % 2 == 0, "allow", episode=30_000 + n))  # all blocks are missed
    assert protected == [False] and not phases.models.refuted and not phases.models.met

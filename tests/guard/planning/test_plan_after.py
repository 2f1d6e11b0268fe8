"""The planner's word before a block: what it lets pass, by point hazard's oracle, and what it never does."""

import math

import numpy as np
import pytest
import torch
from guard_worlds import WALL, ByAction, Cart, CartEnv, OnlyPlan, Wall, advance, braking, full_ahead
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from heed.errors import HeedError
from heed.guard.actions import ActionCoder
from heed.guard.decision_log import DecisionLog
from heed.guard.guard import Guard
from heed.guard.intervention import Lookahead
from heed.guard.models.blockers import KnownBlockers
from heed.guard.models.config import ModelsConfig
from heed.guard.models.dynamics import KnownDynamics
from heed.guard.models.models import Models
from heed.guard.models.support import Range
from heed.guard.phases import Phases
from heed.guard.planning.building import Controllers, lookout_of, planner_of
from heed.guard.planning.config import PlanningConfig
from heed.guard.planning.imagination import Imagination
from heed.guard.planning.lookahead import Lookout
from heed.guard.planning.optimizers import ICEM
from heed.guard.planning.planner import SafePlanner
from heed.guard.run.environment import need_of_blocking, surroundings, true_world
from heed.guard.vector_guard import VectorGuard
from heed.oversight import RuleOverseer
from heed.worlds.point_hazard.geometry import Hazards, braking_hits, doomed, hits
from heed.worlds.point_hazard.geometry import advance as moved

HORIZON = 20
WORLD = Hazards()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# On point hazard, with its own motion and catastrophes for a model.


def to_the_right(states):
    return torch.tensor([1.0, 0.0]).expand(len(states), 2)


def on_point_hazard(block_when):
    place = surroundings("heed/PointHazard-v0")
    step, danger = true_world(place.env)
    models = (KnownDynamics(step), KnownBlockers(danger))
    imagination = Imagination(*models, to_the_right, 1, termination=place.goal, generator=seeded())
    swerves = ActionCoder(place.env.action_space).swerves()
    lookout = Lookout(imagination, HORIZON, 0.5, block_when, brake=place.brake, swerves=swerves)
    planner = SafePlanner(ICEM(HORIZON, 2), imagination, 0.5, iterations=2)
    return Guard(place.env, intervention=Lookahead(lookout, planner, [to_the_right, place.brake], "declared"))


def decided(guard, state, action):
    guard.reset(seed=0, options={"state": state})
    return guard.decide(action)


def pairs_near_the_disc(count, needed):
    """States that head for the disc, and actions that only a swerve could follow, or that nothing can help."""
    draw, many = np.random.default_rng(1), 20 * count
    speed, angle = draw.uniform(0.8, 1.5, many), draw.normal(0, 0.5, many)
    places = (draw.uniform(-2.2, -0.6, many), draw.uniform(-0.7, 1.2, many))
    states = np.stack([*places, speed * np.cos(angle), speed * np.sin(angle)], -1).astype(np.float32)
    actions = draw.uniform(-1, 1, (many, 2)).astype(np.float32)
    after = moved(states, actions, WORLD)
    lost = hits(after, WORLD) | doomed(after, WORLD)
    chosen = ~hits(states, WORLD) & (lost if needed else braking_hits(after, WORLD) & ~lost)
    return [(states[n], actions[n]) for n in np.flatnonzero(chosen)[:count]]


def survives(state, actions):
    """Whether the world itself, which knows no imagination, lets a plan go on and stop in time from some step of it."""
    for action in actions:
        state = moved(state, action, WORLD)
        if hits(state, WORLD):
            return False
        if not braking_hits(state, WORLD):
            return True
    return False


def test_where_only_a_longer_swerve_helps_the_planner_finds_it_and_the_action_passes():
    no_way_out, no_plan = on_point_hazard("no_way_out"), on_point_hazard("no_plan")
    need, saved, blocked = need_of_blocking(no_plan), 0, 0
    for state, action in pairs_near_the_disc(100, needed=False):
        truth = need(state, action)
        assert (truth.needless, truth.needed) == (False, False)
        before, after = decided(no_way_out, state, action), decided(no_plan, state, action)
        if before.decision == "allow":
            assert after.decision == "allow" and after.plan is None and (after.feasible, after.plan_ms) == (None, 0)
        elif after.decision == "allow":
            saved += 1
            assert before.risk == 1 and before.first_unsafe == after.first_unsafe  # of the policy's own future
            assert (after.source, after.feasible, after.risk, after.member_risk) == ("policy", True, 0.0, (0.0,))
            assert after.executed is action and after.latency_ms >= after.plan_ms > 0
            assert np.array_equal(after.plan.actions[0], action) and survives(state, after.plan.actions.numpy())
            assert torch.equal(after.way_out, after.plan.actions[1:])
        else:
            blocked += 1
    assert saved >= 4 and saved > blocked


def test_from_where_there_is_no_escape_nothing_passes():
    no_way_out, no_plan = on_point_hazard("no_way_out"), on_point_hazard("no_plan")
    need = need_of_blocking(no_plan)
    for state, action in pairs_near_the_disc(100, needed=True):
        assert need(state, action).needed
        before, after = decided(no_way_out, state, action), decided(no_plan, state, action)
        assert before.decision == after.decision == "block"
        assert (after.executed.tolist(), after.source) == (before.executed.tolist(), before.source)


# On the cart, where one plan is all that is proposed and its danger is given.


def backwards(states):
    return torch.full((len(states), 1), -0.5)


def guarded(danger, block_when="no_plan", dynamics=None, planned=None, search=None, replaces="plan", **settings):
    """A guard with that danger of the only plan, and another one, if given, in the planner's own imagination."""
    looking = Imagination(dynamics or Cart(), ByAction(danger), backwards, particles=1)
    planning = looking if planned is None else Imagination(Cart(), ByAction(planned), backwards, particles=1)
    lookout = Lookout(looking, 4, 0.5, block_when)
    planner = SafePlanner(search or OnlyPlan(), planning, 0.5, **{"iterations": 1} | settings)
    guard = Guard(CartEnv(), intervention=Lookahead(lookout, planner, replaces=replaces))
    guard.reset(seed=0)
    return guard


PROPOSED, CRASH = np.array([1.0], np.float32), np.array([2.0], np.float32)


@pytest.mark.parametrize(
    ("danger", "at_first", "after_a_block"),
    [(0.2, "allow", "allow"), (0.45, "allow", "block"), (0.49, "allow", "block"), (0.5, "block", "block")],
)
def test_a_plan_counts_only_below_the_limit_which_is_lower_after_a_block(danger, at_first, after_a_block):
    guard, log = guarded(danger), DecisionLog()
    first = guard.decide(PROPOSED)
    blocked = guard.step(CRASH)[4]["guard"]  # the first action is one of the plan's, and is not replaced
    assert blocked["decision"] == "block"
    second = guard.decide(PROPOSED)
    assert (first.decision, second.decision) == (at_first, after_a_block)
    for decision in (first, second):
        log.add(decision, episode=0, reward=0.0, catastrophe=False)
        if decision.decision == "allow":
            assert decision.risk == decision.plan.risk == pytest.approx(danger)
            assert torch.allclose(decision.plan.actions[:, 0], torch.tensor([0.5, 0.37, 0.37, 0.37]))
        else:
            assert decision.risk == 1.0  # of what the look saw: the policy's own future
    assert [row["decision"] for row in log.rows] == [at_first, after_a_block]
    assert log.rows[0]["feasible"] is (danger < 0.5) and log.rows[0]["plan_ms"] > 0


@pytest.mark.parametrize("danger", [0.2, 0.3, 0.5])
@pytest.mark.parametrize("replaces", ["plan", "declared"])
def test_a_block_is_what_it_is_without_asking_the_planner(danger, replaces):
    asked, unasked = (guarded(danger, rule, replaces=replaces) for rule in ("no_plan", "no_way_out"))
    result, expected = asked.decide(CRASH), unasked.decide(CRASH)
    for name in ("decision", "source", "risk", "member_risk", "first_unsafe", "feasible", "judged"):
        assert getattr(result, name) == getattr(expected, name)
    assert np.array_equal(result.executed, expected.executed) and result.decision == "block"
    assert (result.plan is None) == (replaces == "declared")
    assert (result.plan_ms > 0) == (replaces == "plan")  # no plan undoes what the action itself brings


class Diverges(Cart):
    """The only plan's steps give no numbers: as states, or as rewards."""

    def __init__(self, states, rewards):
        super().__init__()
        self.states, self.rewards = states, rewards

    def step(self, states, actions, generator=None):
        following, rewards = super().step(states, actions, generator)
        bad = (actions[..., 0] - 0.37).abs() < 1e-6
        return following + torch.where(bad, self.states, 0.0)[..., None], rewards + torch.where(bad, self.rewards, 0.0)


class NoNumbers(OnlyPlan):
    def propose(self, iteration, generator=None):
        return torch.full((1, 4, 1), torch.nan)


def test_what_is_not_finite_never_passes():
    for bad in (math.nan, math.inf):
        assert guarded(0.0, dynamics=Diverges(bad, 0.0)).decide(PROPOSED).decision == "block"
        assert guarded(0.0, dynamics=Diverges(0.0, bad)).decide(PROPOSED).decision == "block"
    assert guarded(math.nan).decide(PROPOSED).decision == "block"
    assert guarded(0.0, search=NoNumbers()).decide(PROPOSED).decision == "block"
    assert guarded(0.0, dynamics=Diverges(0.0, 0.0)).decide(PROPOSED).decision == "allow"


def test_the_look_has_the_last_word_on_what_the_search_found():
    assert guarded(0.6, planned=0.0).decide(PROPOSED).decision == "block"
    assert guarded(0.0, planned=0.6).decide(PROPOSED).decision == "block"
    passed = guarded(0.4, planned=0.1).decide(PROPOSED)
    assert (passed.decision, passed.risk, passed.plan.risk) == ("allow", pytest.approx(0.4), pytest.approx(0.1))


def test_a_planner_that_fails_blocks():
    class Broken(OnlyPlan):
        def propose(self, iteration, generator=None):
            raise RuntimeError("out of memory")

    result = guarded(0.0, search=Broken()).decide(PROPOSED)
    assert (result.decision, result.source, result.judged) == ("block", "fallback", False)


def test_behind_a_plan_shorter_than_the_look_the_brake_goes_on():
    imagination = Imagination(Cart(), Wall(), full_ahead, particles=1)
    lookout = Lookout(imagination, 20, 0.5, "no_plan", brake=braking)
    plan, crashes = torch.tensor([[1.0], [0.0]]), []
    for place in (0.0, 0.2, 0.3, 0.5):
        now = state = torch.tensor([place, 1.0])
        for action in plan:
            now = advance(now, action)
        while float(now[1]) > 1e-6:
            now = advance(now, braking(now))
        crashes.append(float(now[0]) >= WALL)
        followed = lookout.follow(state, plan, lookout.look(state, plan[0]))
        assert followed.safe is not crashes[-1]
        assert torch.equal(followed.tail()[:2], plan) and bool((followed.tail()[2:6] == -1).all())
        unbraked = Lookout(imagination, 20, 0.5, "no_plan")
        assert not unbraked.follow(state, plan, unbraked.look(state, plan[0])).safe  # the policy goes full ahead
    assert crashes == [False, False, True, True]


def test_every_plan_begins_with_the_action_and_the_search_forgets_what_it_learnt():
    begun = []

    class Watching(Wall):
        def danger(self, states, actions, next_states):
            begun.append(actions[0])
            return super().danger(states, actions, next_states)

    search = ICEM(8, 1, samples=16, elites=4)
    planner = SafePlanner(search, Imagination(Cart(), Watching(), full_ahead, 1, generator=seeded()), 0.5, enough=999)
    planner.plan(torch.tensor([0.0, 0.5]), [braking], torch.zeros(1))
    learnt = (search.mean.clone(), search.deviation.clone(), search.elite_plans.clone())
    begun.clear()
    held = torch.tensor([[0.0], [1.0], [-1.0]])
    plan = planner.plan_after(torch.tensor([0.0, 0.5]), torch.tensor([0.25]), 0.5, [braking], held, torch.zeros(7, 1))
    assert plan.iterations == len(begun) == 3 and all(bool((actions == 0.25).all()) for actions in begun)
    assert plan.feasible and float(plan.actions[0, 0]) == 0.25
    assert planner.search is search
    for before, after in zip(learnt, (search.mean, search.deviation, search.elite_plans), strict=True):
        assert torch.equal(before, after)


class Ticking(OnlyPlan):
    """A search whose every population takes a second of the clock; its copies count as well."""

    now = 0.0

    def propose(self, iteration, generator=None):
        Ticking.now += 1.0
        return super().propose(iteration, generator)


def test_both_searches_together_keep_the_deadline():
    def seconds(guard):
        Ticking.now = 0.0
        assert guard.decide(PROPOSED).decision == "block"
        return Ticking.now

    clock = {"search": Ticking(), "clock": lambda: Ticking.now, "deadline": 4.5, "iterations": 100}
    # The populations that end after 2.5 seconds and after 4.5 are the last of their searches.
    assert seconds(guarded(1.0, "no_way_out", **clock)) == 5
    assert seconds(guarded(1.0, "no_plan", **clock)) == 5
    late = guarded(1.0, "no_plan", **clock | {"deadline": 0.5})
    assert seconds(late) == 2  # one population each, the least there is


def test_each_environment_of_many_has_its_planner_asked():
    def looking(generator):
        imagination = Imagination(Cart(), Wall(), full_ahead, particles=1, generator=generator)
        lookout = Lookout(imagination, 12, 0.5, "no_plan")
        planner = SafePlanner(ICEM(12, 1, samples=16, elites=4), imagination, 0.5)
        return Lookahead(lookout, planner, [full_ahead, braking])

    envs = SyncVectorEnv([CartEnv] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)
    together = VectorGuard(envs, intervention=looking(seeded()))
    shared = seeded()  # the guards take turns with it, as the environments do
    alone = [Guard(CartEnv(), intervention=looking(shared)) for _ in range(2)]
    for guard in (together, *alone):
        guard.reset(seed=0)
    passed, blocked = 0, 0
    for step in range(18):
        actions = np.array([[2.0], [2.0 if step % 2 else 1.0]], np.float32)
        results = together.step(actions)[4]["guard"]
        for number, guard in enumerate(alone):
            expected = guard.step(actions[number])[4]["guard"]
            for name in ("decision", "source", "risk", "feasible"):
                assert results[name][number] == expected[name]
            assert np.array_equal(results["executed"][number], expected["executed"])
            passed += expected["decision"] == "allow" and expected["feasible"] is True
            blocked += expected["decision"] == "block"
    assert passed >= 3 and blocked >= 1


def test_where_nothing_plans_no_plan_saves_an_action():
    for horizon, planner in ((20, None), (1, SafePlanner(OnlyPlan(), Imagination(Cart(), Wall(), full_ahead), 0.5))):
        imagination = Imagination(Cart(), Wall(), full_ahead, particles=1)
        rules = [Lookahead(Lookout(imagination, horizon, 0.5, rule), planner) for rule in ("no_plan", "no_way_out")]
        results = []
        for lookahead in rules:
            guard = Guard(CartEnv(), intervention=lookahead)
            guard.reset(seed=0)
            results.append([guard.decide(action).decision for action in (PROPOSED, CRASH)])
        assert results[0] == results[1]


def test_what_could_not_be_followed_is_refused_at_once():
    guard = Guard(CartEnv(), overseer=RuleOverseer(lambda observation, info: False))
    for config, message in (
        (PlanningConfig(block_when="no_escape"), "no rule of blocking"),
        (PlanningConfig(planner="icme"), "'icme' is no planner"),
    ):
        with pytest.raises(HeedError, match=message):
            Phases(guard, full_ahead, planning=config)
    assert not guard.observers
    Phases(guard, full_ahead, planning=PlanningConfig(block_when="no_plan"))


@pytest.mark.parametrize(("late", "steps"), [(None, 20), (True, 20), (False, 10)])
def test_one_who_blocks_in_time_has_looked_ahead_for_the_guard(late, steps):
    models, actions = Models(2, 1, ModelsConfig(members=2, dynamics_hidden=4)), ActionCoder(CartEnv().action_space)
    models.late, generator = late, torch.Generator()
    for asked, expected in ((None, steps), (15, 15)):
        config = PlanningConfig(horizon=asked)
        parts = (config, models, Controllers(full_ahead), actions, generator)
        assert lookout_of(*parts).horizon == planner_of(*parts).search.horizon == expected
        assert planner_of(PlanningConfig(horizon=asked, plan_horizon=7), *parts[1:]).search.horizon == 7


@pytest.mark.parametrize(("late", "rule"), [(None, "no_way_out"), (True, "no_way_out"), (False, "no_plan")])
def test_a_plan_saves_an_action_only_where_blocks_come_in_time(late, rule):
    models, actions = Models(2, 1, ModelsConfig(members=2, dynamics_hidden=4)), ActionCoder(CartEnv().action_space)
    models.late = late
    for asked, expected in (("auto", rule), ("policy_fails", "policy_fails")):
        parts = (models, Controllers(full_ahead, braking), actions, torch.Generator())
        assert lookout_of(PlanningConfig(block_when=asked), *parts).block_when == expected


def test_the_lookout_of_a_configuration_believes_the_most_alarmed_blocker_beyond_what_was_seen():
    """One of two blockers finds everything dangerous; together they find nothing so."""
    models = Models(1, 1, ModelsConfig(members=2, dynamics_hidden=4, threshold="hirl"), known_dynamics=by_one())
    models.blockers.votes, models.threshold = 2, 0.5
    with torch.no_grad():
        for layer in (*models.blockers.network.weights, *models.blockers.network.biases):
            layer.zero_()
        models.blockers.network.biases[-1][:, 0, 0] = torch.tensor([-9.0, 9.0])
    models.reach = Range(torch.tensor([-1.0]), torch.tensor([1.0]), torch.tensor([2.0]), further=1.0)
    idle, actions = (lambda states: torch.zeros(len(states), 1)), ActionCoder(CartEnv().action_space)
    lookout = lookout_of(PlanningConfig(horizon=1), models, Controllers(idle), actions, torch.Generator())
    looks = [lookout.look(torch.tensor([x]), torch.ones(1)) for x in (-0.5, 0.5)]
    assert [look.safe for look in looks] == [True, False] and looks[1].cause == "unknown"
    models.blockers.network.biases[-1].data[:, 0, 0] = -9.0
    assert lookout.look(torch.tensor([0.5]), torch.ones(1)).safe


def by_one():
    return KnownDynamics(lambda states, actions: (states + actions, torch.zeros(states.shape[:-1])), members=2)

"""The wrapper: what is executed, what is reported of it, and which way it fails."""

import itertools
import logging
import threading

import gymnasium as gym
import numpy as np
import pytest
import torch
from guard_worlds import WALL, Cart, CartEnv, Person, Wall, braking, imagined, lookahead
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy

import heed.worlds  # noqa: F401 - registers its environments
from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.intervention import AskWhenUnsure, Lookahead, Nobody, Off, Overseen, Shadow
from heed.guard.learners.sb3 import GuardedSAC, controller
from heed.guard.phases import Phases
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.imagination import Imagination
from heed.guard.planning.lookahead import Lookout
from heed.guard.planning.optimizers import ChoiceCEM
from heed.guard.planning.planner import SafePlanner
from heed.oversight.overseers.base import Verdict

AHEAD = np.array([2.0], np.float32)


def guarded(intervention=None, **settings):
    env = Guard(CartEnv(), intervention=intervention or lookahead(), **settings)
    env.reset(seed=0)
    return env


def overseen(person, **settings):
    env = Guard(CartEnv(), overseer=person, **settings)
    env.reset(seed=0)
    return env


def drive(env, steps=60, action=AHEAD):
    infos, crashed = [], False
    for _ in range(steps):
        _, _, terminated, _, info = env.step(action)
        infos.append(info["guard"])
        crashed |= terminated
        if terminated:
            break
    return infos, crashed


def test_full_ahead_crashes_unguarded_and_never_guarded():
    assert drive(guarded(Off()))[1]
    infos, crashed = drive(guarded())
    assert not crashed
    assert {i["decision"] for i in infos} == {"allow", "block"}
    first = next(n for n, i in enumerate(infos) if i["decision"] == "block")
    assert all(i["decision"] == "allow" for i in infos[:first]) and first > 8
    blocked = infos[first]
    assert blocked["source"] == "planner" and blocked["feasible"] and blocked["risk"] == 1.0
    assert blocked["member_risk"] == (1.0,) and blocked["first_unsafe"] is not None
    assert blocked["latency_ms"] > blocked["plan_ms"] > 0
    assert blocked["proposed"] is AHEAD and blocked["executed"][0] < 2


def test_what_is_executed_is_what_the_environment_gets():
    env = guarded()
    for _ in range(40):
        before = env.unwrapped.state.copy()
        observation, _, _, _, info = env.step(AHEAD)
        expected = before[1] + float(info["guard"]["executed"][0]) / 2 * 0.1
        assert observation[1] == pytest.approx(expected, abs=1e-6)


def test_shadow_records_what_would_have_been_done_and_does_not_do_it():
    infos, crashed = drive(guarded(Shadow(lookahead())))
    assert crashed and any(i["decision"] == "block" for i in infos)
    assert all(i["executed"] is AHEAD for i in infos)


def test_the_declared_safe_action_replaces_without_planning():
    brake_hard = lambda observation: np.clip(-observation[1:] / 0.1, -1, 1).astype(np.float32) * 2  # noqa: E731
    infos, crashed = drive(guarded(lookahead(replaces="declared"), safe_action=brake_hard))
    blocked = [i for i in infos if i["decision"] == "block"]
    assert not crashed and blocked
    assert all(i["source"] == "blocker" and i["plan_ms"] == 0 for i in blocked)


def test_a_penalty_takes_its_price_from_blocked_steps_alone():
    plain, priced = guarded(), guarded(penalty=7.0)
    for _ in range(40):
        _, before, _, _, free = plain.step(AHEAD)
        _, after, _, _, paid = priced.step(AHEAD)
        assert paid["guard"]["decision"] == free["guard"]["decision"]
        assert after == pytest.approx(before - (7.0 if free["guard"]["decision"] == "block" else 0.0), abs=1e-6)


@pytest.mark.parametrize("bad", [np.array([np.nan]), np.array([2.5]), np.array([0.0, 0.0]), np.array([np.inf]), "left"])
def test_an_action_that_is_none_is_never_executed(bad, caplog):
    env = guarded()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            info = env.step(bad)[4]["guard"]
            assert info["decision"] == "block" and env.action_space.contains(info["executed"])
    assert sum("not finite or not in the space" in r.message for r in caplog.records) == 1
    assert sum(env.faults.values()) == 3


def test_a_diverged_model_looks_dangerous():
    class Diverged(Cart):
        def step(self, states, actions, generator=None):
            following, rewards = super().step(states, actions)
            return following * torch.nan, rewards

    env = guarded(lookahead(dynamics=Diverged()), safe_action=lambda o: np.array([-2.0], np.float32))
    info = env.step(AHEAD)[4]["guard"]
    assert (info["decision"], info["source"], info["risk"]) == ("block", "fallback", 1.0)
    assert info["executed"].tolist() == [-2.0]


def test_a_lookahead_that_fails_blocks_and_is_counted(caplog):
    class Broken(Wall):
        def danger(self, *_):
            raise RuntimeError("out of memory")

    env = guarded(lookahead(danger=Broken()), safe_action=lambda o: np.array([-2.0], np.float32))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            info = env.step(AHEAD)[4]["guard"]
            assert (info["decision"], info["source"]) == ("block", "fallback")
            assert info["executed"].tolist() == [-2.0]
    assert sum("out of memory" in r.message for r in caplog.records) == 1


def test_nobody_to_judge_means_block():
    env = Guard(CartEnv())
    env.reset()
    info = env.step(AHEAD)[4]["guard"]
    assert (info["decision"], info["executed"].tolist()) == ("block", [0.0])


def test_an_overseer_judges_every_action():
    person = Person(lambda proposal: proposal.observation[0] > -0.9)
    infos, _ = drive(overseen(person), steps=20)
    assert len(person.seen) == 20 and all(i["asked"] for i in infos)
    assert [proposal.step for proposal in person.seen] == list(range(20))
    assert person.seen[0].action.tolist() == [2.0]
    for proposal, info in zip(person.seen, infos, strict=True):
        assert info["decision"] == ("block" if proposal.observation[0] > -0.9 else "allow")
    assert {i["source"] for i in infos} == {"policy", "blocker"}


def test_a_person_may_give_an_action_of_their_own_if_it_is_one():
    env = overseen(Person(lambda _: True, instead=np.array([-1.5], np.float32)))
    assert env.step(AHEAD)[4]["guard"]["source"] == "person"
    assert env.unwrapped.state[1] == pytest.approx(-0.075)
    for instead in (-1.5, [[-1.5]], np.array([-1.5]), np.float64(-1.5)):
        env = overseen(Person(lambda _: True, instead=instead))
        executed = env.step(AHEAD)[4]["guard"]["executed"]
        assert executed.tolist() == [-1.5] and executed.dtype == np.float32 and not env.faults
    beyond = overseen(Person(lambda _: True, instead=np.array([-2.00001])))
    assert beyond.step(AHEAD)[4]["guard"]["executed"].tolist() == [-2.0] and not beyond.faults


@pytest.mark.parametrize("instead", [[np.nan], [1.0, 1.0], "left", np.zeros(0), {}])
def test_what_a_person_gives_that_is_no_action_is_a_fault_and_the_declared_safe_action_is_taken(instead):
    safe = {"safe_action": lambda _: np.array([-1.0], np.float32)}
    env = overseen(Person(lambda _: True, instead=instead), **safe)
    told = env.step(AHEAD)[4]["guard"]
    assert (told["executed"].tolist(), told["source"]) == ([-1.0], "blocker")
    assert env.faults == {"the overseer person gave an action to take that is none": 1}


def test_an_overseer_that_raises_blocks():
    def fails(proposal):
        raise ValueError("the page is gone")

    env = overseen(Person(fails), safe_action=lambda o: np.array([-2.0], np.float32))
    info = env.step(AHEAD)[4]["guard"]
    assert (info["decision"], info["executed"].tolist()) == ("block", [-2.0])
    assert any("the page is gone" in fault for fault in env.faults)


def test_the_person_is_asked_in_autonomy_where_the_look_is_unsure():
    env = guarded(AskWhenUnsure(lookahead(), Person(lambda _: False), lambda look: look.risk > 0.5))
    infos, crashed = drive(env)
    assert crashed  # the person let it pass
    assert [i["asked"] for i in infos] == [i["risk"] > 0.5 for i in infos] and any(i["asked"] for i in infos)


def test_discrete_actions_are_guarded_too():
    class Choice(CartEnv):
        action_space = gym.spaces.Discrete(3, start=5)

        def step(self, action):
            assert self.action_space.contains(action)
            return super().step(np.array([(action - 6) * 2.0], np.float32))

    class ChoiceCart(Cart):
        def step(self, states, actions, generator=None):
            push = actions @ torch.tensor([[-1.0], [0.0], [1.0]])
            return super().step(states, push)

    slow = lambda s: torch.nn.functional.one_hot(torch.where(s[:, 1] > 0, 0, 1), 3).float()  # noqa: E731
    right = lambda s: torch.tensor([0.0, 0.0, 1.0]).expand(len(s), 3)  # noqa: E731
    imagination = Imagination(ChoiceCart(), Wall(), right, particles=1)
    planner = SafePlanner(ChoiceCEM(20, 3), imagination, 0.5, deadline=60)
    looking = Lookahead(Lookout(imagination, 20, 0.5, brake=slow), planner, [right, slow])
    env = Guard(Choice(), intervention=looking)
    env.reset()
    infos, crashed = drive(env, action=7)
    assert not crashed and {i["decision"] for i in infos} == {"allow", "block"}
    assert env.step(9)[4]["guard"]["decision"] == "block"
    free = Guard(Choice(), intervention=Off())
    free.reset()
    assert drive(free, action=7)[1] and free.unwrapped.state[0] >= WALL


def test_what_a_guard_cannot_work_with_is_refused_with_a_way_on():
    class Pictures(CartEnv):
        observation_space = gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)

    class Named(CartEnv):
        observation_space = gym.spaces.Dict({"x": gym.spaces.Box(0, 1, (2,))})

    class Endless(CartEnv):
        action_space = gym.spaces.Box(-np.inf, np.inf, (1,))

    with pytest.raises(HeedError, match="encoder"):
        Guard(Pictures())
    with pytest.raises(HeedError, match="FlattenObservation"):
        Guard(Named())
    with pytest.raises(HeedError, match="with the bounds that its actions have"):
        Guard(Endless())
    with pytest.raises(HeedError, match="would both decide"):
        Guard(CartEnv(), Person(lambda _: True), intervention=Off())
    for early in (Guard(CartEnv()).step, Guard(CartEnv()).decide):
        with pytest.raises(HeedError, match="call reset first"):
            early(AHEAD)


def test_observers_see_each_step_as_it_was():
    steps = []
    env = guarded(observers=[steps.append], penalty=5.0)
    infos, _ = drive(env, 40)
    assert len(steps) == 40 and [s.decision.decision for s in steps] == [i["decision"] for i in infos]
    assert [step.timestep for step in steps] == list(range(1, 41))
    for before, after in itertools.pairwise(steps):
        assert np.array_equal(before.next_state, after.state)
    for step in steps:
        expected = step.state[1] + 0.1 * step.executed[0]
        assert step.next_state[1] == pytest.approx(expected, abs=1e-6)
        assert np.array_equal(step.observation, step.next_state)
        assert step.reward == pytest.approx(step.next_state[0] - step.state[0], abs=1e-6)  # without the penalty
        assert step.proposed.tolist() == [1.0] and not step.catastrophe
    env.step(np.array([np.nan]))
    assert steps[-1].proposed is None
    drive(guarded(Off(), observers=[steps.append]))
    assert steps[-1].catastrophe and steps[-1].terminated


def test_observers_are_called_in_their_order():
    called = []
    env = guarded(observers=[lambda step: called.append(("first", step)), lambda step: called.append(("second", step))])
    env.step(AHEAD)
    assert [name for name, _ in called] == ["first", "second"] and called[0][1] is called[1][1]


def test_what_is_decided_and_not_executed_leaves_no_trace():
    env, untouched = guarded(), guarded()
    for guard in (env, untouched):
        drive(guard, 20)
    blocked = env.situation.blocked
    assert [env.decide(action).decision for action in (AHEAD, -AHEAD)] == ["block", "allow"]
    assert env.situation.blocked is blocked and env.situation.timestep == 20
    assert torch.equal(env.situation.way_out, untouched.situation.way_out)


def test_only_a_plain_no_lets_an_action_pass():
    for answer in (None, 0, "", np.array([0.0])):
        env = overseen(Person(lambda _, answer=answer: answer))
        assert env.step(AHEAD)[4]["guard"]["decision"] == "block"
    assert overseen(Person(lambda _: np.False_)).step(AHEAD)[4]["guard"]["decision"] == "allow"


def test_what_was_judged_is_executed_whatever_the_overseer_does_to_what_it_saw():
    def meddles(proposal):
        proposal.action[:] = -2.0
        proposal.observation[:] = 9.0
        return False

    env = overseen(Person(meddles))
    observation, _, _, _, info = env.step(AHEAD.copy())
    assert info["guard"]["executed"].tolist() == [2.0] and observation[1] == pytest.approx(0.1)


def test_an_overseer_that_failed_has_not_judged():
    class Gone(Person):
        def judge(self, proposal):
            return Verdict(block=True, failed=True)

    env = overseen(Gone(None))
    info = env.step(AHEAD)[4]["guard"]
    assert (info["decision"], info["source"], info["asked"]) == ("block", "fallback", False)
    assert sum(env.faults.values()) == 1


def test_a_guard_that_has_stepped_in_lets_go_only_well_below_the_threshold():
    class Moody:
        level = 0.0

        def danger(self, states, actions, next_states):
            return torch.full(states.shape[:-1], self.level)

    moody = Moody()
    lookout = Lookout(imagined(moody), 5, 0.5, brake=braking, release=0.5)
    env = guarded(Lookahead(lookout))

    def decided(*levels):
        decisions = []
        for moody.level in levels:
            decisions.append(env.step(np.zeros(1, np.float32))[4]["guard"]["decision"])
        return decisions

    assert decided(0.4, 0.6, 0.4, 0.25, 0.24, 0.4) == ["allow", "block", "block", "block", "allow", "allow"]
    assert decided(0.6) == ["block"]
    env.reset(seed=0)
    assert decided(0.4) == ["allow"]  # an episode begins anew
    lookout.release = 1.0
    assert decided(0.6, 0.4) == ["block", "allow"]


def test_what_cannot_be_copied_in_info_is_shown_as_it_is_and_blocks_nothing():
    class Simulated(CartEnv):
        def step(self, action):
            observation, reward, terminated, truncated, info = super().step(action)
            return observation, reward, terminated, truncated, info | {"simulator": handle, "seen": [0.0]}

    handle, person = threading.Lock(), Person(lambda _: False)
    env = Guard(Simulated(), person)
    env.reset(seed=0)
    infos = [env.step(AHEAD)[4] for _ in range(3)]
    assert [info["guard"]["decision"] for info in infos] == ["allow"] * 3 and not env.faults
    shown = person.seen[-1].info
    assert shown["simulator"] is handle and shown["seen"] == [0.0] and shown["seen"] is not infos[1]["seen"]


def test_evaluating_teaches_nothing_counts_nothing_and_costs_no_penalty():
    seen = []
    env = Guard(CartEnv(), Person(lambda _: True), observers=[seen.append], penalty=7.0)
    env.reset(seed=0)
    before = env.intervention
    with pytest.raises(ZeroDivisionError), env.evaluating():
        assert env.step(AHEAD)[1] == pytest.approx(0.0) and env.intervention is before
        raise ZeroDivisionError
    with env.evaluating(Off()):
        assert env.step(AHEAD)[4]["guard"]["decision"] == "allow"
    assert not seen and env.intervention is before
    assert env.step(AHEAD)[1] < -6.9 and len(seen) == 1


def test_evaluate_policy_within_it_leaves_the_phases_where_they_are():
    env = Guard(gym.wrappers.TimeLimit(CartEnv(), 10), Person(lambda _: False))
    model = GuardedSAC("MlpPolicy", env, learning_starts=100, seed=0, device="cpu")
    phases = Phases(env, controller(model), PhasesConfig(oversight_steps=1000))
    model.learn(5)
    with env.evaluating():
        evaluate_policy(model, env, n_eval_episodes=2)
    assert (phases.steps, len(phases.labels.transitions)) == (5, 5)
    model.learn(5, reset_num_timesteps=False)
    assert phases.steps == 10


@pytest.mark.parametrize(
    "made", [CartEnv, lambda: gym.make("heed/PointHazard-v0"), lambda: gym.make("heed/CliffGrid-v0")]
)
@pytest.mark.filterwarnings("ignore")  # of wide boxes, and that a wrapped environment is checked
def test_gymnasium_finds_nothing_wrong_with_a_guarded_environment(made):
    for intervention in (Off(), Overseen(Person(lambda proposal: proposal.step % 2 == 0))):
        check_env(Guard(made(), intervention=intervention, penalty=1.0), skip_render_check=True)


def test_a_guard_made_anew_from_its_spec_has_nobody_and_blocks():
    again = Guard(gym.make("heed/PointHazard-v0"), intervention=Off(), penalty=2.0).spec.make()
    assert isinstance(again, Guard) and again.penalty == 2.0 and isinstance(again.intervention.inner, Nobody)

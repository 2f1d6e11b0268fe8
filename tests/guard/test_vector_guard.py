"""The guard of a vector environment does what a guard in front of each environment would do."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
import torch
from guard_worlds import WALL, Cart, CartEnv, Person, Wall, advance, braking, full_ahead
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList

import heed.worlds  # noqa: F401 - registers point hazard
from heed.errors import HeedError
from heed.guard.decision_log import DecisionLog
from heed.guard.guard import Guard
from heed.guard.intervention import Lookahead, Nobody, Off, Overseen, Shadow
from heed.guard.labels import LabelCollector
from heed.guard.models.config import FitConfig, ModelsConfig
from heed.guard.models.dynamics import KnownDynamics
from heed.guard.models.models import Models
from heed.guard.phases import Phase, Phases
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.building import Controllers
from heed.guard.planning.config import PlanningConfig
from heed.guard.planning.imagination import Imagination
from heed.guard.planning.lookahead import Lookout
from heed.guard.planning.optimizers import ICEM
from heed.guard.planning.planner import SafePlanner
from heed.guard.vector_guard import VectorGuard
from heed.oversight import Delayed, LocalOverseer, RuleOverseer, fail_closed, local_overseer

N = 3
COMPARED = ("decision", "source", "risk", "member_risk", "first_unsafe", "asked", "feasible")


class ShortCart(CartEnv):
    """Episodes of 12 steps from random states that the brake still saves; its reset says something too."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform([-1, -0.5], [0.3, 0.9]).astype(np.float32)
        self.steps = 0
        return self.state, {"fresh": True}

    def step(self, action):
        self.steps += 1
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self.steps >= 12, info


def noisy_lookahead():
    """A lookout and a planner of a noisy model, so that every draw of its generator counts."""
    return Lookahead(*noisy_parts(torch.Generator().manual_seed(3)), [full_ahead, braking])


def noisy_parts(generator):
    imagination = Imagination(Cart(members=2, noise=0.01), Wall(), full_ahead, particles=2, generator=generator)
    planner = SafePlanner(ICEM(12, 1, samples=16, elites=4), imagination, 0.5)
    return Lookout(imagination, 12, 0.5, brake=braking), planner


def side_by_side(mode, around=lambda lookahead: lookahead, penalty=0.0, steps=60):
    """The vector guard's steps, and those of a guard for each environment that take turns with the same model.

    Args:
        mode: how the environments reset.
        around: from the lookahead the intervention that decides.
        penalty: of a blocked step.
        steps: of every environment.
    """
    envs = SyncVectorEnv([ShortCart] * N, autoreset_mode=mode)
    together = VectorGuard(envs, intervention=around(noisy_lookahead()), penalty=penalty)
    generator = torch.Generator().manual_seed(3)
    parts = [noisy_parts(generator) for _ in range(N)]  # a search each, and one generator
    alone = [
        Guard(ShortCart(), intervention=around(Lookahead(*each, [full_ahead, braking])), penalty=penalty)
        for each in parts
    ]
    observations, _ = together.reset(seed=5)
    expected = np.stack([guard.reset(seed=5 + number)[0] for number, guard in enumerate(alone)])
    assert np.array_equal(observations, expected)
    draw, ended = np.random.default_rng(0), [False] * N
    for _ in range(steps):
        actions = np.where(draw.random((N, 1)) < 0.7, 2.0, draw.uniform(-2, 2, (N, 1))).astype(np.float32)
        expected = []
        for number, guard in enumerate(alone):
            if ended[number] and mode is AutoresetMode.NEXT_STEP:
                expected.append((*guard.reset(), None))
                ended[number] = False
                continue
            after, reward, terminated, truncated, info = guard.step(actions[number])
            ended[number] = terminated or truncated
            last = after.copy()
            if ended[number] and mode is AutoresetMode.SAME_STEP:
                after, _ = guard.reset()
            expected.append((after.copy(), last, reward, terminated, truncated, info))
        yield together.step(actions), expected


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_each_environment_is_guarded_as_if_alone(mode):
    seen = {"allow": 0, "block": 0, "planner": 0, "reset": 0, "ended": 0}
    for (observations, rewards, terminated, truncated, infos), expected in side_by_side(mode):
        for number, alone in enumerate(expected):
            assert np.array_equal(observations[number], alone[0])
            if alone[-1] is None:
                seen["reset"] += 1
                assert not infos["_guard"][number]
                assert (rewards[number], terminated[number], truncated[number]) == (0.0, False, False)
                continue
            _, last, reward, *ends, info = alone
            assert infos["_guard"][number]
            for name in COMPARED:
                result, wanted = infos["guard"][name][number], info["guard"][name]
                assert result == wanted or (np.isnan(result) and np.isnan(wanted)), name
            assert np.array_equal(infos["guard"]["executed"][number], info["guard"]["executed"])
            assert np.array_equal(infos["guard"]["proposed"][number], info["guard"]["proposed"])
            assert rewards[number] == reward and [terminated[number], truncated[number]] == ends
            if any(ends) and mode is AutoresetMode.SAME_STEP:
                assert np.array_equal(infos["final_obs"][number], last)
            seen["ended"] += any(ends)
            seen[info["guard"]["decision"]] += 1
            seen["planner"] += info["guard"]["source"] == "planner"
    assert min(seen[name] for name in ("allow", "block", "planner", "ended")) >= 5
    assert (seen["reset"] >= 5) == (mode is AutoresetMode.NEXT_STEP)


@pytest.mark.parametrize(
    ("around", "penalty", "blocks", "executes_all"),
    [(Shadow, 0.0, True, True), (lambda _: Off(), 0.0, False, True), (lambda inner: inner, 7.0, True, False)],
    ids=["shadow", "off", "penalty"],
)
def test_interventions_do_what_they_do_in_front_of_one_environment(around, penalty, blocks, executes_all):
    blocked, replaced = 0, 0
    for (_, rewards, _, _, infos), expected in side_by_side(AutoresetMode.NEXT_STEP, around, penalty, steps=25):
        for number, alone in enumerate(expected):
            if alone[-1] is not None:
                assert rewards[number] == alone[2]
                assert infos["guard"]["decision"][number] == alone[-1]["guard"]["decision"]
                assert np.array_equal(infos["guard"]["executed"][number], alone[-1]["guard"]["executed"])
                blocked += alone[-1]["guard"]["decision"] == "block"
                replaced += not np.array_equal(infos["guard"]["executed"][number], infos["guard"]["proposed"][number])
    assert (blocked > 0) is blocks and (replaced == 0) is executes_all


def right_of_the_middle():
    """Blocks to the right of a place."""
    return Person(lambda proposal: bool(proposal.observation[0] > 0))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_only_what_is_executed_is_judged_and_recorded(mode):
    person, steps = right_of_the_middle(), []
    envs = SyncVectorEnv([ShortCart] * N, autoreset_mode=mode)
    guard = VectorGuard(envs, overseer=person, observers=[steps.append])
    guard.reset(seed=0)
    executed, resetting = 0, np.zeros(N, np.bool_)
    for _ in range(40):
        actions = np.full((N, 1), 1.0, np.float32)
        actions[resetting] = np.nan  # what nobody executes, nobody minds
        _, _, terminated, truncated, infos = guard.step(actions)
        assert infos["_guard"].tolist() == (~resetting).tolist()
        resetting = (terminated | truncated) & (mode is AutoresetMode.NEXT_STEP)
        executed += int(infos["_guard"].sum())
    assert executed == len(steps) == len(person.seen) and not guard.faults
    assert executed < 40 * N if mode is AutoresetMode.NEXT_STEP else executed == 40 * N
    assert len({(step.stream, step.episode) for step in steps}) == len({step.episode for step in steps}) > N
    for episode in {step.episode for step in steps}:
        recorded = [step for step in steps if step.episode == episode]
        shown = [proposal for proposal in person.seen if proposal.episode == episode]
        assert [proposal.step for proposal in shown] == list(range(len(recorded)))
        assert [step.timestep for step in recorded] == list(range(1, len(recorded) + 1))
        assert "fresh" in shown[0].info and all("catastrophe" in proposal.info for proposal in shown[1:])
        for before, after in itertools.pairwise(recorded):
            assert np.array_equal(before.next_state, after.state) and not (before.terminated or before.truncated)
        for step in recorded:
            truth = advance(torch.from_numpy(step.state), torch.from_numpy(step.executed)).numpy()
            assert step.next_state == pytest.approx(truth, abs=1e-6)
            assert step.catastrophe == bool(truth[0] >= WALL) == step.terminated
            assert (step.decision.decision == "block") == (step.state[0] > 0)


def test_the_info_of_each_environment_is_that_of_a_guard():
    guard = DictInfoToList(VectorGuard(SyncVectorEnv([ShortCart] * 2), overseer=right_of_the_middle()))
    single = Guard(ShortCart(), overseer=right_of_the_middle())
    guard.reset(seed=4)
    single.reset(seed=4)
    for _ in range(3):
        infos = guard.step(np.ones((2, 1), np.float32))[4]
        info = single.step(np.ones(1, np.float32))[4]
        assert infos[0]["guard"].keys() == info["guard"].keys()
        for name, value in info["guard"].items():
            if name not in ("latency_ms", "risk", "beside_risk"):
                assert np.all(infos[0]["guard"][name] == value), name
        assert np.isnan(infos[0]["guard"]["risk"]) and infos[0]["guard"]["latency_ms"] > 0


def test_an_oracle_looks_into_its_own_environment():
    envs = gym.make_vec("heed/PointHazard-v0", num_envs=2, vectorization_mode="sync")
    guard = VectorGuard(envs, overseer_of=lambda env: fail_closed(local_overseer(env), 1.0))
    guard.reset(seed=0)
    for number, state in enumerate(([3.9, 0.0, 1.5, 0.0], [-3.0, 0.0, 0.0, 0.0])):
        guard.situations[number].begin(*envs.envs[number].reset(options={"state": state}))
    info = guard.step(np.zeros((2, 2), np.float32))[4]
    assert info["guard"]["decision"].tolist() == ["block", "allow"]
    guard.overseer.reset(7)
    assert guard.overseer.name == "local"


def test_an_oracle_that_cannot_look_is_refused_at_once():
    peeks = LocalOverseer(lambda action: action, catastrophe=lambda state: False)
    two, one = (SyncVectorEnv([CartEnv] * count) for count in (2, 1))
    assert VectorGuard(one, overseer=peeks).overseer is peeks
    for wrapped in (peeks, fail_closed(peeks, 1.0)):
        with pytest.raises(HeedError, match=r"looks into one environment, and here are 2.*overseer_of"):
            VectorGuard(two, overseer=wrapped)
    apart = AsyncVectorEnv([CartEnv] * 2)
    try:
        with pytest.raises(HeedError, match="nobody can look into the environments of AsyncVectorEnv"):
            VectorGuard(apart, overseer_of=local_overseer)
        with pytest.raises(HeedError, match="looks into one environment"):
            VectorGuard(apart, overseer=peeks)
        results = []
        for envs in (apart, two):
            guard = VectorGuard(envs, overseer=RuleOverseer(lambda observation, info: observation[1] > 0.35))
            guard.reset(seed=1)
            steps = [guard.step(np.full((2, 1), 2.0, np.float32)) for _ in range(6)]
            results.append([(step[0].tolist(), step[4]["guard"]["decision"].tolist()) for step in steps])
        assert results[0] == results[1]
        assert [decisions for _, decisions in results[0]] == [["allow"] * 2] * 4 + [["block"] * 2] * 2
    finally:
        apart.close()


def test_environments_that_the_user_resets_begin_their_episodes_one_by_one():
    envs = SyncVectorEnv([ShortCart] * 2, autoreset_mode=AutoresetMode.DISABLED)
    guard = VectorGuard(envs, overseer=right_of_the_middle())
    guard.reset(seed=0)
    for _ in range(3):
        guard.step(np.zeros((2, 1), np.float32))
    observations, _ = guard.reset(options={"reset_mask": np.array([False, True])})
    assert [here.timestep for here in guard.situations] == [3, 0]
    assert [here.episode for here in guard.situations] == [0, 2]
    assert np.array_equal(guard.situations[1].observation, observations[1])
    assert guard.step(np.zeros((2, 1), np.float32))[4]["_guard"].all()


def test_choices_are_guarded_too():
    class Choice(ShortCart):
        action_space = gym.spaces.Discrete(3, start=5)

        def step(self, action):
            assert self.action_space.contains(action), action
            return super().step(np.array([(action - 6) * 2.0], np.float32))

    guard = VectorGuard(SyncVectorEnv([Choice] * 2), overseer=right_of_the_middle(), safe_action=lambda observation: 5)
    observations, _ = guard.reset(seed=0)
    resetting = np.zeros(2, np.bool_)
    for _ in range(30):
        before = observations
        observations, _, terminated, truncated, infos = guard.step(np.array([7, 9]))
        assert infos["_guard"].tolist() == (~resetting).tolist()
        resetting = terminated | truncated
        for number in np.flatnonzero(infos["_guard"]):
            blocked = before[number, 0] > 0 or number == 1
            assert infos["guard"]["executed"][number] == (5 if blocked else 7)
    assert guard.faults  # 9 is no action


def test_bad_input_is_refused_in_one_line():
    envs = SyncVectorEnv([CartEnv] * 2)
    guard = VectorGuard(envs, overseer=right_of_the_middle())
    for early in (guard.step, guard.decide):
        with pytest.raises(HeedError, match="reset first"):
            early(np.zeros((2, 1), np.float32))
    guard.reset(seed=0)
    with pytest.raises(HeedError, match="3 actions for 2 environments"):
        guard.step(np.zeros((3, 1), np.float32))
    with pytest.raises(HeedError, match="would both decide"):
        VectorGuard(envs, right_of_the_middle(), intervention=Off())
    with pytest.raises(HeedError, match="no mode"):
        Phases(guard, full_ahead, mode="maybe")
    envs.metadata = {}
    with pytest.raises(HeedError, match="does not say how it resets"):
        VectorGuard(envs)


def test_the_labels_of_the_streams_are_kept_apart():
    steps = []
    guard = VectorGuard(SyncVectorEnv([ShortCart] * N), observers=[steps.append])
    guard.reset(seed=0)
    draw = np.random.default_rng(1)
    for number in range(60):
        guard.intervention = Overseen(right_of_the_middle()) if number < 30 else Nobody()  # then survival counts
        guard.step(draw.uniform(-2, 2, (N, 1)).astype(np.float32))
    mixed, alone = LabelCollector(2, 1, grace=3), [LabelCollector(2, 1, grace=3) for _ in range(N)]
    for step in steps:
        mixed.add(step)
        alone[step.stream].add(step)

    def rows(collector):
        labels = collector.labels()
        columns = (labels.states, labels.actions, labels.next_states.nan_to_num(9.0), labels.blocked[:, None].float())
        return {tuple(row) for row in torch.cat(columns, dim=1).tolist()}

    assert rows(mixed) == set().union(*map(rows, alone)) and len(rows(mixed)) > 60
    labels = mixed.labels()
    whose = {tuple(step.state.tolist()): step.episode for step in steps}
    pairs = {
        (whose[tuple(state)], int(episode))
        for state, episode in zip(labels.states.tolist(), labels.episodes, strict=True)
    }
    assert len(pairs) == len({of_guard for of_guard, _ in pairs}) == len({of_labels for _, of_labels in pairs}) > N
    for k in (1, 4, 12):
        windows = {tuple(window.flatten().tolist()) for window in mixed.transitions.windows(k)[0]}
        each = [collector.transitions.windows(k)[0] for collector in alone]
        assert windows == {tuple(window.flatten().tolist()) for one in each for window in one}
        assert len(windows) == sum(map(len, each)) > 0


def test_a_late_overseer_is_as_late_for_each_environment_as_for_one():
    def late():
        return Delayed(RuleOverseer(lambda observation, info: observation[0] > -0.3), 3)

    envs = SyncVectorEnv([ShortCart] * N, autoreset_mode=AutoresetMode.SAME_STEP)
    together, alone = VectorGuard(envs, late()), [Guard(ShortCart(), late()) for _ in range(N)]
    together.reset(seed=5)
    for number, guard in enumerate(alone):
        guard.reset(seed=5 + number)
    blocked, at_once, draw = 0, 0, np.random.default_rng(0)
    for _ in range(60):
        actions = draw.uniform(0, 2, (N, 1)).astype(np.float32)
        decisions = together.step(actions)[4]["guard"]["decision"].tolist()
        expected = []
        for action, guard in zip(actions, alone, strict=True):
            seen = guard.situation.observation[0] > -0.3
            *_, terminated, truncated, info = guard.step(action)
            expected.append(info["guard"]["decision"])
            at_once += seen == (expected[-1] == "block")
            if terminated or truncated:
                guard.reset()
        assert decisions == expected
        blocked += decisions.count("block")
    assert blocked >= 20 and at_once < 60 * N


def test_many_environments_teach_one_set_of_models():
    fast = FitConfig(updates=200, check_every=50)
    config = ModelsConfig(members=3, dynamics_hidden=16, label_keys=(0,), eps=0.2, dynamics=fast, blockers=fast)
    known = KnownDynamics(lambda s, a: (advance(s, a), advance(s, a)[..., 0] - s[..., 0]))
    planning = PlanningConfig(horizon=12, particles=1, plan_samples=8)

    def oracle(env):
        peek = lambda action: advance(torch.from_numpy(env.state), torch.as_tensor(action) / 2).numpy()  # noqa: E731
        return LocalOverseer(peek, lambda state: state[0] >= WALL)

    envs = SyncVectorEnv([ShortCart] * 4)
    guard = VectorGuard(envs, overseer_of=oracle, safe_action=lambda seen: np.clip(-20 * seen[1:], -2, 2))
    models = Models.from_config(config, 2, 1, known_dynamics=known)
    log = DecisionLog()
    guard.observers.append(log)
    phases = Phases(
        guard,
        Controllers(full_ahead, braking),
        PhasesConfig(oversight_steps=600, audit=0.0, needless=1.0),
        planning,
        models,
    )
    guard.reset(seed=0)
    draw = np.random.default_rng(0)
    while phases.handed_over_at is None or len(log.rows) < phases.handed_over_at + 400:
        actions = np.where(draw.random((4, 1)) < 0.6, 2.0, draw.uniform(-2, 2, (4, 1)))
        guard.step(actions.astype(np.float32))
    rows = log.rows
    assert phases.phase is Phase.AUTONOMY and 600 <= phases.handed_over_at <= 1200
    alone = rows[phases.handed_over_at + 3 :]
    assert phases.labels.judgements <= phases.handed_over_at + 3
    assert sum(row["catastrophe"] for row in rows[:600]) >= 5 and sum(row["catastrophe"] for row in alone) <= 1
    assert 0 < sum(row["decision"] == "block" for row in alone) < len(alone)
    assert not guard.faults


def test_an_end_of_which_nobody_tells_where_it_was_is_refused():
    class Forgets(SyncVectorEnv):
        def step(self, actions):
            *rest, infos = super().step(actions)
            return *rest, {key: value for key, value in infos.items() if "final_obs" not in key}

    guard = VectorGuard(Forgets([ShortCart], autoreset_mode=AutoresetMode.SAME_STEP), overseer=right_of_the_middle())
    guard.reset(seed=0)
    with pytest.raises(HeedError, match="without final_obs"):
        for _ in range(12):
            guard.step(np.zeros((1, 1), np.float32))

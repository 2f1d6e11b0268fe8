"""The snapshots that a run keeps: an even sample of the blocks, with all that was seen, done and followed."""

import logging

import numpy as np
import pytest
import torch
from guard_worlds import WALL, Cart, CartEnv, Person, Wall, advance, braking, full_ahead

from heed.guard.decisions import Decision, Step
from heed.guard.guard import Guard
from heed.guard.intervention import AskWhenUnsure, Lookahead
from heed.guard.planning.imagination import Futures, Imagination
from heed.guard.planning.lookahead import Look, Lookout
from heed.guard.planning.optimizers import ICEM
from heed.guard.planning.planner import SafePlanner
from heed.guard.run.snapshots import FOLLOWED, BlockSnapshots


def a_look(horizon=2):
    nothing = torch.zeros(horizon, 1, 1, 1)
    states = torch.zeros(horizon + 1, 1, 1, 1, 2)
    futures = Futures(states, nothing[..., None], nothing, nothing, nothing[0] == 0)
    return Look(0.9, torch.tensor([0.9]), 0, futures, 0, futures, 0.5, 0.5)


LOOK = a_look()


def a_step(number=0, blocked=True, look=LOOK, episode=0, stream=0, **ends):
    decision = Decision(1.0, -1.0, "block" if blocked else "allow", "planner", look=look)
    one = np.ones(1, np.float32)
    states = np.full((2, 2), [[number], [number + 1]], np.float32)
    settled = {"terminated": False, "truncated": False, "catastrophe": False} | ends
    return Step(states[0], one, -one, decision, states[1], 0.0, info={}, episode=episode, stream=stream, **settled)


def saved(snapshots, folder):
    snapshots.save(folder / "moments.npz")
    with np.load(folder / "moments.npz", allow_pickle=False) as stored:
        return dict(stored)


def test_the_sample_of_blocks_is_even_over_the_run():
    step, quarters, runs = a_step(), np.zeros(4), 60
    for seed in range(runs):
        snapshots = BlockSnapshots(most=20, seed=seed)
        for number in range(800):
            snapshots(a_step(episode=number) if number % 2 else step)
        assert len(snapshots.kept) == 20 and snapshots.blocks == 800
        quarters += np.bincount([snapshot.step // 200 for snapshot in snapshots.kept], minlength=4)
    expected = runs * 20 / 4
    deviation = np.sqrt(runs * 20 * 0.25 * 0.75)
    assert np.abs(quarters - expected).max() < 4 * deviation
    assert {m.step for m in snapshots.kept} != {m.step for m in BlockSnapshots(most=20).kept}


def test_one_seed_keeps_the_same_snapshots():
    kept = []
    for _ in range(2):
        snapshots = BlockSnapshots(most=5, seed=3)
        for number in range(100):
            snapshots(a_step(number))
        kept.append([snapshot.step for snapshot in snapshots.kept])
    assert kept[0] == kept[1]


def test_nothing_is_kept_of_what_was_let_pass_or_judged_without_a_look():
    snapshots = BlockSnapshots()
    snapshots(a_step(blocked=False))
    snapshots(a_step(look=None))  # an overseer's block
    snapshots(a_step(2))
    assert [snapshot.step for snapshot in snapshots.kept] == [2] and snapshots.blocks == 1


def test_what_followed_is_kept_as_long_as_the_episode_lasts(tmp_path):
    snapshots = BlockSnapshots()
    for number in range(40):
        snapshots(a_step(number, blocked=number in (0, 35), episode=int(number >= 37), terminated=number == 36))
    happened = saved(snapshots, tmp_path)["happened"]
    assert happened[0, :, 0].tolist() == list(range(FOLLOWED + 1))
    assert happened[1, :3, 0].tolist() == [35, 36, 37] and np.isnan(happened[1, 3:]).all()


def test_what_followed_is_of_the_snapshots_own_environment():
    snapshots = BlockSnapshots()
    for number in range(6):
        snapshots(a_step(number, blocked=number == 0, stream=number % 2, episode=number % 2))
    assert [state[0] for state in snapshots.kept[0].happened] == [0, 1, 3, 5]  # the next states of steps 0, 2 and 4


@pytest.fixture(scope="module")
def driven():
    """A cart that goes full ahead towards a wall, under a guard that knows its world exactly."""
    imagination = Imagination(Cart(members=2), Wall(), full_ahead, particles=3)
    lookout = Lookout(imagination, 20, 0.5, brake=braking)
    planner = SafePlanner(ICEM(15, 1, samples=32, elites=4), imagination, 0.5, deadline=60)
    snapshots = BlockSnapshots(most=1000)
    looking = Lookahead(lookout, planner, [full_ahead, braking])
    guard = Guard(CartEnv(), intervention=looking, observers=[snapshots])
    guard.reset(seed=0)
    infos = [guard.step(np.array([2.0], np.float32))[4]["guard"] for _ in range(50)]
    return snapshots, infos


def test_the_guard_hands_on_what_it_saw_and_planned(driven):
    snapshots, infos = driven
    blocks = [number for number, info in enumerate(infos) if info["decision"] == "block"]
    assert [snapshot.step for snapshot in snapshots.kept] == blocks and len(blocks) > 10
    assert "look" not in infos[0] and "plan" not in infos[0]  # they are not for the learner's infos
    for snapshot in snapshots.kept:
        state = torch.from_numpy(snapshot.taken.state)
        own = snapshot.look.own.states[:, 0, 0, 0]
        assert torch.allclose(own[1], advance(state, torch.ones(1)))  # what was proposed, then the policy
        assert torch.allclose(own[2], advance(own[1], torch.ones(1)))
        assert bool((snapshot.look.own.danger.flatten(1).amax(1) > 0.5).equal(own[1:, 0] >= WALL))
        assert snapshot.taken.decision.first_unsafe == int((own[1:, 0] >= WALL).nonzero()[0])
        plan = snapshot.taken.decision.plan
        expected = [state]
        for action in plan.actions:
            expected.append(advance(expected[-1], action))
        assert torch.allclose(plan.states[:, 1, 2], torch.stack(expected), atol=1e-5)
        assert bool((plan.states[..., 0] < WALL).all()) == plan.feasible


def test_the_file_holds_every_snapshot_by_value(driven, tmp_path):
    snapshots, infos = driven
    kept = saved(snapshots, tmp_path)
    n = len(snapshots.kept)
    assert {name: kept[name].shape for name in ("futures", "danger", "plan_states", "plan_actions", "happened")} == {
        "futures": (n, 21, 2, 3, 2), "danger": (n, 20, 2, 3), "plan_states": (n, 16, 2, 3, 2),
        "plan_actions": (n, 15, 1), "happened": (n, 21, 2),
    }  # fmt: skip
    assert int(kept["blocks"]) == n and kept["pictures"].shape[0] == n and not kept["pictured"].any()
    for row, snapshot in enumerate(snapshots.kept):
        info = infos[snapshot.step]
        assert kept["source"][row] == info["source"] and kept["risk"][row] == info["risk"]
        assert kept["proposed"][row] == 2.0 and kept["executed"][row] == info["executed"]
        assert kept["first_unsafe"][row] == info["first_unsafe"] and kept["feasible"][row] == info["feasible"]
        assert kept["threshold"][row] == 0.5 and (kept["states"][row] == snapshot.taken.state).all()
        np.testing.assert_array_equal(kept["futures"][row], snapshot.look.own.states[:, :, 0].numpy())
        np.testing.assert_array_equal(kept["plan_actions"][row], snapshot.taken.decision.plan.actions.numpy())
    assert not list(tmp_path.glob(".*"))


def test_a_way_out_that_is_less_risky_does_not_hide_the_policys_own_future():
    risky = Lookout(Imagination(Cart(), Wall(), full_ahead, particles=1), 20, 0.5, brake=braking)
    look = risky.look(torch.tensor([0.3, 0.8]), torch.ones(1))
    assert look.risk == 0 and look.own is not look.futures
    assert float(look.own.danger.max()) == 1.0 and look.threshold == 0.5


def test_without_blocks_there_is_a_file_of_none(tmp_path):
    kept = saved(BlockSnapshots(), tmp_path)
    assert int(kept["blocks"]) == 0 and len(kept["step"]) == len(kept["futures"]) == len(kept["pictures"]) == 0


def test_pictures_are_taken_of_kept_snapshots_alone_and_thinned(tmp_path):
    taken = []

    def camera():
        taken.append(len(taken))
        return np.full((400, 700, 3), len(taken), np.uint8)

    snapshots = BlockSnapshots(most=3, seed=0, picture=camera)
    for number in range(60):
        snapshots(a_step(number, blocked=number % 2 == 0))
    kept = saved(snapshots, tmp_path)
    assert 3 <= len(taken) < 30
    assert kept["pictures"].shape == (3, 134, 234, 3) and kept["pictured"].all()
    assert sorted(set(kept["pictures"][:, 0, 0, 0].tolist())) == sorted(kept["pictures"][:, 0, 0, 0].tolist())


def test_a_camera_that_fails_is_said_once_and_never_asked_again(caplog, tmp_path):
    asked = []

    def broken():
        asked.append(1)
        raise OSError("no display")

    snapshots = BlockSnapshots(picture=broken)
    with caplog.at_level(logging.WARNING, logger="heed"):
        for number in range(3):
            snapshots(a_step(number))
    assert len(asked) == 1 and [r.message for r in caplog.records] == [
        "the environment cannot be drawn (OSError: no display)"
    ]
    assert len(snapshots.kept) == 3 and not saved(snapshots, tmp_path)["pictured"].any()


def test_an_overseers_block_in_autonomy_is_kept_too(tmp_path):
    snapshots, person = BlockSnapshots(), Person(lambda _: True, instead=np.array([-1.0], np.float32))
    looking = Lookahead(Lookout(Imagination(Cart(), Wall(), full_ahead, particles=1), 3, 0.5))
    guard = Guard(CartEnv(), intervention=AskWhenUnsure(looking, person, lambda look: True), observers=[snapshots])
    guard.reset(seed=0)
    guard.step(np.array([2.0], np.float32))
    kept = saved(snapshots, tmp_path)
    assert kept["source"].tolist() == ["person"] and kept["plan_states"].shape == (1, 0)
    assert kept["executed"][0].tolist() == [-1.0] and np.isnan(kept["feasible"][0])

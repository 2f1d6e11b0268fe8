"""SMBPO: C's formula, what absorbing states are worth in a batch, and models that nobody was asked for."""

import numpy as np
import pytest
import torch
from guard_worlds import WALL, Cart, CartEnv, Wall, full_ahead
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from heed.errors import HeedError
from heed.guard.guard import Guard
from heed.guard.intervention import Off
from heed.guard.labels import LabelCollector
from heed.guard.learners.mbpo import Rollouts
from heed.guard.learners.smbpo import ABSORBED, AbsorbingReplayBuffer, AbsorbingSAC, UnaskedModels, absorbing_cost
from heed.guard.models.config import FitConfig, ModelsConfig
from heed.guard.models.models import Models
from heed.guard.phases import Phase
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.imagination import Imagination

SPACES = (CartEnv.observation_space, CartEnv.action_space)


def replay(gamma=0.5, horizon=3, **settings):
    return AbsorbingReplayBuffer(100, *SPACES, device="cpu", gamma=gamma, horizon=horizon, **settings)


def add(buffer, reward, catastrophe=False, place=0.0, **info):
    row = np.array([[place, 0.0]])
    told = [{"catastrophe": catastrophe, **info}]
    buffer.add(row, row + 1, np.zeros((1, 1)), np.array([reward]), np.array([False]), told)


def test_c_is_the_papers():
    assert absorbing_cost(-1.0, 1.0, 0.5, 3) == 15.0  # 2 * 8 - 1
    assert absorbing_cost(0.0, 1.0, 0.9, 1) == pytest.approx(1 / 9)


@pytest.mark.parametrize(("gamma", "horizon"), [(0.9, 1), (0.9, 5), (0.98, 10)])
def test_c_is_where_the_best_that_ends_unsafely_equals_the_worst_that_is_safe(gamma, horizon):
    """r_max until the catastrophe, H steps on, and -C ever after, against r_min for good."""
    least, most = -0.3, 2.0
    cost = absorbing_cost(least, most, gamma, horizon)
    unsafe = most * (1 - gamma**horizon) / (1 - gamma) - gamma**horizon * cost / (1 - gamma)
    assert unsafe == pytest.approx(least / (1 - gamma))


def test_a_batch_has_absorbing_states_at_what_they_are_worth_by_now():
    buffer = replay()
    assert buffer.cost == 0
    add(buffer, -0.5, place=1.0)
    add(buffer, -7.0, catastrophe=True, place=2.0, **{"TimeLimit.truncated": True})  # its own reward does not count
    add(buffer, 1.0, place=3.0)
    assert buffer.bounds == (-0.5, 1.0) and buffer.cost == 11.0 and buffer.penalty == -22.0
    batch = buffer.sample(200)
    worth = {
        float(state[0]): (float(reward), float(done))
        for state, reward, done in zip(batch.observations, batch.rewards, batch.dones, strict=True)
    }
    assert worth == {1.0: (-0.5, 0.0), 2.0: (-22.0, 1.0), 3.0: (1.0, 0.0)}
    add(buffer, 3.0, place=4.0)  # C grows, and with it what was kept before
    batch = buffer.sample(200)
    assert batch.rewards[batch.observations[:, 0] == 2.0].unique().tolist() == [-2 * (3.5 * 8 - 3.0)]


def test_imagined_danger_absorbs_at_the_same_worth():
    buffer = replay(real_share=0.5)
    add(buffer, 0.0)
    add(buffer, 1.0)
    imagination = Imagination(Cart(members=2), Wall(), full_ahead, 1)
    rows = Rollouts(imagination, 0.5, ABSORBED, 10).rows(torch.tensor([[0.8, 1.0], [-9.0, 0.0]]))
    hit = rows.next_observations[:, 0] >= WALL
    assert 0 < int(hit.sum()) < len(hit) and torch.equal(hit, rows.dones.squeeze(1).bool())
    buffer.imagine(rows)
    batch = buffer.sample(400)
    struck = batch.dones.squeeze(1).bool()
    assert batch.rewards[struck].unique().tolist() == [buffer.penalty] == [-14.0]
    assert bool(batch.rewards.isfinite().all()) and int(struck.sum()) > 0


def test_rows_that_are_not_of_danger_keep_their_reward():
    buffer = replay(real_share=0.5)
    add(buffer, 0.25)
    columns = (torch.zeros(3, 2), torch.zeros(3, 1), torch.zeros(3, 2), torch.zeros(3, 1), torch.full((3, 1), 0.75))
    buffer.imagine(ReplayBufferSamples(*columns))
    assert buffer.sample(50).rewards.unique().tolist() == [0.25, 0.75]


@pytest.mark.parametrize(("gamma", "horizon"), [(1.0, 3), (0.0, 3), (0.9, 0)])
def test_a_bad_discount_or_horizon_is_one_line(gamma, horizon):
    with pytest.raises(HeedError, match="--safe-horizon"):
        replay(gamma, horizon)


def test_models_are_fitted_to_catastrophes_and_nobody_is_asked():
    """A cart that always drives into the wall: there is danger beyond it and none before, and no judgement."""
    fast = FitConfig(updates=300, check_every=100)
    config = ModelsConfig(
        members=2, dynamics_hidden=16, eps=0.3, label_keys=(0,), survival=True, dynamics=fast, blockers=fast
    )
    models, labels = Models(2, 1, config), LabelCollector(2, 1, grace=1)
    unasked = UnaskedModels(models, labels, PhasesConfig(oversight_steps=40, refit_every=100, least_blocks=1), seed=0)
    guard = Guard(CartEnv(), intervention=Off(), observers=[unasked])
    phases = []
    guard.reset(seed=0)
    for _ in range(260):
        ended = guard.step(np.array([2.0], np.float32))[2]
        phases.append(unasked.phase)
        if ended:
            guard.reset()
    assert phases[38] is Phase.OVERSIGHT
    assert phases[-1] is Phase.AUTONOMY and unasked.reports and labels.judgements == 0
    assert unasked.handed_over_at is None
    steps = [(torch.tensor([[x, 1.5]]), torch.ones(1, 1), torch.tensor([[x + 0.15, 1.5]])) for x in (-0.8, 0.98)]
    safe, unsafe = (float(models.danger(*step)) for step in steps)
    assert safe < models.threshold <= unsafe


def test_the_learner_tells_c():
    model = AbsorbingSAC(
        "MlpPolicy", CartEnv(), device="cpu", buffer_size=100, learning_starts=50,
        replay_buffer_class=AbsorbingReplayBuffer, replay_buffer_kwargs={"gamma": 0.5, "horizon": 3},
    )  # fmt: skip
    model.learn(8)
    least, most = model.replay_buffer.bounds
    assert model.figures() == {"absorbing_cost": pytest.approx(8 * (most - least) - most)}

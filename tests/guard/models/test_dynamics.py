import math

import pytest
import torch
from double_integrator import driven
from torch.distributions import Normal

from heed.errors import HeedError
from heed.guard.models.config import FitConfig
from heed.guard.models.dynamics import EnsembleDynamics, KnownDynamics, gaussian_nll
from heed.guard.models.rewards import WithReward
from heed.guard.models.transitions import Transitions

QUICK = FitConfig(updates=600)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def constant_model(mean, logvar, members=3):
    """A model that predicts the same Gaussian everywhere: zero weights, bounds that do not bind."""
    model = EnsembleDynamics(state_size=2, action_size=1, members=members, hidden=8)
    with torch.no_grad():
        model.max_logvar.fill_(60.0)
        model.min_logvar.fill_(-60.0)
        for parameter in (*model.network.weights, *model.network.biases):
            parameter.zero_()
        model.network.biases[-1].copy_(torch.tensor([*mean, *logvar]))
    return model


@pytest.fixture(scope="module")
def learnt():
    model = EnsembleDynamics(state_size=2, action_size=1, members=5, hidden=64)
    return model, model.fit(driven(2000, seed=0), QUICK, seeded())


def test_the_loss_is_the_gaussian_negative_log_likelihood():
    mean, logvar, target = (torch.randn(50, 3, generator=seeded(seed)) for seed in range(3))
    oracle = -Normal(mean, torch.exp(logvar / 2)).log_prob(target)
    torch.testing.assert_close(gaussian_nll(mean, logvar, target), oracle)


def test_the_log_variance_stays_within_its_learnt_bounds_and_follows_the_network_between_them():
    model = constant_model([0.0] * 3, [0.0] * 3, members=1)
    with torch.no_grad():
        model.max_logvar.fill_(0.5)
        model.min_logvar.fill_(-10.0)
    x, result = torch.zeros(1, 1, 3), []
    for raw in (-1e6, -100.0, -5.0, 100.0, 1e6):
        model.network.biases[-1].data[..., 3:] = raw
        result.append(float(model._gaussian(x)[1][0, 0, 0].detach()))
    assert result[:2] == pytest.approx([-10.0, -10.0], abs=1e-3)
    assert result[2] == pytest.approx(-5.0, abs=0.02)
    assert result[3:] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert {"max_logvar", "min_logvar"} <= {name for name, _ in model.named_parameters()}


def test_a_step_draws_from_the_gaussian_around_state_plus_change_in_the_data_s_units():
    model = constant_model([0.5, -1.0, 2.0], [math.log(0.04), math.log(0.25), math.log(1.0)], members=2)
    model.targets.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    model.targets.std.copy_(torch.tensor([10.0, 0.1, 2.0]))
    states = torch.tensor([7.0, -3.0]).expand(2, 40_000, 2)
    samples, rewards = model.step(states, torch.zeros(2, 40_000, 1), seeded())
    for e in range(2):  # member by member
        torch.testing.assert_close(samples[e].mean(0), torch.tensor([7 + 1 + 5.0, -3 + 2 - 0.1]), rtol=0, atol=0.03)
        torch.testing.assert_close(samples[e].std(0), torch.tensor([2.0, 0.05]), rtol=0.02, atol=0)
        assert float(rewards[e].mean()) == pytest.approx(3 + 4.0, abs=0.03)
        assert float(rewards[e].std()) == pytest.approx(2.0, rel=0.02)
    assert abs(float(torch.corrcoef(torch.stack([samples[0, :, 0], samples[1, :, 0]]))[0, 1])) < 0.02
    again, _ = model.step(states, torch.zeros(2, 40_000, 1), seeded())
    assert torch.equal(samples, again)


def test_a_row_is_advanced_by_its_own_member_alone(learnt):
    model, _ = learnt
    states, actions = torch.randn(5, 7, 2, generator=seeded()), torch.randn(5, 7, 1, generator=seeded(1))
    result, rewards = model.step(states, actions, seeded(2))
    sick = EnsembleDynamics(state_size=2, action_size=1, members=5, hidden=64)
    sick.load_state_dict(model.state_dict())
    sick.network.weights[1].data[3] = torch.nan
    heard, earned = sick.step(states, actions, seeded(2))
    for e in (0, 1, 2, 4):
        assert torch.equal(heard[e], result[e])
        assert torch.equal(earned[e], rewards[e])
    assert heard[3].isnan().all()
    assert earned[3].isnan().all()


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_comes_out_not_finite_and_touches_no_other_row(learnt, poison):
    model, _ = learnt
    states, actions = torch.zeros(5, 4, 2), torch.zeros(5, 4, 1)
    clean, _ = model.step(states, actions, seeded())
    states[:, 1, 0] = poison
    actions[:, 2, 0] = poison
    result, rewards = model.step(states, actions, seeded())
    assert not rewards[:, 1:3].isfinite().any()
    assert torch.equal(result[:, [0, 3]], clean[:, [0, 3]])
    for _ in range(4):  # and it stays so
        assert not result[:, 1:3].isfinite().all(-1).any()
        result, rewards = model.step(result, torch.zeros(5, 4, 1), seeded())
    assert not rewards[:, 1:3].isfinite().any()


def test_a_state_beyond_all_measure_never_comes_back(learnt):
    model, _ = learnt
    result, _ = model.step(torch.full((5, 4, 2), 3e38), torch.zeros(5, 4, 1), seeded())
    for _ in range(4):
        assert not (result.abs() < 1e30).any()
        result, _ = model.step(result, torch.zeros(5, 4, 1), seeded())


def test_the_double_integrator_is_learnt_far_beyond_one_step(learnt):
    model, report = learnt
    assert report.mse.shape == (5,)
    assert float(report.mse.max()) < 0.004
    assert float(report.nll.max()) < -2
    fresh = driven(800, seed=99)
    error = model.open_loop_error(fresh, 20)
    assert error.shape == (20, 2)
    assert error[0, 1] < 0.004  # of a velocity that moves by .06 a step
    assert error[19].max() < 0.08  # of a position that moves by about 1 in 20 steps
    states, actions, next_states, *_ = fresh.tensors()
    assert (model.mean(states, actions) - next_states).square().mean().sqrt() < 0.004


def test_noise_of_the_world_is_learnt_as_variance_and_the_calibration_tells():
    model = EnsembleDynamics(state_size=2, action_size=1, members=5, hidden=64)
    model.fit(driven(3000, seed=0, noise=0.05), QUICK, seeded())
    states = torch.zeros(5, 4000, 2)
    samples, _ = model.step(states, torch.zeros(5, 4000, 1), seeded())
    assert float(samples[..., 1].std()) == pytest.approx(0.05, rel=0.15)
    calibration = model.calibration(driven(3000, seed=7, noise=0.05))
    torch.testing.assert_close(calibration.coverage[:, 1], calibration.levels, rtol=0, atol=0.05)
    assert calibration.gap < 0.2


def test_calibration_has_the_coverage_that_theory_gives():
    draw = seeded()
    count = 20_000
    change = torch.randn(count, 2, generator=draw) * torch.tensor([1.0, 2.0])
    transitions = Transitions(2, 1)
    transitions.add(torch.zeros(count, 2), torch.zeros(count, 1), change, torch.randn(count, generator=draw) / 2)
    model = constant_model([0.0] * 3, [0.0] * 3)  # deviation 1 for all three, where 1, 2 and .5 are true
    calibration = model.calibration(transitions)
    reach = Normal(0.0, 1.0).icdf((1 + calibration.levels) / 2)
    for column, deviation in enumerate((1.0, 2.0, 0.5)):
        truth = 2 * Normal(0.0, deviation).cdf(reach) - 1
        torch.testing.assert_close(calibration.coverage[:, column], truth, rtol=0, atol=0.01)
    assert calibration.nll == pytest.approx(0.5 * math.log(2 * math.pi) + (1 + 4 + 0.25) / 6, abs=0.02)
    spread = constant_model([0.0] * 3, [-40.0] * 3)  # members that are sure of what they disagree on: -1, 0, 1
    spread.network.biases[-1].data[:, 0, 0] = torch.tensor([-1.0, 0.0, 1.0])
    reach = reach * math.sqrt(2 / 3)
    torch.testing.assert_close(spread.calibration(transitions).coverage[:, 0], 2 * Normal(0.0, 1.0).cdf(reach) - 1,
                               rtol=0, atol=0.01)  # fmt: skip


def test_open_loop_error_grows_as_arithmetic_says_for_a_model_that_is_wrong_by_a_constant():
    transitions = Transitions(2, 1)
    for i in range(12):  # truth moves by (1, 0) a step
        transitions.add([i, 0.0], [0.0], [i + 1.0, 0.0], reward=0.0)
    model = constant_model([1.25, 0.0, 0.0], [0.0] * 3)
    model.network.biases[-1].data[0, 0, 1] = 0.3  # one member of three drifts sideways
    error = model.open_loop_error(transitions, 5)
    steps = torch.arange(1.0, 6.0)
    torch.testing.assert_close(error, torch.stack([0.25 * steps, 0.3 * steps / math.sqrt(3)], dim=1))
    with pytest.raises(HeedError, match="no 13 transitions follow"):
        model.open_loop_error(transitions, 13)


def test_a_fit_repeats_with_the_generator_and_members_tell_different_stories():
    data = driven(300, seed=0)
    config = FitConfig(updates=60, check_every=20)
    fits = []
    for seed in (0, 0, 1):
        model = EnsembleDynamics(state_size=2, action_size=1, members=3, hidden=16)
        model.fit(data, config, seeded(seed))
        fits.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(fits[0], fits[1])
    assert not torch.equal(fits[0], fits[2])


def test_without_bootstrap_members_of_equal_weights_still_differ_by_their_batches_and_with_it_by_their_rows():
    data = driven(40, seed=0)
    for bootstrap in (False, True):
        model = EnsembleDynamics(state_size=2, action_size=1, members=3, hidden=16)
        for parameter in model.parameters():
            parameter.data[:] = parameter.data[:1].clone()
        model.fit(data, FitConfig(updates=5, batch_size=1000, bootstrap=bootstrap), seeded())
        outputs = model.network(torch.ones(3, 1, 3)).detach()
        # Where a batch holds all rows, only the bootstrap tells the members apart (beyond the order of a sum).
        assert bool((outputs - outputs[:1]).abs().max() > 1e-3) is bootstrap


def test_a_refit_begins_where_the_last_fit_ended_though_the_normalisers_follow_the_data(learnt):
    model, _ = learnt
    again = EnsembleDynamics(state_size=2, action_size=1, members=5, hidden=64)
    again.load_state_dict(model.state_dict())
    states, actions = torch.randn(5, 50, 2, generator=seeded()), torch.randn(5, 50, 1, generator=seeded(1))
    before, rewarded = again.step(states, actions, seeded(2))
    wider = driven(500, seed=3)
    scaled = Transitions(2, 1)
    old = wider.tensors()
    scaled.add(3 * old.states + 1, 2 * old.actions, 3 * old.next_states + 2, 5 * old.rewards)
    inputs, targets, _ = again._rows(scaled)
    again._renormalise(inputs, targets)
    assert not torch.allclose(again.targets.std, model.targets.std, rtol=0.5)
    after, earned = again.step(states, actions, seeded(2))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(earned, rewarded, rtol=1e-3, atol=1e-4)


def test_a_refit_with_more_data_is_no_worse_and_takes_few_updates_to_be_good():
    model = EnsembleDynamics(state_size=2, action_size=1, members=5, hidden=64)
    data = driven(600, seed=0)
    first = model.fit(data, QUICK, seeded())
    for row in zip(*driven(200, seed=5).tensors(), strict=True):
        data.add(*row)
    brief = FitConfig(updates=50, learning_rate=1e-3)
    second = model.fit(data, brief, seeded(1))
    cold = EnsembleDynamics(state_size=2, action_size=1, members=5, hidden=64).fit(data, brief, seeded(1))
    assert float(second.mse.mean()) < 1.5 * float(first.mse.mean())
    assert float(second.mse.mean()) < 0.2 * float(cold.mse.mean())


def test_a_target_that_never_varied_is_predicted_exactly_and_one_that_begins_to_is_learnt():
    still = Transitions(2, 1)
    states = torch.randn(400, 2, generator=seeded())
    actions = torch.randn(400, 1, generator=seeded(1))
    still.add(states, actions, states + torch.cat([actions, torch.full_like(actions, 0.125)], dim=1), torch.zeros(400))
    model = EnsembleDynamics(state_size=2, action_size=1, members=3, hidden=64)
    model.fit(still, QUICK, seeded())
    result, rewards = model.step(torch.zeros(3, 50, 2), torch.ones(3, 50, 1), seeded())
    assert (result[..., 1] == 0.125).all()
    assert (rewards == 0).all()
    assert (result[..., 0].mean() - 1).abs() < 0.1
    still.add(states, actions, states + torch.cat([actions, -actions], dim=1), torch.zeros(400))
    report = model.fit(still, FitConfig(updates=300), seeded())
    assert report.nll.isfinite().all()
    assert model.step(torch.zeros(3, 50, 2), torch.ones(3, 50, 1), seeded())[0][..., 1].std() > 0.2  # .125 or -1


def test_held_out_rows_stay_held_out_when_the_transitions_grow():
    learnt_from = []
    model = EnsembleDynamics(state_size=2, action_size=1, members=2, hidden=8)
    model._renormalise = lambda inputs, targets: learnt_from.append({tuple(row.tolist()) for row in inputs})
    data = driven(300, seed=0)
    model.fit(data, FitConfig(updates=1), seeded())
    size = len(data)
    for row in zip(*driven(300, seed=1).tensors(), strict=True):
        data.add(*row)
    report = model.fit(data, FitConfig(updates=1), seeded(5))
    every = {tuple(row.tolist()) for row in model._rows(data)[0][:size]}
    assert learnt_from[1] & every == learnt_from[0]
    assert report.rows + report.held_out == len(data)
    assert report.held_out / len(data) == pytest.approx(0.15, abs=0.04)


def test_rows_that_are_not_finite_are_left_out_and_counted():
    data = driven(200, seed=0)
    data.add([0.0, math.nan], [0.0], [0.0, 0.0], reward=0.0)
    data.add([0.0, 0.0], [0.0], [math.inf, 0.0], reward=0.0)
    data.add([0.0, 0.0], [0.0], [0.0, 0.0], reward=math.nan)
    model = EnsembleDynamics(state_size=2, action_size=1, members=2, hidden=8)
    report = model.fit(data, FitConfig(updates=20), seeded())
    assert report.left_out == 3
    assert report.nll.isfinite().all()
    assert model.step(torch.zeros(2, 1, 2), torch.zeros(2, 1, 1), seeded())[0].isfinite().all()


def test_what_the_likelihood_silences_beta_lets_speak():
    # A wall at 1: what would pass it stays there. Beyond lies a tenth of the data.
    draw = seeded(3)
    states = torch.stack([torch.rand(2000, generator=draw) * 1.1, torch.zeros(2000)], dim=1)
    actions = torch.rand(2000, 1, generator=draw) * 2 - 1
    following = states + 0.1 * torch.cat([actions, torch.zeros_like(actions)], dim=1)
    stopped = following[:, 0] > 1
    following[stopped, 0] = states[stopped, 0]
    data = Transitions(2, 1)
    data.add(states, actions, following, torch.zeros(2000))
    errors = {}
    for beta in (0.0, 0.5):
        model = EnsembleDynamics(state_size=2, action_size=1, members=5, hidden=64, beta=beta)
        model.fit(data, QUICK, seeded())
        wrong = (model.mean(states, actions) - following)[:, 0]
        errors[beta] = float(wrong[stopped].square().mean().sqrt())
    assert errors[0.5] < 0.8 * errors[0.0]


def test_a_known_world_needs_no_members_and_a_given_reward_takes_the_learnt_one_s_place(learnt):
    def world(states, actions):
        return states + actions, states.sum(-1)

    known = KnownDynamics(world, members=2)
    states, actions = torch.randn(2, 3, 1, generator=seeded()), torch.ones(2, 3, 1)
    result, rewards = known.step(states, actions)
    assert torch.equal(result, states + 1)
    assert torch.equal(rewards, states[..., 0])
    assert torch.equal(known.mean(states[0], actions[0]), states[0] + 1)
    model, _ = learnt
    given = WithReward(model, lambda states, actions, next_states: (next_states - states)[..., 0] + actions[..., 0])
    states, actions = torch.zeros(5, 3, 2), torch.ones(5, 3, 1)
    result, rewards = given.step(states, actions, seeded())
    assert torch.equal(result, model.step(states, actions, seeded())[0])
    assert torch.equal(rewards, result[..., 0] + 1)
    assert given.members == 5
    assert torch.equal(given.mean(states[0], actions[0]), model.mean(states[0], actions[0]))
    column = WithReward(model, lambda states, actions, next_states: actions)
    with pytest.raises(HeedError, match=r"one number for each step, \[5, 3\]"):
        column.step(states, actions, seeded())


def test_mistakes_are_reported_in_one_line():
    model = EnsembleDynamics(state_size=2, action_size=1, members=2, hidden=8)
    few = Transitions(2, 1)
    few.add(torch.zeros(9, 2), torch.zeros(9, 1), torch.zeros(9, 2), torch.zeros(9))
    with pytest.raises(HeedError, match="9 usable transitions"):
        model.fit(few, QUICK, seeded())
    with pytest.raises(HeedError, match="states of 3 and actions of 1"):
        model.fit(Transitions(3, 1), QUICK, seeded())
    with pytest.raises(HeedError, match="beta is 2"):
        EnsembleDynamics(state_size=2, action_size=1, beta=2)
    with pytest.raises(HeedError, match="no usable transitions"):
        model.calibration(Transitions(2, 1))

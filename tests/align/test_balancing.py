"""Which Gram matrix the weighting sees: Adam's metric, the unbiased one, the last layer's, a moving average."""

import math
from pathlib import Path

import pytest
import torch
from known_gradients import accumulate_rows
from torch import nn
from torchjd.aggregation import Weighting

from heed.align.balancing import Balance, Balancer, adam_metric
from heed.align.config import AlignConfig
from heed.balance import GAPO, Lagrangian, Linear, SmoothTchebycheff, project_psd
from heed.balance.cotangents import Cotangents
from heed.balance.jacobian import JacobianAccumulator
from heed.errors import HeedError, RunFailed

K = 2


class Seen(Weighting):
    """Remembers the Gram matrix that it was shown."""

    def forward(self, gramian, /):
        self.gram = gramian
        return torch.ones(len(gramian), dtype=gramian.dtype)


class Setting:
    """A model of two linear layers whose K gradients are put in by hand, micro-batch by micro-batch."""

    def __init__(self, weighting=None, rows=K, micro=True, only=("1.weight",), checkpoint=None, **settings):
        self.model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False)).double()
        self.jacobian = JacobianAccumulator(self.model, rows, path="sequential", keep_micro_grams=micro)
        self.micro = micro
        self.weighting = weighting or Seen()
        config = AlignConfig(**{"prompts_per_step": 16, "micro_batch": 8, **settings})
        self.balancer = Balancer(self.weighting, self.jacobian, K, config, list(only), lambda: checkpoint)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1, betas=(0.8, 0.9), eps=1e-3)

    def put(self, *gradients):
        self.jacobian.zero()
        for rows in gradients:
            accumulate_rows(self.jacobian, rows)
            if self.micro:
                self.jacobian.end_micro_batch()
        return self.balancer.solve(self.optimizer)


def gradients(M=1, rows=K, seed=0):
    return list(torch.randn(M, rows, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def test_the_plain_gram_is_of_the_sum_over_micro_batches():
    setting, parts = Setting(), gradients(4)
    balance = setting.put(*parts)
    total = sum(parts)
    assert torch.allclose(setting.weighting.gram, total @ total.T)
    assert torch.equal(balance.gram, setting.weighting.gram)


def test_adams_metric_is_one_over_root_v_hat_plus_eps_of_every_column():
    setting = Setting(gram="adam", micro=False)
    generator = torch.Generator().manual_seed(3)
    second = {name: torch.zeros(p.shape, dtype=torch.float64) for name, p in setting.model.named_parameters()}
    for _ in range(3):
        for name, parameter in setting.model.named_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            second[name] = 0.9 * second[name] + 0.1 * parameter.grad**2
        setting.optimizer.step()
    unbiased = [(v / (1 - 0.9**3)).flatten() for v in second.values()]
    inverse = torch.cat([1 / (v.sqrt() + 1e-3) for v in unbiased])
    assert torch.allclose(adam_metric(setting.optimizer, setting.jacobian), inverse)
    [rows] = gradients()
    setting.put(rows)
    assert torch.allclose(setting.weighting.gram, rows @ torch.diag(inverse) @ rows.T)


def test_adams_metric_is_the_plain_one_before_the_first_step():
    setting, [rows] = Setting(gram="adam", micro=False), gradients()
    setting.put(rows)
    assert torch.allclose(setting.weighting.gram, rows @ rows.T)


def test_the_unbiased_gram_is_the_mean_over_pairs_of_different_micro_batches_on_the_scale_of_the_batch():
    setting, parts = Setting(gram="unbiased"), gradients(4)
    setting.put(*parts)
    M = len(parts)
    pairs = [M * M * parts[m] @ parts[n].T for m in range(M) for n in range(M) if m != n]
    assert torch.allclose(setting.weighting.gram, project_psd(sum(pairs) / len(pairs)))


def test_without_noise_the_unbiased_gram_is_the_plain_one_and_all_is_signal():
    setting, [rows] = Setting(gram="unbiased"), gradients()
    balance = setting.put(*[rows / 5] * 5)
    assert torch.allclose(setting.weighting.gram, rows @ rows.T)
    assert torch.allclose(balance.signal, torch.ones(K, dtype=torch.float64))


def test_over_many_draws_the_unbiased_gram_finds_the_expected_gradients_and_the_plain_one_adds_the_noise():
    generator = torch.Generator().manual_seed(0)
    [true] = gradients(seed=1)
    M, noise, unbiased, plain = 4, 1.5, 0.0, 0.0
    setting = Setting()
    for _ in range(800):
        drawn = [(true + noise * torch.randn(K, 10, generator=generator, dtype=torch.float64)) / M for _ in range(M)]
        balance = setting.put(*drawn)
        plain = plain + balance.gram / 800
        unbiased = unbiased + setting.balancer.unbiased(balance.gram) / 800
    exact = true @ true.T
    assert torch.allclose(unbiased, exact, atol=0.6)
    assert torch.allclose(plain.diagonal(), exact.diagonal() + 10 * noise**2 / M, atol=0.6)


def test_the_weighting_sees_a_moving_average_of_the_gram():
    setting = Setting(gram_memory=0.75, micro=False)
    first, second = gradients(2)
    setting.put(first)
    setting.put(second)
    grams = first @ first.T, second @ second.T
    expected = (0.75 * 0.25 * grams[0] + 0.25 * grams[1]) / (0.75 * 0.25 + 0.25)
    assert torch.allclose(setting.weighting.gram, expected)


def test_the_papers_scope_is_the_last_layers_gradients():
    setting, [rows] = Setting(scope="last_layer", micro=False), gradients()
    setting.put(rows)
    assert torch.allclose(setting.weighting.gram, rows[:, 6:] @ rows[:, 6:].T)


def test_the_share_of_signal_is_of_all_parameters_whatever_the_scope():
    everything, last, parts = Setting(), Setting(scope="last_layer"), gradients(3)
    assert torch.equal(last.put(*parts).signal, everything.put(*parts).signal)


def test_the_share_of_signal_is_not_told_where_micro_batches_differ_in_size():
    """The estimate takes them as equals: parts of 24, 24 and 16 sequences would give it a bias."""
    balance = Setting(micro_batch=24).put(*gradients(3))
    assert balance.signal.isnan().all()
    with pytest.raises(HeedError, match=r"24 does not divide a minibatch of 64 \(--micro-batch\)"):
        AlignConfig(prompts_per_step=16, micro_batch=24, gram="unbiased")
    assert AlignConfig(prompts_per_step=16, micro_batch=16, gram="unbiased").micro_batches == 4


def test_a_scope_without_a_trained_parameter_is_refused():
    with pytest.raises(HeedError, match="no parameter of the last layer is trained"):
        Setting(scope="last_layer", only=())


def test_the_row_of_the_kl_stays_outside_the_balance():
    setting, [rows] = Setting(rows=K + 1, micro=False), gradients(rows=K + 1)
    balance = setting.put(rows)
    assert torch.allclose(balance.gram, rows[:K] @ rows[:K].T)
    assert balance.weights.shape == (K,)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("scope", ["all", "last_layer"])
def test_a_gradient_that_is_not_finite_fails_the_run_and_names_the_checkpoint(bad, scope):
    setting, [rows] = Setting(scope=scope, checkpoint=Path("step-40"), micro=False), gradients()
    rows[1, 0] = bad  # not in the last layer
    with pytest.raises(RunFailed, match="not finite") as failed:
        setting.put(rows)
    assert failed.value.checkpoint == Path("step-40")


def test_a_weighting_that_follows_values_is_shown_them_and_others_are_left_alone():
    follower = SmoothTchebycheff([0.5, 0.5], ideal=[1.0, 1.0], nadir=[0.0, 0.0], average=0.0)
    Setting(follower).balancer.observe(torch.tensor([[0.0, 0.5], [0.5, math.nan]]))
    assert follower.values.tolist() == [0.25, 0.5]
    Setting(GAPO(p=1)).balancer.observe(torch.tensor([[0.0, 0.5], [0.5, math.nan]]))


def test_a_constraint_is_shown_values_and_spreads_and_its_multiplier_is_told():
    setting = Setting(Lagrangian({1: 0.0}, count=2, rate=1.0, average=0.0), micro=False)
    setting.balancer.observe(torch.tensor([[1.0, 5.0], [-4.0, 2.0]]))  # one short of 0, deviation 3
    balance = setting.put(gradients()[0])
    multiplier = math.exp(1 / 3)
    assert balance.weights.tolist() == pytest.approx([1 / (1 + multiplier), multiplier / (1 + multiplier)])
    assert balance.metrics(("help", "harmless"))["multiplier/harmless"] == pytest.approx(multiplier)


def test_restored_it_goes_on_as_if_never_stopped():
    def fresh():
        weighting = SmoothTchebycheff([0.3, 0.7], ideal=[1.0, 1.0], nadir=[0.0, 0.0])
        return Setting(weighting, gram_memory=0.9, micro=False)

    straight, resumed, parts = fresh(), fresh(), gradients(3)
    for rows in parts[:2]:
        straight.balancer.observe(rows[:, :1])
        straight.put(rows)
    resumed.balancer.restore(straight.balancer.state())
    found = []
    for setting in (straight, resumed):
        setting.balancer.observe(parts[2][:, :1])
        found.append(setting.put(parts[2]))
    assert torch.equal(found[0].weights, found[1].weights) and torch.equal(found[0].gram, found[1].gram)


def test_a_record_tells_norms_cosines_and_the_change_it_predicts():
    gram = torch.tensor([[4.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    balance = Balance(gram, torch.tensor([0.25, 0.5], dtype=torch.float64), torch.tensor([0.5, math.nan]))
    record = balance.record(7, ("help", "harmless"))
    assert record["step"] == 7 and record["names"] == ["help", "harmless"]
    assert record["norms"] == [2, 1] and record["cosines"] == [[1, -0.5], [-0.5, 1]]
    assert record["predicted"] == [4 * 0.25 - 0.5, -0.25 + 0.5] and record["weights"] == [0.25, 0.5]
    assert balance.metrics(("help", "harmless")) == {
        "weights/help": 0.25,
        "weights/harmless": 0.5,
        "norm/help": 2,
        "norm/harmless": 1,
        "signal/help": 0.5,
        "cosine/help~harmless": -0.5,
    }


def test_one_objective_alone_keeps_its_gradient():
    model = nn.Linear(2, 1, bias=False)
    jacobian = JacobianAccumulator(model, 1)
    x = torch.tensor([[[3.0, 4.0]]])
    jacobian.accumulate(lambda rows: model(x)[..., 0], lambda logp: Cotangents.from_dense(torch.ones(1, 1, 1)))
    balancer = Balancer(Linear([1.0]), jacobian, 1, AlignConfig(), [], lambda: None)
    balance = balancer.solve(torch.optim.AdamW(model.parameters()))
    assert jacobian.write_gradient(balance.weights).tolist() == [3, 4]

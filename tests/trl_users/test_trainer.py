"""The balanced trainer against TRL's own: the same update where the balance is TRL's sum, and the paper's elsewhere."""

import asyncio

import pytest
import torch
from reward_functions import length, sage
from torchjd.aggregation import Weighting

from heed.balance import GAPO, Linear, SmoothTchebycheff
from heed.errors import HeedError, RunFailed
from heed.trl.trainer import advantages_of


class Kept(Weighting):
    """Fixed weights, and every Gram matrix that it was given."""

    def __init__(self, weights=(1.0, 1.0)):
        super().__init__()
        self.weights, self.seen = weights, []

    def forward(self, gramian):
        self.seen.append(gramian.clone())
        return torch.tensor(self.weights, dtype=gramian.dtype)


CHANGED = {
    "as it is": {},
    "grpo": {"loss_type": "grpo"},
    "bnpo": {"loss_type": "bnpo"},
    "dr_grpo": {"loss_type": "dr_grpo"},
    "cispo": {"loss_type": "cispo"},
    "sapo": {"loss_type": "sapo"},
    "vespo": {"loss_type": "vespo"},
    "luspo": {"loss_type": "luspo", "importance_sampling_level": "sequence"},
    "kl": {"beta": 0.1},
    "clipped": {"num_iterations": 2, "epsilon": 0.01},
    "clipped twice": {"num_iterations": 2, "delta": 1.01, "epsilon": 0.01},
    "kl and clipped": {"num_iterations": 2, "epsilon": 0.01, "beta": 0.1, "use_bias_correction_kl": True},
    "accumulated": {"gradient_accumulation_steps": 2},
    "accumulated and split": {"gradient_accumulation_steps": 2, "steps_per_generation": 4},
    "without checkpointing": {"gradient_checkpointing": False},
    "all weights": {"adapter": False, "learning_rate": 0.05},
    "scaled by the batch": {"scale_rewards": "batch"},
    "entropic tokens": {"top_entropy_quantile": 0.5},
    "off-policy mask": {"off_policy_mask_threshold": 1e-6, "num_iterations": 2, "epsilon": 0.01},
}


def logged(trainer, *lacking):
    """What TRL logged, but for times and for what is heed's own."""
    kept = [{n: v for n, v in line.items() if not n.startswith(("balance/", "step_time", "train_"))}
            for line in trainer.state.log_history]  # fmt: skip
    return [{n: v for n, v in line.items() if n not in {*lacking, "total_flos"}} for line in kept]


@pytest.mark.parametrize("changes", CHANGED.values(), ids=CHANGED)
def test_with_one_reward_every_loss_of_trls_makes_the_same_update_and_the_same_log(trained, weights_of, changes):
    theirs = trained([length], balanced=False, steps=3, **changes)
    ours = trained([length], steps=3, weighting=Linear([1.0]), **changes)
    moved = weights_of(theirs) - weights_of(trained([length], steps=0, **changes))
    assert moved.norm() > 1e-3
    torch.testing.assert_close(weights_of(ours), weights_of(theirs), rtol=0, atol=float(1e-4 * moved.abs().max()))
    for mine, other in zip(logged(ours, "runtime"), logged(theirs, "runtime"), strict=True):
        assert mine == pytest.approx(other, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("loss", ["dapo", "grpo", "bnpo", "dr_grpo", "cispo", "sapo", "vespo"])
def test_two_rewards_of_weight_one_are_trls_sum_of_them(trained, weights_of, loss):
    changes = {"scale_rewards": "none", "learning_rate": 0.02, "steps": 2, "loss_type": loss}
    theirs = trained([length, sage], balanced=False, **changes)
    ours = trained([length, sage], weighting=Linear([1.0, 1.0]), **changes)
    moved = weights_of(theirs) - weights_of(trained([length, sage], **changes | {"steps": 0}))
    torch.testing.assert_close(weights_of(ours), weights_of(theirs), rtol=0, atol=float(1e-4 * moved.abs().max()))


@pytest.mark.parametrize("changes", [{}, {"gradient_accumulation_steps": 2, "steps_per_generation": 2}])
def test_the_gram_matrix_is_that_of_each_rewards_own_gradient(trained, weights_of, changes):
    start = weights_of(trained([length], steps=0))
    kept = Kept()
    trained([length, sage], steps=1, weighting=kept, **changes)
    moves = [weights_of(trained([r], balanced=False, steps=1, **changes)) - start for r in (length, sage)]
    gradients = torch.stack(moves).double() / 0.5
    torch.testing.assert_close(kept.seen[0], gradients @ gradients.T, rtol=1e-3, atol=0)
    assert len(kept.seen) == 1


def test_gapo_makes_the_papers_step_whatever_a_rewards_unit_is(trained, weights_of):
    start = weights_of(trained([length], steps=0))

    def in_cents(completions, **_):
        return [100 * value for value in length(completions)]

    plain = {"scale_rewards": "none"}
    moves = [
        weights_of(trained([r], balanced=False, steps=1, learning_rate=0.01, **plain)) - start for r in (length, sage)
    ]
    both = sum(0.5 * move / move.norm() for move in moves)
    for rewards in ([length, sage], [in_cents, sage]):
        ours = trained(rewards, steps=1, weighting="gapo", weighting_settings={"p": 1}, learning_rate=0.01, **plain)
        torch.testing.assert_close(weights_of(ours) - start, 0.01 * both, rtol=0, atol=2e-6)
        assert isinstance(ours.weighting, GAPO) and ours.weights.shape == (2,)


def test_the_log_tells_weights_norms_and_angles_by_the_rewards_names(trained):
    ours = trained([length, sage], steps=1)
    line = ours.state.log_history[0]
    norms = ours.gram.diagonal().sqrt()
    assert line["balance/norm/length"] == pytest.approx(float(norms[0]))
    assert line["balance/cosine/length~sage"] == pytest.approx(float(ours.gram[0, 1] / norms.prod()))
    assert line["balance/weight/length"] * line["balance/norm/length"] == pytest.approx(0.5)
    assert not any(
        name.startswith("balance/") for name in trained([sage], balanced=False, steps=1).state.log_history[0]
    )


def test_a_reward_function_sees_what_trl_passes_and_may_pass_on_a_completion(trained):
    seen = {}

    def some(prompts, completions, completion_ids, dose, trainer_state, log_metric, **_):
        seen.update(prompts=prompts, dose=dose, step=trainer_state.global_step, ids=completion_ids)
        log_metric("asked", 1.0)
        return [None if i % 2 else float(d) for i, d in enumerate(dose)]

    async def later(completions, **_):
        await asyncio.sleep(0)
        return length(completions)

    ours = trained([some, later], steps=1, columns={"dose": [1, 2, 3, 4]})
    assert seen["step"] == 0 and set(seen["dose"]) <= {1, 2, 3, 4} and len(seen["ids"]) == 8
    assert [seen["prompts"].count(p) for p in set(seen["prompts"])] == [4, 4]
    line = ours.state.log_history[0]
    assert line["asked"] == 1.0 and line["rewards/later/mean"] > 0
    assert float(ours.gram[0, 0]) == 0.0 and float(ours.gram[1, 1]) > 0  # a group's doses are all the same


def test_a_reward_that_scores_nothing_costs_its_own_gradient_alone(trained, weights_of):
    def nothing(completions, **_):
        return [None] * len(completions)

    start = weights_of(trained([length], steps=0))
    ours = weights_of(trained([length, nothing], steps=1)) - start
    alone = weights_of(trained([length], balanced=False, steps=1)) - start
    assert float(torch.nn.functional.cosine_similarity(ours, alone, dim=0)) == pytest.approx(1.0, abs=1e-4)
    assert torch.isfinite(ours).all() and ours.norm() > 0


def test_an_evaluation_is_trls_own(trained, tokenizer):
    ours = trained([length, sage], steps=1)
    ours.eval_dataset = ours.train_dataset.select(range(4))
    told = ours.evaluate()
    assert told["eval_rewards/length/mean"] > 0 and "eval_loss" in told


def test_a_run_that_goes_on_makes_the_updates_of_one_that_never_stopped(trained, weights_of):
    ends = {"preference": [0.3, 0.7], "ideal": [60.0, 40.0], "nadir": [0.0, 0.0], "settle": 0}
    settings = {"weighting": "tchebycheff", "weighting_settings": ends, "save_strategy": "steps", "save_steps": 2}
    whole = trained([length, sage], steps=4, folder="whole", **settings)
    assert isinstance(whole.weighting, SmoothTchebycheff)
    again = trained([length, sage], steps=4, folder="whole", resume="whole/checkpoint-2", **settings)
    assert torch.equal(weights_of(again), weights_of(whole))
    for name, value in whole.weighting.state_dict().items():
        assert torch.equal(torch.as_tensor(again.weighting.state_dict()[name]), torch.as_tensor(value)), name


def test_an_objective_is_clipped_by_the_sign_of_its_own_advantage(trained, weights_of):
    def against(completions, **_):
        return [-value for value in length(completions)]

    changes = {"num_iterations": 2, "epsilon": 0.003, "steps": 2}
    start = weights_of(trained([length], steps=0))
    for chosen, weights in ((length, (1.0, 0.0)), (against, (0.0, 1.0))):
        kept = Kept(weights)
        ours = weights_of(trained([length, against], weighting=kept, **changes))
        theirs = weights_of(trained([chosen], balanced=False, **changes))
        moved = float((theirs - start).abs().max())
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * moved)
        first, last = kept.seen
        assert float(first[0, 0]) == pytest.approx(float(first[1, 1]), rel=1e-4)  # nothing is clipped before a step
        assert float((last[0, 0] - last[1, 1]).abs() / last[0, 0]) > 0.01  # other tokens are held back for the other


def test_an_infinite_reward_is_refused_by_its_name(trained):
    def broken(completions, **_):
        return [float("inf")] * (len(completions) - 1) + [0.0]

    with pytest.raises(HeedError, match=r"the reward 'broken' gave an infinite number .*: give None"):
        trained([length, broken], steps=1)


def test_a_checkpoint_without_what_a_weighting_remembers_is_refused_and_so_is_anothers(trained, tmp_path):
    ends = {"preference": [0.3, 0.7], "ideal": [60.0, 40.0], "nadir": [0.0, 0.0], "settle": 0}
    settings = {"steps": 2, "folder": "run", "save_strategy": "steps", "save_steps": 1}
    trained([length, sage], weighting="tchebycheff", weighting_settings=ends, **settings)
    file = tmp_path / "run" / "checkpoint-1" / "weighting.pt"
    again = {"weighting": "tchebycheff", "weighting_settings": ends, "resume": "run/checkpoint-1"}
    torch.save({"other": torch.ones(2)}, file)
    with pytest.raises(HeedError, match=r"weighting\.pt is not of SmoothTchebycheff"):
        trained([length, sage], **settings | again)
    file.unlink()
    with pytest.raises(HeedError, match=r"weighting\.pt is missing .*one that this trainer wrote"):
        trained([length, sage], **settings | again)
    trained([length, sage], weighting="gapo", resume="run/checkpoint-1", **settings)  # which remembers nothing


def test_a_loss_of_another_form_is_refused_in_the_first_step(trained, monkeypatch):
    from heed.trl import BalancedGRPOTrainer

    def squared(self, model, inputs):
        logps = self._get_per_token_logps_and_entropies(model, *arguments(inputs))[0]
        return (logps * inputs["advantages"][:, None] ** 2).sum()

    def arguments(inputs):
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        return ids, torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1), inputs["completion_ids"].shape[1]

    monkeypatch.setattr(BalancedGRPOTrainer, "_compute_loss", squared)
    with pytest.raises(HeedError, match="is not an advantage times what its sign decides"):
        trained([length], steps=1)


def test_a_gradient_that_is_not_finite_takes_no_step(trained):
    trainer = trained([length, sage], steps=0)
    trainer._jacobian._rows.fill_(torch.nan)
    with pytest.raises(RunFailed, match="a gradient is not finite, so no step was taken"):
        trainer._update()
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reward_weights": [1.0, 2.0]}, r"reward_weights.*give the weighting a preference"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, "multi_objective_aggregation.*leave it out"),
        ({"entropy_coef": 0.01}, "entropy_coef.*take 0"),
        ({"reward_weights": [-1.0, -1.0]}, r"reward_weights.*turn a reward's sign in its function"),
        ({"gradient_checkpointing_kwargs": {"use_reentrant": True}}, "take use_reentrant=False"),
        ({"fp16": True}, "take bf16"),
        ({"weighting": "gdpo"}, "gdpo makes one gradient of all rewards.*multi_objective_aggregation"),
        ({"weighting": "dvao"}, "dvao makes one gradient"),
        ({"weighting": "conditioned:pgapo"}, "is one policy for several preferences"),
        ({"weighting": "gappo"}, "there is no method 'gappo'.*did you mean gapo"),
        ({"weighting_settings": {"p": -1}}, "p"),
        ({"weighting": Linear([1.0, 1.0]), "weighting_settings": {"p": 1}}, "give its name instead"),
    ],
)
def test_what_has_no_place_beside_a_balance_is_refused_before_anything_runs(trained, changes, said):
    with pytest.raises(HeedError, match=f"(?s){said}"):
        trained([length, sage], steps=0, **changes)


def test_advantages_are_each_rewards_own():
    rewards = torch.tensor([[1.0, 0.0], [3.0, 0.0], [torch.nan, 4.0], [6.0, 8.0]])
    by_group = advantages_of(rewards, 2, "group")
    half = 2**-0.5  # over the deviation of two values, with Bessel's correction
    torch.testing.assert_close(by_group[:2, 0], torch.tensor([-half, half]), rtol=1e-3, atol=0)
    assert by_group[:2, 1].tolist() == [0.0, 0.0] and by_group[2:, 0].tolist() == [0.0, 0.0]
    assert advantages_of(rewards, 2, "none")[2:, 1].tolist() == [-2.0, 2.0]
    whole = float(rewards[:, 1].std())
    assert advantages_of(rewards, 2, "batch")[3, 1].item() == pytest.approx(2.0 / whole, rel=1e-3)

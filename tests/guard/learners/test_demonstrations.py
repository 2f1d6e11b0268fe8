"""What people did by themselves is followed: which steps are kept, what they add to a gradient, where it leads."""

import numpy as np
import pytest
import torch
from guard_worlds import CartEnv, ChoiceEnv, Person
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import configure_logger

from heed.guard.guard import Guard
from heed.guard.intervention import Overseen, Shadow
from heed.guard.learners.balanced_sac import BalancedSAC
from heed.guard.learners.demonstrations import KEPT, MARGIN, Demonstrations, cloning_loss, margin_loss
from heed.guard.learners.lagrangian import LagrangianSAC
from heed.guard.learners.learner_state import learner_state, restore_learner
from heed.guard.learners.mbpo import MixedReplayBuffer
from heed.guard.learners.recovery import RecoverySAC
from heed.guard.learners.sb3 import GuardedDQN, GuardedSAC, GuardedTD3
from heed.guard.learners.smbpo import AbsorbingReplayBuffer, AbsorbingSAC
from heed.guard.learners.vec_env import GuardedVecEnv
from heed.guard.replacement import Replacement
from heed.guard.vector_guard import VectorGuard
from heed.oversight.overseers.base import Verdict

ABSORBING = {"replay_buffer_class": AbsorbingReplayBuffer, "replay_buffer_kwargs": {"gamma": 0.9, "horizon": 2}}
MIXED = {"replay_buffer_class": MixedReplayBuffer}
BOXES = [
    (GuardedSAC, {}),
    (GuardedSAC, MIXED),
    (GuardedTD3, {}),
    (BalancedSAC, {}),
    (LagrangianSAC, {}),
    (RecoverySAC, {}),
    (AbsorbingSAC, ABSORBING),
]


def fast(**settings):
    net = {"net_arch": [16]}  # made anew: Stable-Baselines3 writes into it
    return {"learning_starts": 20, "batch_size": 16, "policy_kwargs": net, "device": "cpu", "seed": 2} | settings


class Acts(Person):
    """Acts in the agent's place in every n-th step, each time with a key of its own."""

    def __init__(self, n, instead, **verdict):
        super().__init__(lambda _: False, **verdict)
        self.n, self.instead = n, instead

    def judge(self, proposal):
        self.seen.append(proposal)
        if len(self.seen) % self.n:
            return Verdict(False)
        return Verdict(True, instead=self.instead, key=f"key {len(self.seen)}", **self.verdict)


def learnt(kind, overseer, steps=30, env=None, weight=None, recorded=None, **settings):
    guard = Guard(env or CartEnv(), overseer, observers=[] if recorded is None else [recorded.append])
    model = kind("MlpPolicy", guard, **fast(**settings))
    if weight is not None:
        model.demonstration_weight = weight
    return model.learn(steps)


# Which steps are kept.


@pytest.mark.parametrize("learns_from", ["executed", "both", "proposed"])
def test_a_person_s_own_actions_are_kept_in_the_learner_s_units_with_where_they_were_taken(learns_from, monkeypatch):
    recorded = []
    monkeypatch.setattr(GuardedSAC, "learns_from", learns_from)
    model = learnt(GuardedSAC, Acts(3, np.array([-0.5], np.float32), acted=True), recorded=recorded)
    shown = model.demonstrations.state()
    assert len(model.demonstrations) == 10
    assert np.array_equal(shown["observations"], np.stack([step.state for step in recorded[2::3]]))
    assert shown["actions"] == pytest.approx(np.full((10, 1), -0.25))  # a box of two half-widths
    assert shown["keys"] == [f"key {number}" for number in range(3, 31, 3)]


@pytest.mark.parametrize(
    ("verdict", "kept"),
    [
        ({"acted": True}, 10),
        ({}, 10),  # a block with an action to take in its place is a person's own as well
        ({"acted": True, "silent": True}, 0),  # nobody pressed a key
        ({"glimpsed": True}, 0),
        ({"failed": True}, 0),
    ],
)
def test_what_nobody_meant_for_this_state_is_no_demonstration(verdict, kept):
    assert len(learnt(GuardedSAC, Acts(3, np.array([-0.5], np.float32), **verdict)).demonstrations) == kept


def test_what_a_planner_or_the_declared_safe_action_put_in_place_is_no_demonstration():
    recorded = []
    learnt_from = learnt(GuardedSAC, Acts(3, None), recorded=recorded)
    assert sum(step.decision.decision == "block" for step in recorded) == 10
    assert len(learnt_from.demonstrations) == 0
    none = learnt(GuardedSAC, Acts(3, np.array([np.nan], np.float32), acted=True))
    assert len(none.demonstrations) == 0


def test_a_shadow_executes_nothing_of_a_person_s_and_so_shows_nothing():
    guard = Guard(CartEnv(), intervention=Shadow(Overseen(Acts(3, [-0.5], acted=True), Replacement())))
    model = GuardedSAC("MlpPolicy", guard, **fast()).learn(30)
    assert len(model.demonstrations) == 0


def test_choices_are_kept_as_they_were_taken():
    model = learnt(GuardedDQN, Acts(3, 2, acted=True), env=ChoiceEnv())
    observations, actions = model.demonstrations.sample(4)
    assert observations.shape == (4, 2) and actions.tolist() == [2, 2, 2, 2]


def test_of_many_environments_the_one_is_kept_in_which_somebody_acted():
    class InTheSecond(Person):
        def judge(self, proposal):
            return Verdict(proposal.stream == 1, instead=np.array([1.0], np.float32), acted=True)

    envs = SyncVectorEnv([CartEnv, CartEnv], autoreset_mode=AutoresetMode.SAME_STEP)
    seen = []
    guard = VectorGuard(envs, InTheSecond(None), observers=[lambda step: seen.append((step.stream, step.state))])
    model = GuardedSAC("MlpPolicy", GuardedVecEnv(guard), **fast()).learn(24)
    shown = model.demonstrations.state()
    assert np.array_equal(shown["observations"], np.stack([state for stream, state in seen if stream == 1]))
    assert shown["actions"] == pytest.approx(np.full((12, 1), 0.5))


def test_the_oldest_make_room():
    shown = Demonstrations(room=2)
    for number in range(4):
        shown.add(np.array([number]), number, key=str(number))
    assert shown.state()["keys"] == ["2", "3"] and shown.state()["actions"].tolist() == [2, 3]
    assert not shown.retract("0") and not shown.retract("") and len(shown) == 2
    smaller = Demonstrations(room=1)
    smaller.restore(shown.state())
    assert smaller.state()["keys"] == ["3"] and smaller.state()["observations"].tolist() == [[3]]


@pytest.mark.parametrize(("rows", "kept"), [(8, 8), (1000, 10), (KEPT + 1, 10)])
def test_a_learner_keeps_no_more_of_them_than_its_replay_holds_steps(rows, kept):
    model = learnt(GuardedSAC, Acts(3, np.array([-0.5], np.float32), acted=True), buffer_size=rows)
    keys = [f"key {number}" for number in range(3, 31, 3)]
    assert model.demonstrations.state()["keys"] == keys[-kept:] and model.demonstrations.room == min(rows, KEPT)


# What they add to a gradient.


def test_the_gradient_of_the_cloning_loss_is_the_one_by_hand():
    chosen = torch.tensor([[0.5, 0.0], [-0.25, 1.0]], requires_grad=True)
    values = torch.tensor([[2.0], [-4.0]], requires_grad=True)
    loss = cloning_loss(chosen, torch.tensor([[1.0, 0.0], [0.0, -1.0]]), values)
    loss.backward()
    assert loss.item() == pytest.approx(3 * (0.25 + 0.0625 + 4) / 4)  # |Q| is 3 on average
    assert chosen.grad.flatten().tolist() == pytest.approx([3 * 2 * d / 4 for d in (-0.5, 0.0, -0.25, 2.0)])
    assert values.grad is None


def test_the_gradient_of_the_margin_loss_is_the_one_by_hand():
    values = torch.tensor([[1.0, 2.0, 0.0], [3.0, 3.0 - MARGIN - 0.1, 0.0]], requires_grad=True)
    loss = margin_loss(values, torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx((1.0 + MARGIN) / 2)  # the second is best by more than the margin
    assert values.grad.tolist() == [[-0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("kind", [GuardedSAC, GuardedTD3, GuardedDQN])
def test_a_step_of_the_policy_s_optimiser_follows_its_own_gradient_and_the_weighted_one(kind):
    model = kind("MlpPolicy", ChoiceEnv() if kind is GuardedDQN else CartEnv(), **fast())
    model.set_logger(configure_logger())
    optimizer = model._policy_optimizer
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for number in range(5):
        model.demonstrations.add(np.array([0.1 * number, 1.0], np.float32), 1 if kind is GuardedDQN else [0.5])
    model.demonstration_weight = 3.0
    torch.manual_seed(7)
    expected = torch.autograd.grad(model.imitation(*model.demonstrations.sample(16)), parameters, allow_unused=True)
    assert any(each is not None and each.abs().sum() > 0 for each in expected)
    for each in parameters:
        each.grad = torch.full_like(each, 0.01)
    torch.manual_seed(7)
    optimizer.step()
    for each, term in zip(parameters, expected, strict=True):
        torch.testing.assert_close(each.grad, 0.01 + (0.0 if term is None else 3.0 * term) + torch.zeros_like(each))


class Normed(BaseFeaturesExtractor):
    """Batch norm in front of all else."""

    def __init__(self, space):
        super().__init__(space, 2)
        self.norm = torch.nn.BatchNorm1d(2)

    def forward(self, observations):
        return self.norm(observations)


@pytest.mark.parametrize("kind", [GuardedSAC, GuardedTD3, GuardedDQN])
def test_batch_norm_s_statistics_are_never_of_demonstrations(kind):
    net = {"net_arch": [16], "features_extractor_class": Normed}
    model = kind("MlpPolicy", ChoiceEnv() if kind is GuardedDQN else CartEnv(), **fast(policy_kwargs=net))
    model.set_logger(configure_logger())
    for number in range(5):
        model.demonstrations.add(np.array([5.0 + number, 9.0], np.float32), 1 if kind is GuardedDQN else [0.5])
    norms = [part for part in model.policy.modules() if isinstance(part, torch.nn.BatchNorm1d)]
    model.policy.set_training_mode(True)
    training = [part.training for part in norms]
    assert any(training)
    model._policy_optimizer.step()
    assert [part.training for part in norms] == training and model.policy.training
    assert all(part.running_mean.tolist() == [0, 0] and part.num_batches_tracked == 0 for part in norms)
    assert any(group.grad.abs().sum() > 0 for group in model._policy_optimizer.param_groups[0]["params"])


# Where it leads.


@pytest.mark.parametrize(("kind", "settings"), BOXES)
def test_a_policy_comes_to_do_what_was_shown_and_at_weight_0_it_does_not(kind, settings):
    """The reward is for going ahead; who acts goes back."""
    came_to = {}
    for weight in (30.0, 0.0):
        acts = Acts(2, np.array([-0.8], np.float32), acted=True)
        model = learnt(kind, acts, weight=weight, learning_rate=1e-2, **settings)
        model.train(120, batch_size=16)
        shown = model.demonstrations.state()["observations"]
        came_to[weight] = model.predict(shown, deterministic=True)[0][:, 0]
    assert len(shown) == 15
    assert np.abs(came_to[30.0] + 0.8).max() < 0.3
    assert np.abs(came_to[0.0] + 0.8).max() > 0.5


def test_values_come_to_prefer_the_choice_that_was_shown_and_at_weight_0_they_do_not():
    same = {}
    for weight in (1.0, 0.0):
        model = learnt(GuardedDQN, Acts(2, 1, acted=True), 40, ChoiceEnv(), weight, learning_rate=1e-2)
        model.train(100, batch_size=16)
        shown = model.demonstrations.state()["observations"]
        assert len(shown) == 20
        same[weight] = np.mean(model.predict(shown, deterministic=True)[0] == 1)
    assert same[1.0] == 1.0 and same[0.0] < 0.5


@pytest.mark.parametrize(("kind", "env"), [(kind, CartEnv) for kind, _ in BOXES[2:6]] + [(GuardedDQN, ChoiceEnv)])
def test_where_nobody_acts_the_run_is_the_same_to_the_last_bit(kind, env):
    came_to = []
    for weight in (None, 0.0):
        model = learnt(kind, Acts(3, None), 60, env(), weight)
        parameters = [value.tolist() for value in model.policy.state_dict().values()]
        came_to.append((parameters, model.replay_buffer.actions[:80].tolist(), torch.get_rng_state().tolist()))
    assert came_to[0] == came_to[1]


# What is kept of them.


def test_they_are_part_of_a_learner_s_state_and_of_no_saved_learner(tmp_path):
    model = learnt(GuardedSAC, Acts(3, np.array([-0.5], np.float32), acted=True))
    other = learnt(GuardedSAC, Acts(3, None))
    restore_learner(other, learner_state(model))
    assert other.demonstrations.state()["keys"] == model.demonstrations.state()["keys"] != []
    torch.manual_seed(3)
    first = model.demonstrations.sample(5)
    torch.manual_seed(3)
    assert all(torch.equal(one, same) for one, same in zip(first, other.demonstrations.sample(5), strict=True))
    older = learner_state(model)
    del older["demonstrations"]  # as checkpoints were before there were any
    restore_learner(other, older)
    assert len(other.demonstrations) == 0
    assert torch.equal(other.policy.actor.mu.weight, model.policy.actor.mu.weight)
    model.save(tmp_path / "learner.zip")
    loaded = GuardedSAC.load(tmp_path / "learner.zip", env=Guard(CartEnv(), Acts(1, [0.5], acted=True)))
    assert len(loaded.demonstrations) == 0
    loaded.learn(25)
    assert len(loaded.demonstrations) == 25

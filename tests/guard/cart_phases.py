"""Phases on the cart in a bare loop, without any learner: what tests of phases and of the models share."""

from dataclasses import dataclass

import numpy as np
import torch
from guard_worlds import WALL, CartEnv, advance, braking, full_ahead

from heed.guard.decision_log import DecisionLog
from heed.guard.guard import Guard
from heed.guard.labels import LabelCollector
from heed.guard.models.config import FitConfig, ModelsConfig
from heed.guard.models.labels import Labels
from heed.guard.models.models import Models
from heed.guard.phases import Phases
from heed.guard.phases_config import PhasesConfig
from heed.guard.planning.building import Controllers
from heed.guard.planning.config import PlanningConfig
from heed.oversight.overseers.scripted import LocalOverseer

FAST = FitConfig(updates=300, check_every=50)
MODELS = ModelsConfig(
    members=3, dynamics_hidden=32, label_keys=(0,), eps=0.2, beyond=False, dynamics=FAST, blockers=FAST
)
PLANNING = PlanningConfig(horizon=20, particles=2, plan_samples=16, deadline=60.0)
CONFIG = PhasesConfig(oversight_steps=600, refit_every=10_000, audit=0.0, ask_after=0.0, needless=1.0)


class ShortCart(CartEnv):
    """Episodes of 40 steps that begin before the wall, at speeds from which the brake still suffices."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform([-1, -0.5], [0.3, 0.9]).astype(np.float32)
        self.steps = 0
        return self.state, {}

    def step(self, action):
        self.steps += 1
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self.steps >= 40, info


@dataclass
class Run:
    """Phases with a log of every decision."""

    phases: Phases
    log: DecisionLog

    @property
    def guard(self):
        return self.phases.guard

    @property
    def rows(self):
        return self.log.rows

    @property
    def strategy(self):
        """Who decides at present, behind what makes it fail closed."""
        return self.guard.intervention.inner

    def keep_labels(self, chosen):
        """Leave of all labels those that are chosen, [N]; the transitions stay."""
        labels = self.phases.labels.labels()
        left = LabelCollector(2, 1)
        left.add_stored(Labels(*(column[chosen] for column in vars(labels).values())))
        left.transitions = self.phases.labels.transitions
        self.phases.labels = left


def next_state(env):
    return lambda action: advance(
        torch.from_numpy(env.unwrapped.state), torch.as_tensor(np.asarray(action, np.float32)) / 2
    ).numpy()


def run_of(config=CONFIG, planning=PLANNING, models=MODELS, seed=0, overseer=None, mode="replace", **known):
    """Phases over the cart; who oversees it blocks what leads into the wall at once, unless somebody else is given."""
    env = ShortCart()
    local = LocalOverseer(next_state(env), lambda state: state[0] >= WALL)
    brake = lambda seen: braking(torch.from_numpy(seen)).numpy() * 2  # noqa: E731
    guard = Guard(env, overseer or local, safe_action=brake)
    learnt = Models.from_config(models, 2, 1, seed, **known)
    phases = Phases(guard, Controllers(full_ahead, braking), config, planning, learnt, seed, mode)
    log = DecisionLog(phase=lambda _: phases.phase.value)
    guard.observers.insert(0, log)
    return Run(phases, log)


def drive(run, steps, seed=0, ahead=0.6):
    """A driver who mostly goes full ahead; episodes go on from call to call."""
    guard, generator = run.guard, np.random.default_rng(seed)
    if guard.situations[0].episode < 0:
        guard.reset(seed=seed)
    for _ in range(steps):
        push = 2.0 if generator.random() < ahead else generator.uniform(-2, 2)
        _, _, terminated, truncated, _ = guard.step(np.array([push], np.float32))
        if terminated or truncated:
            guard.reset()
    return run

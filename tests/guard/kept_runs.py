"""Guards that look ahead after seconds of training, and what they decide: what tests of keeping share."""

from typing import ClassVar

import gymnasium as gym
import numpy as np
import torch

from heed.oversight.overseers.base import Scope, Verdict
from heed.worlds import CatastropheInfo, Oracle


def following(states, actions):
    """Where carts on a ledge go: states [..., 2] of place and speed, actions [..., 1]."""
    speed = states[..., 1] + 0.2 * np.asarray(actions, np.float32)[..., 0]
    return np.stack([states[..., 0] + speed / 10, speed], -1).astype(np.float32)


class Ledge(gym.Env):
    """A cart on a ledge: beyond 1 it falls. Episodes of 20 steps that begin anywhere on it; chance blows on it."""

    observation_space, action_space = gym.spaces.Box(-3, 3, (2,), np.float32), gym.spaces.Box(-1, 1, (1,), np.float32)
    oracle = Oracle(
        is_catastrophe=lambda states: np.abs(states[..., 0]) > 1,
        peek=lambda env, action: following(env.state, action),
        dynamics=lambda states, actions: (following(states, actions), states[..., 0]),
        safe_action=lambda states: np.clip(-5 * np.asarray(states)[..., 1:], -1, 1),
        label_keys=(0,),
    )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-0.8, 0.8, 2).astype(np.float32)
        self.steps = 0
        return self.state, {}

    def step(self, action):
        blown = np.asarray(action) + 0.1 * self.np_random.normal(size=1)
        self.state, self.steps = following(self.state, blown), self.steps + 1
        fell = bool(abs(self.state[0]) > 1)
        return self.state, 1 - float(abs(self.state[0] - 0.8)), fell, self.steps >= 20, {}


class Steps(Ledge):
    """The same with three choices."""

    action_space = gym.spaces.Discrete(3)
    oracle = Oracle(
        is_catastrophe=Ledge.oracle.is_catastrophe,
        peek=lambda env, action: following(env.state, [action - 1.0]),
        safe_action=lambda states: 1 - np.sign(np.round(4 * np.asarray(states)[..., 1])).astype(int),
        label_keys=(0,),
    )

    def step(self, action):
        return super().step([float(action) - 1.0])


class Watcher:
    """Who watches by eye: no script that may be asked again; keeps what it was asked about."""

    name = "watcher"
    asked: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, env):
        pass

    def judge(self, proposal):
        self.asked.append((proposal.episode, proposal.step))
        return Verdict(bool(abs(following(proposal.observation, proposal.action)[0]) > 0.95))

    def reset(self, seed):
        pass


class Driver:
    """A script that takes over near the edge in every other episode; in the others it blocks, and says what to do."""

    name = "driver"
    scope = Scope(scripted=True)

    def __init__(self, env):
        pass

    def judge(self, proposal):
        if abs(following(proposal.observation, proposal.action)[0]) < 0.7:
            return Verdict(False)
        back = -np.sign(proposal.observation[:1])
        return Verdict(True, instead=back, acted=proposal.episode % 2 == 0, key=f"{proposal.episode} {proposal.step}")

    def reset(self, seed):
        pass


SMALL = {
    "env": "kept_runs:Ledge",
    "steps": 160,
    "oversight_steps": 100,
    "learning_starts": 90,
    "hidden": 16,
    "batch_size": 16,
    "eps": 0.4,
    "gate": 1.0,
    "needless": 1.0,
    "audit": 0.1,
    "cap": 0.9,
    "least_blocks": 2,
    "refit_every": 25,
    "models.members": 3,
    "dynamics_hidden": 16,
    "horizon": 4,
    "particles": 1,
    "plan_samples": 16,
    "plan_iterations": 1,
    "models.dynamics.updates": 60,
    "models.blockers.updates": 60,
    "overseer_timeout": 60.0,
    "evaluation_episodes": 1,
}
"""Everything happens in it, and nothing is learnt well: oversight, a hand-over, refits, blocks and plans."""


def surroundings(kind=Ledge):
    """What a guard of such a run stands in front of."""
    return CatastropheInfo(kind(), kind.oracle.catastrophe)


def small_job(**changes):
    """A guarded run of seconds."""
    from heed.guard.run.config import job_of  # who only loads a guard has no learner

    return job_of(SMALL | changes)


def trained(**changes):
    """A guarded run that has been trained, in autonomy; nothing observes its guard any more."""
    from heed.guard.run.build import build

    torch.set_num_threads(1)
    job = small_job(**changes)
    run = build(job)
    run.learner.learn(job.steps)
    run.guard.observers.clear()
    run.guard.intervention = run.guard.intervention.alone  # it is not audited any more
    assert run.phases.handed_over_at is not None
    return run


def decisions(guard, act, count, seed=5):
    """What a guard decides from a seed on, times left out: plain data, equal only if it is to the last bit."""
    told = []
    observation, _ = guard.reset(seed=seed)
    for _ in range(count):
        observation, reward, terminated, truncated, info = guard.step(act(observation))
        seen = {name: value for name, value in info["guard"].items() if not name.endswith("_ms")}
        told.append([repr(np.asarray(value).tolist()) for value in (*seen.values(), observation, reward)])
        if terminated or truncated:
            observation, _ = guard.reset()
    return told

"""A cart on a line towards a wall, known exactly: what tests of looking, planning and guarding stand on.

State (x, v); one action a in [-1, 1]; v' = v + a DT, x' = x + v' DT; x' >= WALL is a catastrophe. From speed v
the brake needs v^2 / 2 metres, so a state is doomed from there on.
"""

import gymnasium as gym
import numpy as np
import torch

from heed.guard.intervention import Lookahead
from heed.guard.planning.imagination import Imagination
from heed.guard.planning.lookahead import Lookout
from heed.guard.planning.optimizers import ICEM
from heed.guard.planning.planner import SafePlanner
from heed.guard.situations import situations_of
from heed.oversight.overseers.base import Verdict

DT, WALL = 0.1, 1.0


def advance(states, actions):
    v = states[..., 1] + actions[..., 0] * DT
    return torch.stack([states[..., 0] + v * DT, v], -1)


class Cart:
    """The true dynamics with ``members`` of them; rewards are the progress."""

    def __init__(self, members=1, noise=0.0):
        self.members, self.noise = members, noise

    def step(self, states, actions, generator=None):
        assert states.shape[0] == self.members == actions.shape[0]
        following = advance(states, actions)
        if self.noise:
            following = following + self.noise * torch.randn(following.shape, generator=generator)
        return following, following[..., 0] - states[..., 0]


class Wall:
    """Danger 1 beyond the wall."""

    def danger(self, states, actions, next_states):
        return (next_states[..., 0] >= WALL).float()


def full_ahead(states):
    return torch.ones(*states.shape[:-1], 1)


def braking(states):
    return (-states[..., 1:] / DT).clamp(-1, 1)


def imagined(danger=None, dynamics=None):
    """Futures of the cart under the true dynamics and danger, or others."""
    generator = torch.Generator().manual_seed(0)
    return Imagination(dynamics or Cart(), danger or Wall(), full_ahead, particles=1, generator=generator)


def lookahead(danger=None, dynamics=None, planner=True, replaces="plan"):
    """Looks 20 steps ahead on the cart, and plans as far."""
    imagination = imagined(danger, dynamics)
    lookout = Lookout(imagination, 20, 0.5, brake=braking)
    plans = SafePlanner(ICEM(20, 1, samples=32, elites=4), imagination, 0.5, deadline=60) if planner else None
    return Lookahead(lookout, plans, [full_ahead, braking], replaces)


class CartEnv(gym.Env):
    """The cart at rest, two metres before the wall; ``options={"state": [x, v]}`` begins elsewhere."""

    observation_space = gym.spaces.Box(-10, 10, (2,), np.float32)
    action_space = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)  # twice the cart's own, so that coding shows

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.array((options or {}).get("state", [-1.0, 0.0]), np.float32)
        return self.state, {}

    def step(self, action):
        assert CartEnv.action_space.contains(np.asarray(action, np.float32)), action
        before = self.state
        after = advance(torch.from_numpy(before), torch.as_tensor(np.asarray(action, np.float32)) / 2)
        self.state = after.numpy()
        crashed = bool(self.state[0] >= WALL)
        return self.state, float(self.state[0] - before[0]), crashed, False, {"catastrophe": crashed}


class ChoiceEnv(CartEnv):
    """The same with three choices: full back, nothing, full ahead."""

    action_space = gym.spaces.Discrete(3)

    def step(self, action):
        return super().step(np.array([(int(action) - 1) * 2.0], np.float32))


def at(state, safe_action=lambda _: np.array([-2.0], np.float32), number=0):
    """A cart's situation in its first episode, in a state [x, v]; the declared safe action is full back."""
    envs = [None] * number + [CartEnv()]
    here = situations_of(envs, CartEnv.observation_space, CartEnv.action_space, safe_action)[number]
    here.begin(*here.env.reset(options={"state": state}))
    return here


NO_ACTION = (np.array([np.nan], np.float32), np.array([2.5], np.float32), "left", None)
"""What a policy may propose to a cart that is none of its actions."""


def stops_in_time(state, actions):
    """Whether a plan, and braking behind it, keeps the cart before the wall."""
    now = torch.tensor(state)
    for action in actions:
        now = advance(now, action)
        if now[0] >= WALL:
            return False
    while float(now[1]) > 1e-6:
        now = advance(now, braking(now))
    return bool(now[0] < WALL)


class Person:
    """An overseer who blocks where a function of the proposal says so, and keeps what was shown.

    Args:
        blocks: from a proposal, what the person answers.
        verdict: further fields of each `Verdict`.
    """

    name = "person"

    def __init__(self, blocks, **verdict):
        self.blocks, self.verdict, self.seen = blocks, verdict, []

    def judge(self, proposal):
        self.seen.append(proposal)
        return Verdict(self.blocks(proposal), **self.verdict)

    def reset(self, seed):
        self.seen = []


class OnlyPlan:
    """Proposes one plan: .37 throughout."""

    horizon, size = 4, 1

    def reset(self):
        pass

    def begin(self):
        pass

    def propose(self, iteration, generator=None):
        return torch.full((1, 4, 1), 0.37)

    def update(self, plans, utility):
        pass


class ByAction:
    """The proposal .5 is harmless, .37 as dangerous as is given, and all else a catastrophe."""

    def __init__(self, danger):
        self.given = danger

    def danger(self, states, actions, next_states):
        action = actions[..., 0]
        others = torch.where((action - 0.37).abs() < 1e-6, self.given, 1.0)
        return torch.where(action == 0.5, 0.0, others)


class Third:
    """Blocks every third action, and gives another."""

    name = "third"

    def __init__(self):
        self.count = 0

    def judge(self, proposal):
        self.count += 1
        return Verdict(self.count % 3 == 0, instead=np.array([-0.5], np.float32))

    def reset(self, seed):
        self.count = 0

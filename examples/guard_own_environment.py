"""A guard around an environment, an overseer and a learner of your own; nothing here is of Stable-Baselines3.

Run it: python examples/guard_own_environment.py [STEPS]
"""

import sys

import gymnasium as gym
import numpy as np
import torch

from heed.guard import Guard, Models, ModelsConfig, Phases, PhasesConfig, PlanningConfig
from heed.guard.models import BatchConfig, FitConfig
from heed.oversight import Proposal, Verdict


class Ledge(gym.Env):  # a cart with momentum that is paid for standing at .8; beyond 1 it falls
    observation_space, action_space = gym.spaces.Box(-3, 3, (2,)), gym.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.array([self.np_random.uniform(-0.5, 0.5), 0.0], np.float32)
        return self.state, {}

    def step(self, action):
        speed = self.state[1] + 0.2 * action[0]  # tenths a step
        self.state = np.array([self.state[0] + speed / 10, speed], np.float32)
        fell = bool(abs(self.state[0]) > 1)
        return self.state, 1 - abs(self.state[0] - 0.8) - 5.0 * fell, fell, False, {"catastrophe": fell}


class Watcher:  # blocks what leaves no room to brake; a person at a page has the same two methods
    name = "watcher"

    def judge(self, proposal: Proposal) -> Verdict:
        place, speed = proposal.observation[0], proposal.observation[1] + 0.2 * proposal.action[0]
        return Verdict(block=bool(abs(place + speed / 10 + speed * abs(speed) / 4) > 1))

    def reset(self, seed: int) -> None: ...


def policy(states: torch.Tensor) -> torch.Tensor:  # batched, [N, 2] -> [N, 1] in [-1, 1]: the guard imagines it
    return torch.tanh(states @ weights[:2, None] + weights[2])


steps, weights = int(sys.argv[1]) if len(sys.argv) > 1 else 2000, torch.tensor([-2.0, -2.0, 0.0])
guard = Guard(gym.wrappers.TimeLimit(Ledge(), 40), Watcher(), safe_action=lambda state: np.clip(-5 * state[1:], -1, 1))
small = ModelsConfig(3, 32, dynamics=FitConfig(updates=600), blockers=BatchConfig(updates=600, learning_rate=1e-2))
ahead, models = PlanningConfig(horizon=12, plan_samples=32), Models.from_config(small, state_size=2, action_size=1)
phases = Phases(guard, policy, PhasesConfig(oversight_steps=steps // 2), ahead, models)
draw, best, most, falls = torch.Generator().manual_seed(0), weights.clone(), -np.inf, 0
while phases.steps < steps:  # the learner: random search over the policy's three weights, an episode each
    weights.copy_(best + 0.7 * torch.randn(3, generator=draw))
    (state, _), total, over = guard.reset(seed=phases.steps), 0.0, False
    while not over:
        state, reward, fell, cut, info = guard.step(policy(torch.from_numpy(state)[None])[0].numpy())
        blocked = info["guard"]["decision"] == "block"
        total, falls, over = total + float(reward) - blocked, falls + fell, fell or cut
    best, most = (weights.clone(), total) if total > most else (best, most)
print(f"{phases.phase.value} after {steps} steps: best return {most:.1f}, {falls} falls")

"""A learner's policy and what it thinks states are worth, in plain layers of torch: all that acting needs of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from heed.errors import HeedError
from heed.guard.actions import ActionCoder
from heed.runs.state import State

Head = Literal["squashed", "clipped", "best", "likeliest"]
"""How a policy's last numbers become an action: they are in [-1, 1]^A; they are in the environment's own units, to be
cut to the box; the largest is chosen; or the choice of the largest probability is."""

LAYERS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (nn.Linear, nn.ReLU, nn.Tanh, nn.SiLU, nn.Sigmoid, nn.Identity)
}
"""The layers that can be kept. All but the first have no settings."""


class PlainPolicy(nn.Module):
    """A deterministic policy: a controller of imagined states, and what acts in the environment.

    Args:
        layers: states [N, S] to [N, A].
        head: what becomes of the last numbers.
        space: of the actions.

    >>> box = gym.spaces.Box(np.array([0.0]), np.array([4.0]), dtype=np.float64)
    >>> policy = PlainPolicy(nn.Sequential(nn.Linear(2, 1), nn.Tanh()), "squashed", box)
    >>> policy(torch.zeros(5, 2)).shape, policy.predict(np.zeros(2)).shape
    (torch.Size([5, 1]), (1,))
    """

    def __init__(self, layers: nn.Sequential, head: Head, space: gym.Space[Any]) -> None:
        super().__init__()
        self.layers, self.head, self.space = layers, head, space
        self.actions = ActionCoder(space)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, states: Tensor) -> Tensor:
        """Action vectors [N, A] of states [N, S]: boxes in [-1, 1], choices one-hot."""
        out = self.layers(states)
        if self.head == "squashed":
            return out
        if self.head == "clipped":
            low, high = (torch.as_tensor(end).float() for end in (self.space.low, self.space.high))  # type: ignore[attr-defined] # a Box
            return (2 * (out - low) / (high - low) - 1).clamp(-1, 1)
        return nn.functional.one_hot(self._chosen(out), self.actions.size).float()

    @torch.no_grad()
    def predict(self, observation: Any) -> Any:
        """The action for an observation [S], as the environment takes it."""
        out = self.layers(torch.from_numpy(np.asarray(observation, np.float32)[None]))
        if self.actions.discrete:
            return int(self._chosen(out)) + self.actions.start
        low, high = self.space.low, self.space.high  # type: ignore[attr-defined] # a Box
        if self.head == "clipped":
            return np.clip(out[0].numpy(), low, high)
        return low + 0.5 * (out[0].numpy() + 1.0) * (high - low)

    def _chosen(self, out: Tensor) -> Tensor:
        if self.head == "likeliest":  # as a categorical distribution tells it, to the last bit
            out = torch.distributions.Categorical(logits=out, validate_args=False).probs
        return out.argmax(1)

    def plain(self) -> PlainPolicy:
        """Itself."""
        return self

    def state(self) -> State:
        """All that it is made of, but for the space."""
        return {"head": self.head, "layers": layers_state(self.layers)}

    @classmethod
    def from_state(cls, state: State, space: gym.Space[Any]) -> PlainPolicy:
        """The policy that gave a state."""
        return cls(layers_from(state["layers"]), state["head"], space)


class PlainValue(nn.Module):
    """What states are worth: the least that critics say of the policy's action, the largest of choices, or a number.

    Args:
        networks: of states and the policy's action [N, S + A], or of states [N, S].
        policy: whose action the critics judge; None where the networks judge states.

    >>> PlainValue([nn.Sequential(nn.Linear(2, 3))])(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    def __init__(self, networks: Sequence[nn.Sequential], policy: PlainPolicy | None = None) -> None:
        super().__init__()
        self.networks, self.policy = nn.ModuleList(networks), policy
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, states: Tensor) -> Tensor:
        """Of states [N, S]: [N]."""
        if self.policy is None:
            return self.networks[0](states).amax(-1)
        judged = torch.cat([states, self.policy(states)], dim=1)
        return torch.cat([network(judged) for network in self.networks], dim=1).amin(1)

    def plain(self) -> PlainValue:
        """Itself."""
        return self

    def state(self) -> State:
        """All that it is made of, but for the space of actions."""
        policy = None if self.policy is None else self.policy.state()
        return {"networks": [layers_state(network) for network in self.networks], "policy": policy}

    @classmethod
    def from_state(cls, state: State, space: gym.Space[Any]) -> PlainValue:
        """What gave a state."""
        policy = None if state["policy"] is None else PlainPolicy.from_state(state["policy"], space)
        return cls([layers_from(network) for network in state["networks"]], policy)


@runtime_checkable
class HasPlainPolicy(Protocol):
    """A policy that can be written down in plain layers."""

    def plain(self) -> PlainPolicy:
        """The present policy.

        Raises:
            HeedError: it has layers that are none of `LAYERS`.
        """
        ...


@runtime_checkable
class HasPlainValue(Protocol):
    """What states are worth, if it can be written down in plain layers."""

    def plain(self) -> PlainValue:
        """The present value.

        Raises:
            HeedError: it has layers that are none of `LAYERS`.
        """
        ...


def layers_state(layers: Any) -> State:
    """Layers in a row as a state."""
    kinds = [type(layer).__name__ for layer in layers]
    return {"kinds": kinds, "weights": [dict(layer.state_dict()) for layer in layers]}


def layers_from(state: State) -> nn.Sequential:
    """The layers that gave a state."""
    layers: list[nn.Module] = []
    for kind, weights in zip(state["kinds"], state["weights"], strict=True):
        if kind == "Linear":
            outputs, inputs = weights["weight"].shape
            layers.append(nn.Linear(inputs, outputs, bias="bias" in weights))
            layers[-1].load_state_dict(weights)
        else:
            layers.append(LAYERS[kind]())
    return nn.Sequential(*layers)


def plain_layers(*parts: nn.Module) -> nn.Sequential:
    """Copies of layers and of rows of layers, in one row.

    Raises:
        HeedError: a layer that is none of `LAYERS`.
    """
    layers = [layer for part in parts for layer in (part if isinstance(part, nn.Sequential) else [part])]
    for layer in layers:
        if type(layer) is not LAYERS.get(type(layer).__name__):
            raise HeedError(
                f"a policy with {type(layer).__name__} layers cannot be written down",
                "policy",
                f"take layers of {', '.join(LAYERS)}, or give the policy again where the guard is loaded",
            )
    return layers_from(layers_state(layers))

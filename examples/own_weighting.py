"""A weighting of your own: a class, used from Python and, by module:name, from the command line.

Run it: python examples/own_weighting.py
        cd examples; heed align --world apothecary --method own_weighting:EvenConfig --power 0.5 --quick
"""

from dataclasses import dataclass

import torch
from torchjd.aggregation import Weighting
from torchjd.linalg import PSDMatrix

from heed.balance import Objectives, WeightingConfig


class Even(Weighting[PSDMatrix]):
    """Equal weights of the gradients divided by a power of their norms: the sum at 0, normalised gradients at 1."""

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, gramian: PSDMatrix, /) -> torch.Tensor:
        lengths = gramian.diagonal().sqrt()  # all that a weighting may know stands in the Gram matrix [K, K]
        return lengths.clamp_min(1e-12).pow(-self.power) / len(lengths)  # [K], of the raw gradients


@dataclass(frozen=True)
class EvenConfig(WeightingConfig):
    """Its settings, for the command line: each field is a flag.

    Args:
        power: of the norms by which gradients are divided.
    """

    power: float = 1.0

    def build(self, objectives: Objectives) -> Weighting[PSDMatrix]:
        return Even(self.power)


if __name__ == "__main__":
    jacobian = torch.tensor([[30.0, 0.0], [-0.3, 0.4]])  # one row per objective: its gradient
    for power in (0.0, 0.5, 1.0):
        weights = Even(power)(jacobian @ jacobian.T)
        print(f"power {power}: weights {weights.tolist()}, update {(weights @ jacobian).tolist()}")
    # In a training: AlignTrainer(model, objectives, Even(0.5), prompts), or weights @ losses as in balance_losses.py.

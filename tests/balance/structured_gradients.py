"""Random gradients [K, n] in float64 with the structures that trouble weightings."""

import torch

KINDS = (
    "generic",
    "strong conflict",
    "parallel",
    "rank deficient",
    "two decades",
    "with duplicates",
    "hull holds zero",
)


def structured(kind: str, k: int, seed: int, dimensions: int = 20) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    gradients = normal(k, dimensions)
    if kind == "strong conflict":
        gradients = gradients - 0.98 * gradients.mean(dim=0)
    elif kind == "parallel":
        gradients = torch.linspace(1, 3, k, dtype=torch.float64)[:, None] * normal(1, dimensions)
    elif kind == "rank deficient":
        gradients = normal(k, 2) @ normal(2, dimensions) + normal(1, dimensions)
    elif kind == "two decades":
        gradients = gradients * torch.logspace(0, 2, k, dtype=torch.float64)[:, None]
    elif kind == "with duplicates":
        gradients[-1] = gradients[0]
    elif kind == "hull holds zero":
        gradients[-1] = -gradients[:-1].mean(dim=0) if k > 1 else 0 * gradients[0]
    return gradients


def gram_of(gradients: torch.Tensor) -> torch.Tensor:
    return gradients @ gradients.T

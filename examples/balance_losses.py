"""Train one network on two losses that disagree: three lines between the losses and the optimiser.

Run it: python examples/balance_losses.py
"""

import torch

from heed.balance import GAPO

torch.manual_seed(0)
inputs = torch.randn(256, 8)
targets = inputs @ torch.randn(8, 2)  # what the two losses want; the second is in a unit that makes it 50 times larger

network = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
parameters = list(network.parameters())
optimizer = torch.optim.Adam(parameters, lr=0.01)
weighting = GAPO(p=1)  # or any other of heed.balance, or of torchjd


def losses() -> torch.Tensor:
    errors = (network(inputs) - targets).square().mean(0)
    return errors * torch.tensor([1.0, 50.0])


start = losses().detach()
for _ in range(200):
    optimizer.zero_grad()
    both = losses()
    gradients = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in both]
    # The three lines: K gradients as rows, their Gram matrix to weights, and a backward of the weighted sum.
    jacobian = torch.stack([torch.cat([part.flatten() for part in gradient]) for gradient in gradients])  # [K, n]
    weights = weighting(jacobian @ jacobian.T)  # [K, K] -> [K]
    (weights @ both).backward()
    optimizer.step()

end = losses().detach()
for name, before, after in zip(("first", "second"), start, end, strict=True):
    print(f"{name} loss: {before:.2f} -> {after:.2f}")

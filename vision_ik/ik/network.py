"""The seed network in torch, for training; solving uses the same weights without torch (`vision_ik.ik.seeds`)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from vision_ik.ik.seeds import FEATURES, Floats32, Net


class SeedNetwork(nn.Module):
    """A small perceptron with many heads, each proposing a posture, and a judge that ranks them.

    Args:
        outputs: Joints a head proposes.
        symmetric: Whether the outer joints follow in closed form.
        width: Units of each hidden layer.
        layers: Hidden layers after the first.
        heads: Postures proposed.
        judges: Units of the judge's hidden layer.
        seed: Of the initial weights.
    """

    def __init__(
        self,
        *,
        outputs: int,
        symmetric: bool,
        width: int = 64,
        layers: int = 2,
        heads: int = 32,
        judges: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.first = nn.Linear(FEATURES, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.judge = nn.Linear(FEATURES + width, judges)
        self.rank = nn.Linear(judges, heads)
        self.heads = nn.Linear(width, heads * outputs)
        self._shape = (heads, outputs)
        self._initialise(seed)

    def _initialise(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    bound = module.in_features**-0.5
                    module.weight.uniform_(-bound, bound, generator=generator)
                    module.bias.uniform_(-bound, bound, generator=generator)
            # Heads begin all over the joint ranges; winner-takes-all would starve those that begin alike.
            self.heads.bias.uniform_(-1.0, 1.0, generator=generator)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the heads' outputs (B, heads, outputs) and ranking logits (B, heads) for inputs (B, FEATURES)."""
        h = self.trunk(x)
        return self.heads(h).view(-1, *self._shape), self.ranking(x, h)

    def trunk(self, x: Tensor) -> Tensor:
        """Return the last hidden layer (B, width)."""
        h = activate(self.first(x))
        for layer in self.hidden:
            h = activate(layer(h))
        return h

    def ranking(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the ranking logits (B, heads) from inputs and last hidden layer."""
        return self.rank(activate(self.judge(torch.cat([x, h], dim=1))))

    def to_net(self) -> Net:
        """Return the weights as arrays for the compiled forward pass."""
        width = self.first.out_features
        hidden = [_columns(layer) for layer in self.hidden if isinstance(layer, nn.Linear)]
        return Net(
            first=_columns(self.first),
            hidden=np.stack(hidden) if hidden else np.zeros((0, width + 1, width), np.float32),
            judge=_columns(self.judge),
            rank=_columns(self.rank),
            heads=_columns(self.heads),
            symmetric=self.symmetric,
        )


def activate(h: Tensor) -> Tensor:
    """Return ``h (1 + h / sqrt(h^2 + 1)) / 2``: shaped like SiLU, but without an exponential."""
    return 0.5 * h * (1.0 + h * torch.rsqrt(h * h + 1.0))


def _columns(layer: nn.Linear) -> Floats32:
    """Return weight and bias as (inputs + 1, outputs)."""
    stacked = torch.cat([layer.weight, layer.bias[:, None]], dim=1)
    return np.ascontiguousarray(stacked.detach().numpy().T.astype(np.float32))

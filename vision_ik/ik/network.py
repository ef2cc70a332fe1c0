"""The seed network in torch, for training; solving uses the same weights without torch (`vision_ik.ik.seeds`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

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

    def take(self, tensors: Mapping[str, Floats32]) -> None:
        """Take over weights in the layout of `Net`, the reverse of `to_net`.

        Raises:
            KeyError: A tensor is missing.
            ValueError: One has another shape.
        """
        layers = {name: [getattr(self, name)] for name in ("first", "judge", "rank", "heads")}
        values = {name: [tensors[name]] for name in layers}
        layers["hidden"], values["hidden"] = list(self.hidden), list(tensors["hidden"])
        with torch.no_grad():
            for name, modules in layers.items():
                if [v.shape for v in values[name]] != [(m.in_features + 1, m.out_features) for m in modules]:
                    raise ValueError(f"the tensor {name} has another shape than the network")
                for module, value in zip(modules, values[name], strict=True):
                    module.weight.copy_(torch.from_numpy(value[:-1].T.copy()))
                    module.bias.copy_(torch.from_numpy(value[-1].copy()))


def activate(h: Tensor) -> Tensor:
    """Return ``h (1 + h / sqrt(h^2 + 1)) / 2``: shaped like SiLU, but without an exponential."""
    return _Activation.apply(h)


class _Activation(torch.autograd.Function):
    """Value and slope in one compiled pass: written in torch's operations it costs as much as the products around."""

    @staticmethod
    def forward(ctx: FunctionCtx, h: Tensor) -> Tensor:
        value, slope = torch.empty_like(h), torch.empty_like(h)
        _activate(h.detach().numpy().reshape(-1), value.numpy().reshape(-1), slope.numpy().reshape(-1))
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return gradients[0] * slope


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "arcp", "nsz", "reassoc"})
def _activate(h: Floats32, value: Floats32, slope: Floats32) -> None:
    half, one = np.float32(0.5), np.float32(1.0)
    for k in range(h.shape[0]):
        s = one / np.sqrt(h[k] * h[k] + one)
        t = one + h[k] * s
        value[k] = half * h[k] * t
        slope[k] = half * (t + h[k] * s * s * s)


def _columns(layer: nn.Linear) -> Floats32:
    """Return weight and bias as (inputs + 1, outputs)."""
    stacked = torch.cat([layer.weight, layer.bias[:, None]], dim=1)
    return np.ascontiguousarray(stacked.detach().numpy().T.astype(np.float32))

"""Differentiable kinematics in torch, for losses that look at poses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vision_ik.ik.chain import Chain
from vision_ik.ik.kernels import DAMPING, LENGTH, MAX_STEP
from vision_ik.types import Floats

_MIN_DAMPING = 1e-5
"""Larger than the kernel's: these are float32."""


class TorchChain:
    """A `Chain` as float32 tensors, ``T_base_tool = fixed[0] Z(q0) fixed[1] ... fixed[n]``."""

    def __init__(self, chain: Chain) -> None:
        self.n = len(chain.lower)
        self.fixed = torch.from_numpy(chain.fixed.astype(np.float32))
        self.prismatic = chain.prismatic
        self.lower = torch.from_numpy(np.maximum(chain.lower, -1e6).astype(np.float32))
        self.upper = torch.from_numpy(np.minimum(chain.upper, 1e6).astype(np.float32))
        self.centre = torch.from_numpy(chain.centre.astype(np.float32))
        self.half = torch.from_numpy(chain.half.astype(np.float32))
        self.ends = torch.from_numpy(chain.ends.astype(np.float32))

    def posture(self, outputs: Tensor, targets: Tensor, symmetric: bool) -> Tensor:
        """Return the postures (B, n) of proposals (B, outputs), outer joints by `vision_ik.ik.seeds.outer_joints`."""
        if not symmetric:
            return self.centre + self.half * outputs
        inner = self.centre[1:-1] + self.half[1:-1] * outputs
        middle = self.fixed[1].expand(len(outputs), 4, 4)
        for i in range(1, self.n - 1):
            middle = middle @ self._joint(i, inner[:, i - 1]) @ self.fixed[i + 1]
        M = self.ends[0] @ targets @ self.ends[1]
        px, py = middle[:, 0, 3], middle[:, 1, 3]
        turn = torch.atan2(px * M[:, 1, 3] - py * M[:, 0, 3], px * M[:, 0, 3] + py * M[:, 1, 3])
        R = middle[:, :3, :3].mT @ _about_z(-turn)[:, :3, :3] @ M[:, :3, :3]
        roll = torch.atan2(R[:, 1, 0] - R[:, 0, 1], R[:, 0, 0] + R[:, 1, 1])
        return torch.cat([turn[:, None], inner, roll[:, None]], dim=1)

    def forward(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return T_base_tool (B, 4, 4) and the geometric Jacobian (B, 6, n), (v, w) in base axes, of ``q`` (B, n)."""
        T = self.fixed[0].expand(len(q), 4, 4)
        axes: list[Tensor] = []
        origins: list[Tensor] = []
        for i in range(self.n):
            axes.append(T[:, :3, 2])
            origins.append(T[:, :3, 3])
            T = T @ self._joint(i, q[:, i]) @ self.fixed[i + 1]
        columns: list[Tensor] = []
        for i, (axis, origin) in enumerate(zip(axes, origins, strict=True)):
            if self.prismatic[i]:
                columns.append(torch.cat([axis, torch.zeros_like(axis)], dim=1))
            else:
                columns.append(torch.cat([torch.linalg.cross(axis, T[:, :3, 3] - origin), axis], dim=1))
        return T, torch.stack(columns, dim=2)

    def error(self, q: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted twists (B, 6) from the poses of ``q`` to ``targets`` and the weighted Jacobian."""
        T, J = self.forward(q)
        weight = torch.tensor([1.0 / LENGTH] * 3 + [1.0] * 3)
        return weight * twist(T, targets), weight[:, None] * J

    def refined(self, q: Tensor, targets: Tensor, steps: int) -> Tensor:
        """Return the weighted twist (B, 6) left after ``steps`` damped steps, clamped to the limits, from ``q``.

        The active set of the kernel is left out: where it matters, the clamped step has a larger error too.
        """
        for _ in range(steps):
            e, J = self.error(q, targets)
            damping = DAMPING * (e * e).sum(dim=1) + _MIN_DAMPING
            H = J @ J.mT + damping[:, None, None] * torch.eye(6)
            step = (J.mT @ torch.linalg.solve(H, e[:, :, None]))[:, :, 0]
            longest = step.abs().amax(dim=1, keepdim=True).clamp(min=MAX_STEP)
            q = (q + step * (MAX_STEP / longest)).clamp(self.lower, self.upper)
        return self.error(q, targets)[0]

    def _joint(self, i: int, q: Tensor) -> Tensor:
        if not self.prismatic[i]:
            return _about_z(q)
        shift = torch.eye(4).repeat(len(q), 1, 1)
        shift[:, 2, 3] = q
        return shift


def twist(T: Tensor, targets: Tensor) -> Tensor:
    """Return (B, 6): position difference and rotation vector from poses ``T`` to ``targets``, in base axes."""
    R = targets[:, :3, :3] @ T[:, :3, :3].mT
    w = 0.5 * torch.stack([R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], dim=1)
    cos = 0.5 * (R[:, 0, 0] + R[:, 1, 1] + R[:, 2, 2] - 1.0)
    sin = torch.sqrt((w * w).sum(dim=1) + 1e-12)  # no infinite slope at the target
    return torch.cat([targets[:, :3, 3] - T[:, :3, 3], w * (torch.atan2(sin, cos) / sin)[:, None]], dim=1)


def poses_of(chain: Chain, q: Floats) -> Tensor:
    """Return T_base_tool (N, 4, 4) of known postures, for use as targets."""
    with torch.no_grad():
        return TorchChain(chain).forward(torch.from_numpy(q.astype(np.float32)))[0]


def _about_z(angle: Tensor) -> Tensor:
    c, s, o, i = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    rows = [c, -s, o, o, s, c, o, o, o, o, i, o, o, o, o, i]
    return torch.stack(rows, dim=1).view(-1, 4, 4)

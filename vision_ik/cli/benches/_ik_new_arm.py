"""An arm nobody has seen: random, but shaped like arms that are built."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_JOINTS = 7
_LONG = (3, 5)
"""Joints behind the upper arm and the forearm."""


def write_new_arm(folder: Path, *, seed: int = 20) -> Path:
    """Write the URDF of a 7-joint arm of random geometry and return its path.

    Joint axes are at right angles to their neighbours, as in most arms; some links step aside; limits are random,
    between half a turn and 340 deg wide.
    """
    rng = np.random.default_rng(seed)
    lines = ['<robot name="new_arm">', '  <link name="link_0"/>']
    for k in range(1, _JOINTS + 1):
        long = k in _LONG
        along = rng.uniform(0.25, 0.45) if long else rng.uniform(0.05, 0.15)
        aside = rng.uniform(-0.09, 0.09) if rng.random() < 0.5 else 0.0
        bend = 0.0 if k == 1 else (-1.0) ** k * np.pi / 2.0
        # What was z before the bend of an even joint is y behind it.
        xyz = (aside, along, 0.0) if k % 2 and k > 1 else (aside, 0.0, along)
        middle, half = rng.uniform(-0.4, 0.4), np.radians(rng.uniform(90.0, 170.0))
        lower, upper = middle - half, middle + half
        lines += [
            f'  <link name="link_{k}"/>',
            f'  <joint name="joint_{k}" type="revolute">',
            f'    <parent link="link_{k - 1}"/>',
            f'    <child link="link_{k}"/>',
            f'    <origin xyz="{xyz[0]:.4f} {xyz[1]:.4f} {xyz[2]:.4f}" rpy="{bend:.9f} 0 0"/>',
            '    <axis xyz="0 0 1"/>',
            f'    <limit lower="{lower:.4f}" upper="{upper:.4f}" velocity="2" effort="100"/>',
            "  </joint>",
        ]
    lines += [
        '  <link name="flange"/>',
        '  <joint name="flange_joint" type="fixed">',
        f'    <parent link="link_{_JOINTS}"/>',
        '    <child link="flange"/>',
        f'    <origin xyz="0 0 {rng.uniform(0.05, 0.12):.4f}" rpy="0 0 0"/>',
        "  </joint>",
        "</robot>",
    ]
    path = folder / "new_arm.urdf"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path

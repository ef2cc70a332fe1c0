"""Write random reachable poses of one arm to ``data/``; see the README beside this file."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np

from vision_ik.files import write_atomic
from vision_ik.robots import load_robot

DATA = Path(__file__).parent / "data"


def prepare(name: str, *, count: int, seed: int, out: Path = DATA) -> Path:
    """Write ``count`` poses of the arm ``name`` and return the path of the file."""
    robot = load_robot(name)
    q = robot.random(np.random.default_rng(seed), count)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, q=q, T_base_tip=robot.forward(q), robot_hash=np.array(robot.hash))
    return write_atomic(out / f"{robot.name}_{seed}.npz", buffer.getvalue())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robot", help="catalogue name or URDF")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(prepare(chosen.robot, count=chosen.count, seed=chosen.seed))

"""Write random reachable poses of one arm to ``data/``, in shards with checksums; see the README beside this file."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from vision_ik.files import write_atomic
from vision_ik.ik.chain import make_chain
from vision_ik.learning.sampling import RARE, rare
from vision_ik.robots import RobotModel, load_robot

DATA = Path(__file__).parent / "data"
SHARD = 100_000
"""Poses in a file; the last has the rest."""
KINDS = ("uniform", *RARE)


def prepare(robot: RobotModel, *, kind: str, count: int, seed: int, out: Path, shard: int = SHARD) -> Path:
    """Write ``count`` poses of a kind in `KINDS` and return the manifest's path; shards that are whole are kept."""
    folder = out / f"{robot.name}_{kind}_{seed}"
    identity = {"robot": robot.name, "robot_hash": robot.hash, "kind": kind, "seed": seed, "shard": shard}
    known = _read(folder / "manifest.json", identity)
    entries: list[dict[str, Any]] = []
    for k, begin in enumerate(range(0, count, shard)):
        name, size = f"{k:05d}.npz", min(shard, count - begin)
        before = known.get(name)
        if before is None or before["count"] != size or _sha256(folder / name) != before["sha256"]:
            data = _shard(robot, kind, size, np.random.default_rng((seed, KINDS.index(kind), k)))
            write_atomic(folder / name, data)
            before = {"name": name, "count": size, "sha256": hashlib.sha256(data).hexdigest()}
        entries.append(before)
        manifest = json.dumps({**identity, "count": begin + size, "shards": entries}, indent=1) + "\n"
        write_atomic(folder / "manifest.json", manifest)
    return folder / "manifest.json"


def verify(manifest: Path) -> list[str]:
    """Return what is wrong with the shards of ``manifest``; empty if nothing is."""
    shards = json.loads(manifest.read_text(encoding="utf-8"))["shards"]
    faults = [
        f"{shard['name']} {'is missing' if _sha256(manifest.parent / shard['name']) is None else 'has changed'}"
        for shard in shards
        if _sha256(manifest.parent / shard["name"]) != shard["sha256"]
    ]
    extra = {path.name for path in manifest.parent.glob("*.npz")} - {shard["name"] for shard in shards}
    return faults + [f"{name} is not in the manifest" for name in sorted(extra)]


def _shard(robot: RobotModel, kind: str, count: int, rng: np.random.Generator) -> bytes:
    q = robot.random(rng, count) if kind == "uniform" else rare(make_chain(robot), kind, count, rng)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, q=q, T_base_tip=robot.forward(q))
    return buffer.getvalue()


def _read(manifest: Path, identity: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the shards written earlier by name; none if the manifest is missing or of other data."""
    if not manifest.is_file():
        return {}
    values = json.loads(manifest.read_text(encoding="utf-8"))
    if any(values.get(key) != value for key, value in identity.items()):
        return {}
    return {shard["name"]: shard for shard in values["shards"]}


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def main() -> int:
    """Write or verify; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robot", help="catalogue name or URDF")
    parser.add_argument("--base", help="link the chain starts from")
    parser.add_argument("--tip", help="link the chain ends at")
    parser.add_argument("--kind", choices=KINDS, default="uniform")
    parser.add_argument("--count", type=int, default=SHARD)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--verify", action="store_true", help="check the files against their manifest, write nothing")
    chosen = parser.parse_args()
    robot = load_robot(chosen.robot, chosen.base, chosen.tip)
    if not chosen.verify:
        print(prepare(robot, kind=chosen.kind, count=chosen.count, seed=chosen.seed, out=chosen.out))
        return 0
    manifest = chosen.out / f"{robot.name}_{chosen.kind}_{chosen.seed}" / "manifest.json"
    if not manifest.is_file():
        print(f"There is no {manifest}; run without --verify to write it.", file=sys.stderr)
        return 1
    faults = verify(manifest)
    print("\n".join(faults) if faults else f"{manifest} holds")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

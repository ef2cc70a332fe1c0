"""Write random reachable poses of one arm to ``data/``, in shards with checksums; see the README beside this file."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vision_ik.errors import RecordingError, VisionIkError
from vision_ik.files import write_atomic
from vision_ik.ik.chain import make_chain
from vision_ik.learning.sampling import RARE, rare
from vision_ik.robots import RobotModel, load_robot

DATA = Path(__file__).parent / "data"
SHARD = 100_000
"""Poses in a file; the last has the rest."""
KINDS = ("uniform", *RARE)


def prepare(robot: RobotModel, *, kind: str, count: int, seed: int, out: Path, shard: int = SHARD) -> Path:
    """Write ``count`` poses of a kind in `KINDS` and return the manifest's path; shards that are whole are kept.

    Raises:
        RecordingError: A file cannot be written, or a manifest is there that cannot be read.
        ValueError: ``count`` or ``shard`` is not positive, or ``seed`` is negative.
    """
    if count < 1 or shard < 1 or seed < 0:
        raise ValueError(f"count ({count}) and shard ({shard}) must be at least 1, and seed ({seed}) at least 0.")
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
    """Return what is wrong with the shards of ``manifest``; empty if nothing is.

    Raises:
        RecordingError: The manifest is malformed, or a file cannot be read.
    """
    shards = _load(manifest)["shards"]
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
    values = _load(manifest)
    if any(values[key] != value for key, value in identity.items()):
        return {}
    return {shard["name"]: shard for shard in values["shards"]}


def _load(manifest: Path) -> dict[str, Any]:
    """Return the values of a manifest, all of them there and of their kinds."""
    try:
        values = json.loads(_bytes(manifest))
    except ValueError as error:
        raise _malformed(manifest, f"is not JSON: {error}") from error
    if (wrong := _wrong_key(values, _MANIFEST)) is not None:
        raise _malformed(manifest, f"has no {wrong}, or one of another kind")
    for k, shard in enumerate(values["shards"]):
        if (wrong := _wrong_key(shard, _SHARD)) is not None:
            raise _malformed(manifest, f"has no {wrong} for shard {k}, or one of another kind")
    return values


_MANIFEST = {"robot": str, "robot_hash": str, "kind": str, "seed": int, "shard": int, "count": int, "shards": list}
_SHARD = {"name": str, "count": int, "sha256": str}


def _wrong_key(values: Any, kinds: dict[str, type]) -> str | None:
    """Return the first key that ``values`` lacks or has of another kind; None if there is none."""
    known: dict[str, object] = values if isinstance(values, dict) else {}
    return next((key for key, kind in kinds.items() if not isinstance(known.get(key), kind)), None)


def _malformed(manifest: Path, what: str) -> RecordingError:
    return RecordingError(f"{manifest} {what}.", "Delete it and run without --verify to write it anew.", path=manifest)


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(_bytes(path)).hexdigest() if path.is_file() else None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordingError(
            f"{path} cannot be read: {error.strerror or error}.", "Make it readable or delete it.", path=path
        ) from error


def _at_least(least: int, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}; give one that is.")
    return value


def main() -> int:
    """Write or verify; return the exit status: 1 if the files do not hold, 2 if nothing could be done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robot", help="catalogue name or URDF")
    parser.add_argument("--base", help="link the chain starts from")
    parser.add_argument("--tip", help="link the chain ends at")
    parser.add_argument("--kind", choices=KINDS, default="uniform")
    parser.add_argument("--count", type=partial(_at_least, 1), default=SHARD)
    parser.add_argument("--seed", type=partial(_at_least, 0), default=0)
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--verify", action="store_true", help="check the files against their manifest, write nothing")
    chosen = parser.parse_args()
    try:
        robot = load_robot(chosen.robot, chosen.base, chosen.tip)
        if not chosen.verify:
            print(prepare(robot, kind=chosen.kind, count=chosen.count, seed=chosen.seed, out=chosen.out))
            return 0
    except VisionIkError as error:
        print(error, file=sys.stderr)
        return 2
    manifest = chosen.out / f"{robot.name}_{chosen.kind}_{chosen.seed}" / "manifest.json"
    if not manifest.is_file():
        print(f"There is no {manifest}; run without --verify to write it.", file=sys.stderr)
        return 1
    try:
        faults = verify(manifest)
    except RecordingError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(faults) if faults else f"{manifest} holds")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

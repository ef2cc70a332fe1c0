"""Learned seeds on disk: ``NAME.safetensors`` and its card ``NAME.toml``.

The card says for which chain the seeds were trained (``robot_hash``), how, and what they were
measured to do; its checksum ties it to the weights. Neither file can run code.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import tomlkit
from safetensors import SafetensorError

from vision_ik.errors import WeightsError
from vision_ik.files import write_atomic
from vision_ik.ik.seeds import FEATURES, Net
from vision_ik.robots import RobotModel

FORMAT = 1
SHIPPED = Path(__file__).parent / "weights"
_REMEDY = "Train them again with `vision-ik train`, or pass learned=False to solve with random restarts."


def save_weights(
    path: str | Path,
    net: Net,
    robot: RobotModel,
    *,
    recipe: Mapping[str, object],
    metrics: Mapping[str, object],
) -> tuple[Path, Path]:
    """Write the weights and their card beside each other; ``path`` ends in ``.safetensors``.

    Returns:
        The paths of the weights and of the card.

    Raises:
        RecordingError: The folder cannot be written to.
    """
    weights = Path(path).with_suffix(".safetensors")
    data = safetensors.numpy.save({name: np.ascontiguousarray(getattr(net, name)) for name in _SHAPES})
    card = {
        "format": FORMAT,
        "robot": robot.name,
        "robot_hash": robot.hash,
        "joints": list(robot.joint_names),
        "base": robot.base,
        "tip": robot.tip,
        "lower": robot.lower.tolist(),
        "upper": robot.upper.tolist(),
        "symmetric": bool(net.symmetric),
        "sha256": hashlib.sha256(data).hexdigest(),
        "recipe": dict(recipe),
        "metrics": dict(metrics),
    }
    write_atomic(weights, data)
    return weights, write_atomic(weights.with_suffix(".toml"), tomlkit.dumps(card))


def load_weights(path: str | Path, robot: RobotModel) -> Net:
    """Return the seed network in ``path`` after checking that it is whole and belongs to ``robot``.

    Raises:
        WeightsError: A file is missing, corrupt or of another format, or the weights were trained for another chain.
    """
    weights = Path(path).with_suffix(".safetensors")
    card = read_card(weights)
    if card.get("robot_hash") != robot.hash:
        raise WeightsError(
            f"{weights.name} was trained for {card.get('robot')} ({card.get('robot_hash')}), "
            f"not for {robot.name} ({robot.hash}): geometry or limits differ.",
            _REMEDY,
            path=weights,
            trained_for=card.get("robot_hash"),
            robot=robot.hash,
        )
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise _corrupt(weights, f"cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != card.get("sha256"):
        raise _corrupt(weights, "does not match the checksum on its card (truncated or changed)")
    try:
        tensors = safetensors.numpy.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _corrupt(weights, f"is no safetensors file: {error}") from error
    return _checked(tensors, bool(card.get("symmetric")), robot.n, weights)


def read_card(path: str | Path) -> dict[str, Any]:
    """Return the card beside the weights ``path``.

    Raises:
        WeightsError: It is missing, malformed or of another format.
    """
    card = Path(path).with_suffix(".toml")
    try:
        values = tomllib.loads(card.read_text(encoding="utf-8"))
    except OSError as error:
        raise _corrupt(card, f"cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _corrupt(card, f"is not TOML: {error}") from error
    if values.get("format") != FORMAT:
        raise _corrupt(card, f"has format {values.get('format')!r}, this version reads {FORMAT}")
    return values


def find_shipped(robot: RobotModel) -> Path | None:
    """Return the shipped weights trained for this very chain, whatever it is called; None if there are none."""
    for card in sorted(SHIPPED.glob("*.toml")):
        if read_card(card)["robot_hash"] == robot.hash:
            return card.with_suffix(".safetensors")
    return None


_SHAPES = {"first": 2, "hidden": 3, "judge": 2, "rank": 2, "heads": 2}
"""Number of dimensions of each tensor."""


def _checked(tensors: Mapping[str, Any], symmetric: bool, n: int, path: Path) -> Net:
    if set(tensors) != set(_SHAPES) or any(
        tensors[k].ndim != d or tensors[k].dtype != "f4" for k, d in _SHAPES.items()
    ):
        raise _corrupt(path, "holds other tensors than a seed network has")
    net = Net(**{name: np.ascontiguousarray(tensors[name]) for name in _SHAPES}, symmetric=symmetric)
    width, judges, heads = net.first.shape[1], net.judge.shape[1], net.rank.shape[1]
    outputs = n - 2 if symmetric else n
    wanted = {
        "first": (FEATURES + 1, width),
        "hidden": (len(net.hidden), width + 1, width),
        "judge": (FEATURES + width + 1, judges),
        "rank": (judges + 1, heads),
        "heads": (width + 1, heads * outputs),
    }
    if min(width, judges, heads) < 1 or any(tensors[name].shape != shape for name, shape in wanted.items()):
        raise _corrupt(path, f"has tensors that do not fit together or an arm of {n} joints")
    if not all(np.isfinite(tensors[name]).all() for name in _SHAPES):
        raise _corrupt(path, "holds NaN or infinity")
    for name in _SHAPES:
        tensors[name].setflags(write=False)
        getattr(net, name).setflags(write=False)
    return net


def _corrupt(path: Path, what: str) -> WeightsError:
    return WeightsError(f"{path} {what}.", _REMEDY, path=path)

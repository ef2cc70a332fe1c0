"""Learned seeds on disk: ``NAME.safetensors`` and its card ``NAME.toml``.

The card says for which chain the seeds were trained, how, and what they were measured to do; its
checksum ties it to the weights. Neither file can run code.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import safetensors.numpy
import tomlkit
from safetensors import SafetensorError

from vision_ik.errors import WeightsError
from vision_ik.files import write_atomic
from vision_ik.ik.seeds import FEATURES, Net
from vision_ik.ik.variants import difference, dissimilarity, fit, is_exact
from vision_ik.robots import RobotModel, catalogue, load_robot

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
        "prismatic": robot.prismatic.tolist(),
        "lower": robot.lower.tolist(),
        "upper": robot.upper.tolist(),
        "fixed": robot.fixed.tolist(),
        "symmetric": bool(net.symmetric),
        "sha256": hashlib.sha256(data).hexdigest(),
        "recipe": dict(recipe),
        "metrics": dict(metrics),
    }
    write_atomic(weights, data)
    return weights, write_atomic(weights.with_suffix(".toml"), tomlkit.dumps(card))


def load_weights(path: str | Path, robot: RobotModel) -> Net:
    """Return the seed network in ``path`` after checking that it is whole and belongs to ``robot``.

    It may have been trained for a variant of the arm, see `vision_ik.ik.variants`; then it is fitted to this one.

    Raises:
        WeightsError: A file is missing, corrupt or of another format, or the weights were trained for another arm.
    """
    weights = Path(path).with_suffix(".safetensors")
    card = read_card(weights)
    nominal = trained_for(weights, robot)
    what = difference(nominal, robot)
    if what:
        raise WeightsError(
            f"{weights.name} was trained for {nominal.name} ({nominal.hash}), "
            f"not for {robot.name} ({robot.hash}): {what}.",
            _REMEDY,
            path=weights,
            trained_for=nominal.hash,
            robot=robot.hash,
        )
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise _corrupt(weights, f"cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise _corrupt(weights, "does not match the checksum on its card (truncated or changed)")
    try:
        tensors = safetensors.numpy.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _corrupt(weights, f"is no safetensors file: {error}") from error
    net = _checked(tensors, bool(card.get("symmetric")), robot.n, weights)
    return net if is_exact(nominal, robot) else fit(net, nominal, robot)


def trained_for(path: str | Path, robot: RobotModel) -> RobotModel:
    """Return the arm the weights ``path`` were trained for: ``robot`` itself if it is that, else from the card.

    Of an arm from a card, only what `RobotModel.hash` covers means anything.

    Raises:
        WeightsError: The card is missing or corrupt, or has no chain and names none of the catalogue.
    """
    card = read_card(path)
    if card["robot_hash"] == robot.hash:
        return robot
    if "fixed" not in card and card["robot"] in catalogue():
        nominal = load_robot(card["robot"])
    else:
        nominal = _arm_on_card(card, Path(path).with_suffix(".toml"))
    if nominal.hash != card["robot_hash"]:
        raise _corrupt(path, "has a card whose chain and robot_hash disagree")
    return nominal


def find_shipped(robot: RobotModel) -> Path | None:
    """Return the shipped weights for this very chain, whatever it is called, else for the nearest variant of it.

    None if there are none.
    """
    own = SHIPPED / f"{robot.name}.toml"
    cards = sorted(SHIPPED.glob("*.toml"), key=lambda card: (card != own, card))
    best, found = np.inf, None
    for card in cards:
        if read_card(card)["robot_hash"] == robot.hash:
            return card.with_suffix(".safetensors")
    for card in cards:
        if len(read_card(card)["joints"]) != robot.n:
            continue
        nominal = trained_for(card, robot)
        if not difference(nominal, robot) and (apart := dissimilarity(nominal, robot)) < best:
            best, found = apart, card.with_suffix(".safetensors")
    return found


def read_card(path: str | Path) -> Mapping[str, Any]:
    """Return the card beside the weights ``path``.

    Raises:
        WeightsError: It is missing, malformed or of another format.
    """
    card = Path(path).with_suffix(".toml")
    try:
        state = card.stat()
        return _read_card(card, (state.st_mtime_ns, state.st_size, state.st_ino))
    except OSError as error:
        raise _corrupt(card, f"cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _read_card(card: Path, state: tuple[int, int, int]) -> Mapping[str, Any]:
    """Return the values of a card, parsed once; ``state`` tells its versions apart."""
    del state
    try:
        values = tomllib.loads(card.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _corrupt(card, f"is not TOML: {error}") from error
    if values.get("format") != FORMAT:
        raise _corrupt(card, f"has format {values.get('format')!r}, this version reads {FORMAT}")
    for key, kind in _CARD.items():
        if not isinstance(values.get(key), kind):
            raise _corrupt(card, f"has no {key}, or none that is a {kind.__name__}")
    return MappingProxyType(values)


_CARD = {"robot": str, "robot_hash": str, "joints": list, "lower": list, "upper": list, "sha256": str, "metrics": dict}
"""What every card has."""


def _arm_on_card(card: Mapping[str, Any], path: Path) -> RobotModel:
    n = len(card["joints"])
    lower, upper = card["lower"], card["upper"]
    try:
        return RobotModel(
            name=card["robot"],
            joint_names=tuple(card["joints"]),
            base=card["base"],
            tip=card["tip"],
            fixed=card["fixed"],
            prismatic=card["prismatic"],
            lower=lower,
            upper=upper,
            velocity=np.ones(n),
            acceleration=np.ones(n),
            jerk=np.ones(n),
            home=np.clip(np.zeros(n), lower, upper),
            links=(card["base"],),
            link_frames=np.zeros(1, np.int64),
            Ts_frame_link=np.eye(4)[None],
            capsules=(),
            urdf_path=path,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _corrupt(path, f"describes no chain: {error}") from error


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


def _corrupt(path: str | Path, what: str) -> WeightsError:
    return WeightsError(f"{path} {what}.", _REMEDY, path=path)

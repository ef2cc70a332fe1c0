"""Learned seeds on disk: ``NAME.safetensors`` and its card ``NAME.toml``.

The card says for which chain the seeds were trained, how, and what they were measured to do; its
checksum ties it to the weights. Neither file can run code.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Callable, Mapping
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
    net = _checked(tensors, card["symmetric"], robot.n, weights)
    return net if is_exact(nominal, robot) else fit(net, nominal, robot)


def trained_for(path: str | Path, robot: RobotModel) -> RobotModel:
    """Return the arm the weights ``path`` were trained for: ``robot`` itself if it is that, else from the card.

    Of an arm from a card, only what `RobotModel.hash` covers means anything.

    Raises:
        WeightsError: The card is missing or corrupt.
    """
    nominal = _read(path)[1]
    return robot if nominal.hash == robot.hash else nominal


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
    """Return the card beside the weights ``path``, its fields checked and its chain held against ``robot_hash``.

    Metrics are a report and may be missing, all or some: ``metrics`` is empty then, and what reads a share from it
    takes NaN.

    Raises:
        WeightsError: It is missing, malformed, of another format, or contradicts itself.
    """
    return _read(path)[0]


def _read(path: str | Path) -> tuple[Mapping[str, Any], RobotModel]:
    """Return the card beside the weights ``path``, and the arm on it."""
    card = Path(path).with_suffix(".toml")
    try:
        state = card.stat()
        return _read_card(card, (state.st_mtime_ns, state.st_size, state.st_ino))
    except OSError as error:
        raise _corrupt(card, f"cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _read_card(card: Path, state: tuple[int, int, int]) -> tuple[Mapping[str, Any], RobotModel]:
    """Return the values of a card and the arm on it, parsed once; ``state`` tells its versions apart."""
    del state
    try:
        values = tomllib.loads(card.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _corrupt(card, f"is not TOML: {error}") from error
    if values.get("format") != FORMAT:
        raise _corrupt(card, f"has format {values.get('format')!r}, this version reads {FORMAT}")
    values = {"recipe": {}, "metrics": {}} | values
    for key, (fits, kind) in _CARD.items():
        if key not in values:
            raise _corrupt(card, f"has no {key}")
        if not fits(values[key]):
            raise _corrupt(card, f"has {key} that is not {kind}")
    for key in _SHARES:
        if not _is_share(values["metrics"].get(key, math.nan)):
            raise _corrupt(card, f"has metrics.{key} that is neither a share from 0 to 1 nor nan")
    n = len(values["joints"])
    for key, count in (("prismatic", n), ("lower", n), ("upper", n), ("fixed", n + 1)):
        if len(values[key]) != count:
            raise _corrupt(card, f"has {key} of length {len(values[key])} instead of {count}, with {n} names in joints")
    arm = _arm_on_card(values, card)
    if arm.hash != values["robot_hash"]:
        raise _corrupt(card, f"has a chain and a robot_hash that disagree: {arm.hash} and {values['robot_hash']}")
    return MappingProxyType(values), arm


def _is_number(value: object) -> bool:
    """Return whether it is a number a double can hold; NaN is none."""
    return (isinstance(value, float) and not math.isnan(value)) or (type(value) is int and abs(value) < 2**53)


def _is_share(value: object) -> bool:
    return type(value) in (int, float) and (0 <= value <= 1 or value != value)  # pyright: ignore[reportOperatorIssue]


def _are(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return what tells whether a value is a list whose items all fit."""
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


def _is_rigid_table(value: Any) -> bool:
    """Return whether it is a 4x4 list of finite numbers that ends in 0, 0, 0, 1."""
    if not _are(_are(_is_number))(value) or [len(row) for row in value] != [4, 4, 4, 4]:
        return False
    table = np.array(value, dtype=np.float64)
    return bool(np.isfinite(table).all() and np.allclose(table[3], (0.0, 0.0, 0.0, 1.0), rtol=0.0, atol=1e-9))


_TEXT, _TABLE = (_is(str), "a text"), (_is(dict), "a table")
_NUMBERS = (_are(_is_number), "a list of numbers")
_CARD: dict[str, tuple[Callable[[Any], bool], str]] = {
    "robot": _TEXT,
    "robot_hash": _TEXT,
    "joints": (_are(_is(str)), "a list of texts"),
    "base": _TEXT,
    "tip": _TEXT,
    "prismatic": (_are(_is(bool)), "a list of true and false"),
    "lower": _NUMBERS,
    "upper": _NUMBERS,
    "fixed": (_are(_is_rigid_table), "a list of 4x4 rigid transforms"),
    "symmetric": (_is(bool), "true or false"),
    "sha256": _TEXT,
    "recipe": _TABLE,
    "metrics": _TABLE,
}
"""What every card has, how it is told and what it is called; the two tables may be left out."""
_SHARES = ("first_shot", "random_start")
"""Metrics that decide on whether a network is used."""


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
    except ValueError as error:
        raise _corrupt(path, f"describes no chain: {str(error).rstrip('.')}") from error


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

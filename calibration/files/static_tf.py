"""Lines that publish a static transform in ROS: **T_parent_child**, [m].

ROS 1, and ROS 2 before Humble: ``static_transform_publisher x y z qx qy qz qw parent child``, or with
``yaw pitch roll`` [rad] in place of the quaternion; the package ``tf`` takes a period in milliseconds behind it.
ROS 2: ``--x --y --z --qx --qy --qz --qw --frame-id --child-frame-id``, or ``--roll --pitch --yaw``.

Read are command lines, ``args="..."`` of launch files, and ``arguments=[...]`` of Python launch files.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Literal

from calibration.files.documents import quaternion_pose, reading
from calibration.files.placement import Placement
from vision_ik.config import refuse_unknown
from vision_ik.errors import ConfigError
from vision_ik.transforms import Transform

_WORD = "static_transform_publisher"
_REMEDY = "Give a line such as: static_transform_publisher 0.1 0 0.5 0 0 0 1 tool0 camera_optical_frame."
_FLAGS = {"x", "y", "z", "qx", "qy", "qz", "qw", "roll", "pitch", "yaw", "frame-id", "child-frame-id"}


def is_static_tf(text: str) -> bool:
    """Return whether a text has such a line."""
    return _WORD in text


def read_static_tf(file: Path, text: str, child: str = "") -> Placement:
    """Return the transform of the line, or of the one with this child where there are several.

    Raises:
        ConfigError: There is no such line, it is malformed, or there are several.
        InvalidPoseError: Its quaternion is none.
    """
    with reading(file, "static transform", _REMEDY):
        found = [_placement(words) for words in _lines(text)]
        if child:
            found = [each for each in found if each.child == child]
        if len(found) != 1:
            names = ", ".join(each.child for each in found)
            raise ConfigError(
                f"{file} publishes {len(found) or 'no'} static transforms{f': of {names}' if names else ''}.",
                "Say which frame is the camera's: --child NAME.",
                path=file,
            )
        return found[0]


def write_static_tf(placement: Placement, *, ros: Literal[1, 2] = 2) -> str:
    """Return the command line that publishes the transform."""
    position, quaternion = placement.T_parent_child.translation, placement.T_parent_child.rotation_xyzw
    values = [repr(float(x)) for x in (*position, *quaternion)]
    if ros == 1:
        words = ["rosrun", "tf2_ros", _WORD, *values, placement.parent, placement.child]
    else:
        named = [f"--{flag}" for flag in ("x", "y", "z", "qx", "qy", "qz", "qw")]
        words = ["ros2", "run", "tf2_ros", _WORD]
        words += [word for pair in zip(named, values, strict=True) for word in pair]
        words += ["--frame-id", placement.parent, "--child-frame-id", placement.child]
    return shlex.join(words) + "\n"


def _lines(text: str) -> list[list[str]]:
    """Return the arguments of every publisher in a text."""
    found: list[list[str]] = []
    for part in text.split(_WORD)[1:]:
        launch = re.search(r'args\s*=\s*"([^"]*)"', part)
        python = re.search(r"arguments\s*=\s*\[([^\]]*)\]", part)
        if launch is not None:
            found.append(shlex.split(launch.group(1)))
        elif python is not None:
            found.append(re.findall(r"""['"]([^'"]*)['"]""", python.group(1)))
        else:
            line = part.lstrip("\"' ").replace("\\\n", " ").split("\n")[0]
            found.append(shlex.split(line, comments=True))
    return [words for words in found if words]


def _placement(words: list[str]) -> Placement:
    given = _flags(words) if any(word.startswith("--") for word in words) else _positions(words)
    parent, child = str(given.pop("frame-id")), str(given.pop("child-frame-id"))
    values = {name: float(value) for name, value in given.items()}
    position = {name: values.get(name, 0.0) for name in "xyz"}
    angles = [values.get(name, 0.0) for name in ("roll", "pitch", "yaw")]
    if any(name in values for name in ("qx", "qy", "qz", "qw")):
        turned = {"qx": 0.0, "qy": 0.0, "qz": 0.0, "qw": 1.0} | {n: v for n, v in values.items() if n.startswith("q")}
        T = quaternion_pose(position | turned, child)
    else:
        T = Transform.from_xyz_rpy([*position.values()], angles)
    return Placement(parent=parent, child=child, T_parent_child=T, format=_WORD)


def _flags(words: list[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word == "--ros-args":
            break
        if not word.startswith("--"):
            raise ValueError(f"{word!r} stands where a flag should")
        name, equals, value = word.removeprefix("--").partition("=")
        given[name] = value if equals else next(rest, "")
    refuse_unknown(given, _FLAGS, "--")
    return given


def _positions(words: list[str]) -> dict[str, str]:
    count = next((i for i, word in enumerate(words) if not _is_number(word)), len(words))
    names = {6: ("x", "y", "z", "yaw", "pitch", "roll"), 7: ("x", "y", "z", "qx", "qy", "qz", "qw")}
    if count not in names or len(words) < count + 2:
        raise ValueError(
            f"{count} numbers and {len(words) - count} words follow {_WORD}: six numbers (x y z yaw pitch roll) or "
            "seven (x y z qx qy qz qw) and two frames are needed"
        )
    given = dict(zip(names[count], words[:count], strict=True))
    return given | {"frame-id": words[count], "child-frame-id": words[count + 1]}


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True

"""What a run leaves behind: an annotated video, a table of commands, a line per frame.

Rows are flushed as they are made, so a crash or a full disk costs at most the last one.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np

from vision_ik.cli.film import Film, ThirdPerson
from vision_ik.control import Mode, ServoStep
from vision_ik.errors import RecordingError
from vision_ik.rig import Rig
from vision_ik.robots import RobotModel
from vision_ik.transforms import Transform
from vision_ik.types import Frame, Image
from vision_ik.view import OverlayStatus, draw_overlay
from vision_ik.view.overlay import Level

_LEVELS: dict[Mode, Level] = {
    Mode.IDLE: "waiting",
    Mode.TRACKING: "good",
    Mode.COASTING: "waiting",
    Mode.HOLDING: "waiting",
    Mode.STOPPED: "bad",
}


class RunRecorder:
    """Keep what a servo loop saw and did; a context manager.

    Writes into ``out``: ``NAME.mp4`` (overlay, beside the third-person view where there is one),
    ``commands.csv`` (a row per control step) and ``detections.jsonl`` (a line per frame).

    Args:
        out: Folder, made if missing.
        robot: The arm.
        rig: Sizes of tags, pose of the camera, tool.
        name: Of the video.
        third_person: The scene from outside; None leaves it out.
        fps: Of the video [1/s]; frames are shown in their order.
        every: Frames of which one comes into the video; drawing and encoding all would slow a simulated run.

    Raises:
        RecordingError: The folder cannot be written to.
    """

    def __init__(
        self,
        out: Path,
        *,
        robot: RobotModel,
        rig: Rig,
        name: str = "run",
        third_person: ThirdPerson | None = None,
        fps: float = 30.0,
        every: int = 1,
    ) -> None:
        self.out = out
        self.rig = rig
        self._robot = robot
        self._every = every
        self._stack = ExitStack()
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._commands = self._stack.enter_context((out / "commands.csv").open("w", newline="", encoding="utf-8"))
            self._frames = self._stack.enter_context((out / "detections.jsonl").open("w", encoding="utf-8"))
        except OSError as error:
            self._stack.close()
            raise _failure(out, error) from error
        self._film = self._stack.enter_context(Film(out / f"{name}.mp4", fps=fps, third_person=third_person))
        self._writer = csv.writer(self._commands)
        self._row(_header(robot))

    def add(self, step: ServoStep) -> None:
        """Keep one control step, and its frame if it has one.

        Raises:
            RecordingError: The disk is full or gone.
        """
        approximate = self._approximate(step.frame)
        self._row(_row(step, self._robot.n, approximate))
        if step.frame is not None:
            self._line(_line(step, step.frame, approximate))
            if step.frame.index % self._every == 0:
                self.show(partial(self._annotated, step, step.frame, self.rig))

    def show(self, draw: Callable[[], Image]) -> None:
        """Append the picture that ``draw`` returns to the video; it is called soon, on another thread.

        Raises:
            RecordingError: The disk is full or gone.
        """
        self._film.add(draw)

    @property
    def picture(self) -> Image | None:
        """The newest annotated picture (BGR), for a window."""
        return self._film.picture

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _annotated(self, step: ServoStep, frame: Frame, rig: Rig) -> Image:
        T_camera_target = T_camera_tool = error = None
        if step.state is not None and rig.T_mount_camera is not None:
            T_base_flange = Transform(self._robot.forward(step.state.q))
            T_base_tool = T_base_flange @ rig.T_flange_tool
            T_camera_base = rig.T_base_camera(T_base_flange).inv()
            T_camera_tool = T_camera_base @ T_base_tool
            if step.target is not None:
                T_camera_target = T_camera_base @ step.target.T_base_target
                error = step.target.T_base_target.distance_to(T_base_tool)[0]
        return draw_overlay(
            frame.image,
            intrinsics=frame.intrinsics,
            detections=step.detections,
            poses=step.poses,
            tag_sizes={pose.tag_id: rig.tag_size(pose.tag_id) for pose in step.poses},
            T_camera_target=T_camera_target,
            T_camera_tool=T_camera_tool,
            status=OverlayStatus(
                state=step.verdict.mode.value,
                reason=step.verdict.reason,
                level=_LEVELS[step.verdict.mode],
                error=error,
                timestamp=step.timestamp,
            ),
            approximate=frame.intrinsics.approximate or _assumed(rig),
        )

    def _approximate(self, frame: Frame | None) -> bool:
        """Return whether anything behind this row was assumed: the lens, a size, the camera's place."""
        return _assumed(self.rig) or (frame is not None and frame.intrinsics.approximate)

    def _row(self, row: list[Any]) -> None:
        try:
            self._writer.writerow(row)
            self._commands.flush()
        except OSError as error:
            raise _failure(self.out, error) from error

    def _line(self, line: dict[str, Any]) -> None:
        _append(self._frames, json.dumps(line), self.out)


def _assumed(rig: Rig) -> bool:
    return bool(rig.provenance.get("approximate", ""))


def _append(file: TextIO, line: str, out: Path) -> None:
    try:
        file.write(line + "\n")
        file.flush()
    except OSError as error:
        raise _failure(out, error) from error


def _failure(out: Path, error: OSError) -> RecordingError:
    return RecordingError(
        f"Could not write into {out}: {error.strerror or error}.",
        "Free some space or choose another folder with --out; what was written so far is kept.",
        path=out,
    )


def _header(robot: RobotModel) -> list[str]:
    fixed = ["timestamp_s", "approximate", "frame", "state", "reason", "target", "target_age_s"]
    pose = [f"target_{axis}" for axis in ("x_m", "y_m", "z_m", "qx", "qy", "qz", "qw")]
    ik = ["ik_status", "ik_position_error_m", "ik_rotation_error_rad", "ik_seed", "ik_iterations"]
    joints = [f"{kind}_{name}" for kind in ("q_command", "dq_command", "q_measured") for name in robot.joint_names]
    return [*fixed, *pose, *ik, "clipped_by", *joints]


def _row(step: ServoStep, n: int, approximate: bool) -> list[Any]:
    target, solution, command = step.target, step.solution, step.command
    frame = "" if step.frame is None else step.frame.index
    row: list[Any] = [f"{step.timestamp:.6f}", int(approximate), frame, step.verdict.mode.value, step.verdict.reason]
    if target is None:
        row += [""] * 9
    else:
        T = target.T_base_target
        row += [target.name, f"{target.age:.4f}", *_numbers(T.translation), *_numbers(T.rotation_xyzw)]
    if solution is None:
        row += [""] * 5
    else:
        errors = _numbers((solution.position_error, solution.rotation_error))
        row += [solution.status.name.lower(), *errors, solution.seed, solution.iterations]
    row.append("" if command is None else "+".join(command.clipped_by))
    row += [""] * (2 * n) if command is None else [*_numbers(command.q), *_numbers(command.dq)]
    return [*row, *([""] * n if step.state is None else _numbers(step.state.q))]


def _line(step: ServoStep, frame: Frame, approximate: bool) -> dict[str, Any]:
    poses = {pose.tag_id: pose for pose in step.poses}
    tags: list[dict[str, Any]] = []
    for detection in step.detections:
        tag: dict[str, Any] = {
            "id": detection.tag_id,
            "family": detection.family,
            "corners_px": np.round(detection.corners, 3).tolist(),
        }
        pose = poses.get(detection.tag_id)
        if pose is not None:
            tag["T_camera_tag"] = {
                "translation_m": np.round(pose.T_camera_tag.translation, 6).tolist(),
                "rotation_xyzw": np.round(pose.T_camera_tag.rotation_xyzw, 6).tolist(),
            }
            lens = 0.0 if pose.lens_covariance is None else pose.lens_covariance
            tag["sigma"] = [float(f"{s:.3g}") for s in np.sqrt(np.diag(pose.covariance + lens))]
            tag["reprojection_error_px"] = round(pose.reprojection_error, 4)
            tag["ambiguity"] = round(pose.ambiguity, 4)
        tags.append(tag)
    return {
        "frame": frame.index,
        "timestamp_s": round(frame.timestamp, 6),
        "approximate": approximate,
        "tags": tags,
    }


def _numbers(values: Any) -> list[str]:
    return [f"{float(value):.9g}" for value in values]

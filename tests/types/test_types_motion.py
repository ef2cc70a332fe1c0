"""The values of moving: one number per named joint, and outcomes that say what they are."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from vision_ik.types import IkBatch, IkSolution, IkStatus, JointCommand, JointState

_NAMES = ("shoulder", "elbow")


def _solution(**changes: Any) -> IkSolution:
    fields: dict[str, Any] = {"q": np.zeros(7), "status": IkStatus.CONVERGED, "position_error": 1e-7}
    fields |= {"rotation_error": 1e-7, "seed": "network", "iterations": 3, "duration": 1e-5}
    return IkSolution(**fields | changes)


@pytest.mark.parametrize("kind", [JointState, JointCommand])
@pytest.mark.parametrize(("name", "value"), [("q", np.zeros(3)), ("dq", np.zeros((1, 2))), ("q", [0.0, np.nan])])
def test_joint_values_are_finite_and_as_many_as_joints(kind: type[JointState], name: str, value: Any) -> None:
    fields: dict[str, Any] = {"names": _NAMES, "q": np.zeros(2), "dq": np.zeros(2), "timestamp": 0.0}
    kind(**fields)
    with pytest.raises(ValueError, match=f"^{name} must"):
        kind(**fields | {name: value})


def test_a_command_says_what_clipped_it() -> None:
    fields: dict[str, Any] = {"names": _NAMES, "q": np.zeros(2), "dq": np.zeros(2), "timestamp": 0.0}
    assert JointCommand(**fields).clipped_by == ()
    assert JointCommand(**fields, clipped_by=("velocity",)).clipped_by == ("velocity",)


@pytest.mark.parametrize("status", IkStatus)
def test_only_a_converged_solution_counts_as_converged(status: IkStatus) -> None:
    assert _solution(status=status).converged == (status is IkStatus.CONVERGED)


def test_a_batch_says_of_each_pose_whether_it_converged() -> None:
    status = np.array([IkStatus.CONVERGED, IkStatus.LIMITED, IkStatus.UNREACHABLE, IkStatus.INVALID], dtype=np.int64)
    batch = IkBatch(
        q=np.zeros((4, 7)),
        status=status,
        position_error=np.zeros(4),
        rotation_error=np.zeros(4),
        iterations=np.zeros(4, dtype=np.int64),
    )
    assert batch.converged.tolist() == [True, False, False, False]
    assert len(batch) == 4


def test_a_batch_is_read_only_and_has_one_row_a_pose() -> None:
    fields: dict[str, Any] = {"q": np.zeros((2, 7)), "status": np.zeros(2, dtype=np.int64)}
    fields |= {"position_error": np.zeros(2), "rotation_error": np.zeros(2), "iterations": np.zeros(2, dtype=np.int64)}
    batch = IkBatch(**fields)
    for name in fields:
        with pytest.raises(ValueError, match="read-only"):
            getattr(batch, name)[0] = 1
        with pytest.raises(ValueError, match="one row for each"):
            IkBatch(**{**fields, name: fields[name][:1]})


def test_joint_values_cannot_be_changed_once_sent() -> None:
    command = JointCommand(names=_NAMES, q=np.zeros(2), dq=np.zeros(2), timestamp=0.0)
    for value, name in ((command, "q"), (command, "dq"), (_solution(), "q")):
        with pytest.raises(ValueError, match="read-only"):
            getattr(value, name)[0] = 1.0
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, np.ones(2))

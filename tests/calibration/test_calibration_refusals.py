"""What cannot be right is refused before a number comes out of it, and the likely reasons are named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from calibration_stage import LENS, MOUNTS, Stage, make_stage
from scipy.spatial.transform import Rotation

from calibration import HandEyeView, calibrate_hand_eye
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount
from vision_ik.transforms import Transform


@pytest.fixture(params=MOUNTS)
def stage(request: pytest.FixtureRequest) -> Stage:
    mount: Mount = request.param
    return make_stage(
        np.random.default_rng(5), mount, 12, pixel=0.3, translation=0.3e-3, rotation=float(np.deg2rad(0.05))
    )


def changed(stage: Stage, change: Callable[[Transform], Transform]) -> list[HandEyeView]:
    return [replace(view, T_base_flange=change(view.flange)) for view in stage.views]


@pytest.mark.parametrize(("written", "read"), [("zyx", "xyz"), ("xyz", "XYZ")])
def test_angles_read_in_the_wrong_order_give_no_camera(written: str, read: str, stage: Stage) -> None:
    def misread(T: Transform) -> Transform:
        angles = Rotation.from_matrix(T.rotation).as_euler(written)
        angles = angles[::-1] if (written, read) == ("zyx", "xyz") else angles
        return Transform.from_parts(Rotation.from_euler(read, angles).as_matrix(), T.translation)

    with pytest.raises(CalibrationError) as caught:
        calibrate_hand_eye(changed(stage, misread), intrinsics=LENS, mount=stage.mount)
    for word in ("Euler", "mount", "inverse", "paired"):
        assert word in caught.value.remedy

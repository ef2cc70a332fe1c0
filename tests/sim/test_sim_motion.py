"""Tags move as stated: from rest, smoothly, along the path."""

from typing import Any

import numpy as np
import pytest

from sim import Motion
from sim.motion import Shape
from vision_ik.transforms import Transform

CENTRE = Transform.from_xyz_rpy((0.5, 0.1, 0.2), (0.4, -0.2, 1.0))


@pytest.mark.parametrize("shape", ["line", "circle", "figure8"])
def test_a_moving_tag_starts_from_rest_and_never_jumps(shape: Shape):
    motion = Motion(T_world_centre=CENTRE, shape=shape, width_m=0.3, height_m=0.1, period_s=6.0, ramp_s=2.0)
    times = np.arange(-0.1, 9.0, 1e-3)
    points = np.stack([motion.pose(t).translation for t in times.tolist()])
    speed = np.linalg.norm(np.diff(points, axis=0), axis=1) / 1e-3
    assert speed[:101].max() < 1e-4
    assert np.abs(np.diff(speed)).max() / 1e-3 < 1.5 * speed.max()  # finite acceleration
    assert speed.max() > 0.05


def test_a_path_repeats_after_one_period_and_has_the_stated_extent():
    motion = Motion(T_world_centre=CENTRE, shape="figure8", width_m=0.3, height_m=0.1, period_s=6.0, ramp_s=0.0)
    assert motion.pose(1.2).distance_to(motion.pose(7.2))[0] < 1e-12
    offsets = np.stack([(CENTRE.inv() @ motion.pose(t)).translation for t in np.linspace(0, 6, 601).tolist()])
    np.testing.assert_allclose(np.ptp(offsets, axis=0), [0.3, 0.1, 0.0], atol=1e-4)


def test_a_static_tag_stays_and_a_swinging_one_turns_about_its_own_x_axis():
    assert Motion(T_world_centre=CENTRE).pose(3.0) == CENTRE
    swung = Motion(T_world_centre=CENTRE, shape="line", period_s=4.0, ramp_s=0.0, swing_rad=0.3).pose(1.0)
    np.testing.assert_allclose((CENTRE.inv() @ swung).log(), [0, 0, 0, 0.3, 0, 0], atol=1e-12)


@pytest.mark.parametrize("bad", [{"shape": "spiral"}, {"period_s": 0.0}, {"ramp_s": -1.0}, {"width_m": -0.1}])
def test_a_motion_that_makes_no_sense_is_refused(bad: dict[str, Any]):
    with pytest.raises(ValueError, match=r"must"):
        Motion(T_world_centre=CENTRE, **bad)

"""The simulated camera delivers frames as a real one does, and knows the truth beside each."""

from dataclasses import replace

import numpy as np
import pytest

from sim import Motion, Sensor, SimCamera, Solid, World, look_at
from sim.meshes import box_mesh
from vision_ik.errors import FrameReadError
from vision_ik.robots import load_robot
from vision_ik.testing.camera_contract import camera_contract
from vision_ik.testing.contract import Check
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Frame

LENS = CameraIntrinsics(K=np.array([[150.0, 0, 79.5], [0, 150.0, 59.5], [0, 0, 1]]), width=160, height=120)
UP = Transform.from_translation((0.0, 0.0, 5.0))
"""A camera far above the table that looks up: it sees nothing but what is hung before it."""
CLEAN = Sensor(noise=0.0, blur_px=0.0)
PANDA = load_robot("panda")


def tag_before_camera(*, shift: float = 0.0, depth: float = 0.5) -> Transform:
    return UP @ Transform.from_xyz_rpy((shift, 0.0, depth), (np.pi, 0.0, 0.0))


def moving_tag() -> Motion:
    return Motion(T_world_centre=tag_before_camera(), shape="line", width_m=0.2, period_s=1.0, ramp_s=0.0)


def read(camera: SimCamera) -> Frame:
    frame = camera.read()
    assert frame is not None
    return frame


def make_camera() -> SimCamera:
    return SimCamera(World(), LENS, look_at((1.0, 0.0, 0.6), (0.0, 0.0, 0.0)))


@pytest.mark.parametrize("check", camera_contract(make_camera), ids=str)
def test_the_simulated_camera_keeps_the_contract(check: Check):
    check()


def test_a_frame_is_stamped_when_it_is_exposed_and_arrives_after_the_latency():
    with World() as world:
        world.sleep_until(0.3)
        camera = SimCamera(world, LENS, UP, sensor=Sensor(rate_hz=20.0, latency_s=0.07))
        assert camera.read(timeout=0.0) is None
        assert world.now() == 0.3
        first = read(camera)
        assert (first.index, first.timestamp) == (0, 0.3)
        assert world.now() == pytest.approx(0.37, abs=1e-9)
        second = read(camera)
        assert second.timestamp == pytest.approx(0.35, abs=1e-12)
        assert world.now() == pytest.approx(0.42, abs=1e-9)


def test_waiting_in_vain_takes_the_timeout_and_gives_none():
    with World() as world:
        camera = SimCamera(world, LENS, UP, sensor=Sensor(rate_hz=1.0, latency_s=0.05))
        read(camera)
        assert camera.read(timeout=0.25) is None
        assert world.now() == pytest.approx(0.3)


def test_a_late_reader_gets_the_newest_frame_and_the_rest_are_lost():
    with World() as world:
        camera = SimCamera(world, LENS, UP)
        world.sleep_until(1.0)
        frame = camera.read(timeout=0.0)
        assert frame is not None
        assert frame.index == 28  # exposed at 0.933 s, arrived at 0.983 s
        assert camera.read(timeout=0.0) is None


def test_a_poll_at_the_very_moment_of_arrival_gives_the_frame():
    with World() as world:
        camera = SimCamera(world, LENS, UP)
        for index in range(40):
            world.sleep_until(camera.next_arrival())
            frame = camera.read(timeout=0.0)
            assert frame is not None
            assert frame.index == index


def test_dropped_frames_never_arrive_and_are_about_as_many_as_stated():
    with World(seed=2) as world:
        camera = SimCamera(world, LENS, UP, sensor=replace(CLEAN, drop_rate=0.3, rate_hz=100.0))
        indices = [read(camera).index for _ in range(140)]
    assert indices == sorted(set(indices))
    share = 1.0 - len(indices) / (indices[-1] + 1)
    assert 0.18 < share < 0.42  # three sigma of 200 draws


def test_the_same_seed_gives_the_same_pictures_whichever_are_read():
    def pictures(seed: int, skip: int) -> dict[int, np.ndarray]:
        with World(seed=seed) as world:
            world.add_robot(PANDA)
            world.attach_tag(0, 0.1, "world", moving_tag())
            camera = SimCamera(world, LENS, UP)
            found: dict[int, np.ndarray] = {}
            for _ in range(4):
                for _ in range(skip):
                    world.sleep_until(world.now() + 1.0 / 30.0)
                frame = read(camera)
                found[frame.index] = np.array(frame.image)
            return found

    every, some = pictures(3, 0), pictures(3, 1)
    shared = sorted(set(every) & set(some))
    assert len(shared) >= 2
    for index in shared:
        np.testing.assert_array_equal(every[index], some[index])
    assert (pictures(4, 0)[shared[0]] != every[shared[0]]).any()


def test_truth_holds_at_the_time_of_exposure_not_of_reading():
    motion = moving_tag()
    with World() as world:
        camera = SimCamera(world, LENS, UP, sensor=CLEAN)
        world.attach_tag(7, 0.1, "world", motion)
        world.sleep_until(0.5)
        frame = read(camera)
        truth = camera.truth(frame.index)
        assert truth.timestamp == frame.timestamp < world.now()
        expected = UP.inv() @ motion.pose(frame.timestamp)
        assert truth.Ts_camera_target["tag 7"].distance_to(expected)[0] < 1e-12
        # The picture shows the tag there: its darkest part is centred on the true corners.
        rows, columns = np.nonzero(frame.image[..., 0] < 60)
        middle = truth.corners[7].mean(axis=0)
        np.testing.assert_allclose([columns.mean(), rows.mean()], middle, atol=3.0)
        with pytest.raises(ValueError, match="was not read"):
            camera.truth(frame.index + 1)


def test_truth_knows_arm_and_camera_on_the_flange():
    T_flange_camera = Transform.from_xyz_rpy((0.05, 0.0, 0.03), (0.0, 0.0, 0.5))
    T_world_base = Transform.from_translation((0.1, 0.2, 0.0))
    with World() as world:
        body = world.add_robot(PANDA, T_world_base)
        camera = SimCamera(world, LENS, T_flange_camera, "flange", sensor=CLEAN)
        body.set_target(PANDA.home + 0.05, np.zeros(7), 0.0)
        frame = read(camera)
        frame = read(camera)
        truth = camera.truth(frame.index)
        assert np.abs(truth.q - world.q(frame.timestamp)).max() < 1e-12
        T_base_camera = Transform(PANDA.forward(truth.q)) @ T_flange_camera
        assert truth.T_base_camera.distance_to(T_base_camera)[0] < 1e-9
        assert truth.T_world_camera.distance_to(T_world_base @ T_base_camera)[0] < 1e-9
        assert camera.true_T_base_camera().distance_to(truth.T_base_camera)[0] > 1e-5  # the arm has moved on


def test_corners_outside_the_picture_are_not_claimed():
    with World() as world:
        camera = SimCamera(world, LENS, UP, sensor=CLEAN)
        world.attach_tag(0, 0.1, "world", tag_before_camera(shift=0.27))
        frame = read(camera)
        assert camera.truth(frame.index).corners == {}


def test_noise_has_the_stated_standard_deviation_and_no_mean():
    with World() as world:
        clean = read(SimCamera(world, LENS, UP, sensor=CLEAN)).image.astype(np.float64)
        noisy = read(SimCamera(world, LENS, UP, sensor=replace(CLEAN, noise=4.0))).image.astype(np.float64)
    difference = (noisy - clean)[..., 1]
    assert difference.std() == pytest.approx(4.0, rel=0.05)
    assert abs(difference.mean()) < 0.55  # the clean picture is rounded, the noisy one averages to its true grey


def test_noise_differs_between_frames_and_between_neighbours():
    with World() as world:
        camera = SimCamera(world, LENS, UP, sensor=replace(CLEAN, noise=4.0))
        one, other = (read(camera).image[..., 0].astype(np.float64) for _ in range(2))
    one, other = one - one.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(one[:, 1:].ravel(), one[:, :-1].ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(one[1:].ravel(), one[:-1].ravel())[0, 1]) < 0.03


def test_gain_brightens_and_clips():
    with World() as world:
        plain = read(SimCamera(world, LENS, UP, sensor=CLEAN)).image.astype(np.float64)
        bright = read(SimCamera(world, LENS, UP, sensor=replace(CLEAN, gain=1.2))).image.astype(np.float64)
    np.testing.assert_allclose(bright, np.minimum(1.2 * plain, 255.0), atol=1.2)


def test_motion_blur_smears_a_moving_tag_along_its_path_only():
    def picture(sensor: Sensor) -> np.ndarray:
        with World() as world:
            world.attach_tag(0, 0.1, "world", moving_tag())
            world.sleep_until(0.5)
            return read(SimCamera(world, LENS, UP, sensor=sensor)).image[..., 0].astype(np.float64)

    sharp, smeared = picture(CLEAN), picture(replace(CLEAN, exposure_s=0.04, blur_samples=8))
    across = [np.abs(np.diff(image, axis=1)).max(axis=1).mean() for image in (sharp, smeared)]
    along = [np.abs(np.diff(image[:, 75:85], axis=0)).max() for image in (sharp, smeared)]
    assert across[1] < 0.5 * across[0]
    assert along[1] > 0.9 * along[0]


def test_a_rolling_shutter_shears_a_moving_tag_as_the_truth_says():
    rolling = replace(CLEAN, readout_s=0.03)
    big = CameraIntrinsics(K=np.array([[600.0, 0, 319.5], [0, 600.0, 239.5], [0, 0, 1]]), width=640, height=480)
    with World() as world:
        world.attach_tag(0, 0.2, "world", moving_tag())
        world.sleep_until(0.5)
        camera = SimCamera(world, big, UP, sensor=rolling)
        frame = read(camera)
        truth = camera.truth(frame.index).corners[0]
    shear = truth[3, 0] - truth[0, 0]
    assert abs(shear) > 5.0
    # The left border of the tag, row by row, follows the truth.
    rows = np.linspace(truth[0, 1] + 8, truth[3, 1] - 8, 9).round().astype(int)
    for row in rows.tolist():
        line = frame.image[row, :, 0].astype(np.float64)
        left = int(np.argmax(line < 50))  # ink in the shade; the paper there has 96
        share = (row - truth[0, 1]) / (truth[3, 1] - truth[0, 1])
        assert left == pytest.approx(truth[0, 0] + share * shear, abs=1.5)


def test_depth_is_the_distance_along_the_optical_axis():
    with World() as world:
        world.attach_tag(0, 0.1, "world", tag_before_camera(depth=0.5))
        camera = SimCamera(world, LENS, UP, sensor=CLEAN, depth=True)
        depth = read(camera).depth
        assert depth is not None
        np.testing.assert_allclose(depth[50:70, 70:90], 0.5, atol=1e-5)
        assert np.isnan(depth[0, 0])
    with World() as world:
        down = SimCamera(world, LENS, look_at((0.3, 0.0, 0.8), (0.3, 0.0, 0.0)), sensor=CLEAN, depth=True)
        depth = read(down).depth
        assert depth is not None
        np.testing.assert_allclose(depth[40:80, 60:100], 0.8, atol=1e-4)


def test_what_stands_before_a_tag_hides_it_and_what_stands_behind_does_not():
    box = box_mesh((0.06, 0.3, 0.02), (0.8, 0.1, 0.1))
    images: dict[float, np.ndarray] = {}
    for depth in (0.3, 0.7):
        with World() as world:
            world.attach_tag(0, 0.16, "world", tag_before_camera(depth=0.5))
            world.add_solid(Solid(mesh=box, T_parent_solid=UP @ Transform.from_translation((0.0, 0.0, depth))))
            camera = SimCamera(world, LENS, UP, sensor=CLEAN, depth=True)
            frame = read(camera)
            assert frame.depth is not None
            images[depth] = frame.image
            assert frame.depth[60, 80] == pytest.approx(0.29 if depth == 0.3 else 0.5, abs=1e-3)
    red = images[0.3][60, 80].astype(int)
    assert red[2] > red[0] + 60
    assert np.ptp(images[0.7][60, 80].astype(int)) <= 1  # print is grey


def test_a_nearer_tag_hides_a_farther_one_in_either_order_of_attachment():
    for first, second in ((0.4, 0.6), (0.6, 0.4)):
        with World() as world:
            world.attach_tag(0, 0.1, "world", tag_before_camera(depth=first), name="a")
            world.attach_tag(1, 0.1, "world", tag_before_camera(depth=second), name="b")
            depth = read(SimCamera(world, LENS, UP, sensor=CLEAN, depth=True)).depth
            assert depth is not None
            assert depth[60, 80] == pytest.approx(0.4, abs=1e-4)


def test_a_tag_on_the_table_is_seen_and_one_below_it_is_not():
    view = look_at((0.3, 0.0, 0.8), (0.3, 0.0, 0.0))
    spreads: list[float] = []
    for height in (0.0, -0.1):
        with World() as world:
            world.attach_tag(0, 0.1, "world", Transform.from_translation((0.3, 0.0, height)))
            image = read(SimCamera(world, LENS, view, sensor=CLEAN)).image
            spreads.append(float(np.ptp(image[50:70, 70:90].astype(int))))
    assert spreads[0] > 150
    assert spreads[1] < 60


def test_the_back_of_a_tag_is_plain_paper():
    with World() as world:
        world.attach_tag(0, 0.16, "world", UP @ Transform.from_translation((0.0, 0.0, 0.5)))
        image = read(SimCamera(world, LENS, UP, sensor=CLEAN)).image
        assert np.ptp(image[45:75, 65:95].astype(int)) <= 1


def test_a_camera_with_a_limited_number_of_frames_ends():
    with World() as world:
        camera = SimCamera(world, LENS, UP, sensor=CLEAN, frames=3)
        assert [read(camera).index for _ in range(3)] == [0, 1, 2]
        assert camera.ended
        assert camera.read() is None


def test_a_closed_camera_refuses_to_read():
    with World() as world:
        camera = SimCamera(world, LENS, UP)
        camera.close()
        with pytest.raises(FrameReadError, match="closed"):
            camera.read()


@pytest.mark.parametrize(
    ("name", "value"),
    [("rate_hz", 0.0), ("drop_rate", 1.0), ("noise", -1.0), ("latency_s", 0.001), ("blur_samples", 0)],
)
def test_a_sensor_that_cannot_be_is_refused(name: str, value: float):
    with pytest.raises(ValueError, match=name):
        replace(CLEAN, **{name: value})

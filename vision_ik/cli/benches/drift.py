"""The drift monitor: false alarms, how soon a shift is noticed, what it says, and three views to put it right.

Tags of 80 mm stand 0.6-1.0 m from a fixed camera and are seen at 30 Hz. Corners are off by white noise of
0.2 px, which the poses' covariances tell, and by noise of 0.1 px that lasts half a minute (light, warmth,
a rolling shutter's beat), which nothing tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.stats import chi2

from calibration import (
    DriftMonitor,
    DriftState,
    DriftStatus,
    HandEyeView,
    KnownMarker,
    batch,
    calibrate_hand_eye,
    recalibrate,
)
from calibration.drift.explaining import Moved
from calibration.drift.recalibration import Prior
from calibration.hand_eye.values import ArmNoise
from calibration.lens.projection import project
from calibration.views.information import choose, knowledge
from vision_ik.cli.benches import Figure, Level, Table, tell
from vision_ik.cli.benches._hand_eye_cells import (
    ARMS,
    BOARD,
    LENS,
    MOUNTS,
    PIXEL_SIGMA,
    Cell,
    draw,
    information,
    seen,
    sights,
)
from vision_ik.errors import CalibrationError
from vision_ik.rig import Mount, Rig
from vision_ik.transforms import Transform
from vision_ik.types import Floats, PoseEstimate

TITLE = "Drift monitor: false alarms, delay, cause, and re-calibration from three views"

_RATE = 30.0
"""[Hz]"""
_TAG = 0.08 * 0.5 * np.array([[-1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [-1.0, -1.0, 0.0]])
"""(4, 3) corners [m]"""
_WHITE, _LASTING = 0.2, 0.1
"""[px]"""
_LASTS = 30.0
"""[s]"""
_RIG = Rig(robot="panda", mount="eye_to_hand", T_mount_camera=Transform.from_xyz_rpy([0.9, 0.1, 0.8], [-2.2, 0.1, 1.4]))
_SETTLED = 40.0
"""[s] Before something moves."""
_PATIENCE = 20.0
"""[s] After it."""
_SHIFTS = {
    "camera, 2 mm": np.array([2e-3, 0.0]),
    "camera, 0.3 deg": np.array([0.0, np.deg2rad(0.3)]),
    "camera, 1 mm": np.array([1e-3, 0.0]),
    "marker, 4 mm": np.array([4e-3, 0.0]),
}
_BUMP = np.repeat([5e-3, np.deg2rad(0.5)], 3)
"""Standard deviation of what the camera is moved by before it is calibrated again, per axis [m, rad]."""
_NEW = 3


def run(*, level: Level = Level.NORMAL) -> list[Figure | Table]:
    """Watch over hours without drift and over many shifts; put calibrations right."""
    figures: list[Figure | Table] = []
    hours = level.pick(quick=0.1, normal=4.0, full=30.0)
    trials = level.pick(quick=2, normal=60, full=200)
    figures += _without_drift(hours)
    figures.append(_delays(trials, figures))
    figures += _three_views(level.pick(quick=5, normal=200, full=400))
    return figures


@dataclass(frozen=True, slots=True, eq=False)
class _Tag:
    """A tag that stands still."""

    T_camera_tag: Transform
    covariance: Floats
    """(6, 6) for white noise alone."""
    by_pixels: Floats
    """(6, 8) twist of the pose by the corners."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Tag:
        turn = np.concatenate([np.zeros(3), np.array([np.pi, 0.0, 0.0]) + 0.4 * rng.normal(size=3)])
        place = [rng.uniform(-0.25, 0.25), rng.uniform(-0.2, 0.2), rng.uniform(0.6, 1.0)]
        T = Transform.from_parts(Transform.exp(turn).rotation, place)
        points = T.apply(_TAG)
        by_point = project(points, LENS)[1]
        J = np.concatenate([by_point, -by_point @ batch.skews(points)], axis=2).reshape(-1, 6) @ T.adjoint()
        inverse = batch.inverse(J.T @ J)
        return cls(T, _WHITE**2 * inverse, inverse @ J.T)


def _frames(
    tags: list[_Tag],
    seconds: float,
    rng: np.random.Generator,
    places: list[Transform] | None = None,
    at: float = np.inf,
) -> Iterator[tuple[float, list[PoseEstimate]]]:
    """Yield what each frame shows of the tags, which stand at ``places`` from ``at`` [s] on."""
    n = round(seconds * _RATE)
    keep = np.exp(-1.0 / (_RATE * _LASTS))
    noise: list[Floats] = []
    for tag in tags:
        lasting = lfilter([_LASTING * np.sqrt(1.0 - keep**2)], [1.0, -keep], rng.normal(size=(n, 8)), axis=0)
        noise.append((_WHITE * rng.normal(size=(n, 8)) + lasting) @ tag.by_pixels.T)
    errors = [batch.exp(twists) for twists in noise]
    for k in range(n):
        time = k / _RATE
        now = [tag.T_camera_tag for tag in tags] if places is None or time < at else places
        yield (
            time,
            [
                PoseEstimate(
                    tag_id=i,
                    timestamp=time,
                    T_camera_tag=Transform(T.matrix @ errors[i][k]),
                    covariance=tags[i].covariance,
                    reprojection_error=_WHITE,
                )
                for i, T in enumerate(now)
            ],
        )


def _without_drift(hours: float) -> list[Figure]:
    """Return the alarms in hours in which nothing moves."""
    chunk = min(hours, 0.5)
    runs = round(hours / chunk)
    alarms, level = 0, 0.0
    for seed in range(runs):
        tell(f"without drift, {seed * chunk:.1f} of {hours:g} h")
        rng = np.random.default_rng((seed, 21))
        tags = [_Tag.draw(rng) for _ in range(1 + seed % 3)]
        monitor = DriftMonitor(_RIG, [KnownMarker(tag_id=i) for i in range(len(tags))])
        for time, frame in _frames(tags, chunk * 3600.0, rng):
            status = monitor.update(time, frame)
            level = max(level, status.level)
            if status.state is DriftState.WARNING:
                alarms += 1
                monitor.restart()
    # With no alarm in so many hours the mean time between them is longer than this at 95 % confidence.
    surely = 2.0 * hours / float(chi2.isf(0.05, 2 * alarms + 2))
    return [
        Figure(
            name="false alarms without drift",
            value=float(alarms),
            note=f"{hours:g} h at {_RATE:.0f} Hz, 1-3 tags, a fresh start each half hour; "
            f"the highest sum came to {100 * level:.0f} % of the threshold",
        ),
        Figure(
            name="mean time between false alarms, surely more than",
            value=surely,
            unit="h",
            target="at least 1" if hours >= 4.0 else "",
            met=surely >= 1.0 if hours >= 4.0 else None,
            note="95 % confidence by the hours watched; the threshold is set for 1000 h by Lorden's bound",
        ),
    ]


def _delays(trials: int, figures: list[Figure | Table]) -> Table:
    """Return how soon shifts are noticed and what is said; adds the figures for the shifts asked about."""
    rows: list[tuple[str | float, ...]] = []
    for name, size in _SHIFTS.items():
        for count in (1, 2, 3):
            of_camera = name.startswith("camera")
            if not of_camera and count == 1:
                continue
            tell(f"{name}, {count} markers")
            found = [_noticed(size, of_camera, count, seed) for seed in range(trials)]
            delays = np.array([delay for delay, _, _ in found])
            named = np.mean([_is_right(status, of_camera, count) for _, status, _ in found])
            wrong = np.mean([_is_wrong(status, of_camera) for _, status, _ in found])
            off = np.array([error for _, status, error in found if status is not None])
            rows.append(
                (
                    name,
                    float(count),
                    float(np.median(delays)),
                    _late(delays),
                    100.0 * float(named),
                    100.0 * float(wrong),
                    float(np.median(off)) * 1e3 if len(off) else float("nan"),
                )
            )
            if name in ("camera, 2 mm", "camera, 0.3 deg"):
                figures.append(
                    Figure(
                        name=f"{name}, {count} {'tag' if count == 1 else 'tags'}: noticed within",
                        value=_late(delays),
                        unit="s",
                        note=f"95th percentile of {trials} random directions, median {np.median(delays):.1f} s",
                    )
                )
    return Table(
        name="What is noticed, and when",
        columns=("moved", "tags", "median [s]", "95 % [s]", "right cause [%]", "wrong cause [%]", "size off by [mm]"),
        rows=tuple(rows),
        note=f"{trials} random directions each; the cause is what is said {_PATIENCE:.0f} s after the shift; with one "
        "tag the right answer is that it may be either; a shift not noticed counts as infinitely late",
    )


def _late(delays: Floats) -> float:
    """Return the 95th percentile, infinite where more than that were never noticed."""
    return float(np.sort(delays)[int(np.ceil(0.95 * len(delays))) - 1])


def _noticed(size: Floats, of_camera: bool, count: int, seed: int) -> tuple[float, DriftStatus | None, float]:
    """Return the delay of the alarm [s], what it finally says, and how far the stated shift is off [m]."""
    rng = np.random.default_rng((seed, count, 22))
    tags = [_Tag.draw(rng) for _ in range(count)]
    axes = rng.normal(size=(2, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    shift = np.concatenate([size[0] * axes[0], size[1] * axes[1]])
    moved = Transform.exp(shift)
    places = [
        moved.inv() @ tag.T_camera_tag if of_camera else tag.T_camera_tag @ moved if i == 0 else tag.T_camera_tag
        for i, tag in enumerate(tags)
    ]
    monitor = DriftMonitor(_RIG, [KnownMarker(tag_id=i) for i in range(count)])
    delay, status = np.inf, monitor.status
    for time, frame in _frames(tags, _SETTLED + _PATIENCE, rng, places, _SETTLED):
        status = monitor.update(time, frame)
        if status.state is DriftState.WARNING and not np.isfinite(delay):
            delay = time - _SETTLED
    if status.shift is None:
        return np.inf, None, np.nan
    stated = Transform.exp(status.shift)
    if status.moved is not Moved.CAMERA and of_camera:
        # Said of the marker: where it is seen now, from where it was.
        moved = tags[0].T_camera_tag.inv() @ places[0]
    return delay, status, stated.distance_to(moved)[0]


def _is_right(status: DriftStatus | None, of_camera: bool, count: int) -> bool:
    if status is None:
        return False
    if count == 1:
        return status.moved is Moved.EITHER
    return status.moved is Moved.CAMERA if of_camera else status.moved is Moved.MARKER and status.markers == (0,)


def _is_wrong(status: DriftStatus | None, of_camera: bool) -> bool:
    return status is not None and status.moved is (Moved.MARKER if of_camera else Moved.CAMERA)


def _three_views(trials: int) -> list[Figure | Table]:
    """Return how well three views put a calibration right, beside a full one and beside three views alone."""
    rows: list[tuple[str | float, ...]] = []
    honesty: list[float] = []
    for arm in ("cobot", "hobby"):
        for mount in MOUNTS:
            tell(f"three views, {arm}, {mount.replace('_', ' ')}")
            table = np.array([_put_right(mount, arm, seed) for seed in range(trials)])
            rms = 1e3 * np.sqrt(np.mean(np.square(table[:, :5]), axis=0))
            alone = 1e3 * float(np.median(table[:, 5]))
            honesty.append(float(table[:, 6].mean()))
            rows.append((f"{arm}, {mount.replace('_', ' ')}", *rms.tolist(), alone, honesty[-1]))
    return [
        Table(
            name=f"Error of the camera's position after it moved and {_NEW} new views [mm]",
            columns=(
                "arm, mount",
                "before it moved, 20 views",
                "3 random views, prior",
                "3 chosen views, prior",
                "stated, chosen",
                "20 new views",
                "3 chosen views alone (median)",
                "normalised squared / 6",
            ),
            rows=tuple(rows),
            note=f"root mean square of {trials}; moved by {_BUMP[0] * 1e3:.0f} mm and {np.rad2deg(_BUMP[3]):.1f} deg "
            "per axis; chosen of 60 random views that a person might take",
        ),
        Figure(
            name=f"{_NEW} views with a prior: normalised error squared / 6, farthest from 1",
            value=max(honesty, key=lambda value: abs(np.log(value))),
            target="0.7 to 1.3" if trials >= 200 else "",
            met=all(0.7 <= value <= 1.3 for value in honesty) if trials >= 200 else None,
            note="1 is a covariance that holds",
        ),
    ]


def _put_right(mount: Mount, arm: str, seed: int) -> list[float]:
    """Return errors [m] (old, three random, three chosen, stated, twenty, three alone), and normalised squared / 6."""
    trial = draw(Cell(mount=mount, views=20, arm=arm), seed)
    old = calibrate_hand_eye(trial.views, intrinsics=LENS, mount=mount)
    rng = np.random.default_rng((seed, 23))
    camera = trial.T_mount_camera @ Transform.exp(_BUMP * rng.normal(size=6))
    views = _look(camera, trial.T_holder_board, mount, ARMS[arm], 60, rng)
    known = Prior.of(old).moved(None, ArmNoise(translation=20e-3, rotation=float(np.deg2rad(2.0))))
    told = np.stack(
        [
            information(
                known.T_mount_camera.matrix,
                old.T_holder_board.matrix,
                view.flange.matrix[None],
                mount,
                BOARD,
                old.arm_sigma,
            )
            for view in views
        ]
    )
    chosen = [views[i] for i in choose(told, knowledge(known.joint_covariance), _NEW)]
    chance = recalibrate(old, views[:_NEW], intrinsics=LENS)
    planned = recalibrate(old, chosen, intrinsics=LENS)
    full = calibrate_hand_eye(views[:20], intrinsics=LENS, mount=mount)
    try:
        alone = calibrate_hand_eye(chosen, intrinsics=LENS, mount=mount).T_mount_camera.distance_to(camera)[0]
    except CalibrationError:
        alone = np.inf
    twist = (planned.result.T_mount_camera.inv() @ camera).log()
    return [
        old.T_mount_camera.distance_to(trial.T_mount_camera)[0],
        chance.result.T_mount_camera.distance_to(camera)[0],
        planned.result.T_mount_camera.distance_to(camera)[0],
        planned.sigma_after.translation,
        full.T_mount_camera.distance_to(camera)[0],
        alone,
        float(twist @ np.linalg.solve(planned.result.covariance, twist)) / 6.0,
    ]


def _look(
    camera: Transform, holder: Transform, mount: Mount, arm: ArmNoise, n: int, rng: np.random.Generator
) -> list[HandEyeView]:
    """Return ``n`` random views from a camera that stands elsewhere than it did."""
    Ts = sights(BOARD, n, rng)
    T_mount_holder = camera.matrix @ Ts @ holder.inv().matrix
    flanges = T_mount_holder if mount == "eye_to_hand" else batch.inverses(T_mount_holder)
    reported = flanges @ batch.exp(np.repeat([arm.translation, arm.rotation], 3) * rng.normal(size=(n, 6)))
    views: list[HandEyeView] = []
    for T, flange in zip(Ts, reported, strict=True):
        uv, _ = project(BOARD @ T[:3, :3].T + T[:3, 3], LENS)
        views.append(
            HandEyeView(T_base_flange=flange, detection=seen(BOARD, uv + PIXEL_SIGMA * rng.normal(size=uv.shape)))
        )
    return views

"""What a camera sees: lens, frame, detection, pose, target."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vision_ik.transforms import Transform
from vision_ik.types._arrays import Floats, Image, covariance_of_size, finite_time, put, read_only

LensModel = Literal["pinhole", "fisheye"]
_COEFFICIENTS: dict[str, tuple[int, ...]] = {"pinhole": (0, 4, 5, 8, 12, 14), "fisheye": (4,)}

_GUESSED_FOCAL = 0.25
"""Standard deviation of a guessed focal length, as a share of it."""
_GUESSED_CENTRE = 0.03
"""Of the guessed image centre along each axis, as a share of the picture's width."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CameraIntrinsics:
    """How a camera maps points to pixels; the centre of the top-left pixel is (0, 0)."""

    K: Floats
    """(3, 3) camera matrix [px], last row (0, 0, 1)."""
    distortion: Floats = field(default_factory=lambda: np.zeros(5))
    """OpenCV coefficients: pinhole 0, 4, 5, 8, 12 or 14 of them, fisheye 4."""
    width: int
    """[px]"""
    height: int
    """[px]"""
    model: LensModel = "pinhole"
    approximate: bool = False
    """True when guessed (from a field of view) instead of calibrated; everything derived says so."""
    covariance: Floats | None = None
    """Covariance of (fx, fy, cx, cy, distortion...) [px, 1], or None when not known."""

    def __post_init__(self) -> None:
        put(self, "K", read_only(self.K, (3, 3), "K"))
        put(self, "distortion", read_only(np.ravel(self.distortion), (None,), "distortion"))
        if self.model not in _COEFFICIENTS:
            raise ValueError(f"Lens model must be pinhole or fisheye, not {self.model!r}.")
        if len(self.distortion) not in _COEFFICIENTS[self.model]:
            raise ValueError(
                f"A {self.model} lens takes {_COEFFICIENTS[self.model]} coefficients, not {len(self.distortion)}."
            )
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0 or tuple(self.K[2]) != (0.0, 0.0, 1.0):
            raise ValueError("K needs positive focal lengths and a last row of (0, 0, 1).")
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"Image size must be positive, not {self.width}x{self.height}.")
        if self.covariance is not None:
            n = 4 + len(self.distortion)
            put(self, "covariance", covariance_of_size(self.covariance, n, "covariance"))

    @classmethod
    def from_field_of_view(cls, width: int, height: int, horizontal_fov: float = np.deg2rad(60.0)) -> CameraIntrinsics:
        """Return an approximate distortion-free lens from the horizontal field of view [rad].

        Its covariance says how far off such a guess is: the field of view of webcams alone is 55 to 80 degrees, and
        data sheets tell now the diagonal, now that of stills. Both focal lengths are off by the same share.
        """
        f = 0.5 * width / np.tan(0.5 * horizontal_fov)
        K = np.array([[f, 0, 0.5 * (width - 1)], [0, f, 0.5 * (height - 1)], [0, 0, 1.0]])
        covariance = np.zeros((9, 9))
        covariance[:2, :2] = (_GUESSED_FOCAL * f) ** 2
        covariance[2, 2] = covariance[3, 3] = (_GUESSED_CENTRE * width) ** 2
        return cls(K=K, width=width, height=height, approximate=True, covariance=covariance)

    def scaled(self, width: int, height: int) -> CameraIntrinsics:
        """Return the lens for the same picture resized to width x height (pixel-centre convention)."""
        sx, sy = width / self.width, height / self.height
        S = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1.0]])
        by = np.concatenate([[sx, sy, sx, sy], np.ones(len(self.distortion))])
        return CameraIntrinsics(
            K=S @ self.K,
            distortion=self.distortion,
            width=width,
            height=height,
            model=self.model,
            approximate=self.approximate,
            covariance=None if self.covariance is None else self.covariance * np.outer(by, by),
        )

    def part(self, x0: float, y0: float, width: int, height: int) -> CameraIntrinsics:
        """Return the lens for a part of the picture that begins at (x0, y0) [px]; it may reach beyond the picture."""
        K = self.K.copy()
        K[:2, 2] -= (x0, y0)
        return replace(self, K=K, width=width, height=height)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Frame:
    """One picture, when it was taken, and the lens for pictures of its size."""

    image: Image
    """(H, W, 3) uint8, BGR."""
    timestamp: float
    """[s] When light hit the sensor (middle of the exposure), on the clock of the run."""
    index: int
    intrinsics: CameraIntrinsics
    depth: NDArray[np.float32] | None = None
    """(H, W) distance along the optical axis [m]; NaN where unknown."""

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"A frame needs a (H, W, 3) uint8 BGR image, not {self.image.shape} {self.image.dtype}.")
        if self.image.size == 0:
            raise ValueError("A frame needs at least one pixel.")
        finite_time(self.timestamp)
        height, width = self.image.shape[:2]
        lens = self.intrinsics
        if (width, height) != (lens.width, lens.height):
            raise ValueError(
                f"The picture measures {width}x{height}, but its lens is for {lens.width}x{lens.height}: "
                "use CameraIntrinsics.scaled for a resized picture and part for a cut one."
            )
        if self.depth is not None and self.depth.shape != self.image.shape[:2]:
            raise ValueError(f"Depth {self.depth.shape} and image {self.image.shape[:2]} differ in size.")
        view = self.image.view()
        view.setflags(write=False)
        put(self, "image", view)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TagDetection:
    """One marker found in one frame."""

    tag_id: int
    family: str
    """AprilTag family ("36h11") or OpenCV dictionary ("4x4_50") or a dictionary file's name."""
    corners: Floats
    """(4, 2) [px]: top-left, top-right, bottom-right, bottom-left of the upright marker."""
    timestamp: float
    """[s] of the frame."""
    hamming: int = 0
    """Bits corrected to read the id."""
    margin: float = float("nan")
    """Decision margin of the back end (larger is surer), NaN where it gives none."""
    covariance: Floats | None = None
    """(8, 8) [px^2] of the corners (x0, y0, x1, ...), as the picture shows it; None where nothing measured it."""
    tracked: bool = False
    """True when the corners were carried over from earlier frames because the bits could not be read in this one."""

    def __post_init__(self) -> None:
        put(self, "corners", read_only(self.corners, (4, 2), "corners"))
        finite_time(self.timestamp)
        if self.covariance is not None:
            put(self, "covariance", covariance_of_size(self.covariance, 8, "covariance"))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PointObservation:
    """The points behind a pose, so that a tracker can weigh other poses against the same picture."""

    points: Floats
    """(N, 3) in the tag's frame [m]."""
    pixels: Floats
    """(N, 2) [px] where they were seen."""
    covariance: Floats
    """(2N, 2N) of ``pixels`` (x0, y0, x1, ...) [px^2]."""
    intrinsics: CameraIntrinsics

    def __post_init__(self) -> None:
        n = len(self.points)
        put(self, "points", read_only(self.points, (n, 3), "points"))
        put(self, "pixels", read_only(self.pixels, (n, 2), "pixels"))
        put(self, "covariance", covariance_of_size(self.covariance, 2 * n, "covariance"))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PoseEstimate:
    """Pose of one tag or board, estimated from one frame."""

    tag_id: int
    """Id of the tag; -1 for a board."""
    timestamp: float
    """[s] of the frame."""
    T_camera_tag: Transform
    """Best solution."""
    covariance: Floats
    """(6, 6) in the tangent at the pose (right perturbation, tag frame), (v, w) [m, rad]."""
    reprojection_error: float
    """Root mean square over the corners [px]."""
    alternative: Transform | None = None
    """The mirrored planar solution, where one exists."""
    alternative_error: float = float("inf")
    """Its reprojection error [px]."""
    ambiguity: float = 0.0
    """Likelihood of the mirrored solution over that of the best one, in [0, 1]: near 1 is undecidable, and
    ``ambiguity / (1 + ambiguity)`` is the probability that the mirrored one is true."""
    chi_square: float = float("nan")
    """Squared misfit of the best solution over the noise of the points, before the covariance was widened for it."""
    freedom: int = 0
    """How many degrees of freedom it has: what ``chi_square`` is on average when the noise is as stated."""
    alternative_chi_square: float = float("inf")
    """The same of the mirrored solution."""
    alternative_covariance: Floats | None = None
    """(6, 6) of the mirrored solution, in the tangent at it."""
    lens_covariance: Floats | None = None
    """(6, 6) more, from the uncertainty of the lens; the same in each frame, so it does not average out.
    None where that of the lens is not known."""
    observation: PointObservation | None = None
    """What the pose of a single tag was estimated from; None where it is not told."""

    def __post_init__(self) -> None:
        finite_time(self.timestamp)
        put(self, "covariance", covariance_of_size(self.covariance, 6, "covariance"))
        for name in ("alternative_covariance", "lens_covariance"):
            if getattr(self, name) is not None:
                put(self, name, covariance_of_size(getattr(self, name), 6, name))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Target:
    """A tracked goal in the robot's base frame."""

    name: str
    timestamp: float
    """[s] For which the pose holds."""
    T_base_target: Transform
    twist: Floats = field(default_factory=lambda: np.zeros(6))
    """(6,) (v, w) of the target in its own frame [m/s, rad/s]."""
    covariance: Floats = field(default_factory=lambda: np.zeros((6, 6)))
    """(6, 6) of the pose, tangent at the pose, (v, w) [m, rad]."""
    age: float = 0.0
    """[s] Since the last frame in which the target was seen."""

    def __post_init__(self) -> None:
        put(self, "twist", read_only(self.twist, (6,), "twist"))
        put(self, "covariance", covariance_of_size(self.covariance, 6, "covariance"))

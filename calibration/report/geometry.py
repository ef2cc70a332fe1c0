"""Where everything was in each view, as the calibration sees it: for pictures of cameras, boards and flanges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from calibration.hand_eye.correcting import corrected
from calibration.hand_eye.values import HandEyeView
from calibration.lens.projection import project
from calibration.report.workplace import point_covariances
from calibration.wizard.results import parse_lens
from calibration.wizard.terms import parse_terms
from vision_ik.rig import Mount
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics, Floats

Fate: TypeAlias = Literal["good", "mended", "bad"]
_UNKNOWN_BOARD = 0.1
"""[m] Edge of the board that is drawn where only its poses are known."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Placed:
    """One view, with the arm taken at its word, by the clock and on the board that the calibration found."""

    name: str
    fate: Fate
    told: str
    """What is to be said of it."""
    T_base_flange: Transform
    T_base_camera: Transform
    T_base_board: Transform
    outline_board: Floats
    """(4, 3) corners of the board's rim, in its frame [m]."""
    covariance: Floats
    """(3, 3) of where the camera puts the board's middle, in base axes [m^2], by the uncertainty of its place."""
    distance: float
    """From the camera to the board's middle [m]."""
    residuals: Floats | None = None
    """(M, 4) u, v, and corner minus projection [px], with the board where the arm says; None for pairs of poses."""

    @property
    def p_base_middle(self) -> Floats:
        """The board's middle in the base frame (3,) [m]."""
        return self.T_base_board.apply(self.outline_board.mean(axis=0))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Geometry:
    """All views of one calibration."""

    mount: Mount
    views: tuple[Placed, ...]
    image_size: tuple[int, int] | None
    """Width, height [px]; None for pairs of poses."""

    @property
    def sound(self) -> tuple[Placed, ...]:
        """The views in the fit as they came: of the others, the poses may be wrong; all of them where none did."""
        return tuple(view for view in self.views if view.fate == "good") or self.views


def place_views(
    facts: Mapping[str, Any], views: Sequence[HandEyeView], Ts_base_flange: Floats | None = None
) -> Geometry:
    """Return where everything was.

    Args:
        facts: From ``hand_eye_facts``.
        views: That it was computed from, as taken, in the order of its reports; empty for pairs of poses.
        Ts_base_flange: (N, 4, 4) of pairs of poses.
    """
    lens = parse_lens(facts["lens"]) if views and facts.get("lens") else None
    views = corrected(parse_terms(facts.get("terms", ())), views, lens)
    flanges = [view.flange for view in views]
    if not views and Ts_base_flange is not None:
        flanges = [Transform(T) for T in Ts_base_flange]
    outline = board_outline(views)
    placed = [
        _place(facts, report, flange, outline, views[i] if views else None, lens)
        for i, (report, flange) in enumerate(zip(facts["views"], flanges, strict=True))
    ]
    size = None if lens is None else (lens.width, lens.height)
    return Geometry(mount=facts["mount"], views=tuple(placed), image_size=size)


def board_outline(views: Sequence[HandEyeView]) -> Floats:
    """Return the corners (4, 3) of the rectangle around all points of the board that were seen, in its frame [m]."""
    if not views:
        half = _UNKNOWN_BOARD / 2.0
        return np.array([[-half, -half, 0.0], [half, -half, 0.0], [half, half, 0.0], [-half, half, 0.0]])
    points = np.concatenate([view.detection.points_board for view in views])
    (x0, y0, _), (x1, y1, _) = points.min(axis=0), points.max(axis=0)
    return np.array([[x0, y0, 0.0], [x1, y0, 0.0], [x1, y1, 0.0], [x0, y1, 0.0]])


def _place(
    facts: Mapping[str, Any],
    report: Mapping[str, Any],
    T_base_flange: Transform,
    outline: Floats,
    view: HandEyeView | None,
    lens: CameraIntrinsics | None,
) -> Placed:
    X, Y = Transform(np.array(facts["T_mount_camera"])), Transform(np.array(facts["T_holder_board"]))
    to_hand = facts["mount"] == "eye_to_hand"
    T_base_camera = X if to_hand else T_base_flange @ X
    T_base_board = T_base_flange @ Y if to_hand else Y
    T_camera_board = T_base_camera.inv() @ T_base_board
    p_camera = T_camera_board.apply(outline.mean(axis=0))
    covariance = point_covariances(X, facts["covariance"], p_camera)[0]
    if not to_hand:
        R = T_base_flange.rotation
        covariance = R @ covariance @ R.T
    residuals = None
    if view is not None and lens is not None:
        seen = view.detection.points_image
        uv, _ = project(T_camera_board.apply(view.detection.points_board), lens)
        residuals = np.hstack([seen, seen - uv])
    return Placed(
        name=report["name"],
        fate="bad" if not report["used"] else "mended" if report["repair"] else "good",
        told=_told(report),
        T_base_flange=T_base_flange,
        T_base_camera=T_base_camera,
        T_base_board=T_base_board,
        outline_board=outline,
        covariance=covariance,
        distance=float(np.linalg.norm(p_camera)),
        residuals=residuals,
    )


def _told(report: Mapping[str, Any]) -> str:
    head = f"View {report['name']}: {report['held_out_mm']:.2f} mm, {report['held_out_deg']:.3f} deg held out"
    if report["used"]:
        return f"{head}; mended: {report['repair']}" if report["repair"] else head
    return f"{head}; left out: it {report['reason']}"

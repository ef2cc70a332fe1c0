"""Results as plain values: what is kept on disk, shown by pages, and written into the rig's provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from calibration.arm.values import ArmCalibration, LinkError
from calibration.hand_eye.values import ArmNoise, HandEyeResult
from calibration.lens.intrinsics import IntrinsicsResult
from calibration.wizard.terms import parse_terms, term_values
from vision_ik.transforms import Transform
from vision_ik.types import CameraIntrinsics

_TOLD = (
    "views_used",
    "sigma_mm",
    "sigma_deg",
    "held_out_mm",
    "held_out_deg",
    "corner_noise_px",
    "arm_noise_mm",
    "arm_noise_deg",
)


def lens_values(lens: CameraIntrinsics) -> dict[str, Any]:
    """Return a lens as plain values."""
    return {
        "K": lens.K.tolist(),
        "distortion": lens.distortion.tolist(),
        "width": lens.width,
        "height": lens.height,
        "model": lens.model,
        "approximate": lens.approximate,
        "covariance": None if lens.covariance is None else lens.covariance.tolist(),
    }


def parse_lens(values: Mapping[str, Any]) -> CameraIntrinsics:
    """Return the lens of ``lens_values``."""
    covariance = values.get("covariance")
    return CameraIntrinsics(
        K=np.array(values["K"]),
        distortion=np.array(values["distortion"]),
        width=int(values["width"]),
        height=int(values["height"]),
        model=values["model"],
        approximate=bool(values["approximate"]),
        covariance=None if covariance is None else np.array(covariance),
    )


def lens_facts(result: IntrinsicsResult) -> dict[str, Any]:
    """Return what a lens calibration came to."""
    lens = result.intrinsics
    return {
        "lens": lens_values(lens),
        "model": lens.model,
        "focal_px": [float(lens.K[0, 0]), float(lens.K[1, 1])],
        "focal_sigma_px": result.focal_sigma,
        "rms_px": result.rms,
        "held_out_px": result.held_out_rms,
        "covered": result.coverage,
        "used": sum(view.used for view in result.views),
        "count": len(result.views),
        "rejected": {view.name: view.reason for view in result.views if not view.used},
        "warnings": list(result.warnings),
        "next": [str(view) for view in result.next_views],
    }


def hand_eye_facts(result: HandEyeResult, lens: CameraIntrinsics) -> dict[str, Any]:
    """Return what a hand-eye calibration came to.

    Args:
        result: Of the calibration.
        lens: It was given; the one that belongs to the result may be refined.
    """
    best = result.intrinsics or lens
    return {
        "mount": result.mount,
        "T_mount_camera": result.T_mount_camera.matrix.tolist(),
        "T_holder_board": result.T_holder_board.matrix.tolist(),
        "translation": result.T_mount_camera.translation.tolist(),
        "rotation_xyzw": result.T_mount_camera.rotation_xyzw.tolist(),
        "rotation_vector_deg": np.rad2deg(result.T_mount_camera.log()[3:]).tolist(),
        "covariance": result.covariance.tolist(),
        "joint_covariance": result.joint_covariance.tolist(),
        "sigma_mm": result.sigma_translation * 1e3,
        "sigma_deg": float(np.rad2deg(result.sigma_rotation)),
        "held_out_mm": result.held_out_translation * 1e3,
        "held_out_deg": float(np.rad2deg(result.held_out_rotation)),
        "corner_noise_px": result.pixel_sigma,
        "sight_noise_px": result.sight_sigma,
        "arm_noise_mm": result.arm_sigma.translation * 1e3,
        "arm_noise_deg": float(np.rad2deg(result.arm_sigma.rotation)),
        "views_used": result.used_views,
        "views": [
            {
                "name": view.name,
                "used": view.used,
                "reason": view.reason,
                "cause": "" if view.cause is None else str(view.cause),
                "repair": view.repair,
                "chi_square": view.chi_square,
                "held_out_mm": view.position_error * 1e3,
                "held_out_deg": float(np.rad2deg(view.rotation_error)),
                "corners_px": view.pixel_rms,
            }
            for view in result.views
        ],
        "systematics": [asdict(systematic) for systematic in result.systematics],
        "time_offset_ms": 1e3 * result.time_offset,
        "terms": term_values(result.terms),
        "lens": lens_values(best),
        "focal_px": [float(best.K[0, 0]), float(best.K[1, 1])],
        "focal_sigma_px": None if best.covariance is None else float(np.sqrt(best.covariance[0, 0])),
        "lens_refined": result.intrinsics is not None and _differs(result.intrinsics, lens),
        "warnings": list(result.warnings),
    }


def parse_hand_eye(facts: Mapping[str, Any]) -> HandEyeResult:
    """Return the result of ``hand_eye_facts``, without what it said of its views and of what it looked for."""
    noise = float(facts["corner_noise_px"])
    return HandEyeResult(
        mount=facts["mount"],
        T_mount_camera=Transform(np.array(facts["T_mount_camera"])),
        covariance=np.array(facts["covariance"]),
        T_holder_board=Transform(np.array(facts["T_holder_board"])),
        joint_covariance=np.array(facts["joint_covariance"]),
        pixel_sigma=noise,
        sight_sigma=float(facts.get("sight_noise_px", noise)),
        arm_sigma=ArmNoise(
            translation=1e-3 * float(facts["arm_noise_mm"]), rotation=float(np.deg2rad(facts["arm_noise_deg"]))
        ),
        noise_estimated=True,
        views=(),
        pixel_rms=float("nan"),
        chain_rms=float("nan"),
        terms=parse_terms(facts.get("terms", ())),
        intrinsics=parse_lens(facts["lens"]),
        time_offset=1e-3 * float(facts["time_offset_ms"]),
    )


def arm_facts(found: ArmCalibration, lens: CameraIntrinsics) -> dict[str, Any]:
    """Return what the calibration of an arm came to."""
    return {
        "adopted": found.adopted,
        "robot": found.robot.name,
        "robot_hash": found.robot.hash,
        "gain": found.gain,
        "held_out_before_mm": found.held_out_before * 1e3,
        "held_out_after_mm": found.held_out_after * 1e3,
        "link_errors": [_link_error(error) for error in found.link_errors],
        "hand_eye": hand_eye_facts(found.hand_eye, lens),
        "warnings": list(found.warnings),
    }


def _link_error(error: LinkError) -> dict[str, Any]:
    """Return an error of the arm in mm or degrees."""
    scale, unit = (1e3, "mm") if error.unit == "m" else (float(np.rad2deg(1.0)), "deg")
    return {
        "name": error.name,
        "estimate": scale * error.estimate,
        "sigma": scale * error.sigma,
        "unit": unit,
        "told": error.is_told,
    }


def told_of_hand_eye(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the provenance of a camera's place says of its calibration: None where there is nothing to say."""
    told = {key: facts[key] for key in _TOLD}
    taken = [systematic["name"] for systematic in facts["systematics"] if systematic["adopted"]]
    return told | {
        "time_offset_ms": facts["time_offset_ms"] or None,
        "lens_refined": facts["lens_refined"] or None,
        "taken_into_account": taken or None,
    }


def _differs(a: CameraIntrinsics, b: CameraIntrinsics) -> bool:
    return not (np.array_equal(a.K, b.K) and np.array_equal(a.distortion, b.distortion))

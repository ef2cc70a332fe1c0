"""The lens as its own pictures calibrated it, kept apart from the one that views of the arm refined.

A refined lens knows its views already: taken for what is known before them, it would let them count
twice. The next calibration begins from the lens before it was refined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from calibration.wizard.results import parse_lens
from calibration.wizard.store import digest
from vision_ik.rig import Rig
from vision_ik.types import CameraIntrinsics

_CALIBRATED, _REFINED_K = "calibrated", "refined_K"


def digest_of_pictures(taken: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the digest of the pictures among some facts, in order; None where there is no picture."""
    pictures = [str(entry["sha256"]) for entry in taken if entry.get("sha256")]
    return digest(pictures) if pictures else None


def is_of_pictures(lens: Mapping[str, Any], taken: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a lens (facts of the camera's step) was calibrated from these very pictures."""
    told = lens.get("provenance", {}).get("pictures_sha256")
    return told is not None and told == digest_of_pictures(taken)


def with_calibrated(lens: Mapping[str, Any], refined: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of a lens, with the lens itself where a refined one takes its place.

    Args:
        lens: Facts of the camera's step.
        refined: Plain values of the lens that is written.
    """
    provenance: dict[str, Any] = dict(lens.get("provenance", {}))
    calibrated = {key: value for key, value in lens["lens"].items() if value is not None}
    if all(np.array_equal(calibrated[key], refined[key]) for key in ("K", "distortion")):
        return provenance
    provenance.setdefault("source", str(lens.get("given", "")))
    return provenance | {_CALIBRATED: calibrated, _REFINED_K: refined["K"]}


def lens_before(rig: Rig) -> tuple[CameraIntrinsics | None, dict[str, Any]]:
    """Return the lens of a rig as it was before views refined it, and its facts for the camera's step.

    It is the rig's own where nothing refined it, or where somebody wrote another one since.
    """
    told = dict(rig.provenance.get("camera", {})) if isinstance(rig.provenance.get("camera"), Mapping) else {}
    calibrated, refined = told.pop(_CALIBRATED, None), told.pop(_REFINED_K, None)
    if calibrated is None or rig.intrinsics is None or not np.allclose(rig.intrinsics.K, refined, rtol=1e-9):
        return rig.intrinsics, {"provenance": told} if told and calibrated is None else {}
    return parse_lens({"covariance": None, **calibrated}), {"provenance": told}

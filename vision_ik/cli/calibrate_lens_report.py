"""A page about a lens calibration: what was shown, what came out, what to show next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calibration import IntrinsicsResult
from vision_ik.cli.run_report import command_line
from vision_ik.view import Plot, Table, Tile, write_report


def write_lens_report(path: Path, result: IntrinsicsResult, left_out: Mapping[str, str]) -> Path:
    """Write the page, and return its path.

    Args:
        path: Ends in ``.html``.
        result: The calibration.
        left_out: Why pictures were left out before it, by their names.

    Raises:
        RecordingError: It could not be written.
    """
    lens = result.intrinsics
    covariance = lens.covariance
    sigma = np.full(4, np.nan) if covariance is None else np.sqrt(np.diag(covariance))
    return write_report(
        path,
        title="Lens calibration",
        summary=f"{lens.width} x {lens.height} pixels, {lens.model} with {len(lens.distortion)} coefficients, from "
        f"{sum(view.used for view in result.views)} views. Uncertainties are one standard deviation, from how far "
        "the views disagree.",
        warnings=result.warnings,
        tiles=[
            Tile(label="focal length x", value=float(lens.K[0, 0]), unit="px", note=f"± {sigma[0]:.2f}"),
            Tile(label="focal length y", value=float(lens.K[1, 1]), unit="px", note=f"± {sigma[1]:.2f}"),
            Tile(label="centre x", value=float(lens.K[0, 2]), unit="px", note=f"± {sigma[2]:.2f}"),
            Tile(label="centre y", value=float(lens.K[1, 2]), unit="px", note=f"± {sigma[3]:.2f}"),
            Tile(label="held-out views", value=result.held_out_rms, unit="px rms", note=f"fitted {result.rms:.3f}"),
            Tile(label="picture covered", value=100.0 * result.coverage, unit="%"),
        ],
        tables=[_next_views(result), _models(result), _views(result, left_out)],
        plots=_plots(result),
        command=command_line(),
    )


def _plots(result: IntrinsicsResult) -> list[Plot]:
    from vision_ik.view import lens_plots

    size = result.intrinsics.width, result.intrinsics.height
    outlines = [view.outline for view in result.next_views]
    return [
        Plot(
            title="Where corners were seen",
            figure=lens_plots.coverage(result.coverage_map, result.residuals[:, :2], size, outlines),
            caption="Corners in each cell of the picture, and (dashed) where to show the board next.",
        ),
        Plot(title="How the board was tilted", figure=lens_plots.tilts(result.tilts_deg)),
        Plot(
            title="What the lens does not explain",
            figure=lens_plots.residuals(result.residuals, size),
            caption="From projection to corner. Arrows that agree with their neighbours ask for another lens model.",
        ),
    ]


def _next_views(result: IntrinsicsResult) -> Table:
    return Table(
        title="What to show next",
        columns=("show the board", "focal length then ± px", "picture then ± px"),
        rows=[(str(view), view.focal_sigma, view.picture_sigma) for view in result.next_views],
        caption=f"Each given the ones above it. Now ± {result.focal_sigma:.2f} and ± {result.picture_sigma:.3f} px.",
    )


def _models(result: IntrinsicsResult) -> Table:
    return Table(
        title="Lens models",
        columns=("model", "focal x px", "rms px", "held-out rms px", ""),
        rows=[(c.name, *_numbers(c.focal, c.rms, c.held_out_rms), c.reason or "taken") for c in result.candidates],
    )


def _numbers(focal: float, *errors: float) -> tuple[str | None, ...]:
    """Return numbers with the digits in which models differ; None where one could not be fitted."""
    words = (f"{focal:.1f}", *(f"{error:.4f}" for error in errors))
    return words if np.isfinite(focal) else (None,) * len(words)


def _views(result: IntrinsicsResult, left_out: Mapping[str, str]) -> Table:
    rows = [
        (view.name, view.rms, view.tilt_deg, view.edge_px, view.dropped, "" if view.used else view.reason)
        for view in result.views
    ]
    nan = float("nan")
    return Table(
        title="Views",
        columns=("view", "rms px", "tilt deg", "edges px", "misread corners", "left out because"),
        rows=[*rows, *((name, nan, nan, nan, 0, reason) for name, reason in left_out.items())],
    )

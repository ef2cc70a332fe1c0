"""STag markers through the package stag-python, which the extra ``[stag]`` installs.

Squares are found by their edges, bits by their place in a circle; markers stand upright as published.
Source: Benligiray, Topal and Akinlar, "STag: A stable fiducial marker system", Image and Vision Computing, 2019.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from vision_ik.errors import TagError
from vision_ik.tags.detection.ladder import View
from vision_ik.tags.detection.readers import Sighting
from vision_ik.tags.pictures import unscaled


class StagReader:
    """The STag library, decoder included.

    Args:
        distance: Hamming distance of the markers' library: 11, 13, ..., 23.
        max_hamming: Most corrected bits to believe; the library does not tell how many it corrected.

    Raises:
        TagError: The package is not installed, or cannot be loaded here.
    """

    reads_cuts = False

    def __init__(self, distance: int, max_hamming: int) -> None:
        self._distance = distance
        self._correction = int(np.clip(max_hamming, 0, (distance - 1) // 2))
        self._detect = _load_detector()

    def read(self, view: View, noise: float, *, expected: int | None, thorough: bool) -> list[Sighting]:
        """Return the markers seen; see :class:`vision_ik.tags.detection.readers.Reader`."""
        # The library overlooks the strides of a picture that is part of another one.
        quads, ids, _ = self._detect(np.ascontiguousarray(view.picture), self._distance, self._correction)
        return [
            Sighting(
                tag_id=int(tag_id),
                corners=unscaled(np.asarray(quad, dtype=np.float64).reshape(4, 2), view.picture, view.gray),
                hamming=0,
                margin=float("nan"),
                score=0.0,
            )
            for quad, tag_id in zip(quads, np.ravel(ids), strict=True)
        ]


def _load_detector() -> Any:
    """Return the package's function that finds markers."""
    try:
        return importlib.import_module("stag").detectMarkers
    except (ImportError, AttributeError) as error:
        reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
        raise TagError(
            f"STag markers need the package stag-python, which {reason}.",
            "Install it: pip install 'vision-ik[stag]'.",
            package="stag-python",
            extra="stag",
        ) from error

"""What a calibration found of board and clock as plain values: kept on disk, and applied to views taken later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from calibration.hand_eye.terms import Term, TermEstimate
from calibration.systematics.board_scale import BoardScale
from calibration.systematics.flatness import BoardBend
from calibration.systematics.time_offset import RecordedTimeOffset, TimeOffset


def term_values(estimates: Sequence[TermEstimate]) -> list[dict[str, Any]]:
    """Return those of the board and of time; the lens and the arm's geometry are kept as lens and as arm."""
    kept: list[dict[str, Any]] = []
    for estimate in estimates:
        values = {"theta": estimate.theta.tolist(), "covariance": estimate.covariance.tolist()}
        match estimate.term:
            case BoardScale(edge=edge):
                kept.append({"term": "board scale", "edge": edge, **values})
            case BoardBend(centre=centre, reach=reach):
                kept.append({"term": "board bend", "centre": centre.tolist(), "reach": reach, **values})
            case TimeOffset() | RecordedTimeOffset():
                kept.append({"term": "time offset", **values})
            case _:
                continue
    return kept


def parse_terms(kept: Sequence[Mapping[str, Any]]) -> tuple[TermEstimate, ...]:
    """Return the estimates of ``term_values``.

    Raises:
        ValueError: One is of a kind that is not known.
    """
    terms = [_parse(values) for values in kept]
    return tuple(
        TermEstimate(
            name=term.name,
            parameters=term.parameters,
            theta=np.array(values["theta"], dtype=np.float64),
            covariance=np.array(values["covariance"], dtype=np.float64),
            term=term,
        )
        for term, values in zip(terms, kept, strict=True)
    )


def _parse(values: Mapping[str, Any]) -> Term:
    match values["term"]:
        case "board scale":
            return BoardScale(edge=values["edge"])
        case "board bend":
            return BoardBend(np.array(values["centre"], dtype=np.float64), float(values["reach"]))
        case "time offset":
            return TimeOffset(np.empty((0, 4, 4)), np.empty((0, 6)))
        case other:
            raise ValueError(f"No term is called {other!r}.")

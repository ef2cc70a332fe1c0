"""What `load_solver` takes and refuses of its settings: in words, before anything is read."""

from __future__ import annotations

import numpy as np
import pytest

from vision_ik.ik import load_solver

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"robot": None}, TypeError, "robot must be .* not None"),
        ({"robot": 3}, TypeError, "robot must be .* not 3"),
        ({"weights": 3}, TypeError, "weights must be the path"),
        ({"learned": "no"}, TypeError, "learned must be True or False, not 'no'"),
        ({"self_collision": "no"}, TypeError, "self_collision must be"),
        ({"tolerance_m": INF}, ValueError, "tolerance_m must be a finite number"),
        ({"tolerance_m": NAN}, ValueError, "tolerance_m must be a finite number"),
        ({"tolerance_rad": "1e-3"}, ValueError, "tolerance_rad must be a finite number"),
        ({"restarts": -1}, ValueError, "restarts must be a whole number"),
        ({"restarts": 2**53}, ValueError, "restarts must be a whole number"),
        ({"threads": 0}, ValueError, "threads must be a whole number .* at least 1; it is 0"),
        ({"threads": 2.7}, ValueError, "threads must be a whole number"),
        ({"threads": True}, ValueError, "threads must be a whole number"),
        ({"seed": -1}, ValueError, "seed must be a whole number .* not be negative; it is -1"),
        ({"seed": 2**53}, ValueError, r"seed must be .* below 2\*\*53"),
        ({"seed": 2**70}, ValueError, r"seed must be .* below 2\*\*53"),
        ({"seed": NAN}, ValueError, "seed must be a whole number"),
    ],
    ids=str,
)
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(
    options: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        load_solver(**{"robot": "panda"} | options)  # pyright: ignore[reportArgumentType]


def test_numbers_of_numpy_and_the_largest_seed_are_taken() -> None:
    settings: dict[str, object] = {"threads": np.int64(2), "seed": 2**53 - 1, "tolerance_m": np.float32(1e-4)}
    solver = load_solver("panda", **settings)  # pyright: ignore[reportArgumentType]
    assert solver.solve(solver.robot.forward(solver.robot.home)).converged

"""Settings and fixtures every room's tests share."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest

# Derandomised: a red run is red again. No deadline: a busy machine is no bug.
hypothesis.settings.register_profile("suite", derandomize=True, deadline=None, max_examples=100)
hypothesis.settings.load_profile("suite")


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator with a fixed seed."""
    return np.random.default_rng(20260711)

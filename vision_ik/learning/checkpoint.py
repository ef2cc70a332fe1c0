"""The state of a training on disk, so that an interruption costs at most one part of a stage."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vision_ik.errors import WeightsError
from vision_ik.files import write_atomic
from vision_ik.learning.stages import STAGES, Stage


def keep(path: Path, stage: Stage, identity: Mapping[str, object], parts_done: int, cpu_s: float) -> None:
    """Write the state of ``stage`` after ``parts_done`` parts of the training that ``identity`` tells apart."""
    buffer = io.BytesIO()
    torch.save(
        {
            "identity": dict(identity),
            "parts_done": parts_done,
            "cpu_s": cpu_s,
            "network": stage.network.state_dict(),
            "optimizer": stage.optimizer.state_dict(),
            "pool_x": torch.from_numpy(stage.pool_x),
            "pool_labels": torch.from_numpy(stage.pool_labels),
            "bank": torch.from_numpy(stage.bank),
        },
        buffer,
    )
    write_atomic(path, buffer.getvalue())


def restore(path: Path, stage: Stage, identity: Mapping[str, object]) -> tuple[int, float]:
    """Put a kept state back into ``stage``; return the number of parts done and the CPU time spent [s].

    Raises:
        WeightsError: The file is corrupt, or belongs to another arm, seed or recipe.
    """
    remedy = f"Delete {path}, or train without --resume."
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        found, parts_done = state["identity"], int(state["parts_done"])
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise WeightsError(f"The checkpoint {path} is corrupt: {error}.", remedy, path=path) from error
    if found != dict(identity):
        differing = ", ".join(key for key, value in identity.items() if found.get(key) != value)
        raise WeightsError(f"The checkpoint {path} belongs to another training: {differing} differ.", remedy, path=path)
    stage.begin(STAGES[min((parts_done - 1) // stage.recipe.rounds, len(STAGES) - 1)])
    stage.network.load_state_dict(state["network"])
    stage.optimizer.load_state_dict(state["optimizer"])
    stage.pool_x = state["pool_x"].numpy()
    stage.pool_labels = state["pool_labels"].numpy()
    stage.bank = state["bank"].numpy()
    return parts_done, float(state["cpu_s"])

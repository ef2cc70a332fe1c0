"""The closed chain base - flange - board - camera, for both mounts in one form.

With the mount X, the holder of the board Y and the arm A, every view sees

    T_camera_board = X^-1 A Y,

eye to hand: X = T_base_camera,   Y = T_flange_board, A = T_base_flange exp(eps);
eye in hand: X = T_flange_camera, Y = T_base_board,   A = (T_base_flange exp(eps))^-1,

where eps is the error of the arm, a twist in the flange frame. All derivatives are left twists of
T_camera_board, that is, expressed in the camera frame: X exp(dx) gives -dx, Y exp(dy) gives
Ad(T_camera_board) dy, and eps gives +-Ad(T_camera_flange) eps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration import batch
from vision_ik.rig import Mount
from vision_ik.types import Floats


@dataclass(frozen=True, slots=True, eq=False)
class ChainState:
    """The unknowns of the fit: mount, holder, and one arm error per view."""

    X: Floats
    """(4, 4) T_mount_camera."""
    Y: Floats
    """(4, 4) T_holder_board."""
    E: Floats
    """(N, 4, 4) exp of the arm errors."""

    def moved(self, dx: Floats, dy: Floats, de: Floats) -> ChainState:
        """Return the state after right perturbations (6,), (6,) and (N, 6)."""
        step = batch.exp(np.vstack([dx, dy, de]))
        return ChainState(self.X @ step[0], self.Y @ step[1], self.E @ step[2:])


def arm_poses(Ts_base_flange: Floats, mount: Mount) -> Floats:
    """Return A of ``X M = A Y``: Ts_base_flange (eye to hand) or Ts_flange_base (eye in hand), (N, 4, 4)."""
    return Ts_base_flange if mount == "eye_to_hand" else batch.inverses(Ts_base_flange)


def camera_board(state: ChainState, Ts_base_flange: Floats, mount: Mount) -> Floats:
    """Return the (N, 4, 4) predicted Ts_camera_board."""
    return _camera_flange(state, Ts_base_flange, mount) @ _flange_board(state, Ts_base_flange, mount)


def derivatives(state: ChainState, Ts_base_flange: Floats, mount: Mount) -> tuple[Floats, Floats]:
    """Differentiate Ts_camera_board as left twists.

    Returns:
        (N, 6, 12) by the perturbations of X and Y, and (N, 6, 6) by the arm errors.
    """
    Ts_camera_board = camera_board(state, Ts_base_flange, mount)
    n = len(Ts_base_flange)
    by_state = np.concatenate([np.tile(-np.eye(6), (n, 1, 1)), batch.adjoints(Ts_camera_board)], axis=2)
    sign = 1.0 if mount == "eye_to_hand" else -1.0
    return by_state, sign * batch.adjoints(_camera_flange(state, Ts_base_flange, mount))


def _camera_flange(state: ChainState, Ts_base_flange: Floats, mount: Mount) -> Floats:
    X_inverse = batch.inverses(state.X[None])
    return X_inverse @ Ts_base_flange @ state.E if mount == "eye_to_hand" else np.tile(X_inverse, (len(state.E), 1, 1))


def _flange_board(state: ChainState, Ts_base_flange: Floats, mount: Mount) -> Floats:
    return state.Y[None] if mount == "eye_to_hand" else batch.inverses(Ts_base_flange @ state.E) @ state.Y

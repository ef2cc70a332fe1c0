"""Further unknowns of a calibration, beside mount and holder: what the arm or the sight is systematically off by.

A term has k unknowns ``theta``, zero where nothing is wrong, each with a prior: a normal distribution
about zero. An `ArmTerm` moves the flange (a time offset, joint zeros, lengths of links); a
`SightTerm` moves the corners in the pictures (the board's scale or bend, the lens).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from calibration import batch
from calibration.hand_eye.evidence import Corners, Evidence
from vision_ik.types import Floats

if TYPE_CHECKING:
    from calibration.hand_eye.values import HandEyeView


@runtime_checkable
class ArmTerm(Protocol):
    """Something that puts the flange elsewhere than the arm reports."""

    @property
    def name(self) -> str:
        """Short, for people."""
        ...

    @property
    def parameters(self) -> tuple[str, ...]:
        """One name per unknown (k,), with the unit."""
        ...

    @property
    def sigma(self) -> Floats:
        """(k,) standard deviation of each unknown before any view; infinite where nothing is known."""
        ...

    def flanges(self, theta: Floats) -> Floats:
        """Return the (N, 4, 4) corrected Ts_base_flange; as reported where ``theta`` (k,) is zero."""
        ...

    def derivatives(self, theta: Floats) -> Floats:
        """Return the (N, 6, k) right twists (flange frame) of the corrected Ts_base_flange by ``theta``."""
        ...

    def select(self, keep: NDArray[np.bool_]) -> ArmTerm:
        """Return the term for the views where ``keep`` (N,) is true."""
        ...


@runtime_checkable
class LastingTerm(ArmTerm, Protocol):
    """An `ArmTerm` that holds for views taken later, too."""

    def further(self, views: Sequence[HandEyeView]) -> ArmTerm | None:
        """Return the term for other views; None where they do not say what it needs of them."""
        ...


@runtime_checkable
class SightTerm(Protocol):
    """Something that puts the corners elsewhere than board and lens say."""

    @property
    def name(self) -> str:
        """Short, for people."""
        ...

    @property
    def parameters(self) -> tuple[str, ...]:
        """One name per unknown (k,), with the unit."""
        ...

    @property
    def sigma(self) -> Floats:
        """(k,) standard deviation of each unknown before any view; infinite where nothing is known."""
        ...

    def evidence(self, corners: Corners, theta: Floats) -> Corners:
        """Return ``corners`` with other board points or another lens; the same where ``theta`` (k,) is zero.

        ``corners`` may hold what other terms changed (``Corners.changed`` makes the copy).
        """
        ...

    def derivatives(self, corners: Corners, theta: Floats, Ts_camera_board: Floats) -> Floats:
        """Return the (M, 2, k) derivatives of the projected corners by ``theta`` [px].

        Args:
            corners: With all terms at their present values, this one among them.
            theta: (k,) present value.
            Ts_camera_board: (N, 4, 4).
        """
        ...

    def select(self, keep: NDArray[np.bool_]) -> SightTerm:
        """Return the term for the views where ``keep`` (N,) is true."""
        ...


Term: TypeAlias = ArmTerm | SightTerm


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TermEstimate:
    """What the views say about a term."""

    name: str
    parameters: tuple[str, ...]
    theta: Floats
    """(k,)"""
    covariance: Floats
    """(k, k)"""
    term: Term
    """Itself: for further views, see ``HandEyeResult.corrected``."""

    @property
    def sigma(self) -> Floats:
        """(k,) standard deviations."""
        return np.sqrt(np.diag(self.covariance))


class TermStack:
    """All terms of a fit as one: their unknowns in one vector.

    Args:
        terms: In the order of their unknowns.
    """

    def __init__(self, terms: Sequence[Term] = ()) -> None:
        self.terms = tuple(terms)
        ends = np.cumsum([len(term.parameters) for term in self.terms]).astype(int).tolist()
        self.slices = tuple(slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)) if ends else ()
        self.count: int = ends[-1] if ends else 0
        self.sigma: Floats = np.concatenate(
            [np.empty(0), *(np.asarray(term.sigma, dtype=float) for term in self.terms)]
        )
        """(k,) standard deviations of the priors."""
        if self.sigma.shape != (self.count,) or not (self.sigma > 0).all():
            raise ValueError("Every unknown of a term needs a positive standard deviation (infinite when unknown).")
        self._arm = [(t, s) for t, s in zip(self.terms, self.slices, strict=True) if isinstance(t, ArmTerm)]
        self._sight = [(t, s) for t, s in zip(self.terms, self.slices, strict=True) if isinstance(t, SightTerm)]

    def select(self, keep: NDArray[np.bool_]) -> TermStack:
        """Return the terms for the views where ``keep`` (N,) is true."""
        return TermStack([term.select(keep) for term in self.terms]) if self.terms else self

    def flanges(self, Ts_base_flange: Floats, theta: Floats) -> Floats:
        """Return the reported (N, 4, 4) poses corrected by all terms."""
        corrected = Ts_base_flange
        for term, part in self._arm:
            # Each term corrects the reported poses; the corrections, in the flange frame, follow each other.
            corrected = corrected @ batch.inverses(Ts_base_flange) @ term.flanges(theta[part])
        return corrected

    def flange_derivatives(self, Ts_base_flange: Floats, theta: Floats) -> Floats:
        """Return the (N, 6, k) right twists of the corrected poses; zero for terms of the sight."""
        by_theta = np.zeros((len(Ts_base_flange), 6, self.count))
        behind = np.eye(4)[None]
        for term, part in reversed(self._arm):
            # A twist in front of later corrections is theirs after the change of frame.
            by_theta[:, :, part] = batch.adjoints(batch.inverses(behind)) @ term.derivatives(theta[part])
            behind = batch.inverses(Ts_base_flange) @ term.flanges(theta[part]) @ behind
        return by_theta

    def evidence(self, evidence: Evidence, theta: Floats) -> Evidence:
        """Return what was seen, with board and lens as all terms say.

        Raises:
            ValueError: There is a term of the sight, but no corners.
        """
        for term, part in self._sight:
            evidence = term.evidence(_corners(evidence), theta[part])
        return evidence

    def corner_derivatives(self, evidence: Evidence, theta: Floats, Ts_camera_board: Floats) -> Floats | None:
        """Return the (M, 2, k) derivatives of the projected corners; None without a term of the sight."""
        if not self._sight:
            return None
        corners = _corners(evidence)
        by_theta = np.zeros((corners.points, 2, self.count))
        for term, part in self._sight:
            by_theta[:, :, part] = term.derivatives(corners, theta[part], Ts_camera_board)
        return by_theta

    def estimates(self, theta: Floats, covariance: Floats) -> tuple[TermEstimate, ...]:
        """Return ``theta`` (k,) and its covariance (k, k) term by term."""
        return tuple(
            TermEstimate(
                name=term.name,
                parameters=term.parameters,
                theta=theta[part],
                covariance=covariance[part, part],
                term=term,
            )
            for term, part in zip(self.terms, self.slices, strict=True)
        )


NO_TERMS = TermStack()


def _corners(evidence: Evidence) -> Corners:
    if not isinstance(evidence, Corners):
        raise ValueError("Unknowns of board or lens need corners in pixels, not ready-made poses.")
    return evidence

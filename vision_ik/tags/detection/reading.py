"""Reading the bits inside a quad softly: how white each cell is under its own light, against every code.

A cell's brightness is judged against the light that falls on it: the white of the quiet zone and
the black of the border around it, a plane through either (Wang and Olson, AprilTag 2, 2016,
section III-C), in grey levels and in their logarithm. In the logarithm the step of a hard shadow is
one summand on black and white alike, so black in the sun stays darker than white in the shade.
The cells' whiteness is then correlated with every code in every turn, and the best and the second
best are both kept: a marker is believed by its lead, not by the number of bits that fell on the
right side of a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from vision_ik.tags.dictionaries import MarkerDictionary
from vision_ik.tags.pictures import LOG_FLOOR
from vision_ik.tags.sampling import sample
from vision_ik.types import Floats, Image

Codes: TypeAlias = NDArray[np.float32]
Field: TypeAlias = NDArray[np.float64]


FIELDS = 9
(
    CODE,
    TURN,
    AGREEMENT,
    RUNNER_UP,
    WRONG_BITS,
    CONTRAST,
    BORDER,
    QUIET,
    SPREAD,
) = range(FIELDS)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Codebook:
    """The markers of one dictionary as the reader compares them."""

    bits: int
    """Cells along an edge, without the border."""
    codes: Codes
    """(4 k, bits^2) of -1 (black) and 1 (white); row ``4 i + turn``."""

    @classmethod
    def of(cls, dictionary: MarkerDictionary) -> Codebook:
        """Return the codes of a dictionary in all four turns."""
        signs = 2.0 * dictionary.patterns.astype(np.float32) - 1.0
        # A quad whose corner number ``turn`` is the marker's top left shows the marker turned clockwise.
        turned = np.stack([np.rot90(signs, -turn, axes=(1, 2)) for turn in range(4)], axis=1)
        return cls(bits=signs.shape[1], codes=np.ascontiguousarray(turned.reshape(4 * len(signs), -1)))


def read_quads(gray: Image, quads: Floats, book: Codebook) -> Field:
    """Return what stands in each quad.

    Args:
        gray: (H, W) picture.
        quads: (N, 4, 2) corners of the border [px], clockwise in the picture.
        book: What may stand there.

    Returns:
        (N, FIELDS): the code (-1 where the quad is no marker's border), the corner at which the marker's
        top left lies, the cosine between the cells' whiteness and the code, that of the best other code,
        wrong bits, white less black [grey levels], wrong share of the border's cells, wrong share of the
        quiet zone's cells, and spread of the border's cells around their plane in units of the contrast.
    """
    out = np.empty((len(quads), FIELDS))
    if len(quads):
        _read_all(gray, _homographies(quads, book.bits + 2), book.codes, book.bits, out)
    return out


def _homographies(quads: Floats, cells: int) -> Floats:
    """Return (N, 3, 3) maps from cells (0 to ``cells`` between the corners) to pixels."""
    square = np.array([[0, 0], [cells, 0], [cells, cells], [0, cells]], dtype=np.float32)
    maps = [cv2.getPerspectiveTransform(square, quad.astype(np.float32)) for quad in quads]
    return np.stack(maps).astype(np.float64)


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_cells(gray: Image, H: Floats, n: int, cells: Field) -> None:
    """Write the mean grey of the (n + 4)^2 cells: bits, border, and quiet zone near the border."""
    for row in range(n + 4):
        for column in range(n + 4):
            v = row - 0.5
            u = column - 0.5
            # The quiet zone may be narrow, and what lies beyond it is anything.
            if row == 0:
                v += 0.1
            elif row == n + 3:
                v -= 0.1
            if column == 0:
                u += 0.1
            elif column == n + 3:
                u -= 0.1
            total = 0.0
            for a in range(-1, 2):
                for b in range(-1, 2):
                    p, q = u + 0.25 * a, v + 0.25 * b
                    w = H[2, 0] * p + H[2, 1] * q + H[2, 2]
                    x = (H[0, 0] * p + H[0, 1] * q + H[0, 2]) / w
                    y = (H[1, 0] * p + H[1, 1] * q + H[1, 2]) / w
                    total += sample(gray, x, y)
            cells[row, column] = total / 9.0


@njit(cache=True, nogil=True, error_model="numpy")
def _ring_plane(values: Field, inset: int, plane: Field) -> None:
    """Write the plane (middle, slopes along columns and rows) through the ring of cells ``inset`` from the rim."""
    size = values.shape[0]
    middle = 0.5 * (size - 1)
    low, high = inset, size - 1 - inset
    count = total = su = sv = uu = 0.0
    for row in range(low, high + 1):
        step = 1 if row in (low, high) else high - low
        for column in range(low, high + 1, step):
            u, v, value = column - middle, row - middle, values[row, column]
            count += 1.0
            total += value
            su += u * value
            sv += v * value
            uu += u * u
    plane[0], plane[1], plane[2] = total / count, su / uu, sv / uu


@njit(cache=True, nogil=True, error_model="numpy")
def _whiteness(values: Field, white: Field, black: Field, out: Field) -> bool:
    """Write how white each cell is under its light, -1 black to 1 white; False where white is no lighter than black."""
    size = values.shape[0]
    middle = 0.5 * (size - 1)
    for row in range(size):
        for column in range(size):
            u, v = column - middle, row - middle
            w = white[0] + white[1] * u + white[2] * v
            b = black[0] + black[1] * u + black[2] * v
            if not w - b > 1e-3:
                return False
            out[row, column] = min(max((2.0 * values[row, column] - w - b) / (w - b), -1.5), 1.5)
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _judge_rings(s: Field, verdict: Field) -> None:
    """Write the shares of wrong cells in border and quiet zone, and the spread of the border."""
    size = s.shape[0]
    wrong_border = wrong_quiet = spread = 0.0
    border = quiet = 0
    for row in range(size):
        for column in range(size):
            ring = min(min(row, column), min(size - 1 - row, size - 1 - column))
            if ring == 0:
                quiet += 1
                wrong_quiet += s[row, column] < 0.0
            elif ring == 1:
                border += 1
                wrong_border += s[row, column] > 0.0
                spread += (s[row, column] + 1.0) ** 2
    verdict[BORDER] = wrong_border / border
    verdict[QUIET] = wrong_quiet / quiet
    verdict[SPREAD] = np.sqrt(spread / border)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def _match(bits: Codes, codes: Codes, verdict: Field) -> None:
    """Write the best code and turn, its agreement, that of the best other code, and the wrong bits."""
    count = len(bits)
    norm = np.float32(0.0)
    for i in range(count):
        norm += bits[i] * bits[i]
    scale = 1.0 / np.sqrt(max(float(norm) * count, 1e-12))
    best, second = np.float32(-1e9), np.float32(-1e9)
    at = 0
    for k in range(len(codes)):
        total = np.float32(0.0)
        for i in range(count):
            total += bits[i] * codes[k, i]
        if total > best:
            if k // 4 != at // 4:
                second = max(second, best)
            best, at = total, k
        elif k // 4 != at // 4 and total > second:
            second = total
    wrong = 0
    for i in range(count):
        wrong += bits[i] * codes[at, i] <= 0.0
    verdict[CODE], verdict[TURN] = at // 4, at % 4
    verdict[AGREEMENT], verdict[RUNNER_UP] = best * scale, max(second * scale, -1.0)
    verdict[WRONG_BITS] = wrong


@njit(cache=True, nogil=True, error_model="numpy")
def _read_all(gray: Image, homographies: Floats, codes: Codes, n: int, out: Field) -> None:
    size = n + 4
    cells, values, s = np.empty((size, size)), np.empty((size, size)), np.empty((size, size))
    white, black = np.empty(3), np.empty(3)
    bits = np.empty(n * n, dtype=np.float32)
    verdict = np.empty(FIELDS)
    for q in range(len(homographies)):
        out[q, :] = 0.0
        out[q, CODE] = -1.0
        out[q, AGREEMENT] = -1.0
        _fill_cells(gray, homographies[q], n, cells)
        contrast = 0.0
        for logarithm in range(2):
            for row in range(size):
                for column in range(size):
                    value = cells[row, column]
                    values[row, column] = np.log(value + LOG_FLOOR) if logarithm else value
            _ring_plane(values, 0, white)
            _ring_plane(values, 1, black)
            if logarithm == 0:
                contrast = white[0] - black[0]
            if not _whiteness(values, white, black, s):
                continue
            _judge_rings(s, verdict)
            if verdict[BORDER] > 0.35 or verdict[QUIET] > 0.5:
                continue
            k = 0
            for row in range(2, n + 2):
                for column in range(2, n + 2):
                    bits[k] = s[row, column]
                    k += 1
            _match(bits, codes, verdict)
            if verdict[AGREEMENT] > out[q, AGREEMENT]:
                verdict[CONTRAST] = contrast
                out[q, :] = verdict

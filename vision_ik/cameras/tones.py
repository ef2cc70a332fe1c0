"""From more than 8 bits to 8: by the bits that a sensor really fills, the same for all pictures of a source."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

SENSOR_BITS = (8, 10, 12, 14, 16)
"""Bits that sensors deliver in 16-bit files and buffers."""


def used_bits(picture: NDArray[np.generic]) -> int:
    """Return the least number of sensor bits that holds every value of an 8- or 16-bit picture."""
    needed = int(picture.max(initial=0)).bit_length()
    return next(bits for bits in SENSOR_BITS if needed <= bits)


class Tones:
    """Brings the 16-bit pictures of one source to 8 bits with one shift for all of them.

    Cutting to the upper 8 bits turns a picture of a 10-bit sensor black. The shift follows from the
    largest value seen, and only ever grows: the brightness of a source does not flicker with its content.
    Give it the pictures beforehand (:meth:`learn`), and it does not change at all.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self.bits = SENSOR_BITS[0]
        """Sensor bits in use so far."""
        self.seen = False
        """Whether there was a 16-bit picture."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was done to the pictures, as sentences; empty when all have 8 bits."""
        if not self.seen:
            return ()
        return (f"{self._source} gives 16-bit pictures of which {self.bits} bits are used; they are scaled to 8.",)

    def learn(self, pictures: Iterable[NDArray[np.generic]]) -> None:
        """Take the bits of these pictures into account."""
        for picture in pictures:
            if picture.dtype == np.uint16:
                self.seen = True
                self.bits = max(self.bits, used_bits(picture))

    def to_eight_bits(self, picture: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return a 16-bit picture as 8 bits, any other as it is."""
        if picture.dtype != np.uint16:
            return picture
        self.learn([picture])
        return (picture.astype(np.uint16, copy=False) >> (self.bits - 8)).astype(np.uint8)

"""Binary frames: columns of numbers, little endian, aligned so that a page reads them as typed arrays."""

import struct
from typing import Final

import numpy as np

from tickerlake.analytics.bars import Ints
from tickerlake.dashboard.market.latest import SPARKLINE_POINTS, LatestValues

ROWS_FRAME: Final = 1
SPARKLINES_FRAME: Final = 2
_HEADER: Final = struct.Struct("<BBHId")


def encode_rows(latest: LatestValues, ids: Ints, now_ms: float) -> bytes:
    """Pack the latest values of instruments.

    Returns
    -------
    frame
        Kind 1, 0, 0, n and the time; `latest.COLUMNS` as float64 of n each; the numbers as uint32.
    """
    header = _HEADER.pack(ROWS_FRAME, 0, 0, len(ids), now_ms)
    return header + latest.values[:, ids].astype("<f8").tobytes() + ids.astype("<u4").tobytes()


def encode_sparklines(latest: LatestValues, ids: Ints, now_ms: float) -> bytes:
    """Pack the sparklines of instruments.

    Returns
    -------
    frame
        Kind 2, 0, the number of points m, n and the time; closes as float32 (n, m); the numbers as uint32.
    """
    header = _HEADER.pack(SPARKLINES_FRAME, 0, SPARKLINE_POINTS, len(ids), now_ms)
    return header + latest.sparklines[ids].astype("<f4").tobytes() + ids.astype("<u4").tobytes()


def changed_since(changed: Ints, ids: Ints | None, tick: int) -> Ints:
    """Return the instruments, of some or of all, that changed after a tick."""
    if ids is None:
        return np.flatnonzero(changed > tick)
    return ids[changed[ids] > tick]

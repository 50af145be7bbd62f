"""A split is not a crash: what is behind a move at the open of a session.

The open stands to the last close like two small whole numbers, and hardly more shares are traded than usual:
then it looks like a split. That is never certain, so the alert is told with its evidence, only less urgently.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.state_table import Fields, StateTable

SPLIT_RATIOS: Final = (
    *((2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (10, 1), (15, 1), (20, 1), (50, 1)),
    *((3, 2), (4, 3), (5, 2), (5, 3), (5, 4)),
    *((1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (1, 7), (1, 8), (1, 10), (1, 12), (1, 15), (1, 20), (1, 25)),
    *((1, 30), (1, 40), (1, 50), (1, 100)),
)
"""New for old shares; a price is multiplied by old / new."""

RATIO_TOLERANCE: Final = 0.025
MAX_VOLUME_RATIO: Final = 3.0
"""In medians of `SESSIONS` sessions; of minutes, the volume of a session's first bar."""

VOLUME_SESSIONS: Final = 20
_MIN_SESSIONS: Final = 3
_MIN_LOG_MOVE: Final = min(abs(math.log(new / old)) for new, old in SPLIT_RATIOS) - 2 * RATIO_TOLERANCE


class SplitCandidate(NamedTuple):
    """What looks like a split.

    Parameters
    ----------
    new, old
        Shares: 2 and 1 for a split that halves the price.
    volume_ratio
        The bar's volume in medians; NaN where it is not known.
    """

    new_shares: int
    old_shares: int
    volume_ratio: float

    @property
    def price_factor(self) -> float:
        """The new price in parts of the old one."""
        return self.old_shares / self.new_shares

    @property
    def is_probable(self) -> bool:
        """True if the volume says so too."""
        return self.volume_ratio < MAX_VOLUME_RATIO


class SplitDetector:
    """Last closes and usual volumes of all instruments, in bars of one interval."""

    def __init__(self) -> None:
        self.closes = StateTable(Fields({"close": np.nan}))
        self.volumes = StateTable(Fields({"volumes": np.nan, "at": 0.0}, {"volumes": VOLUME_SESSIONS}))

    def detect(self, bars: Bars) -> dict[int, SplitCandidate]:
        """Return what looks like a split, by its position; nothing changes."""
        if not np.count_nonzero(bars.first_of_session):
            return {}
        ratio = bars.open / self.closes.gather(bars.rows)[0]
        far = bars.first_of_session & (np.abs(np.log(ratio)) > _MIN_LOG_MOVE)
        found = {}
        median_volumes: dict[int, float] = {}
        for at in np.flatnonzero(far).tolist():
            nearest = min(SPLIT_RATIOS, key=lambda pair: abs(ratio[at] * pair[0] / pair[1] - 1))
            if abs(ratio[at] * nearest[0] / nearest[1] - 1) <= RATIO_TOLERANCE:
                row = int(bars.rows[at])
                # of forming bars, each trade of the first bar comes here
                if row not in median_volumes:
                    median_volumes[row] = self.median_volume(row)
                found[at] = SplitCandidate(*nearest, float(bars.volume[at]) / median_volumes[row])
        return found

    def median_volume(self, row: int) -> float:
        """Return the median volume of the first bars of the sessions before; NaN if it is not known."""
        known = self.volumes.gather(np.array([row]))[:VOLUME_SESSIONS, 0]
        known = known[~np.isnan(known)]
        if len(known) < _MIN_SESSIONS:
            return math.nan
        return float(np.median(known)) or math.nan

    def update(self, bars: Bars, splits: Mapping[int, SplitCandidate]) -> None:
        """Take closed bars, at most one of each instrument; ``splits`` is what was seen in them."""
        self.closes.scatter(bars.rows, bars.close[np.newaxis])
        if not np.count_nonzero(bars.first_of_session):
            return
        for position, split in splits.items():
            if split.is_probable:
                self._rescale_volumes(int(bars.rows[position]), split.price_factor)
        first = np.flatnonzero(bars.first_of_session)
        rows, columns = bars.rows[first], np.arange(len(first))
        block = self.volumes.gather(rows)
        state = self.volumes.fields.view(block)
        at = state["at"].astype(np.int64)
        state["volumes"][at, columns] = bars.volume[first]
        state["at"][:] = (at + 1) % VOLUME_SESSIONS
        self.volumes.scatter(rows, block)

    def _rescale_volumes(self, row: int, factor: float) -> None:
        rows = np.array([row])
        block = self.volumes.gather(rows)
        block[:VOLUME_SESSIONS] /= factor
        self.volumes.scatter(rows, block)

    def grow(self, size: int) -> None:
        """Make room for instruments."""
        self.closes.grow(size)
        self.volumes.grow(size)

    def keep(self, rows: Ints) -> None:
        """Drop all instruments but some."""
        self.closes.retain(rows)
        self.volumes.retain(rows)


def split_factors(splits: Mapping[int, SplitCandidate]) -> tuple[Ints, Floats]:
    """Return positions of probable splits, and what prices are multiplied by."""
    probable = {at: split.price_factor for at, split in splits.items() if split.is_probable}
    return np.array(list(probable), dtype=np.int64), np.array(list(probable.values()), dtype=np.float64)

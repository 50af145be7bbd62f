"""Distinguishes splits from crashes: moves at the open of a session.

A move is probably a split if the ratio of the open to the last close is one of small integers, and hardly
more shares trade than usual. That is never certain, so the alert still fires, with the evidence and one
severity lower.
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
"""New shares for old shares, for the usual splits and reverse splits; the price changes by old / new."""

RATIO_TOLERANCE: Final = 0.025
"""Allows for a move overnight, without confusing two ratios: the closest, 5:4 and 4:3, are 6% apart."""

MAX_VOLUME_RATIO: Final = 3.0
"""Volume of a session's first bar in medians; more volume is news, not a split."""

VOLUME_SESSIONS: Final = 20
"""The median is over about a month."""

_MIN_SESSIONS: Final = 3
"""The fewest whose median ignores one outlier."""

_MIN_LOG_MOVE: Final = min(abs(math.log(new / old)) for new, old in SPLIT_RATIOS) - 2 * RATIO_TOLERANCE
"""No smaller move can match a ratio: a cheap filter for most bars."""


class SplitCandidate(NamedTuple):
    """A move that may be a split.

    Parameters
    ----------
    new_shares, old_shares
        2 and 1 for a split that halves the price.
    volume_ratio
        The bar's volume in medians; NaN if not known.
    """

    new_shares: int
    old_shares: int
    volume_ratio: float

    @property
    def price_factor(self) -> float:
        """The new price divided by the old one."""
        return self.old_shares / self.new_shares

    @property
    def is_probable(self) -> bool:
        """True if the volume supports it."""
        return self.volume_ratio < MAX_VOLUME_RATIO


class SplitDetector:
    """Last closes and median volumes of all instruments, for bars of one interval."""

    def __init__(self) -> None:
        self.closes = StateTable(Fields({"close": np.nan}))
        self.volumes = StateTable(Fields({"volumes": np.nan, "at": 0.0}, {"volumes": VOLUME_SESSIONS}))

    def detect(self, bars: Bars) -> dict[int, SplitCandidate]:
        """Return possible splits by position; the state does not change."""
        if not np.count_nonzero(bars.first_of_session):
            return {}
        ratio = bars.first_price / self.closes.gather(bars.rows)[0]
        is_large = bars.first_of_session & (np.abs(np.log(ratio)) > _MIN_LOG_MOVE)
        candidates = {}
        median_volumes: dict[int, float] = {}
        for at in np.flatnonzero(is_large).tolist():
            nearest = min(SPLIT_RATIOS, key=lambda pair: abs(ratio[at] * pair[0] / pair[1] - 1))
            if abs(ratio[at] * nearest[0] / nearest[1] - 1) <= RATIO_TOLERANCE:
                row = int(bars.rows[at])
                # a forming bar comes here with each of its trades
                if row not in median_volumes:
                    median_volumes[row] = self.median_volume(row)
                candidates[at] = SplitCandidate(*nearest, float(bars.volume[at]) / median_volumes[row])
        return candidates

    def median_volume(self, row: int) -> float:
        """Return the median volume of the first bars of earlier sessions; NaN if not known."""
        volumes = self.volumes.gather(np.array([row]))[:VOLUME_SESSIONS, 0]
        volumes = volumes[~np.isnan(volumes)]
        if len(volumes) < _MIN_SESSIONS:
            return math.nan
        return float(np.median(volumes)) or math.nan

    def update(self, bars: Bars, splits: Mapping[int, SplitCandidate]) -> None:
        """Record closed bars, at most one per instrument, and the splits that were detected in them."""
        regular = bars.is_regular
        self.closes.scatter(bars.rows[regular], bars.close[np.newaxis, regular])
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


def split_factors(splits: Mapping[int, SplitCandidate]) -> tuple[Ints, Floats]:
    """Return the positions of probable splits, and their price factors."""
    probable = {at: split.price_factor for at, split in splits.items() if split.is_probable}
    return np.array(list(probable), dtype=np.int64), np.array(list(probable.values()), dtype=np.float64)

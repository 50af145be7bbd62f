"""Distinguishes splits from crashes: moves at the open of a session.

A split that the user's file names is a fact: all state is converted before the bar is evaluated, so only what
moved beyond the split counts. Without a file a move is probably a split if the ratio of the open to the last
close is one of small integers, as much money changes hands as usual, and the ratio still holds at the close.
That is never certain, so the alert still fires, with the evidence and one severity lower.
"""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Final, Literal, NamedTuple

import numpy as np

from tickerlake.analytics.bars import Bars, Floats, Ints, Phase
from tickerlake.analytics.state_table import Fields, StateTable
from tickerlake.model.split import SPLIT_RATIOS

RATIO_TOLERANCE: Final = 0.025
"""Allows for a move overnight, without confusing two ratios: the closest, 5:4 and 4:3, are 6% apart."""

MAX_TOLERANCE: Final = 0.05
"""Of a ratio of 2 or more, in a stock that usually moves at least half as much overnight."""

EXACT_TOLERANCE: Final = 0.005
"""Of a ratio below 2: prices do fall by 20 to 40%, and wider bands around the ratios would catch many."""

CLOSE_TOLERANCE: Final = 0.15
"""Allows for a volatile day: TSLA rose 12.6% on the day of its 5:1 split."""

SMALL_CLOSE_TOLERANCE: Final = 0.05
"""Of a ratio below 2, for the same reason as `EXACT_TOLERANCE`."""

MIN_VOLUME_RATIO: Final = 0.1
"""Shares in a session's first bar, in medians; so little trades in a stock that is suspended or seized."""

MAX_VOLUME_RATIO: Final = 3.0
"""More volume is news, not a split."""

USUAL_VOLUME_RATIO: Final = 1.5
"""Up to this volume nothing but a split moves a price by a fifth, so a ratio below 2 need not be exact."""

MIN_USUAL_MOVES: Final = 5.0
"""How many times the stock's usual overnight move a ratio below 2 has to be: about 8 sigmas."""

HISTORY_SESSIONS: Final = 20
"""The median volume and the usual move are those of about a month."""

_MIN_SESSIONS: Final = 3
"""The fewest whose median ignores one outlier, and whose moves say what is usual."""

_USUAL_SHARE: Final = 0.9
"""The usual move is one that nine of ten do not exceed: an outlier does not count, and nights without a move
do not make the next one a surprise."""

_MIN_PRICE: Final = 1.0
"""A cent is more of a lower price than `EXACT_TOLERANCE`."""

_MIN_LOG_MOVE: Final = min(abs(math.log(new / old)) for new, old in SPLIT_RATIOS) - 2 * RATIO_TOLERANCE
"""No smaller move can match a ratio: a cheap filter for most bars."""

_MAX_SHARES: Final = 1000
"""Bounds the denominator that a known ratio such as 0.05 is written with."""


class SplitCandidate(NamedTuple):
    """A move that is, or may be, a split.

    Parameters
    ----------
    new_shares, old_shares
        2 and 1 for a split that halves the price.
    volume_ratio
        The bar's volume in medians, in the same shares; NaN if not known.
    certainty
        ``known`` from the user's file; ``probable``; or ``possible``, as the usual volume is not known.
    is_traded
        True if bars before the open were in the new shares already.
    """

    new_shares: int
    old_shares: int
    volume_ratio: float
    certainty: Literal["known", "probable", "possible"]
    is_traded: bool = False

    @property
    def price_factor(self) -> float:
        """The new price divided by the old one."""
        return self.old_shares / self.new_shares


class SplitDetector:
    """Last closes, usual overnight moves and median volumes of all instruments, for bars of one interval."""

    def __init__(self) -> None:
        # the close of regular hours, and the session date of the last bar of any hours
        self.closes = StateTable(Fields({"close": np.nan, "session": np.nan}))
        self.sessions = StateTable(
            Fields(
                {"volumes": np.nan, "moves": np.nan, "at": 0.0},
                {"volumes": HISTORY_SESSIONS, "moves": HISTORY_SESSIONS},
            )
        )

    def tables(self) -> dict[str, StateTable]:
        """Return all per-instrument state."""
        return {"closes": self.closes, "sessions": self.sessions}

    def detect(self, bars: Bars, *, forming: bool = False) -> dict[int, SplitCandidate]:
        """Return known and possible splits by position; the state does not change.

        Parameters
        ----------
        bars
            Closed bars, or forming ones: of those neither the close nor how little is traded says anything.
        """
        begins = bars.first_of_session | (bars.first_of_phase & (bars.phase == Phase.PRE_MARKET))
        if not np.count_nonzero(begins) and not bars.has_splits:
            return {}
        candidates = {at: self._known(bars, at) for at in np.flatnonzero(bars.is_split).tolist()}
        last_close, last_session = self.closes.gather(bars.rows)
        ratio, ratio_at_close = bars.first_price / last_close, bars.close / last_close
        is_large = begins & np.isnan(bars.split_factor) & (np.abs(np.log(ratio)) > _MIN_LOG_MOVE)
        # a bar that includes the close of its session knows whether the price stayed where a split puts it
        has_close = (bars.ts_close_ns >= bars.session_close_ns) & (not forming)
        usual: dict[int, _Usual] = {}
        for at in np.flatnonzero(is_large).tolist():
            row = int(bars.rows[at])
            # a forming bar comes here with each of its trades
            if row not in usual:
                usual[row] = _Usual(self.usual_move(row), self.median_volume(row))
            move = _Move(
                float(last_close[at]),
                float(ratio[at]),
                float(ratio_at_close[at]) if has_close[at] else None,
                # the usual volume is that of the first bars of regular hours
                float(bars.volume[at]) if bars.first_of_session[at] else math.nan,
                is_forming=forming,
            )
            if candidate := _candidate(move, usual[row]):
                is_traded = bool(last_session[at] == bars.session[at])
                candidates[at] = candidate._replace(is_traded=is_traded)
        return candidates

    def median_volume(self, row: int) -> float:
        """Return the median volume of the first bars of earlier sessions; NaN if not known."""
        volumes = self._history("volumes", row)
        return (float(np.median(volumes)) or math.nan) if len(volumes) >= _MIN_SESSIONS else math.nan

    def usual_move(self, row: int) -> float:
        """Return the log return from close to open that nine of ten do not exceed; NaN if not known."""
        moves = np.sort(np.abs(self._history("moves", row)))
        return (
            float(moves[math.ceil(_USUAL_SHARE * len(moves)) - 1])
            if len(moves) >= _MIN_SESSIONS
            else math.nan
        )

    def update(self, bars: Bars, splits: Mapping[int, SplitCandidate]) -> None:
        """Record closed bars, at most one per instrument, and the splits that were detected in them."""
        at, factor = split_factors(splits)
        if len(at):
            self.adjust_for_split(bars.rows[at], factor)
        first = np.flatnonzero(bars.first_of_session)
        if len(first):
            self._record_sessions(bars.select(first))
        block = self.closes.gather(bars.rows)
        state = self.closes.fields.view(block)
        np.copyto(state["close"], bars.close, where=bars.is_regular)
        state["session"][:] = bars.session
        self.closes.scatter(bars.rows, block)

    def adjust_for_split(self, rows: Ints, factor: Floats) -> None:
        """Convert the state to the new shares; the factor is the new price divided by the old one."""
        self.closes.rescale(rows, factor, ("close",), ())
        self.sessions.rescale(rows, factor, (), ("volumes",))

    def _record_sessions(self, bars: Bars) -> None:
        columns = np.arange(len(bars))
        block = self.sessions.gather(bars.rows)
        state = self.sessions.fields.view(block)
        at = state["at"].astype(np.int64)
        state["volumes"][at, columns] = bars.volume
        state["moves"][at, columns] = np.log(bars.first_price / self.closes.gather(bars.rows)[0])
        state["at"][:] = (at + 1) % HISTORY_SESSIONS
        self.sessions.scatter(bars.rows, block)

    def _history(self, name: str, row: int) -> Floats:
        values = self.sessions.fields.view(self.sessions.gather(np.array([row])))[name][:, 0]
        return values[~np.isnan(values)]

    def _known(self, bars: Bars, at: int) -> SplitCandidate:
        ratio = Fraction(1.0 / float(bars.split_factor[at])).limit_denominator(_MAX_SHARES)
        usual = self.median_volume(int(bars.rows[at])) if bars.first_of_session[at] else math.nan
        return SplitCandidate(ratio.numerator, ratio.denominator, float(bars.volume[at]) / usual, "known")


class _Usual(NamedTuple):
    """What is usual of an instrument: its move overnight, and the volume of a session's first bar."""

    move: float
    volume: float


class _Move(NamedTuple):
    """A move at the open: the last close, the open and the close (if known) relative to it, the volume."""

    before: float
    ratio: float
    ratio_at_close: float | None
    volume: float
    is_forming: bool


def _candidate(move: _Move, usual: _Usual) -> SplitCandidate | None:
    new, old = min(SPLIT_RATIOS, key=lambda pair: abs(move.ratio * pair[0] / pair[1] - 1))
    error, is_small = abs(move.ratio * new / old - 1), 1 < new / old < 2
    if is_small:
        tolerance, close_tolerance = RATIO_TOLERANCE, SMALL_CLOSE_TOLERANCE
        is_unusual = math.log(new / old) > MIN_USUAL_MOVES * usual.move
        if move.before < _MIN_PRICE or not is_unusual:
            return None
    else:
        tolerance = min(max(RATIO_TOLERANCE, 2 * usual.move), MAX_TOLERANCE)
        close_tolerance = CLOSE_TOLERANCE
    if error > tolerance:
        return None
    if move.ratio_at_close is not None and abs(move.ratio_at_close * new / old - 1) > close_tolerance:
        return None
    is_exact = not is_small or error <= EXACT_TOLERANCE
    volume_ratio = move.volume * old / new / usual.volume
    if math.isnan(volume_ratio):
        return SplitCandidate(new, old, volume_ratio, "possible") if is_exact else None
    least = 0.0 if move.is_forming else MIN_VOLUME_RATIO
    most = MAX_VOLUME_RATIO if is_exact else USUAL_VOLUME_RATIO
    return SplitCandidate(new, old, volume_ratio, "probable") if least <= volume_ratio < most else None


def split_factors(
    splits: Mapping[int, SplitCandidate], *, include_traded: bool = True
) -> tuple[Ints, Floats]:
    """Return the positions of probable splits, and their price factors.

    Parameters
    ----------
    splits
        Splits by position.
    include_traded
        False to leave out those whose new prices are known since before the open.
    """
    probable = {
        at: split.price_factor
        for at, split in splits.items()
        if split.certainty == "probable" and (include_traded or not split.is_traded)
    }
    return np.array(list(probable), dtype=np.int64), np.array(list(probable.values()), dtype=np.float64)

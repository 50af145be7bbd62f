"""Stock splits that are known, by instrument and session."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple


class Split(NamedTuple):
    """A split or reverse split.

    Parameters
    ----------
    session
        The first session in new shares, in days since 1970-01-01.
    new_shares, old_shares
        4 and 1 for a split that quarters the price.
    """

    session: int
    new_shares: float
    old_shares: float

    @property
    def price_factor(self) -> float:
        """The new price divided by the old one."""
        return self.old_shares / self.new_shares


@dataclass(frozen=True)
class KnownSplits:
    """The splits of the instruments that a file covers.

    Parameters
    ----------
    by_name
        Splits by symbol or instrument id, in order of time; empty for an instrument without any.
    """

    by_name: Mapping[str, Sequence[Split]] = field(default_factory=dict)

    def of(self, instrument_id: str, symbol: str) -> Sequence[Split] | None:
        """Return the splits of an instrument; None if they are not known."""
        splits = self.by_name.get(instrument_id)
        return self.by_name.get(symbol) if splits is None else splits

    def names_none_of(self, symbols: Collection[str]) -> str:
        """Return some of the names if none is one of these symbols; otherwise an empty text."""
        is_named = any(name.rpartition(".")[0] in symbols or name in symbols for name in self.by_name)
        return "" if is_named else ", ".join([*self.by_name][:3])


NO_SPLITS: Final = KnownSplits()
"""Nothing is known."""

SPLIT_RATIOS: Final = (
    *((2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (10, 1), (15, 1), (20, 1), (50, 1)),
    *((3, 2), (4, 3), (5, 2), (5, 3), (5, 4)),
    *((1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (1, 7), (1, 8), (1, 10), (1, 12), (1, 15), (1, 20), (1, 25)),
    *((1, 30), (1, 40), (1, 50), (1, 100)),
)
"""New shares for old shares, for the usual splits and reverse splits; the price changes by old / new."""

"""Columns that say of each row whether it is a trade, a quote or a change of an order book. Pure."""

from collections.abc import Sequence
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.executions import Executions
from tickerlake.sources.csv.detect.columns.layout import normalize_name, split_words

_NAMES: Final = frozenset(
    """
    type eventtype event messagetype msgtype message recordtype rectype recordkind ticktype datatype kind
    updatetype entrytype mdentrytype action category tickkind quotetype tradequote tradeorquote e
    """.split()
)
"""Names of columns of events, normalized."""

_TRADES: Final = frozenset(
    """
    trade trades t tradenb aggtrade transaction lasttrade last alllast deal print tradereport tradesummary
    timeandsale executedtrade normaltrade regulartrade tradetick
    """.split()
)
"""Texts of trades, normalized."""

_OTHER_WORDS: Final = frozenset(
    """
    quote quotes q bid ask bids asks offer bbo nbbo book depth add modify delete replace reduce cancel
    cancelled canceled cancellation correction corrected bust busted break broken clear snapshot status halt
    halted imbalance settlement settle interest volatility index mark funding system order orders midpoint mid
    b a c m f r d x delta update l2 l1 level open close high low auction indicative theoretical kline
    summary heartbeat
    """.split()
)
_QUOTE_WORDS: Final = frozenset("quote quotes bbo nbbo book depth midpoint".split())
_CANCEL_WORDS: Final = frozenset(
    "cancel cancelled canceled cancellation bust busted break broken correction corrected".split()
)
_MAX_SHOWN: Final = 4
_KEEP_TRADES: Final = "Keep only the rows of trades, or those of quotes, with bid and ask in one row."


def find_events(
    names: Sequence[str], columns: Sequence[ColumnSample], *, has_quotes: bool
) -> Executions | None:
    """Find the column that distinguishes trades from other events, None if there is none.

    Parameters
    ----------
    names, columns
        The columns.
    has_quotes
        True if there are columns of bid and ask: then a file without trades has quotes.

    Raises
    ------
    DataError
        If its texts do not say clearly which rows are trades, or no row is one.
    """
    for i, name in enumerate(names):
        texts = sorted(set(columns[i].non_missing))
        if normalize_name(name) not in _NAMES or not texts:
            continue
        trades = [text for text in texts if normalize_name(text) in _TRADES]
        others = [text for text in texts if text not in trades and set(split_words(text)) & _OTHER_WORDS]
        unknown = [text for text in texts if text not in trades and text not in others]
        quotes = [text for text in others if set(split_words(text)) & _QUOTE_WORDS]
        if (unknown and not (trades and quotes)) or not (trades or quotes):
            continue  # sides, statuses, kinds of an account's transactions
        column = name.strip()
        if unknown:
            raise DataError(
                f"Its rows are events of several kinds, by the column {column}, and it is not clear whether "
                f"{_show(unknown)} is a trade.",
                _KEEP_TRADES,
            )
        if not trades and has_quotes:
            return None
        if not trades:
            raise DataError(
                f"Its rows are {_show(others)}, by the column {column}: none is a trade, and a quote has "
                "its bid and its ask in one row.",
                "Export trades, or quotes with bid and ask in one row.",
            )
        return Executions(
            {i: frozenset(map(str.lower, trades)) | _TRADES},
            note=_note(column, others),
            events=frozenset({i}),
        )
    return None


def _note(column: str, others: Sequence[str]) -> str:
    if not others:
        return ""
    note = f"only its trades are read, not {_show(others)} (column {column})."
    if any(set(split_words(text)) & _CANCEL_WORDS for text in others):
        note += " A trade that was cancelled or corrected later is read."
    return note


def _show(texts: Sequence[str]) -> str:
    return ", ".join(texts[:_MAX_SHOWN]) + (" …" if len(texts) > _MAX_SHOWN else "")

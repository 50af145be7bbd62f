"""Tables of closes: a date and one price, or one price for each symbol; no open, high or low. Pure.

Net asset values, indices, fixings and series of closes are bars of which only the close is known. Their names
say less than those of complete bars, and no rule ties their values together: so a table whose names or values
may mean something else (amounts, weights, returns) is not one of closes.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

import polars as pl

from tickerlake.model.duration import DAY_NS
from tickerlake.model.instrument import is_symbol
from tickerlake.model.interval import DAILY_OR_LONGER, interval_ns
from tickerlake.model.schema import BAR, RANGE_PRICES, TRADE
from tickerlake.sources.csv.detect.columns.assignment import RoleAssignment
from tickerlake.sources.csv.detect.columns.cells import (
    SAMPLE_CELLS,
    ColumnSample,
    is_running_number,
)
from tickerlake.sources.csv.detect.columns.close_names import (
    are_panel_symbols,
    has_other_meaning,
    is_close,
    is_currency_or_coin,
    is_definite_close,
    is_named,
    is_panel_role,
    is_symbol_name,
    is_volume,
    is_word,
    may_be_symbols,
    quoted_amount,
    split_symbol,
)
from tickerlake.sources.csv.detect.columns.close_values import (
    amounts_note,
    check_prices,
    check_several_instruments,
    growth_note,
    is_price,
)
from tickerlake.sources.csv.detect.columns.layout import (
    CRSP,
    PRICES,
    ROLE_RANKS,
    Layout,
    normalize_name,
    role_ranks,
)
from tickerlake.sources.csv.detect.columns.partial_range import (
    choose_close,
    close_note,
    find_range,
    may_be_complete,
    with_close_alone,
)
from tickerlake.sources.csv.detect.columns.symbol_column import infer_symbol_column
from tickerlake.sources.csv.detect.columns.tickers import check_tickers, split_tickers
from tickerlake.sources.csv.detect.columns.values import infer_time
from tickerlake.sources.csv.detect.columns.wide import may_be_panel_symbols, split_close_names
from tickerlake.sources.csv.detect.file_name import parse_file_name, strip_extensions
from tickerlake.sources.csv.detect.times.dates import candidate_time_formats, has_time, is_midnight
from tickerlake.sources.csv.detect.times.interval import infer_interval, share_true

_RANGE_ROLES: Final = frozenset({"open", "high", "low", "adj_open", "adj_high", "adj_low"})
_QUOTE_ROLES: Final = frozenset({"bid_price", "ask_price"})
_TIME_ROLES: Final = ("time", "clock", "year", "month", "day", "subsecond")
_MIN_CERTAIN_SYMBOLS: Final = 10
_MIN_INTRADAY_SYMBOLS: Final = 5
"""Fewer columns with times of day may be bid and ask, or a price and a size, unless they are currencies."""

_MIN_DAYS: Final = 4
"""Gaps of whole days that make the rows daily: fewer can be a coincidence."""

_MIN_REGULAR_SHARE: Final = 0.95
_MIN_EXACT_SHARE: Final = 0.5


def detect_closes(
    names: Sequence[str], columns: Sequence[ColumnSample], layout: Layout, file_name: str = ""
) -> Layout | None:
    """Return the layout of a table of closes, None if it is none.

    Parameters
    ----------
    names
        As in the header.
    columns
        The first cells of each column.
    layout
        The roles by name.
    file_name
        The file's name.

    Raises
    ------
    DataError
        If there is a column for each symbol, or one for a series, but no prices in them.
    """
    # without roles by name: `T` and `7203.T` are symbols as well as names of times
    wide = _CloseTable.create(names, columns, Layout("", tuple(names), {}))
    if wide and (several := wide.detect_panels() or wide.detect_wide()):
        return several
    table = _CloseTable.create(names, columns, layout)
    return (table.detect_named() or table.detect_series(file_name)) if table else None


def may_be_closes(names: Sequence[str], layout: Layout) -> bool:
    """Return whether a table may be one of closes although its roles are those of another one.

    So are the symbols C, H, L and O among many, and a price with a date and midnight; and columns called by
    symbols, whatever their values have in common.
    """
    times = {layout.roles[role] for role in _TIME_ROLES if role in layout.roles}
    others = [name.strip() for i, name in enumerate(names) if name and i not in times]
    if split_tickers(others) is not None:
        return True
    if layout.record_type == TRADE:
        return "size" not in layout.roles or is_volume(names[layout.roles["size"]], names)
    is_named = any({*PRICES, *_QUOTE_ROLES} & set(role_ranks(name)) for name in others)
    return (len(others) >= _MIN_CERTAIN_SYMBOLS or not is_named) and may_be_symbols(others)


def detect_close_panels(
    names: Sequence[str], columns: Sequence[ColumnSample], symbols: Sequence[str]
) -> Layout | None:
    """Return the layout of a table with closes of each symbol, whose names and symbols are known."""
    table = _CloseTable.create(names, columns, Layout("", tuple(names), {}))
    return table.with_panels(names, symbols, are_known=True) if table else None


class _CloseTable:
    """A table that may be one of closes.

    Parameters
    ----------
    assignment
        With the roles of time.
    layout
        The roles by name.
    """

    def __init__(self, assignment: RoleAssignment, layout: Layout) -> None:
        self._assignment = assignment
        self._layout = layout
        self._names, self._columns = assignment.names, assignment.columns
        used = {*assignment.roles.values(), *layout.date_duplicates}
        self._values = [
            i
            for i, cells in enumerate(self._columns)
            if i not in used and (self._names[i] or any(cells.strings)) and not self._is_row_number(i)
        ]

    @classmethod
    def create(
        cls, names: Sequence[str], columns: Sequence[ColumnSample], layout: Layout
    ) -> "_CloseTable | None":
        """Return a table with its roles of time; None without names or times."""
        if not any(names) or len(names) != len(columns):
            return None
        roles = {role: i for role, i in layout.roles.items() if role in _TIME_ROLES}
        assignment = RoleAssignment(names, columns, roles, dict(layout.reasons))
        if not roles:
            named = [i for i, name in enumerate(names) if "time" in role_ranks(name)]
            dates = [i for i in named if columns[i].temporal_kind == "timestamp"]
            if dates:
                assignment.assign_by_name("time", dates[0])
                clocks = [i for i, cells in enumerate(columns) if cells.temporal_kind == "clock"]
                if clocks and not has_time(columns[dates[0]].non_missing[0]):
                    assignment.assign("clock", clocks[0], "its values are times of day")
            else:
                infer_time(assignment)
        return cls(assignment, layout) if {"time", "year"} & set(assignment.roles) else None

    def _is_row_number(self, index: int) -> bool:
        name = normalize_name(self._names[index])
        is_unnamed = not name or re.fullmatch(r"unnamed\d*|index|rownumber|no", name) is not None
        return is_unnamed and is_running_number(self._columns[index])

    def detect_panels(self) -> Layout | None:
        """Detect names that hold a role and a symbol: ``AAPL_Close``, ``('Adj Close', 'AAPL')``."""
        split = split_close_names([self._names[i] for i in self._values], is_panel_role) or [
            split_symbol(self._names[i]) for i in self._values
        ]
        by_column = dict(zip(self._values, split, strict=True))
        pairs = [by_column.get(i, (name, "")) for i, name in enumerate(self._names)]
        return self.with_panels([role for role, _ in pairs], [symbol for _, symbol in pairs])

    def with_panels(
        self, names: Sequence[str], symbols: Sequence[str], *, are_known: bool = False
    ) -> Layout | None:
        """Return the layout for the name and the symbol of each column."""
        panels: dict[str, dict[str, int]] = {}
        adjusted = False
        for i in self._values:
            role = next((each for each in ("close", "adj_close", "volume") if is_named(names[i], each)), "")
            if not symbols[i] or not role or role in panels.get(symbols[i], {}):
                return None
            if not self._columns[i].is_price_like and self._columns[i].non_missing:
                return None
            panels.setdefault(symbols[i], {})[role] = i
        for roles in panels.values():
            if "close" not in roles and "adj_close" in roles:
                roles["close"] = roles.pop("adj_close")
                adjusted = True
        are_known = are_known or may_be_panel_symbols(list(panels))
        if not panels or not (are_known or are_panel_symbols(panels)):
            return None
        if any("close" not in roles for roles in panels.values()):
            return None
        return self._to_layout(panels, ADJUSTED_NOTE if adjusted else "")

    def detect_wide(self) -> Layout | None:
        """Detect a column for each symbol, named by it."""
        rates = [i for i in self._values if quoted_amount(self._names[i].strip())]
        if len(rates) > 1 and all(map(self._is_number_or_text, set(self._values) - set(rates))):
            self._values = rates
        names = [self._names[i].strip() for i in self._values]
        note = check_tickers(names, self._cells) if self._is_daily else None
        if note is None and not may_be_symbols(names):
            return None
        if any(self._columns[i].non_missing and not self._columns[i].is_numeric for i in self._values):
            return None
        are_enough = len(names) >= _MIN_INTRADAY_SYMBOLS or (
            len(names) > 1 and all(map(is_currency_or_coin, names))
        )
        if not self._is_daily and not (are_enough and self._is_regular()):
            return None
        check_prices(names, self._cells)
        check_several_instruments(names, self._cells)
        panels = {name: {"close": i} for name, i in zip(names, self._values, strict=True)}
        return self._to_layout(panels, note or amounts_note(names) or growth_note(self._cells))

    def _is_number_or_text(self, index: int) -> bool:
        """Return whether a column has running numbers or texts, as of the tables that rates are from."""
        return is_running_number(self._columns[index]) or not self._columns[index].is_numeric

    def detect_named(self) -> Layout | None:
        """Detect one price that is called so: ``Close``, ``NAV``, ``Rate``."""
        names = self._names
        numeric = [i for i in self._values if self._columns[i].is_numeric]
        ranks = {i: set(role_ranks(names[i])) for i in self._values}
        symbols = {symbol for i in numeric if (symbol := split_symbol(names[i])[1])}
        is_known = any(normalize_name(names[i]) in ROLE_RANKS["close"] for i in numeric)
        if not is_known and are_panel_symbols(symbols) and not all(map(is_close, symbols)):
            return None  # `7203_Close` next to `QAA_High`
        if has_other_meaning([names[i] for i in self._values]):
            return None
        if any(ranks[i] & (_RANGE_ROLES | _QUOTE_ROLES) for i in numeric):
            return self._detect_partial_range()
        prices = [i for i in numeric if self._columns[i].is_price_like]
        closes = [i for i in prices if is_close(names[i])]
        definite = [i for i in closes if is_definite_close(names[i])]
        adjusted = [i for i in prices if "adj_close" in ranks[i]]
        close = self._choose(definite or closes or adjusted)
        if close is not None and len(names[close].strip()) == 1 and self._has_other_symbols(close):
            return None
        if close is None or (not definite and close not in adjusted and not self._is_price(close)):
            return None
        if not self._is_daily and not (close in definite and self._is_regular()):
            return None
        assignment = self._assignment
        assignment.assign_by_name("close", close)
        adjusted = [i for i in adjusted if i != close]
        if len(adjusted) == 1:
            assignment.assign_by_name("adj_close", adjusted[0])
        volumes = [i for i in numeric if i != close and is_volume(names[i], names)]
        if len(volumes) == 1:
            assignment.assign_by_name("volume", volumes[0])
        self._assign_texts()
        is_adjusted = not definite and not closes
        return self._to_layout({}, ADJUSTED_NOTE if is_adjusted else "")

    def _detect_partial_range(self) -> Layout | None:
        """Detect closes in a list of symbols that has no open, no high or no low."""
        names, columns = self._names, self._columns
        prices = find_range(names, columns)
        if set(RANGE_PRICES) <= set(prices):
            return None  # complete, but not seen as bars for another reason
        close = choose_close(names, columns, prices)
        if close is None or not self._is_daily or not self._has_symbols:
            return None
        if may_be_complete(names, columns, {**prices, "close": close}):
            return None
        self._assign_texts()
        return with_close_alone(self._to_layout({}, close_note(names, prices)), columns, close)

    def _has_other_symbols(self, close: int) -> bool:
        """Return whether other columns of prices are called symbols: then `C` is one as well."""
        others = [i for i in self._values if i != close and self._columns[i].is_price_like]
        return any(is_symbol_name(self._names[i], alone=True) for i in others)

    def detect_series(self, file_name: str) -> Layout | None:
        """Detect one column of numbers, called by the series or the symbol: ``DATE,DGS10``."""
        if len(self._values) != 1 or not self._is_daily:
            return None
        (index,) = self._values
        name = self._names[index].strip()
        stem = strip_extensions(file_name)
        is_called_so = bool(name) and normalize_name(name) == normalize_name(stem) and is_symbol(name)
        is_called_so = is_called_so and not is_word(name)
        if not self._columns[index].is_price_like or not (is_called_so or is_symbol_name(name, alone=True)):
            return None
        other = parse_file_name(file_name).symbol
        if other and other == stem and not is_called_so:
            # AAPL.csv with the column PRC: it is not clear which one is the symbol
            return None
        check_prices([name], self._cells)
        return self._to_layout({name: {"close": index}})

    def _choose(self, candidates: Sequence[int]) -> int | None:
        """Return the only candidate, or the one with the likeliest name if that means a close."""
        if len(candidates) <= 1:
            return candidates[0] if candidates else None
        ranked = sorted((role_ranks(self._names[i]).get("close", 1_000), i) for i in candidates)
        names = {normalize_name(self._names[i]) for _, i in ranked[:2]}
        is_clear = len(names) == 2 and is_definite_close(self._names[ranked[0][1]])
        return ranked[0][1] if is_clear else None

    def _assign_texts(self) -> None:
        assignment = self._assignment
        for role in ("symbol", "suffix", "currency", "interval"):
            index = self._layout.roles.get(role)
            if index is None:
                ranked = [
                    (role_ranks(self._names[i])[role], i)
                    for i in assignment.unassigned
                    if role in role_ranks(self._names[i]) and self._columns[i].non_missing
                ]
                index = min(ranked)[1] if ranked and role in {"currency", "interval"} else None
            if index is not None and index not in assignment.roles.values():
                assignment.assign_by_name(role, index)
        if "symbol" not in assignment.roles:
            infer_symbol_column(assignment)

    def _has_texts(self, role: str) -> bool:
        return not self._columns[self._layout.roles[role]].is_numeric

    def _to_layout(self, panels: dict[str, dict[str, int]], note: str = "") -> Layout:
        layout = self._assignment.to_layout(
            BAR, self._layout.date_duplicates, vendor_layout=self._layout.vendor_layout
        )
        if panels:
            reasons = {"close": "its name: a symbol, or the close of one"}
            layout = replace(layout, panels=panels, reasons={**layout.reasons, **reasons})
        is_passed_over = not panels and "symbol" not in layout.roles
        return replace(
            layout,
            notes=(note,) if note else (),
            passed_over=self._layout.passed_over if is_passed_over else (),
        )

    # ------------------------------------------------------------------------------------------ times

    def _times(self) -> list[str]:
        strings = self._assignment.strings
        return [
            f"{date} {clock}".strip()
            for date, clock in zip(strings("time"), strings("clock"), strict=True)
            if date
        ]

    @cached_property
    def _is_daily(self) -> bool:
        """Return whether rows have a date, but no time of day: it is midnight, or the same every day."""
        roles = self._assignment.roles
        if "clock" in roles:
            return False
        if "time" not in roles:
            return True
        sample = self._columns[roles["time"]].non_missing[:SAMPLE_CELLS]
        return all(not has_time(text) or is_midnight(text) for text in sample) or self._is_once_a_day()

    def _is_once_a_day(self) -> bool:
        gaps = self._gaps_ns
        return len(gaps) >= _MIN_DAYS and bool((gaps % DAY_NS == 0).all() and (gaps > 0).all())

    @cached_property
    def _gaps_ns(self) -> pl.Series:
        """Return how far times are apart from row to row, of one symbol each."""
        frame = pl.DataFrame({"t": self._times(), "symbol": self._symbols()})
        formats = candidate_time_formats(frame["t"].to_list(), None, file="")
        return (
            frame.select(formats[0].to_ns(pl.col("t")).diff().over("symbol")).to_series().drop_nulls().abs()
        )

    def _is_regular(self) -> bool:
        """Return whether times are those of bars: a fixed interval apart, but for pauses."""
        gaps = self._gaps_ns
        gaps = gaps.filter(gaps > 0)
        interval = infer_interval(gaps, daily=False)
        if not interval or interval in DAILY_OR_LONGER:
            return bool(interval)
        length = interval_ns(interval)
        return (
            share_true(gaps % length == 0) >= _MIN_REGULAR_SHARE
            and share_true(gaps == length) >= _MIN_EXACT_SHARE
        )

    def _symbols(self) -> list[str]:
        dates = self._assignment.strings("time")
        if "symbol" not in self._layout.roles:
            return ["" for date in dates if date]
        symbols = self._columns[self._layout.roles["symbol"]].strings
        return [symbol for symbol, date in zip(symbols, dates, strict=True) if date]

    # ------------------------------------------------------------------------------------------ values

    def _is_price(self, index: int) -> bool:
        vendor = self._layout.vendor_layout
        if vendor is not None and vendor.name == CRSP:
            return self._columns[index].is_price_like
        return is_price(self._columns[index], of_symbols=self._has_symbols)

    @property
    def _cells(self) -> list[ColumnSample]:
        return [self._columns[i] for i in self._values]

    @property
    def _has_symbols(self) -> bool:
        return "symbol" in self._layout.roles and self._has_texts("symbol")


ADJUSTED_NOTE: Final = (
    "no column has closes; the prices are its adjusted closes. To confirm that: --columns date,close"
)
"""Said of a table with nothing but adjusted closes."""

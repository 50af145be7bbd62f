"""The role of each column, by its name and by what its values allow. Pure, on the first rows of a file."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from tickerlake.errors import DataError
from tickerlake.model.schema import BAR, QUOTE, TRADE
from tickerlake.sources.csv.detect.columns.assignment import RoleAssignment
from tickerlake.sources.csv.detect.columns.bar_extras import drop_constant_count, settle_average
from tickerlake.sources.csv.detect.columns.cancellations import without_cancellations
from tickerlake.sources.csv.detect.columns.cells import (
    MIN_SHARE,
    SAMPLE_CELLS,
    ColumnSample,
    is_clock_digits,
    is_milliseconds_of_day,
)
from tickerlake.sources.csv.detect.columns.close_only import detect_close_panels, detect_closes, may_be_closes
from tickerlake.sources.csv.detect.columns.events import find_events
from tickerlake.sources.csv.detect.columns.executions import Executions, find_executions
from tickerlake.sources.csv.detect.columns.layout import (
    DATE_PARTS,
    DECIMAL_ROLES,
    MS_OF_DAY_NAMES,
    PRICES,
    ROLE_RANKS,
    ROLES_BY_TYPE,
    TIME_ROLES,
    Layout,
    find_vendor_layout,
    normalize_name,
    price_side,
    role_ranks,
)
from tickerlake.sources.csv.detect.columns.order_fills import prefer_execution_time
from tickerlake.sources.csv.detect.columns.rate_lists import check_is_no_rate_list, is_rate_list
from tickerlake.sources.csv.detect.columns.repeated_executions import check_executions_once
from tickerlake.sources.csv.detect.columns.single_letters import settle_single_letters
from tickerlake.sources.csv.detect.columns.symbol_column import (
    find_base_currency,
    find_contract_month,
    find_quoted_currency,
    find_symbol_column,
    infer_symbol_column,
    passed_over_columns,
)
from tickerlake.sources.csv.detect.columns.table_words import strip_table_word
from tickerlake.sources.csv.detect.columns.trade_roles import (
    is_bare_rate,
    settle_trade_size,
    with_executions,
)
from tickerlake.sources.csv.detect.columns.trade_sizes import choose_unit, strip_units
from tickerlake.sources.csv.detect.columns.values import infer_roles, infer_time, share_within
from tickerlake.sources.csv.detect.columns.vocabulary import columns_named
from tickerlake.sources.csv.detect.columns.volume_roles import (
    infer_volume_from_turnover,
    separate_tick_volume,
)
from tickerlake.sources.csv.detect.columns.wide import incomplete_note, split_panel_names
from tickerlake.sources.csv.detect.columns.zone_column import find_zone_columns
from tickerlake.sources.csv.detect.times.dates import are_midnights, has_time, has_zone, is_excel_serial
from tickerlake.sources.csv.zones import zone_from_header

_MIN_CONSTANT_ROWS: Final = 5
"""On fewer rows a column may have one value by chance."""

_MAX_TIMES_PER_DATE: Final = 1.2
"""Up to this many different times per date, a column of times only repeats the date."""


def detect_roles(
    names: Sequence[str],
    columns: Sequence[ColumnSample],
    symbols: Sequence[str] = (),
    file_name: str = "",
) -> Layout:
    """Assign roles to the columns of a file.

    Parameters
    ----------
    names
        As in the header; all empty if there is none.
    columns
        The first cells of each column.
    symbols
        The symbol of each column, if a second header row has them.
    file_name
        The file's name, which may be that of the only column.
    """
    if symbols:
        closes = detect_close_panels(names, columns, symbols)
        return closes or _detect_panels(names, columns, list(symbols))
    panel_names = split_panel_names(names)
    if panel_names is not None and panel_names.is_wide:
        # before the names as a whole, in which `BTC` and `DE` are noise
        return _detect_panels(panel_names.roles, columns, panel_names.symbols)
    bare_names = strip_table_word(names)
    if bare_names != list(names) and (layout := detect_roles(bare_names, columns)).record_type:
        return replace(layout, names=tuple(name.strip() for name in names))
    layout = _detect_by_name(names, columns)
    if layout.record_type and not may_be_closes(names, layout):
        return layout
    if panel_names is not None:
        return _detect_panels(panel_names.roles, columns, panel_names.symbols)
    prices = [names[layout.roles[role]] for role in PRICES if role in layout.roles]
    inferred = layout
    if not layout.record_type and [normalize_name(name) for name in prices] in ([], ["value"]):
        by_values = infer_roles(names, columns, layout)
        inferred = by_values if by_values.record_type or not prices else layout
    if inferred.record_type == BAR and not may_be_closes(names, inferred):
        return inferred
    closes = detect_closes(names, columns, layout, file_name)
    if closes is None and not inferred.record_type:
        check_is_no_rate_list(names, columns, layout.roles)
    return closes or inferred


def _detect_by_name(names: Sequence[str], columns: Sequence[ColumnSample]) -> Layout:
    raw_columns = columns
    columns, units = strip_units(names, columns)
    detector = _NameDetector(names, columns)
    assignment = detector.assignment
    detector.assign_time()
    price_type = detector.assign_prices()
    record_type = BAR if price_type else detector.detect_tick_type()
    if record_type and not TIME_ROLES & set(assignment.roles):
        infer_time(assignment)
    detector.assign_others(record_type)
    tick_volume = None
    if record_type == BAR:
        infer_volume_from_turnover(detector.assignment, detector.ranks)
        tick_volume = separate_tick_volume(detector.assignment, detector.ranks)
        settle_average(assignment)
        drop_constant_count(assignment)
    if record_type and "symbol" not in assignment.roles:
        infer_symbol_column(assignment)
    if record_type == TRADE:
        settle_trade_size(assignment, detector.executions)
        if detector.executions.is_own:
            prefer_execution_time(assignment)
    has_time_column = bool(TIME_ROLES & set(assignment.roles))
    layout = assignment.to_layout(
        record_type if has_time_column else "",
        detector.date_duplicates(),
        price_type=price_type or "last",
        vendor_layout=detector.vendor_layout,
    )
    is_rate = is_rate_list(columns, layout.roles) or is_bare_rate(names, layout.roles)
    if layout.record_type == TRADE and is_rate:
        layout = replace(layout, record_type="")
    if layout.record_type == TRADE:
        layout = with_executions(layout, columns, detector.executions)
        check_executions_once(names, columns, layout.roles, layout.executed)
    symbols = assignment.strings("symbol")
    rows = [
        k
        for k in range(len(symbols))
        if all(columns[i].strings[k].lower() in texts for i, texts in layout.executed.items())
    ]
    role_units = {
        role: choose_unit(names[i], [raw_columns[i].strings[k] for k in rows], [symbols[k] for k in rows])
        for role, i in assignment.roles.items()
        if i in units and role in DECIMAL_ROLES.get(record_type, ())
    }
    return replace(
        layout,
        tick_volume=tick_volume,
        clock_in_ms=detector.has_ms_clock,
        units=role_units,
        passed_over=() if "symbol" in layout.roles else detector.passed_over(),
    )


class _NameDetector:
    """Assigns roles to the columns whose names and values agree on them.

    Parameters
    ----------
    names
        As in the header.
    columns
        The first cells of each column.
    """

    def __init__(self, names: Sequence[str], columns: Sequence[ColumnSample]) -> None:
        self.assignment = RoleAssignment(names, columns)
        self.vendor_layout = find_vendor_layout(names)
        self.has_ms_clock = False
        self.executions = Executions()
        self._date_time: int | None = None
        self._names = names
        self._columns = columns
        self.ranks = settle_single_letters(names, columns, [role_ranks(name) for name in names])
        self._time_columns = [
            i
            for i, ranks in enumerate(self.ranks)
            if {"time", "clock"} & set(ranks) and columns[i].non_missing
        ]

    def find_column(
        self, role: str, is_fit: Callable[[ColumnSample], bool], among: Sequence[int] | None = None
    ) -> int | None:
        """Return the column whose name fits a role best, of those whose values pass a test."""
        time_roles = {self.assignment.roles.get("time"), self.assignment.roles.get("clock")}
        ranked = [
            (ranks[role], i)
            for i, ranks in enumerate(self.ranks)
            if role in ranks
            and i not in time_roles
            and (among is None or i in among)
            # a column of nothing but empty cells contradicts no name
            and (is_fit(self._columns[i]) or not self._columns[i].non_missing)
        ]
        return min(ranked)[1] if ranked else None

    def assign_time(self) -> None:
        """Choose the columns of date and time of day among those with names of times."""
        columns, assign_by_name = self._columns, self.assignment.assign_by_name
        timestamps = [i for i in self._time_columns if columns[i].temporal_kind == "timestamp"]
        clocks = [
            i for i in self._time_columns if columns[i].temporal_kind == "clock" or self._is_digit_clock(i)
        ]
        date_times = [i for i in timestamps if has_time(columns[i].non_missing[0]) and i not in clocks]
        dates = [i for i in timestamps if i not in date_times and i not in clocks]
        if not timestamps:
            dates = [
                i
                for i in self._time_columns
                if "time" in self.ranks[i] and columns[i].share_where(is_excel_serial) >= MIN_SHARE
            ]
        date_time = min(date_times, key=self._date_time_order, default=None)
        self._date_time = date_time
        date = min(dates, key=lambda i: (self.ranks[i].get("time", 0), i), default=None)
        ms_clocks = [i for i, name in enumerate(self._names) if normalize_name(name) in MS_OF_DAY_NAMES]
        ms_clocks = [i for i in ms_clocks if columns[i].share_where(is_milliseconds_of_day) >= MIN_SHARE]
        if ms_clocks and date_time is None:
            clocks, self.has_ms_clock = ms_clocks, True
        if date_time is not None and date is not None and _is_one_per_day(columns[date_time], columns[date]):
            date_time = None
        if date_time is not None:
            assign_by_name("time", date_time)
        else:
            if date is not None:
                assign_by_name("time", date)
            if clocks:
                assign_by_name("clock", clocks[0])
            if date is None:
                self._assign_date_parts()

    def _date_time_order(self, index: int) -> tuple[bool, bool, int, int]:
        """Return a sort key: event times before times of processing, unambiguous ones before local ones."""
        rank = self.ranks[index].get("time", 0)
        is_processing_time = rank >= ROLE_RANKS["time"]["sipts"]
        is_local = not (has_zone(self._columns[index].non_missing[0]) or zone_from_header(self._names[index]))
        return is_processing_time, is_local, rank, index

    def _is_digit_clock(self, index: int) -> bool:
        """Return whether a column holds times of day as digits: 93000, 0935."""
        cells = self._columns[index]
        return (
            "clock" in self.ranks[index]
            and cells.share_where(is_clock_digits) >= MIN_SHARE
            and not self._is_step(index)
        )

    def _is_step(self, index: int) -> bool:
        """Return whether a column counts steps or hours, of which no date beside it tells the day."""
        texts = self._columns[index].non_missing
        is_dated = any(each.temporal_kind == "timestamp" for each in self._columns)
        return not is_dated and max(map(len, texts)) <= 2

    def _assign_date_parts(self) -> None:
        parts = {
            normalize_name(name): i
            for i, name in enumerate(self._names)
            if normalize_name(name) in DATE_PARTS
        }
        if len(parts) == len(DATE_PARTS):
            for part, i in parts.items():
                self.assignment.assign_by_name(part, i)

    def assign_prices(self) -> str:
        """Assign open, high, low and close; return the price type (``last``, ``bid`` …), empty if none."""
        for side, among in _columns_by_side(self._names):
            matches = {role: self.find_column(role, _is_price, among) for role in PRICES}
            if matches["close"] is None:
                matches["close"] = self.find_column("adj_close", _is_price, among)
            if None in matches.values():
                matches = {role: self.find_column(f"adj_{role}", _is_price, among) for role in PRICES}
            if None in matches.values() or len(set(matches.values())) < len(PRICES):
                continue
            price_columns = self._resolve_duplicates(matches)
            if self._has_close_alone(price_columns):
                return ""
            if self._has_quotes() and _is_constant(self._columns[price_columns["open"]]):
                # quotes with open, high and low of the day so far
                return ""
            for role, index in price_columns.items():
                self.assignment.assign_by_name(role, index)
            return side or "last"
        return ""

    def _has_close_alone(self, price_columns: dict[str, int]) -> bool:
        """Return whether columns are called open, high and low, and one of them is empty on all rows."""
        cells = {role: self._columns[i].non_missing for role, i in price_columns.items()}
        return bool(cells["close"]) and not all(cells.values())

    def _has_quotes(self) -> bool:
        return all(self.find_column(role, _is_price) is not None for role in ("bid_price", "ask_price"))

    def _resolve_duplicates(self, matches: dict[str, int | None]) -> dict[str, int]:
        """Return the columns of the prices; of two with one name, the one within the row's range."""
        resolved = {role: index for role, index in matches.items() if index is not None}
        for role in ("open", "close"):
            name = normalize_name(self._names[resolved[role]])
            twins = [
                i
                for i, each in enumerate(self._names)
                if normalize_name(each) == name and self._columns[i].is_price_like
            ]
            if len({tuple(self._columns[i].strings) for i in twins}) < 2:
                continue
            consistent = [
                i for i in twins if share_within(self._columns, i, resolved["low"], resolved["high"]) >= 0.99
            ]
            if len(consistent) != 1:
                raise DataError(
                    f"{len(twins)} columns are called {self._names[resolved[role]].strip()}, "
                    "with different values.",
                    "Name the columns: --columns date,open,high,low,close,volume",
                )
            resolved[role] = consistent[0]
        return resolved

    def detect_tick_type(self) -> str:
        """Return whether the names are those of trades or quotes, empty if of neither."""
        sideless = [i for i, name in enumerate(self._names) if not price_side(name)]
        price = self.find_column("price", _is_price, sideless)
        size = self.find_column("size", _is_number)
        has_size = size is not None and normalize_name(self._names[size]) not in {"volume", "vol", "v"}
        value = None if price is not None else self._find_value()
        events = None
        if price is not None or value is not None:
            events = find_events(self._names, self._columns, has_quotes=self._has_quotes())
        if events is not None and value is not None:
            events = replace(events, price=value)
        has_size |= events is not None
        is_quote_layout = self.vendor_layout is not None and self.vendor_layout.record_type == QUOTE
        if self._has_quotes() and (is_quote_layout or price is None or not has_size):
            return QUOTE
        is_price_known = price is not None and normalize_name(self._names[price]) != "close"
        is_value_known = events is not None and events.price is not None
        if not (is_price_known or is_value_known or columns_named(self._names, "executed_price")):
            return ""
        if any(self.find_column(role, _is_price) is not None for role in ("open", "high", "low")):
            return ""
        if not self._has_time_of_day():
            return ""
        executions = events or find_executions(self._names, self._columns)
        self.executions = without_cancellations(executions, self._names, self._columns)
        return TRADE if is_price_known or self.executions.price is not None else ""

    def _find_value(self) -> int | None:
        """Return the column that is called value, as the prices of events are."""
        named = [i for i, name in enumerate(self._names) if normalize_name(name) == "value"]
        return named[0] if len(named) == 1 and self._columns[named[0]].is_price_like else None

    def _has_time_of_day(self) -> bool:
        """Return whether rows have a time of day; prefer a column of them to one of dates."""
        roles = self.assignment.roles
        if "clock" in roles:
            return True
        if "time" not in roles:
            return False
        if _has_times(self._columns[roles["time"]]):
            return True
        if self._date_time is None or not _has_times(self._columns[self._date_time]):
            return False
        self.assignment.assign_by_name("time", self._date_time)
        return True

    def assign_others(self, record_type: str) -> None:
        """Assign the other roles of a record type by name; those of prices if it is not known yet."""
        roles = self.assignment.roles
        partial = () if record_type else PRICES
        for role in ("symbol", "suffix", "subsecond", *ROLES_BY_TYPE.get(record_type, ()), *partial):
            if role in roles:
                continue
            index = (
                find_symbol_column(self.assignment, self.ranks)
                if role == "symbol"
                else self.find_column(role, _TESTS.get(role, _has_values))
            )
            if index is None and role == "symbol" and record_type == TRADE:
                index = find_base_currency(self.assignment)
            if index is None and role == "symbol" and record_type == QUOTE:
                bid = self.find_column("bid_price", _is_price)
                index = None if bid is None else find_quoted_currency(self.assignment, bid)
            if index is not None and index not in roles.values():
                self.assignment.assign_by_name(role, index)
        self._assign_zone()
        contract_month = find_contract_month(self.assignment, self.ranks, record_type)
        if contract_month is not None and "suffix" not in roles:
            self.assignment.assign_by_name("suffix", contract_month)
        if "suffix" in roles and "symbol" not in roles:
            del roles["suffix"]

    def _assign_zone(self) -> None:
        """Assign columns with the zone or the offset of each row, unless the times have their own."""
        roles = self.assignment.roles
        if "time" in roles and any(map(has_zone, self._columns[roles["time"]].non_missing[:1])):
            return
        zones, offsets = find_zone_columns(self._names, self._columns)
        if offsets is not None and zones is None and self._has_time_of_day():
            self.assignment.assign_by_name("offset", offsets)
        if zones is not None:
            self.assignment.assign_by_name("zone", zones)

    def passed_over(self) -> tuple[int, ...]:
        """Return the columns that may have a symbol, but show none in the first rows."""
        return passed_over_columns(self.assignment, self.ranks)

    def date_duplicates(self) -> dict[int, str]:
        """Return the columns without a role that may only repeat the date, with the part that they repeat."""
        duplicates = {i: normalize_name(name) for i, name in enumerate(self._names)}
        duplicates = {i: part for i, part in duplicates.items() if part in DATE_PARTS}
        for i in self._time_columns:
            if i not in duplicates and "time" in self.ranks[i]:
                duplicates[i] = "time"
        assigned = self.assignment.roles.values()
        return {i: part for i, part in duplicates.items() if i not in assigned}


def _is_price(cells: ColumnSample) -> bool:
    return cells.is_price_like


def _is_number(cells: ColumnSample) -> bool:
    return cells.is_numeric


def _has_values(cells: ColumnSample) -> bool:
    return bool(cells.non_missing)


def _has_times(cells: ColumnSample) -> bool:
    """Return whether dates have times of day, other than midnight on all of several rows."""
    texts = cells.non_missing[:SAMPLE_CELLS]
    return any(map(has_time, texts[:5])) and not are_midnights(texts)


def _is_constant(cells: ColumnSample) -> bool:
    """Return whether a column has one value on many rows."""
    return len(cells.non_missing) > _MIN_CONSTANT_ROWS and len(set(cells.non_missing)) == 1


_TESTS: Final[dict[str, Callable[[ColumnSample], bool]]] = {
    "sequence": _is_number,
    **{role: _is_number for roles in DECIMAL_ROLES.values() for role in roles},
}


def _columns_by_side(names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Return the columns that may be one set of prices: those of no side first."""
    sides = [price_side(name) for name in names]
    return [(side, [i for i, each in enumerate(sides) if each == side]) for side in ("", "mid", "bid", "ask")]


def _is_one_per_day(times: ColumnSample, dates: ColumnSample) -> bool:
    """Return whether a column of times only repeats the column of dates next to it."""
    return len(set(times.strings)) <= _MAX_TIMES_PER_DATE * len(set(dates.strings))


def _detect_panels(names: Sequence[str], columns: Sequence[ColumnSample], symbols: list[str]) -> Layout:
    """Detect the roles in a table with separate columns for each symbol."""
    shared = [i for i, symbol in enumerate(symbols) if not symbol]
    panels: dict[str, dict[str, int]] = {}
    base: Layout | None = None
    incomplete: list[str] = []
    for symbol in dict.fromkeys(filter(None, symbols)):
        among = [*shared, *(i for i, each in enumerate(symbols) if each == symbol)]
        # empty columns, as of a symbol that is not listed yet, have the role of their name
        layout = _detect_by_name([names[i] for i in among], [columns[i] for i in among])
        roles = {role: among[i] for role, i in layout.roles.items()}
        if layout.record_type == BAR:
            panels[symbol] = {role: i for role, i in roles.items() if i not in shared}
            base = base or Layout(
                BAR, tuple(names), {r: i for r, i in roles.items() if i in shared}, reasons=layout.reasons
            )
        elif any(columns[i].is_price_like and set(PRICES) & set(role_ranks(names[i])) for i in among):
            incomplete.append(symbol)
    if base is None:
        return Layout("", tuple(names), {})
    shared_roles = {role: i for role, i in base.roles.items() if role != "symbol"}
    if len(panels) == 1 and not TIME_ROLES & set(shared_roles):
        # `AAPL.Time`
        (roles,) = panels.values()
        shared_roles |= {role: roles.pop(role) for role in ("time", "clock") if role in roles}
    return Layout(
        BAR,
        tuple(names),
        shared_roles,
        {},
        panels,
        reasons=base.reasons,
        notes=tuple(filter(None, [incomplete_note(incomplete)])),
    )

"""Parse rows of text to canonical records and rejects."""

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import polars as pl

from tickerlake.model import quality
from tickerlake.model.duration import DAY_NS
from tickerlake.model.instrument import instrument_id, plain_instrument_id_expr
from tickerlake.model.interval import DAILY_OR_LONGER, interval_end
from tickerlake.model.markets import mic_of_symbol
from tickerlake.model.reject import RejectReason
from tickerlake.model.schema import BAR, QUOTE, TRADE, fields, polars_type
from tickerlake.sources.csv.chunks import Chunk
from tickerlake.sources.csv.detect.columns.layout import DECIMAL_ROLES, PRICES, Layout, unit_factor
from tickerlake.sources.csv.detect.columns.trade_sizes import FILLED, FILLED_PATTERN, UNIT_PATTERN
from tickerlake.sources.csv.detect.daily_times import DailyTimes, to_local
from tickerlake.sources.csv.detect.head import FileHead
from tickerlake.sources.csv.detect.lines.dialect import FIELD_COUNT
from tickerlake.sources.csv.detect.lines.rows import LINE, RAW, SKIPPED, ChunkRows
from tickerlake.sources.csv.detect.repeated_hours import RepeatedHours, read_local_times
from tickerlake.sources.csv.detect.sentinels import PRICE_ROLES, clear_sentinels
from tickerlake.sources.csv.detect.times.interval import period_start
from tickerlake.sources.csv.numbers import NumberFormat, is_missing_expr
from tickerlake.sources.csv.row_checks import CHECKS_BY_TYPE, Check, any_true, first_reason, quality_flags
from tickerlake.sources.csv.symbols import Symbols, resolve_symbols
from tickerlake.sources.csv.ticks import tick_columns
from tickerlake.sources.csv.timeform import TimeFormat

REASON: Final = "_reason"
FILE_NUMBER: Final = "_file"
"""Column with the number of a row's file, if several files are merged."""

EVENT_NS: Final = "_event_ns"
"""Column with the event time, in nanoseconds; a reject has that of the record before it."""

IS_RECORD: Final = pl.col(REASON).is_null() & ~pl.col(SKIPPED)
"""True for the rows of a parsed table that are records."""

IS_REJECT: Final = pl.col(REASON).is_not_null() & ~pl.col(SKIPPED)
"""True for the rows that are neither records nor skipped lines."""

INTERNAL_COLUMNS: Final = (LINE, RAW, SKIPPED, REASON, EVENT_NS)
"""Columns of a parsed table that are not part of the record."""

_TS: Final = "_ts"
_LOCAL_TS: Final = "_local"
_IS_SYMBOL: Final = "_is_symbol"
_QUANTITY_ROLES: Final = ("volume", "size", "bid_size", "ask_size")
_REQUIRED_SENTINELS: Final = "^_sentinel_(open|high|low|close|price|size)$"
_NEEDS_ESCAPE: Final = r'["\\\x00-\x1f]'


@dataclass(frozen=True)
class Parser:
    """Turns a file's rows into records.

    Parameters
    ----------
    source
        The ``source`` of the records.
    head
        How its lines are split, and what its columns mean.
    time_format
        The format of dates.
    number_format
        The format of numbers.
    symbol
        The symbol of every row; None if a column has it.
    interval
        ``1d``, ``1m`` …; empty for trades and quotes.
    zone
        The exchange's time zone, for session dates; empty if it is not known.
    period_end_dates
        True if dates are the last days of their weeks or months.
    extra_columns
        Unique column name to key in ``extra``.
    ts_recv_ns
        When the file was opened.
    negative_prices
        True to accept prices of 0 and below.
    sentinels
        The numbers that stand for no value, by role, as written in the file.
    daily_times
        For bars of a day or longer that keep their instant.
    repeated_hours
        Where the clocks of the time zone were set back, as far as the order of rows shows it.
    usual_prices
        The median of the first prices by role, where none of them separates thousands.
    """

    source: str
    head: FileHead
    time_format: TimeFormat
    number_format: NumberFormat
    symbol: str | None
    interval: str
    zone: str
    period_end_dates: bool
    extra_columns: dict[str, str]
    ts_recv_ns: int
    negative_prices: bool = False
    sentinels: dict[str, tuple[Decimal, ...]] = field(default_factory=dict)
    daily_times: DailyTimes | None = None
    repeated_hours: RepeatedHours | None = None
    usual_prices: dict[str, Decimal] = field(default_factory=dict)

    @property
    def has_dates_only(self) -> bool:
        """True if bars have a date, but no time of day."""
        return self.interval in DAILY_OR_LONGER and self.daily_times is None

    @property
    def layout(self) -> Layout:
        """What the columns mean."""
        return self.head.dialect.layout

    def parse(self, chunk: Chunk, *, include_raw: bool = False) -> pl.DataFrame:
        """Return a chunk's rows in canonical columns and `INTERNAL_COLUMNS`.

        The reason is null for a record. A file with separate columns for each symbol has as many rows per
        line.

        Parameters
        ----------
        include_raw
            True for the raw text of all rows; by default only rejects have it.
        """
        rows, panels = self.head.read_rows(chunk, number_columns=self._number_columns), self.layout.panels
        if not panels:
            return self._with_raw(self._parse(rows, self.layout.roles, self.symbol), rows, include_raw)
        parts = [
            self._parse(
                rows,
                {**self.layout.roles, **roles},
                self.symbol if len(panels) == 1 and self.symbol else symbol,
                panel=True,
            )
            for symbol, roles in panels.items()
        ]
        return self._with_raw(pl.concat(parts).sort(LINE, maintain_order=True), rows, include_raw)

    @property
    def _number_columns(self) -> list[str]:
        """The columns that can be plain numbers."""
        if self.number_format.decimal_separator != ".":
            return []
        roles = self.layout.roles
        as_text = {roles[role] for role in self.layout.units}
        if self.layout.has_signed_sizes or "unfilled" in roles:
            as_text |= {roles[role] for role in ("size", "unfilled") if role in roles}
        return [f"c{column}" for column in self.layout.decimal_columns if column not in as_text]

    def _parse(
        self, rows: ChunkRows, roles: dict[str, int], symbol: str | None, *, panel: bool = False
    ) -> pl.DataFrame:
        record_type, frame = self.layout.record_type, self._without_units(rows.frame)
        numbers = {role: f"c{roles[role]}" for role in DECIMAL_ROLES[record_type] if role in roles}
        texts = {role: cell for role, cell in numbers.items() if frame.schema[cell] == pl.String}
        symbols = None
        if symbol is None:
            written = frame.select(self.head.symbol_expr()).to_series()
            symbols = resolve_symbols(written, self.head.symbol_map)
        typed = frame.select(
            LINE,
            *([] if rows.uniform else [FIELD_COUNT, SKIPPED]),
            *_symbol_exprs(symbol, symbols),
            self.head.timestamp_ns(self.time_format).alias(_TS),
            *(
                [self.time_format.as_written.to_ns(self.head.time_expr()).alias(_LOCAL_TS)]
                if self.time_format.is_local or self.daily_times
                else []
            ),
            *(pl.col(cell).alias(f"_{role}") for role, cell in texts.items()),
            *(
                (self.number_format.parse_plain(pl.col(cell)) if role in texts else pl.col(cell)).alias(role)
                for role, cell in numbers.items()
            ),
            *(
                pl.col(f"c{roles[role]}").str.strip_chars().alias(f"_{role}")
                for role in self._text_roles(roles)
            ),
            *(
                pl.col(f"c{column}").str.strip_chars().str.to_lowercase().alias(f"_state_{column}")
                for column in self.layout.executed
            ),
            *self._extra_exprs(frame),
        )
        if self.repeated_hours is not None and typed[_TS].null_count():
            local = read_local_times(self.head, rows, self.time_format)
            known = self.repeated_hours.resolve(local).rename({"line": LINE})
            typed = typed.join(known, on=LINE, how="left", maintain_order="left")
            typed = typed.with_columns(pl.coalesce(_TS, "instant").alias(_TS)).drop("instant")
        typed, null_roles = self._parse_remaining(typed, list(texts))
        null_roles += [role for role in numbers if role not in texts and typed[role].null_count()]
        typed, cleared = clear_sentinels(typed, numbers, self.sentinels)
        null_roles += cleared
        if self.number_format.scale:
            typed = typed.with_columns(
                self.number_format.apply_scale(pl.col(role)).alias(role)
                for role in PRICE_ROLES[record_type]
                if role in numbers
            )
        if self.layout.has_signed_sizes:
            typed = typed.with_columns(pl.col("size").abs())
        if "unfilled" in numbers:
            typed = typed.with_columns(pl.col("size") - pl.col("unfilled").fill_null(0))
        units = {
            role: unit_factor(self.layout.names[roles[role]]) for role in _QUANTITY_ROLES if role in numbers
        }
        typed = typed.with_columns(pl.col(role) * unit for role, unit in units.items() if unit > 1)
        checks = self._reject_checks(list(numbers), null_roles, symbols=symbols, uniform=rows.uniform)
        typed = typed.with_columns(first_reason(checks, typed).alias(REASON))
        if rows.uniform:
            # every line has its delimiters, but all cells may be empty
            cells = frame.drop(LINE).iter_columns() if typed[_TS].null_count() else []
            is_blank = pl.all_horizontal(map(_is_empty, cells)) if cells else pl.lit(value=False)
            typed = typed.with_columns(is_blank.alias(SKIPPED))
        if panel:
            # a symbol without prices on a day is not invalid: it was not traded, or not listed yet
            prices = [frame.get_column(numbers[role]) for role in PRICES if role in numbers]
            typed = typed.with_columns(pl.col(SKIPPED) | pl.all_horizontal(map(_is_missing, prices)))
        return typed.select(LINE, SKIPPED, REASON, *self._canonical_columns(list(numbers), roles))

    def _without_units(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return cells without their units; a number with another unit is no longer one."""
        exprs = []
        for role, unit in self.layout.units.items():
            column = self.layout.column_id(role)
            text = pl.col(column).str.strip_chars()
            if unit == FILLED:
                exprs.append(pl.coalesce(text.str.extract(FILLED_PATTERN, 1), text).alias(column))
                continue
            written = text.str.extract(UNIT_PATTERN, 2).str.to_uppercase()
            is_unit = written == unit
            if not unit:
                pair = self.head.symbol_expr().str.replace_all(r"[\W_]", "").str.to_uppercase()
                is_unit = pair.str.starts_with(written)
            exprs.append(
                pl.when(written.is_null())
                .then(text)
                .when(is_unit)
                .then(text.str.extract(UNIT_PATTERN, 1))
                .otherwise(text + " (unit)")
                .alias(column)
            )
        return frame.with_columns(exprs)

    def _text_roles(self, roles: dict[str, int]) -> list[str]:
        text_roles = (
            "currency",
            "aggressor_side",
            "buyer_is_maker",
            "trade_id",
            "sequence",
            "conditions",
            "correction",
        )
        return [role for role in text_roles if role in roles]

    def _with_raw(self, out: pl.DataFrame, rows: ChunkRows, include_raw: bool) -> pl.DataFrame:
        lines = (out if include_raw else out.filter(IS_REJECT)).get_column(LINE).unique()
        if lines.is_empty():
            return out.with_columns(pl.lit(None, pl.String).alias(RAW))
        texts = pl.DataFrame({LINE: lines, RAW: rows.raw_lines(lines)})
        return out.join(texts, on=LINE, how="left", maintain_order="left")

    def _extra_exprs(self, frame: pl.DataFrame) -> list[pl.Expr]:
        if not self.extra_columns:
            return []
        columns = list(self.extra_columns)
        if not frame.select(
            pl.any_horizontal(pl.col(c).str.contains(_NEEDS_ESCAPE).any() for c in columns)
        ).item():
            # three times as fast as encoding structs
            keys = [
                json.dumps(key).replace("{", "{{").replace("}", "}}") for key in self.extra_columns.values()
            ]
            return [
                pl.format("{{" + ",".join(f'{key}:"{{}}"' for key in keys) + "}}", *columns).alias("extra")
            ]
        members = [pl.col(column).alias(key) for column, key in self.extra_columns.items()]
        return [pl.struct(members).struct.json_encode().alias("extra")]

    def _parse_remaining(self, rows: pl.DataFrame, roles: list[str]) -> tuple[pl.DataFrame, list[str]]:
        """Parse the numbers that the fast cast could not.

        Returns
        -------
        rows, nulls
            The rows and the columns with nulls. A column ``_broken_…`` marks texts that are neither numbers
            nor missing.
        """
        nulls = [role for role in roles if rows[role].null_count()]
        if not nulls:
            return rows, []
        unparsed = [
            role
            for role in nulls
            if rows.select((pl.col(role).is_null() & (pl.col(f"_{role}") != "")).any()).item()
        ]
        rows = rows.with_columns(
            pl.when(pl.col(role).is_null())
            .then(self.number_format.parse_lenient(pl.col(f"_{role}")))
            .otherwise(pl.col(role))
            .alias(role)
            for role in unparsed
        )
        rows = rows.with_columns(
            pl.when(~self._is_doubtful(role)).then(pl.col(role)).alias(role)
            for role in unparsed
            if role in PRICE_ROLES[self.layout.record_type]
        )
        rows = rows.with_columns(
            (pl.col(role).is_null() & ~is_missing_expr(pl.col(f"_{role}"))).alias(f"_broken_{role}")
            for role in unparsed
        )
        return rows, nulls

    def _is_doubtful(self, role: str) -> pl.Expr:
        texts, numbers = pl.col(f"_{role}"), pl.col(role)
        is_doubtful = self.number_format.is_doubtful_price(texts, numbers, self.usual_prices.get(role))
        return is_doubtful.fill_null(value=False)

    def _reject_checks(
        self, roles: list[str], null_roles: list[str], *, symbols: Symbols | None, uniform: bool
    ) -> list[Check]:
        """Return the conditions for rejecting a row and their reasons; the first one that holds counts."""
        checks: list[Check] = []
        if not uniform:
            checks.append((~self.head.dialect.is_complete(), RejectReason.FIELD_COUNT))
        checks += [
            (
                ~pl.col(f"_state_{column}").is_in(list(texts)),
                RejectReason.NOT_A_TRADE if column in self.layout.events else RejectReason.NOT_EXECUTED,
            )
            for column, texts in self.layout.executed.items()
        ]
        if symbols is not None and symbols.is_valid is not None:
            checks += [
                (pl.col("symbol") == "", RejectReason.SYMBOL_MISSING),
                (~pl.col(_IS_SYMBOL), RejectReason.SYMBOL_INVALID),
            ]
        if self.time_format.is_local:
            checks.append(
                (pl.col(_TS).is_null() & pl.col(_LOCAL_TS).is_not_null(), RejectReason.NO_LOCAL_TIME)
            )
        checks += [
            (pl.col(_TS).is_null(), RejectReason.UNPARSABLE_DATE),
            (pl.any_horizontal(pl.lit(value=False), "^_broken_.*$"), RejectReason.UNPARSABLE_NUMBER),
            (pl.any_horizontal(pl.lit(value=False), _REQUIRED_SENTINELS), RejectReason.SENTINEL_VALUE),
        ]
        checks += CHECKS_BY_TYPE[self.layout.record_type](roles, null_roles)
        if not self.negative_prices:
            return checks
        return [check for check in checks if check[1] != RejectReason.PRICE_NONPOSITIVE]

    def _canonical_columns(self, numbers: list[str], roles: dict[str, int]) -> list[pl.Expr]:
        record_type = self.layout.record_type
        values = {role: pl.col(role) for role in numbers}
        if "trade_count" in values:
            values["trade_count"] = pl.col("trade_count").cast(pl.Int64, strict=False)
        values |= {
            "schema": pl.lit(record_type),
            "instrument_id": pl.col("instrument_id"),
            "symbol": pl.col("symbol"),
            "ts_recv_ns": pl.lit(self.ts_recv_ns, pl.Int64),
            "source": pl.lit(self.source),
            "source_line": pl.col(LINE).cast(pl.Int64),
        }
        if self.extra_columns:
            values["extra"] = pl.col("extra")
        if "currency" in roles:
            values["currency"] = pl.when(pl.col("_currency") != "").then(
                pl.col("_currency").str.to_uppercase()
            )
        values |= (
            self._bar_columns(numbers)
            if record_type == BAR
            else tick_columns(record_type, roles, pl.col(_TS))
        )
        order = [field.name for field in fields(record_type)]
        columns = [
            values[name].cast(_COLUMN_TYPES[record_type][name]).alias(name)
            for name in order
            if name in values
        ]
        event = values["ts_close_ns" if record_type == BAR else "ts_event_ns"]
        return [*columns, pl.when(pl.col(REASON).is_null()).then(event).alias(EVENT_NS)]

    def _bar_columns(self, numbers: list[str]) -> dict[str, pl.Expr]:
        opens = pl.col(_TS)
        if self.daily_times is not None:
            session = self.daily_times.session_ns(opens, pl.col(_LOCAL_TS))
        elif self.has_dates_only:
            opens = session = opens - opens % DAY_NS
        else:
            session = to_local(opens, self.zone)
        if self.period_end_dates:
            opens = period_start(session, self.interval)
        closes = interval_end(opens, self.interval)
        if self.daily_times is not None and not self.period_end_dates:
            # a month on the exchange's calendar, at the same time of day
            closes = interval_end(session, self.interval) + opens - session
        outside = any_true(
            [(pl.col(p) > pl.col("high")) | (pl.col(p) < pl.col("low")) for p in ("open", "close")]
            if "high" in numbers
            else []
        )
        return {
            "interval": pl.lit(self.interval),
            "ts_open_ns": opens,
            "ts_close_ns": closes,
            "session_date": session.floordiv(DAY_NS).cast(pl.Int32).cast(pl.Date),
            "price_type": pl.lit(self.layout.price_type),
            "is_final": pl.lit(value=True),
            "is_partial": pl.lit(value=False),
            "revision": pl.lit(0, pl.Int64),
            "quality": quality_flags([(outside, quality.OHLC_OPEN_CLOSE_OUTSIDE_RANGE)]),
        }


_COLUMN_TYPES: Final = {
    record_type: {field.name: polars_type(field.type) for field in fields(record_type)}
    for record_type in (BAR, TRADE, QUOTE)
}


def _symbol_exprs(symbol: str | None, symbols: Symbols | None) -> list[pl.Expr]:
    """Return symbol and identifier of rows, and whether the symbol is valid unless all are."""
    if symbols is None:
        name = symbol or ""
        identifier = instrument_id(name, mic_of_symbol(name))
        return [pl.lit(name).alias("symbol"), pl.lit(identifier).alias("instrument_id")]
    names = symbols.names.to_frame("symbol")
    ids = symbols.instrument_ids
    if ids is None:
        ids = names.select(plain_instrument_id_expr("symbol")).to_series()
    exprs = [pl.lit(names.to_series()), pl.lit(ids.alias("instrument_id"))]
    return exprs if symbols.is_valid is None else [*exprs, pl.lit(symbols.is_valid.alias(_IS_SYMBOL))]


def _is_empty(cells: pl.Series) -> pl.Series:
    """Return which cells are empty."""
    return cells.str.strip_chars() == "" if cells.dtype == pl.String else cells.is_null()


def _is_missing(cells: pl.Series) -> pl.Series:
    """Return which cells are empty, or a word for a missing value."""
    if cells.dtype != pl.String:
        return cells.is_null()
    return cells.to_frame().select(is_missing_expr(pl.col(cells.name))).to_series()

"""Rows of text become canonical records and rejects."""

import json
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from tickerlake.model import quality
from tickerlake.model.instrument import instrument_id_expr, is_symbol_expr
from tickerlake.model.interval import DAILY, close_of
from tickerlake.model.reject import Reject
from tickerlake.model.schema import BAR, QUOTE, TRADE, fields, polars_type
from tickerlake.sources.csv.chunks import Chunk
from tickerlake.sources.csv.interval import open_of
from tickerlake.sources.csv.layout import NUMBERS, PRICES, Layout, unit_of
from tickerlake.sources.csv.numbers import MISSING, NumberForm
from tickerlake.sources.csv.rows import BLANK, FIELDS, LINE, RAW, Rows
from tickerlake.sources.csv.survey import Head
from tickerlake.sources.csv.timeform import DAY_NS, TimeForm

REASON: Final = "_reason"
FILE: Final = "_file"
"""The number of a row's file, where several are merged."""

EVENT: Final = "_event"
"""When a record was known, in nanoseconds; a reject has that of the record before it."""

IS_RECORD: Final = pl.col(REASON).is_null() & ~pl.col(BLANK)
"""Tells the rows of a parsed table that are records."""

IS_REJECT: Final = pl.col(REASON).is_not_null() & ~pl.col(BLANK)
"""Tells the rows that are none, and no blank lines either."""

OWN: Final = (LINE, RAW, BLANK, REASON, EVENT)
"""Columns of a parsed table that are not of the record."""

_TS: Final = "_ts"
_LOCAL: Final = "_local"
_PRICE_ROLES: Final = {
    BAR: (*PRICES, "vwap", "adj_close"),
    TRADE: ("price",),
    QUOTE: ("bid_price", "ask_price"),
}
_AMOUNT_ROLES: Final = ("volume", "size", "bid_size", "ask_size")
_SIDES: Final = {
    "b": "buy",
    "buy": "buy",
    "buyer": "buy",
    "bid": "buy",
    "1": "buy",
    "s": "sell",
    "sell": "sell",
    "seller": "sell",
    "ask": "sell",
    "a": "sell",
    "-1": "sell",
}
_CORRECTIONS: Final = {
    "1": "correct",
    "01": "correct",
    "12": "correct",
    "7": "cancel",
    "07": "cancel",
    "8": "cancel",
    "08": "cancel",
    "10": "cancel",
    "11": "cancel",
    "correct": "correct",
    "cancel": "cancel",
    "c": "cancel",
}
_NEEDS_ESCAPE: Final = r'["\\\x00-\x1f]'


@dataclass(frozen=True)
class Parser:
    """How a file's rows become records.

    Parameters
    ----------
    source
        The name that records carry.
    head
        How its lines are cut, and what its columns are.
    form
        How dates are written.
    numbers
        How numbers are written.
    symbol
        The symbol of every row; ``None`` if a column has it.
    interval
        ``1d``, ``1m`` …; empty for trades and quotes.
    zone
        The exchange's, for the date of the session; empty if it is not known.
    ends
        True if dates are the last days of their weeks or months.
    extras
        Unique column name to key in ``extra``.
    ts_recv_ns
        When the file was opened.
    """

    source: str
    head: Head
    form: TimeForm
    numbers: NumberForm
    symbol: str | None
    interval: str
    zone: str
    ends: bool
    extras: dict[str, str]
    ts_recv_ns: int

    @property
    def layout(self) -> Layout:
        """What the columns mean."""
        return self.head.dialect.layout

    def parse(self, chunk: Chunk, *, keep_text: bool = False) -> pl.DataFrame:
        """Return a chunk's rows: canonical columns, ``_line``, ``_raw``, ``_blank``, ``_reason``, ``_event``.

        ``_raw`` is the line's text, of rejects only if not ``keep_text``; ``_reason`` is null for a record. A
        file with columns for each symbol gives as many rows a line.
        """
        rows, panels = self.head.rows(chunk, plain=self._plain), self.layout.panels
        if not panels:
            return self._with_raw(self._parse(rows, self.layout.roles, self.symbol), rows, keep_text)
        parts = [
            self._parse(
                rows,
                {**self.layout.roles, **roles},
                self.symbol if len(panels) == 1 and self.symbol else symbol,
                panel=True,
            )
            for symbol, roles in panels.items()
        ]
        return self._with_raw(pl.concat(parts).sort(LINE, maintain_order=True), rows, keep_text)

    @property
    def _plain(self) -> list[str]:
        """The columns that may be plain numbers."""
        if self.numbers.decimal != ".":
            return []
        return [f"c{column}" for column in self.layout.numbers]

    def _parse(
        self, rows: Rows, roles: dict[str, int], symbol: str | None, *, panel: bool = False
    ) -> pl.DataFrame:
        kind, frame = self.layout.kind, rows.frame
        numbers = {role: f"c{roles[role]}" for role in NUMBERS[kind] if role in roles}
        texts = {role: cell for role, cell in numbers.items() if frame.schema[cell] == pl.String}
        name, valid = pl.lit(symbol), True
        if symbol is None:
            symbols, valid = _looked_at(frame.select(self.head.symbol_text()).to_series())
            name = pl.lit(symbols)
        typed = frame.select(
            LINE,
            *([] if rows.even else [FIELDS, BLANK]),
            name.alias("symbol"),
            self.head.moment_ns(self.form).alias(_TS),
            *(
                [replace(self.form, zone="none").ns(self.head.time_text()).alias(_LOCAL)]
                if self.form.local
                else []
            ),
            *(pl.col(cell).alias(f"_{role}") for role, cell in texts.items()),
            *(
                (self.numbers.direct(pl.col(cell)) if role in texts else pl.col(cell)).alias(role)
                for role, cell in numbers.items()
            ),
            *(
                pl.col(f"c{roles[role]}").str.strip_chars().alias(f"_{role}")
                for role in self._other_texts(roles)
            ),
            *self._extra(frame),
        )
        typed, gappy = self._second_look(typed, list(texts))
        gappy += [role for role in numbers if role not in texts and typed[role].null_count()]
        if self.numbers.scale:
            typed = typed.with_columns(
                self.numbers.scaled(pl.col(role)).alias(role)
                for role in _PRICE_ROLES[kind]
                if role in numbers
            )
        units = {role: unit_of(self.layout.names[roles[role]]) for role in _AMOUNT_ROLES if role in numbers}
        typed = typed.with_columns(pl.col(role) * unit for role, unit in units.items() if unit > 1)
        faults = self._faults(list(numbers), gappy, symbols=not valid, even=rows.even)
        typed = typed.with_columns(_first(faults, typed).alias(REASON))
        if rows.even:
            # every line has its separators, maybe with nothing between them
            cells = frame.drop(LINE).iter_columns() if typed[_TS].null_count() else []
            blank = pl.all_horizontal(map(_empty, cells)) if cells else pl.lit(value=False)
            typed = typed.with_columns(blank.alias(BLANK))
        if panel:
            # a symbol without prices on a day is not a broken row: it was not traded, or not listed yet
            prices = [frame.get_column(numbers[role]) for role in PRICES if role in numbers]
            typed = typed.with_columns(pl.col(BLANK) | pl.all_horizontal(map(_empty, prices)))
        return typed.select(LINE, BLANK, REASON, *self._canonical(list(numbers), roles))

    def _other_texts(self, roles: dict[str, int]) -> list[str]:
        known = (
            "currency",
            "aggressor_side",
            "buyer_is_maker",
            "trade_id",
            "sequence",
            "conditions",
            "correction",
        )
        return [role for role in known if role in roles]

    def _with_raw(self, out: pl.DataFrame, rows: Rows, keep_text: bool) -> pl.DataFrame:
        bad = (out if keep_text else out.filter(IS_REJECT)).get_column(LINE).unique()
        if bad.is_empty():
            return out.with_columns(pl.lit(None, pl.String).alias(RAW))
        texts = pl.DataFrame({LINE: bad, RAW: rows.texts(bad)})
        return out.join(texts, on=LINE, how="left", maintain_order="left")

    def _extra(self, frame: pl.DataFrame) -> list[pl.Expr]:
        if not self.extras:
            return []
        columns = list(self.extras)
        if not frame.select(
            pl.any_horizontal(pl.col(c).str.contains(_NEEDS_ESCAPE).any() for c in columns)
        ).item():
            # three times as quick as encoding structs
            keys = [json.dumps(key).replace("{", "{{").replace("}", "}}") for key in self.extras.values()]
            return [
                pl.format("{{" + ",".join(f'{key}:"{{}}"' for key in keys) + "}}", *columns).alias("extra")
            ]
        members = [pl.col(column).alias(key) for column, key in self.extras.items()]
        return [pl.struct(members).struct.json_encode().alias("extra")]

    def _second_look(self, rows: pl.DataFrame, roles: list[str]) -> tuple[pl.DataFrame, list[str]]:
        """Read numbers that the quick cast did not.

        Returns the rows and the columns with nulls; a column ``_broken_…`` marks those of their texts that
        are neither numbers nor missing.
        """
        nulls = [role for role in roles if rows[role].null_count()]
        if not nulls:
            return rows, []
        odd = [
            role
            for role in nulls
            if rows.select((pl.col(role).is_null() & (pl.col(f"_{role}") != "")).any()).item()
        ]
        rows = rows.with_columns(
            pl.when(pl.col(role).is_null())
            .then(self.numbers.closely(pl.col(f"_{role}")))
            .otherwise(pl.col(role))
            .alias(role)
            for role in odd
        )
        rows = rows.with_columns(
            (
                pl.col(role).is_null()
                & ~pl.col(f"_{role}").str.strip_chars().str.to_lowercase().is_in(list(MISSING))
            ).alias(f"_broken_{role}")
            for role in nulls
        )
        return rows, nulls

    def _faults(
        self, roles: list[str], gappy: list[str], *, symbols: bool, even: bool
    ) -> list[tuple[pl.Expr, str]]:
        """Return what may be wrong with a row, the first thing first, and its name."""
        faults: list[tuple[pl.Expr, str]] = []
        if not even:
            faults.append((pl.col(FIELDS) != self.head.dialect.fields, quality.FIELD_COUNT))
        if symbols:
            faults += [
                (pl.col("symbol") == "", quality.SYMBOL_MISSING),
                (~is_symbol_expr("symbol"), quality.SYMBOL_INVALID),
            ]
        if self.form.local:
            faults.append((pl.col(_TS).is_null() & pl.col(_LOCAL).is_not_null(), quality.NO_LOCAL_TIME))
        faults += [
            (pl.col(_TS).is_null(), quality.UNPARSABLE_DATE),
            (pl.any_horizontal(pl.lit(value=False), "^_broken_.*$"), quality.UNPARSABLE_NUMBER),
        ]
        return faults + _FAULTS[self.layout.kind](roles, gappy)

    def _canonical(self, numbers: list[str], roles: dict[str, int]) -> list[pl.Expr]:
        kind = self.layout.kind
        values = {role: pl.col(role) for role in numbers}
        if "trade_count" in values:
            values["trade_count"] = pl.col("trade_count").cast(pl.Int64, strict=False)
        values |= {
            "schema": pl.lit(kind),
            "instrument_id": instrument_id_expr("symbol"),
            "symbol": pl.col("symbol"),
            "ts_recv_ns": pl.lit(self.ts_recv_ns, pl.Int64),
            "source": pl.lit(self.source),
            "source_line": pl.col(LINE).cast(pl.Int64),
        }
        if self.extras:
            values["extra"] = pl.col("extra")
        if "currency" in roles:
            values["currency"] = pl.when(pl.col("_currency") != "").then(
                pl.col("_currency").str.to_uppercase()
            )
        values |= self._bar(numbers) if kind == BAR else self._tick(roles)
        order = [field.name for field in fields(kind)]
        columns = [values[name].cast(_TYPES[kind][name]).alias(name) for name in order if name in values]
        event = values["ts_close_ns" if kind == BAR else "ts_event_ns"]
        return [*columns, pl.when(pl.col(REASON).is_null()).then(event).alias(EVENT)]

    def _bar(self, numbers: list[str]) -> dict[str, pl.Expr]:
        daily = self.interval in DAILY
        opens = pl.col(_TS)
        opens = opens - opens % DAY_NS if daily else opens
        local = opens
        if self.ends:
            opens = open_of(opens, self.interval)
        if not daily and self.zone and self.zone != "UTC":
            local = (
                opens.cast(pl.Datetime("ns", "UTC"))
                .dt.convert_time_zone(self.zone)
                .dt.replace_time_zone(None)
                .to_physical()
            )
        outside = _any(
            [(pl.col(p) > pl.col("high")) | (pl.col(p) < pl.col("low")) for p in ("open", "close")]
        )
        return {
            "interval": pl.lit(self.interval),
            "ts_open_ns": opens,
            "ts_close_ns": close_of(opens, self.interval),
            "session_date": local.floordiv(DAY_NS).cast(pl.Int32).cast(pl.Date),
            "price_type": pl.lit(self.layout.price_type),
            "is_final": pl.lit(value=True),
            "is_partial": pl.lit(value=False),
            "revision": pl.lit(0, pl.Int64),
            "quality": _flags([(outside, quality.OHLC_OPEN_CLOSE_OUTSIDE_RANGE)]),
        }

    def _tick(self, roles: dict[str, int]) -> dict[str, pl.Expr]:
        values: dict[str, pl.Expr] = {"ts_event_ns": pl.col(_TS)}
        if "sequence" in roles:
            values["sequence"] = pl.col("_sequence").cast(pl.Int64, strict=False)
        if self.layout.kind == QUOTE:
            for name in ("bid_price", "ask_price"):
                values[name] = pl.when(pl.col(name) != 0).then(pl.col(name))
            zero = _any([pl.col(name) == 0 for name in ("bid_price", "ask_price")])
            crossed = (pl.col("bid_price") > pl.col("ask_price")) & ~zero
            return values | {
                "quality": _flags([(crossed, quality.CROSSED_QUOTE), (zero, quality.SENTINEL_VALUE)])
            }
        side = pl.lit("none")
        if "aggressor_side" in roles:
            side = _mapped("_aggressor_side", _SIDES, "none")
        elif "buyer_is_maker" in roles:
            side = _mapped(
                "_buyer_is_maker",
                {"true": "sell", "1": "sell", "t": "sell", "false": "buy", "0": "buy", "f": "buy"},
                "none",
            )
        correction = _mapped("_correction", _CORRECTIONS, "new") if "correction" in roles else pl.lit("new")
        values |= {"aggressor_side": side, "correction": correction, "quality": _flags([])}
        if "trade_id" in roles:
            values["trade_id"] = pl.when(pl.col("_trade_id") != "").then(pl.col("_trade_id"))
        values["conditions"] = _listed("_conditions") if "conditions" in roles else _flags([])
        return values


_TYPES: Final = {
    kind: {field.name: polars_type(field.type) for field in fields(kind)} for kind in (BAR, TRADE, QUOTE)
}


def _looked_at(symbols: pl.Series) -> tuple[pl.Series, bool]:
    """Return symbols without blanks around them, and whether all are valid: each is looked at once."""
    distinct = symbols.unique().to_frame("symbol")
    tidy = pl.col("symbol").str.strip_chars()
    if distinct.select((tidy != pl.col("symbol")).any()).item():
        symbols, distinct = symbols.str.strip_chars(), distinct.select(tidy)
    return symbols, bool(distinct.select(is_symbol_expr("symbol").all()).item())


def _first(faults: list[tuple[pl.Expr, str]], rows: pl.DataFrame) -> pl.Expr:
    """Return the first fault of each row, null if it has none."""
    if not rows.select(pl.any_horizontal(fault for fault, _ in faults).any()).item():
        return pl.lit(None, pl.String)
    return pl.coalesce(pl.when(fault).then(pl.lit(code)) for fault, code in faults)


def _empty(cells: pl.Series) -> pl.Series:
    """Tell which cells hold nothing."""
    return cells.str.strip_chars() == "" if cells.dtype == pl.String else cells.is_null()


def _bar_faults(roles: list[str], gappy: list[str]) -> list[tuple[pl.Expr, str]]:
    faults = [
        (_any([pl.col(role).is_null() for role in PRICES if role in gappy]), quality.PRICE_MISSING),
        (_any([pl.col(role) <= 0 for role in PRICES]), quality.PRICE_NONPOSITIVE),
        (pl.col("high") < pl.col("low"), quality.OHLC_HIGH_LT_LOW),
    ]
    return [*faults, *([(pl.col("volume") < 0, quality.VOLUME_NEGATIVE)] if "volume" in roles else [])]


def _trade_faults(roles: list[str], gappy: list[str]) -> list[tuple[pl.Expr, str]]:
    faults = [
        (pl.col("price").is_null() if "price" in gappy else pl.lit(value=False), quality.PRICE_MISSING),
        (pl.col("price") <= 0, quality.PRICE_NONPOSITIVE),
    ]
    if "size" not in roles:
        return faults
    return [
        *faults,
        (pl.col("size").is_null() if "size" in gappy else pl.lit(value=False), quality.SIZE_MISSING),
        (pl.col("size") < 0, quality.VOLUME_NEGATIVE),
    ]


def _quote_faults(roles: list[str], gappy: list[str]) -> list[tuple[pl.Expr, str]]:
    del gappy
    return [
        (pl.col("bid_price").is_null() & pl.col("ask_price").is_null(), quality.PRICE_MISSING),
        (_any([pl.col(role) < 0 for role in ("bid_price", "ask_price")]), quality.PRICE_NONPOSITIVE),
        (
            _any([pl.col(role) < 0 for role in ("bid_size", "ask_size") if role in roles]),
            quality.VOLUME_NEGATIVE,
        ),
    ]


_FAULTS: Final = {BAR: _bar_faults, TRADE: _trade_faults, QUOTE: _quote_faults}


def _flags(flags: list[tuple[pl.Expr, str]]) -> pl.Expr:
    empty = pl.lit([], pl.List(pl.String))
    flagged = empty
    for fault, code in reversed(flags):
        flagged = (
            pl.when(fault.fill_null(value=False)).then(pl.lit([code], pl.List(pl.String))).otherwise(flagged)
        )
    return flagged


def _mapped(column: str, table: dict[str, str], default: str) -> pl.Expr:
    return (
        pl.col(column)
        .str.to_lowercase()
        .replace_strict(list(table), list(table.values()), default=default, return_dtype=pl.String)
    )


def _listed(column: str) -> pl.Expr:
    """Return the members of a text such as ``14,37,41`` or ``['R', 'I']``."""
    bare = pl.col(column).str.replace_all(r"[\[\]'\" ]", "")
    return (
        pl.when(bare == "")
        .then(pl.lit([], pl.List(pl.String)))
        .otherwise(bare.str.replace_all(r"[;|@]", ",").str.strip_chars(",").str.split(","))
    )


def _any(flags: list[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal(flags) if flags else pl.lit(value=False)


def rejects_of(parsed: pl.DataFrame) -> list[Reject]:
    """Return the rejected rows of a parsed table."""
    bad = parsed.filter(IS_REJECT).select("source", LINE, REASON, RAW)
    return [Reject(source, line, reason, raw) for source, line, reason, raw in bad.iter_rows()]


def records_of(parsed: pl.DataFrame) -> pl.DataFrame:
    """Return the records of a parsed table."""
    return parsed.filter(IS_RECORD).drop(*OWN, FILE, strict=False)

"""Rows of text become canonical bars and rejects."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from tickerlake.model import quality
from tickerlake.model.instrument import instrument_id_expr, is_symbol_expr
from tickerlake.model.reject import Reject
from tickerlake.model.schema import BAR, DECIMAL
from tickerlake.sources.csv.dates import DAY_NS, TimeForm
from tickerlake.sources.csv.interval import DAILY, close_of
from tickerlake.sources.csv.layout import NUMBERS, PRICES, Layout
from tickerlake.sources.csv.rows import BLANK, FIELDS, LINE, RAW, time_text

REASON: Final = "_reason"
IS_BAR: Final = pl.col(REASON).is_null() & ~pl.col(BLANK)
"""Tells the rows of a parsed table that are bars."""
_MISSING: Final = ["", "-", "--", "null", "none", "nan", "n/a", "na", "#n/a", "nil"]
_PLAIN: Final = r"^[+-]?\$?[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d*)?$"


@dataclass(frozen=True)
class Parser:
    """How a file's rows become bars.

    Parameters
    ----------
    source
        The name that records carry.
    layout
        Where each role stands.
    form
        How dates are written.
    symbol
        The symbol of every row; ``None`` if a column has it.
    interval
        ``1d``, ``1m`` …
    extras
        Unique column name to key in ``extra``.
    ts_recv_ns
        When the file was opened.
    """

    source: str
    layout: Layout
    form: TimeForm
    symbol: str | None
    interval: str
    extras: dict[str, str]
    ts_recv_ns: int

    def parse(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return canonical columns, with ``_line``, ``_raw``, ``_blank`` and ``_reason`` (null for a bar)."""
        texts = {role: self.layout.column(role) for role in NUMBERS if role in self.layout.roles}
        typed = rows.select(
            LINE,
            RAW,
            FIELDS,
            BLANK,
            self._symbol().alias("symbol"),
            self.form.ns(time_text(self.layout)).alias("ts_open_ns"),
            *(pl.col(text).alias(f"_{role}") for role, text in texts.items()),
            *(pl.col(text).cast(DECIMAL, strict=False).alias(role) for role, text in texts.items()),
            *self._extra(),
        )
        typed, gappy = _second_look(typed, list(texts))
        return typed.with_columns(self._reason(list(texts), gappy).alias(REASON)).select(
            LINE, RAW, BLANK, REASON, *self._canonical(list(texts))
        )

    def _symbol(self) -> pl.Expr:
        if self.symbol is not None:
            return pl.lit(self.symbol)
        return pl.col(self.layout.column("symbol")).str.strip_chars()

    def _extra(self) -> list[pl.Expr]:
        if not self.extras:
            return []
        members = [pl.col(column).alias(key) for column, key in self.extras.items()]
        return [pl.struct(members).struct.json_encode().alias("extra")]

    def _reason(self, roles: list[str], gappy: list[str]) -> pl.Expr:
        """Return the first fault of each row, null if it has none."""
        faults = [
            (pl.col(FIELDS) != len(self.layout.names), quality.FIELD_COUNT),
            (pl.col("ts_open_ns").is_null(), quality.UNPARSABLE_DATE),
            (_any([pl.col(f"_broken_{role}") for role in gappy]), quality.UNPARSABLE_NUMBER),
            (_any([pl.col(role).is_null() for role in PRICES if role in gappy]), quality.PRICE_MISSING),
            (_any([pl.col(role) <= 0 for role in PRICES]), quality.PRICE_NONPOSITIVE),
            (pl.col("high") < pl.col("low"), quality.OHLC_HIGH_LT_LOW),
        ]
        if self.symbol is None:
            faults.insert(1, (pl.col("symbol") == "", quality.SYMBOL_MISSING))
            faults.insert(2, (~is_symbol_expr("symbol"), quality.SYMBOL_INVALID))
        if "volume" in roles:
            faults.append((pl.col("volume") < 0, quality.VOLUME_NEGATIVE))
        return pl.coalesce(pl.when(fault).then(pl.lit(code)) for fault, code in faults)

    def _canonical(self, roles: list[str]) -> list[pl.Expr]:
        daily = self.interval in DAILY
        opens = pl.col("ts_open_ns")
        opens = opens - opens % DAY_NS if daily else opens
        numbers = {role: pl.col(role) for role in NUMBERS if role in roles}
        if "trade_count" in numbers:
            numbers["trade_count"] = pl.col("trade_count").cast(pl.Int64, strict=False)
        order = ("open", "high", "low", "close", "volume", "vwap", "trade_count", "adj_close")
        outside = _any(
            [(pl.col(p) > pl.col("high")) | (pl.col(p) < pl.col("low")) for p in ("open", "close")]
        )
        return [
            pl.lit(BAR).alias("schema"),
            instrument_id_expr("symbol").alias("instrument_id"),
            pl.col("symbol"),
            pl.lit(self.interval).alias("interval"),
            opens.alias("ts_open_ns"),
            close_of(opens, self.interval).alias("ts_close_ns"),
            (opens // DAY_NS).cast(pl.Int32).cast(pl.Date).alias("session_date"),
            *(numbers[role].alias(role) for role in order if role in numbers),
            pl.lit("last").alias("price_type"),
            pl.lit(True).alias("is_final"),
            pl.lit(False).alias("is_partial"),
            pl.lit(0, pl.Int64).alias("revision"),
            pl.lit(self.ts_recv_ns, pl.Int64).alias("ts_recv_ns"),
            pl.lit(self.source).alias("source"),
            pl.col(LINE).cast(pl.Int64).alias("source_line"),
            pl.when(outside)
            .then(pl.lit([quality.OHLC_OPEN_CLOSE_OUTSIDE_RANGE], pl.List(pl.String)))
            .otherwise(pl.lit([], pl.List(pl.String)))
            .alias("quality"),
            *([pl.col("extra")] if self.extras else []),
        ]


def _second_look(rows: pl.DataFrame, roles: list[str]) -> tuple[pl.DataFrame, list[str]]:
    """Read numbers that the quick cast did not: padded, with thousands separators or a dollar sign.

    Returns the rows and the columns with nulls; a column ``_broken_…`` marks those of their texts that are
    neither numbers nor missing.
    """
    nulls = [role for role in roles if rows[role].null_count()]
    if not nulls:
        return rows, []
    plain = {role: pl.col(f"_{role}").str.strip_chars() for role in nulls}
    rows = rows.with_columns(
        pl.when(pl.col(role).is_null() & text.str.contains(_PLAIN))
        .then(text.str.replace_all(r"[,$]", "").cast(DECIMAL, strict=False))
        .otherwise(pl.col(role))
        .alias(role)
        for role, text in plain.items()
    )
    rows = rows.with_columns(
        (pl.col(role).is_null() & ~text.str.to_lowercase().is_in(_MISSING)).alias(f"_broken_{role}")
        for role, text in plain.items()
    )
    return rows, nulls


def _any(flags: list[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal(flags) if flags else pl.lit(False)


def rejects_of(parsed: pl.DataFrame, source: str) -> list[Reject]:
    """Return the rejected rows of a parsed table."""
    bad = parsed.filter(pl.col(REASON).is_not_null() & ~pl.col(BLANK)).select(LINE, REASON, RAW)
    return [Reject(source, line, reason, raw) for line, reason, raw in bad.iter_rows()]


def records_of(parsed: pl.DataFrame) -> pl.DataFrame:
    """Return the bars of a parsed table."""
    return parsed.filter(IS_BAR).drop(LINE, RAW, BLANK, REASON)

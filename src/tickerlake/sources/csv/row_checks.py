"""What makes a row of numbers a reject rather than a record."""

from typing import Final

import polars as pl

from tickerlake.model.reject import RejectReason
from tickerlake.model.schema import BAR, QUOTE, TRADE
from tickerlake.sources.csv.detect.columns.layout import PRICES

Check = tuple[pl.Expr, RejectReason]
"""A condition for rejecting a row, and its reason."""

QUOTE_SENTINELS: Final = "^_sentinel_(bid|ask)_price$"
"""The columns that mark the prices of quotes that stand for no value."""


def first_reason(checks: list[Check], rows: pl.DataFrame) -> pl.Expr:
    """Return the reason of the first condition that holds on each row, null if none does."""
    if not rows.select(pl.any_horizontal(condition for condition, _ in checks).any()).item():
        return pl.lit(None, pl.String)
    return pl.coalesce(pl.when(condition).then(pl.lit(reason)) for condition, reason in checks)


def _bar_checks(roles: list[str], null_roles: list[str]) -> list[Check]:
    checks = [
        (
            any_true([pl.col(role).is_null() for role in PRICES if role in null_roles]),
            RejectReason.PRICE_MISSING,
        ),
        (any_true([pl.col(role) <= 0 for role in PRICES if role in roles]), RejectReason.PRICE_NONPOSITIVE),
        *([(pl.col("high") < pl.col("low"), RejectReason.OHLC_HIGH_LT_LOW)] if "high" in roles else []),
    ]
    return [*checks, *([(pl.col("volume") < 0, RejectReason.VOLUME_NEGATIVE)] if "volume" in roles else [])]


def _trade_checks(roles: list[str], null_roles: list[str]) -> list[Check]:
    checks = [
        (
            pl.col("price").is_null() if "price" in null_roles else pl.lit(value=False),
            RejectReason.PRICE_MISSING,
        ),
        (pl.col("price") <= 0, RejectReason.PRICE_NONPOSITIVE),
    ]
    if "size" not in roles:
        return checks
    return [
        *checks,
        (
            pl.col("size").is_null() if "size" in null_roles else pl.lit(value=False),
            RejectReason.SIZE_MISSING,
        ),
        (pl.col("size") < 0, RejectReason.VOLUME_NEGATIVE),
        (pl.col("size") == 0, RejectReason.SIZE_ZERO),
    ]


def _quote_checks(roles: list[str], null_roles: list[str]) -> list[Check]:
    del null_roles
    no_price = pl.col("bid_price").is_null() & pl.col("ask_price").is_null()
    return [
        (
            no_price & pl.any_horizontal(pl.lit(value=False), QUOTE_SENTINELS),
            RejectReason.SENTINEL_VALUE,
        ),
        (no_price, RejectReason.PRICE_MISSING),
        (
            any_true([pl.col(role) < 0 for role in ("bid_price", "ask_price")]),
            RejectReason.PRICE_NONPOSITIVE,
        ),
        (
            any_true([pl.col(role) < 0 for role in ("bid_size", "ask_size") if role in roles]),
            RejectReason.VOLUME_NEGATIVE,
        ),
    ]


CHECKS_BY_TYPE: Final = {BAR: _bar_checks, TRADE: _trade_checks, QUOTE: _quote_checks}
"""The checks of the values of each record type, by the roles that it has and those with nulls."""


def any_true(flags: list[pl.Expr]) -> pl.Expr:
    """Return whether any of some flags is true; false if there are none."""
    return pl.any_horizontal(flags) if flags else pl.lit(value=False)


def quality_flags(flags: list[tuple[pl.Expr, str]]) -> pl.Expr:
    """Return the list with the flag of the first condition that holds on each row, empty if none does."""
    empty = pl.lit([], pl.List(pl.String))
    flagged = empty
    for condition, flag in reversed(flags):
        flagged = (
            pl.when(condition.fill_null(value=False))
            .then(pl.lit([flag], pl.List(pl.String)))
            .otherwise(flagged)
        )
    return flagged

"""Columns of trades and quotes from the texts of their cells: sides, corrections and conditions."""

from collections.abc import Collection
from typing import Final

import polars as pl

from tickerlake.model import quality
from tickerlake.model.schema import QUOTE
from tickerlake.sources.csv.row_checks import QUOTE_SENTINELS, any_true, quality_flags

_SIDES: Final = dict.fromkeys("b buy buyer bid 1".split(), "buy") | dict.fromkeys(
    "s sell seller ask a -1".split(), "sell"
)
_MAKERS: Final = dict.fromkeys(("true", "1", "t"), "sell") | dict.fromkeys(("false", "0", "f"), "buy")
_CORRECTIONS: Final = {"correct": "correct"} | dict.fromkeys("7 07 8 08 10 11 12 cancel c".split(), "cancel")
"""The codes of NYSE TAQ, which Massive writes as well. 1 is the corrected trade at its original time, as good
as a new one. 7 and 8 are trades that were cancelled later, 10 and 11 their cancellations; 12 is the trade
before its correction."""

_CODES_OF_ONE_LETTER: Final = "^@[A-Z0-9 ]{0,3}$"
"""Sale conditions as the consolidated tape writes them: the first of four places is the settlement."""

_FIELDS: Final = r"[^\[]\[[A-Z][A-Z0-9_]{2,}\]"
"""Qualifiers of Refinitiv, each with the name of a field."""

_SHORT_CODES: Final = "^@?[A-Z0-9]{0,3}(?: +[A-Z0-9]{1,3})+$"


def tick_columns(record_type: str, roles: Collection[str], time: pl.Expr) -> dict[str, pl.Expr]:
    """Return the columns of trades or quotes that are not as written.

    Parameters
    ----------
    record_type
        ``trade.v1`` or ``quote.v1``.
    roles
        Those of the file's columns. Their texts are in columns such as ``_conditions``, numbers in ``price``.
    time
        The event time, in nanoseconds.
    """
    values: dict[str, pl.Expr] = {"ts_event_ns": time}
    if "sequence" in roles:
        values["sequence"] = pl.col("_sequence").cast(pl.Int64, strict=False)
    if record_type == QUOTE:
        for name in ("bid_price", "ask_price"):
            values[name] = pl.when(pl.col(name) != 0).then(pl.col(name))
        zero = any_true([pl.col(name) == 0 for name in ("bid_price", "ask_price")])
        crossed = (pl.col("bid_price") > pl.col("ask_price")) & ~zero
        none = zero | pl.any_horizontal(pl.lit(value=False), QUOTE_SENTINELS)
        return values | {
            "quality": quality_flags([(crossed, quality.CROSSED_QUOTE), (none, quality.SENTINEL_VALUE)])
        }
    side = pl.lit("none")
    if "aggressor_side" in roles:
        side = _map_values("_aggressor_side", _SIDES, "none")
    elif "buyer_is_maker" in roles:
        side = _map_values("_buyer_is_maker", _MAKERS, "none")
    correction = _map_values("_correction", _CORRECTIONS, "new") if "correction" in roles else pl.lit("new")
    values |= {"aggressor_side": side, "correction": correction, "quality": quality_flags([])}
    if "trade_id" in roles:
        values["trade_id"] = pl.when(pl.col("_trade_id") != "").then(pl.col("_trade_id"))
    values["conditions"] = _split_list("_conditions") if "conditions" in roles else quality_flags([])
    return values


def _map_values(column: str, table: dict[str, str], default: str) -> pl.Expr:
    return (
        pl.col(column)
        .str.to_lowercase()
        .replace_strict(list(table), list(table.values()), default=default, return_dtype=pl.String)
    )


def _split_list(column: str) -> pl.Expr:
    """Return the items of a text such as ``14,37,41``, ``['R', 'I']``, ``ET XT`` or ``@FTI``.

    Qualifiers such as ``@F I[GV4_TEXT]`` stay as they are.
    """
    has_fields = pl.col(column).str.contains(_FIELDS)
    bare = pl.col(column).str.replace_all(r"[\[\]'\"]", "").str.strip_chars()
    items = (
        pl.when(bare.str.contains(_CODES_OF_ONE_LETTER))
        .then(bare.str.replace_all("(.)", "${1},"))
        .when(bare.str.contains(_SHORT_CODES))
        .then(bare.str.replace_all(" ", ","))
        .otherwise(bare.str.replace_all(r"[;|]", ","))
        .str.replace_all(r"\s*(?:,\s*)+", ",")
        .str.strip_chars(",")
    )
    return (
        pl.when(items == "")
        .then(pl.lit([], pl.List(pl.String)))
        .when(has_fields)
        .then(pl.col(column).str.split(";"))
        .otherwise(items.str.split(","))
    )

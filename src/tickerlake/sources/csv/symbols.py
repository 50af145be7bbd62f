"""Symbols as written in a file, and the symbols and identifiers of its records."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from tickerlake.errors import DataError, UsageError
from tickerlake.model.instrument import (
    SYMBOL_RULES,
    UNKNOWN_MIC,
    instrument_id_expr,
    is_plain_symbol_expr,
    is_symbol_expr,
    normalize_symbol,
    normalize_symbol_expr,
    symbol_problem,
)
from tickerlake.model.markets import mic_of_symbol_expr

_MAX_MAP_BYTES: Final = 64 * 1024 * 1024
_MAP_HINT: Final = "Write two columns: the symbol as the file writes it, and the one to use: XBT/USD,BTC-USD"


class Symbols(NamedTuple):
    """The symbols of rows.

    Parameters
    ----------
    names
        The symbols, also those that are not valid.
    instrument_ids
        Their identifiers, null if the symbol is not valid; None if all symbols are plain and their endings
        name no market.
    is_valid
        Which symbols are valid; None if all are.
    """

    names: pl.Series
    instrument_ids: pl.Series | None = None
    is_valid: pl.Series | None = None


def resolve_symbols(written: pl.Series, symbol_map: Mapping[str, str]) -> Symbols:
    """Return the symbols of rows by what is written in them; only distinct ones are looked at.

    Parameters
    ----------
    written
        The text of each row.
    symbol_map
        Written symbol to the one to use instead; others stay as they are.
    """
    distinct = written.unique().to_frame("written")
    if not symbol_map and distinct.select(_is_simple("written")).item():
        return Symbols(written)
    table = distinct.with_columns(symbol=_map_symbols("written", symbol_map))
    is_valid = table.select(is_symbol_expr("symbol")).to_series()
    is_simple = bool(table.select(_is_simple("symbol")).item())
    ids = pl.when(is_valid).then(instrument_id_expr("symbol", mic_of_symbol_expr("symbol")))
    table = table.with_columns(
        pl.lit(None, pl.String).alias("id") if is_simple else ids.alias("id"), is_valid.alias("valid")
    )
    rows = written.to_frame("written").join(table, on="written", how="left", maintain_order="left")
    return Symbols(
        rows.get_column("symbol"),
        None if is_simple else rows.get_column("id"),
        None if is_valid.all() else rows.get_column("valid"),
    )


def _is_simple(column: str) -> pl.Expr:
    """Return whether all symbols are part of their identifiers as they are, on an unknown market."""
    return (is_plain_symbol_expr(column) & (mic_of_symbol_expr(column) == UNKNOWN_MIC)).all()


def _map_symbols(column: str, symbol_map: Mapping[str, str]) -> pl.Expr:
    symbol = normalize_symbol_expr(column)
    return symbol.replace(dict(symbol_map)) if symbol_map else symbol


def read_symbol_map(path: Path) -> dict[str, str]:
    """Read a CSV file of two columns: a symbol as files write it, and the symbol to use.

    A header needs no care: it is an entry that matches no symbol.

    Raises
    ------
    UsageError
        If there is no such file.
    DataError
        If a line is not an entry; the message names file, line and value.
    """
    entries: dict[str, str] = {}
    for line, cells in _read_lines(path):
        written, symbol = (normalize_symbol(cell) for cell in (*cells, "", "")[:2])
        where = f"{path}, line {line}"
        if len(cells) != 2 or not written or not symbol:
            raise DataError(f"{where}: {','.join(cells)[:80]!r} is not a pair of symbols.", _MAP_HINT)
        if problem := symbol_problem(symbol):
            raise DataError(f"{where}: {symbol!r} is not a symbol: {problem}.", SYMBOL_RULES)
        if entries.setdefault(written, symbol) != symbol:
            raise DataError(
                f"{where}: {written!r} is mapped to {symbol!r}, and above it to {entries[written]!r}.",
                "Keep one of the lines.",
            )
    if not entries:
        raise DataError(f"{path} is empty.", _MAP_HINT)
    return entries


def _read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the line number and the cells of each line that is not blank."""
    try:
        if path.stat().st_size > _MAX_MAP_BYTES:
            raise DataError(f"{path} is too large for a symbol map.", _MAP_HINT)
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8.", "Save it as UTF-8.") from error
    except OSError as error:
        raise UsageError(
            f"--symbol-map {path} cannot be read: {error.strerror}.", "Specify a CSV file of two columns."
        ) from error
    first = text.partition("\n")[0]
    delimiter = next((sign for sign in ",;\t" if sign in first), ",")
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]

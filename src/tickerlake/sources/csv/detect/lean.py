"""Files of QuantConnect Lean: no header, recognized by their path or name together with their shape. Pure.

Lean stores ``equity/usa/minute/aapl/20240102_trade.zip`` with rows of milliseconds since midnight, and
``equity/usa/daily/aapl.zip`` with rows of dates. Prices of stocks and options count 1/10,000, others are as
they are.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from tickerlake.errors import DataError
from tickerlake.model.instrument import is_symbol
from tickerlake.sources.csv.detect.columns.cells import is_milliseconds_of_day
from tickerlake.sources.csv.detect.columns.layout import VendorLayout
from tickerlake.sources.csv.detect.file_name import strip_extensions

SCALE: Final = 4
_NAME: Final = "QuantConnect Lean"
_SCALED: Final = frozenset({"equity", "option"})
_PLAIN: Final = frozenset({"forex", "cfd", "crypto", "cryptofuture", "future", "futureoption", "index"})
_INTRADAY: Final = frozenset({"tick", "second", "minute"})
_RESOLUTIONS: Final = _INTRADAY | {"hour", "daily"}
_ZONES: Final = {
    ("equity", "usa"): "America/New_York",
    ("option", "usa"): "America/New_York",
    ("equity", "india"): "Asia/Kolkata",
    ("forex", "oanda"): "UTC",
    ("forex", "fxcm"): "Etc/GMT+5",
    ("cfd", "oanda"): "UTC",
}
"""Of markets of one zone; all crypto markets are in UTC, those of futures and indices differ."""

_FILE_NAME: Final = re.compile(
    r"(?P<date>\d{6}|\d{8})_(?:(?P<symbol>[a-z0-9.^-]+)_)?"
    r"(?:(?P<resolution>tick|second|minute)_)?(?P<kind>trade|quote)(?:_(?P<last>tick))?",
    re.IGNORECASE,
)
_MINUTE: Final = re.compile(r"\d{8} \d\d:\d\d")
_NUMBER: Final = re.compile(r"-?\d*\.?\d*(?:[eE][+-]?\d+)?")
_WHOLE: Final = re.compile(r"-?\d+")
_CHECKED_LINES: Final = 200
_MIN_ASKED_DIGITS: Final = 5
_BAR: Final = ("open", "high", "low", "close")
_QUOTE_BAR: Final = (
    *(f"bid_{each}" for each in _BAR),
    "bid_size",
    *(f"ask_{each}" for each in _BAR),
    "ask_size",
)
_ASKS: Final = frozenset(f"ask_{each}" for each in _BAR)
_TICK: Final = ("exchange", "conditions", "suspicious")
_COLUMNS: Final[dict[tuple[bool, str, int], tuple[str, ...]]] = {
    (False, "trade", 6): (*_BAR, "volume"),
    (False, "quote", 11): _QUOTE_BAR,
    (True, "trade", 6): ("price", "size", *_TICK),
    (True, "trade", 3): ("price", "size"),
    (True, "quote", 8): ("bid", "bid_size", "ask", "ask_size", *_TICK),
    (True, "quote", 5): ("bid", "bid_size", "ask", "ask_size"),
    (True, "quote", 3): ("bid", "ask"),
}
"""The columns after the time, by whether rows are ticks, by their kind and their number."""


class LeanFile(NamedTuple):
    """What the path and the shape of a file of Lean determine.

    Parameters
    ----------
    columns
        The names of its columns.
    layout
        Its zone, scale and symbol.
    """

    columns: tuple[str, ...]
    layout: VendorLayout


class _Path(NamedTuple):
    security: str
    market: str
    resolution: str
    symbol: str
    kind: str


def find_lean_file(
    name: str, path: Sequence[str], lines: Sequence[str], *, scale: int | None
) -> LeanFile | None:
    """Return what a file of Lean determines, None for any other file.

    Parameters
    ----------
    name
        The file's own name, or that of the file inside its archive.
    path
        The parts of the path, the last one is the file's name.
    lines
        Its first lines.
    scale
        What the user specifies about the scale of prices, if anything.

    Raises
    ------
    DataError
        If rows and name are those of Lean, but nothing shows whether prices are scaled.
    """
    rows = [line.strip().split(",") for line in lines[:_CHECKED_LINES] if line.strip()]
    if not rows or len({len(row) for row in rows}) != 1 or not all(map(_is_row_of_numbers, rows)):
        return None
    intraday = all(is_milliseconds_of_day(row[0]) for row in rows)
    if not intraday and not all(_MINUTE.fullmatch(row[0]) for row in rows):
        return None
    found = _parse_path(path, name, intraday=intraday)
    if found is None:
        return None
    fields = len(rows[0])
    kind = found.kind or ("quote" if fields == len(_QUOTE_BAR) + 1 else "trade")
    columns = _COLUMNS.get((found.resolution == "tick", kind, fields))
    if columns is None or (intraday and found.resolution not in _INTRADAY):
        return None
    prices = [row[i] for row in rows for i, each in enumerate(columns, 1) if _is_price(each)]
    is_whole = all(_WHOLE.fullmatch(each) for each in prices)
    if is_whole and scale is None and not found.security and _may_be_scaled(prices, intraday=intraday):
        raise DataError(
            f"{path[-1]} has the form of {_NAME}, whose prices of stocks and options count 1/10,000, and "
            f"nothing shows whether these do, such as {prices[0]}.",
            f"Specify it: --price-scale {SCALE} or --price-scale 0",
        )
    if not (found.security or intraday):
        return None
    is_scaled = found.security in _SCALED and is_whole
    if is_scaled and len(columns) == len(_QUOTE_BAR):
        # the asks have no role, and stay as they are written
        columns = tuple(f"{each}_deci_cents" if each in _ASKS else each for each in columns)
    layout = VendorLayout(
        _NAME,
        frozenset(),
        zone=_find_zone(found),
        scale=SCALE if is_scaled else 0,
        symbol=found.symbol.upper() if is_symbol(found.symbol) else "",
    )
    return LeanFile(("ms_of_day" if intraday else "time", *columns), layout)


def _find_zone(path: _Path) -> str:
    return "UTC" if path.security.startswith("crypto") else _ZONES.get((path.security, path.market), "")


def _is_row_of_numbers(row: Sequence[str]) -> bool:
    # exchanges and conditions of ticks may be words
    return len(row) >= 3 and row[1] != "" and all(_NUMBER.fullmatch(cell) for cell in row[1:3])


def _is_price(column: str) -> bool:
    return column in {*_BAR, "price", "bid", "ask"} or (column in _QUOTE_BAR and not column.endswith("size"))


def _may_be_scaled(prices: Sequence[str], *, intraday: bool) -> bool:
    """Return whether whole prices can count 1/10,000: of dates and prices alone, by their zeros."""
    if intraday:
        return True
    return all(len(each) >= _MIN_ASKED_DIGITS and each.endswith("00") for each in prices)


def _parse_path(path: Sequence[str], name: str, *, intraday: bool) -> _Path | None:
    """Return what folders and names say: all of it, or only that of the file itself."""
    match = _FILE_NAME.fullmatch(strip_extensions(name))
    stem = strip_extensions(name)
    symbol, kind, resolution = stem, "", ""
    if match:
        symbol, kind = match["symbol"] or "", match["kind"].lower()
        resolution = (match["resolution"] or match["last"] or "").lower()
    folders = [each.lower() for each in path[:-1]]
    for k in range(len(folders) - 2, 0, -1):
        security, market, folder = folders[k - 1 : k + 2]
        if security in _SCALED | _PLAIN | {"indexoption"} and folder in _RESOLUTIONS:
            known = security if security in _SCALED | _PLAIN else ""
            deeper = path[k + 2 : -1]
            archive_kind = re.search("_(trade|quote)$", strip_extensions(path[-1]).lower())
            if not match:
                kind = archive_kind[1] if archive_kind else ""
                symbol = re.sub("_(trade|quote)$", "", stem, flags=re.IGNORECASE)
            return _Path(known, market, folder, deeper[0] if deeper else symbol, kind)
    if intraday:
        return _Path("", "", resolution, symbol, kind) if match and resolution else None
    return _Path("", "", "daily", symbol, kind)

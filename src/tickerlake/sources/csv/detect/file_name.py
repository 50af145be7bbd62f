"""Symbol, date and interval from the name of a file or its folder, if no column has them."""

import re
from datetime import date
from pathlib import PurePath
from typing import Final, NamedTuple

from tickerlake.errors import DataError
from tickerlake.model.instrument import is_symbol, slug
from tickerlake.sources.csv.detect.interval import parse_interval

_SUFFIXES: Final = re.compile(r"\.(csv|txt|tsv|dat|prn|asc|gz|zst|bz2|xz|zip)$", re.IGNORECASE)
_TICKER: Final = re.compile(r"[\^.]?[A-Z0-9][A-Z0-9&^=.-]{0,14}")
_DATE: Final = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")
_ANY_DATE: Final = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])|\d\d[-_.]\d\d[-_.](?:19|20)\d\d"
    r"|(?:19|20)\d\d[-_](?:0[1-9]|1[0-2]))(?!\d)"
)
_GENERIC_WORDS: Final = frozenset(
    """
    historical history hist data datas dataset price prices quote quotes stock stocks share shares
    ohlc ohlcv adjusted adj unadjusted raw bar bars trade trades tick ticks candle candles kline
    klines aggs agg aggregate aggregates download export chart table time series timeseries
    intraday eod full sample test file report quotesdata max all us market from to last close csv
    new old copy final clean cleaned processed output stat sip delayed ascii mt mt4 mt5 dat msbar
    yahoo yf yfinance finance stooq alpaca polygon massive tiingo alphavantage av binance kraken
    coinbase bitstamp bitfinex bitmex databento kibot firstrate firstratedata tradingview barchart
    investing quandl wiki iex finnhub eodhd twelvedata dukascopy histdata finam moex nasdaq nyse
    amex arca bats lse xetra nse bse tsx asx hkex otc cboe dbeq xnas xnys bid ask mid candlestick
    gemini okx bybit spot perp poloniex cdd historicaldata historicalprices part aggtrades equity
    tadawul tase zse brvm bvb questrade settrade eq hourly quotehistory pricehistory stockprice 1s
    """.split()
)


class NameHints(NamedTuple):
    """What a file's name contains; empty for what it does not."""

    symbol: str
    date: str
    interval: str


def strip_extensions(name: str) -> str:
    """Return a file's name without its extensions."""
    while shorter := _SUFFIXES.sub("", name):
        if shorter == name:
            break
        name = shorter
    return name


def parse_file_name(name: str) -> NameHints:
    """Return the symbol, the date and the interval in a file's name.

    Parameters
    ----------
    name
        For example ``AAPL.csv``, ``BRK-B_1min.csv.gz``, ``BATS_KLMN, 1D_60720.csv``, ``2024-01-02.csv``.
    """
    text = strip_extensions(name)
    if (
        _is_ticker(text)
        and not re.fullmatch(r"(19|20)\d\d", text)
        and not parse_interval(text)
        and text.lower() not in _GENERIC_WORDS
        and not _ANY_DATE.search(text)
    ):
        return NameHints(text, "", "")
    dates = [f"{m[1]}-{m[2]}-{m[3]}" for m in _DATE.finditer(text) if _is_valid_date(m)]
    bare = _ANY_DATE.sub(" ", re.sub(r"\(\d+\)$", "", text)).strip()
    interval, tokens = "", []
    for token in re.split(r"[\s_,;()\[\]@]+", bare):
        parts = [part for part in token.split("-") if part]
        for part in parts:
            interval = interval or (parse_interval(part) if len(part) > 1 or len(parts) == 1 else "")
        # BRK-B is one symbol, AAPL-1min and WIKI-ORCX are a symbol and a word
        symbol_part = "-".join(part for part in parts if not _is_generic_part(part, alone=len(parts) == 1))
        tokens += [symbol_part] if symbol_part else []
    day = dates[0] if len(set(dates)) == 1 else ""
    upper = [token.upper() if token.islower() or token.isupper() else token for token in tokens]
    # of several words the one in upper case: `AAPL - Historical prices of mine`
    capitals = [token for token in tokens if token.isupper() and _is_ticker(token) and len(token) <= 10]
    candidates = upper if len(upper) == 1 else capitals
    symbol = candidates[0] if len(candidates) == 1 and _is_ticker(candidates[0]) else ""
    return NameHints(symbol, day, interval)


def _is_generic_part(part: str, *, alone: bool) -> bool:
    if part.lower() in _GENERIC_WORDS or re.fullmatch(r"\d{1,2}|\d{4,}" if alone else r"\d+", part):
        return True
    return bool(parse_interval(part)) and (alone or len(part) > 1)


def _is_ticker(text: str) -> bool:
    return (
        _TICKER.fullmatch(text) is not None
        and re.search("[A-Z]|^[0-9]{4,6}$|[0-9]\\.[A-Z]", text) is not None
        and is_symbol(text)
    )


def _is_valid_date(match: re.Match[str]) -> bool:
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return False
    return True


def infer_symbol(name: str, archive_name: str = "", folder: str = "") -> tuple[str, str, str]:
    """Return a symbol, where it comes from, and a warning that is empty if the symbol is certain.

    Parameters
    ----------
    name
        The name of a file.
    archive_name
        The name of the archive that contains it, if any.
    folder
        The path of its folder: the last part may be a symbol, any part may be ``symbol=AAPL``.

    Raises
    ------
    DataError
        If the name contains nothing from which a symbol can be made.
    """
    for each in dict.fromkeys((name, archive_name)):
        if each and (symbol := parse_file_name(each).symbol):
            return symbol, "file name", ""
    parts = PurePath(folder).parts
    for part in reversed(parts):
        key, equals, value = part.partition("=")
        if equals and key.lower() in {"symbol", "ticker", "sym", "instrument"} and is_symbol(value):
            return value, "folder", ""
    last = parts[-1] if parts else ""
    if (
        _is_generic_name(name)
        and _is_ticker(last)
        and last.lower() not in _GENERIC_WORDS
        and not parse_interval(last)
        and not _ANY_DATE.search(last)
    ):
        return last, "folder", ""
    derived = slug(strip_extensions(name))
    if not derived:
        raise DataError(f"{name} has no column with the symbol.", "Specify it: --symbol AAPL")
    warning = (
        f"{name} has no column with the symbol: {derived} is derived from its name. Specify it with --symbol."
    )
    return derived, "file name", warning


def _is_generic_name(name: str) -> bool:
    """Return whether a file's name contains only dates, intervals, numbers and common words."""
    tokens = [
        token for token in re.split(r"[^A-Za-z0-9]+", _ANY_DATE.sub(" ", strip_extensions(name))) if token
    ]
    return all(
        token.isdigit() or token.lower() in _GENERIC_WORDS or parse_interval(token) for token in tokens
    )

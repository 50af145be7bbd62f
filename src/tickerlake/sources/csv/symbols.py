"""The symbol, date and interval of a file without a column for them: from its name or its folder."""

import re
from datetime import date
from pathlib import PurePath
from typing import Final, NamedTuple

from tickerlake.errors import DataError
from tickerlake.model.instrument import is_symbol, slug
from tickerlake.sources.csv.interval import parse_interval

_SUFFIXES: Final = re.compile(r"\.(csv|txt|tsv|dat|prn|asc|gz|zst|bz2|xz|zip)$", re.IGNORECASE)
_TICKER: Final = re.compile(r"[\^.]?[A-Z0-9][A-Z0-9&^=.-]{0,14}")
_DATE: Final = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")
_ANY_DATE: Final = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])|\d\d[-_.]\d\d[-_.](?:19|20)\d\d"
    r"|(?:19|20)\d\d[-_](?:0[1-9]|1[0-2]))(?!\d)"
)
_WORDS: Final = frozenset(
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


class Told(NamedTuple):
    """What a file's name tells; empty where it says nothing."""

    symbol: str
    date: str
    interval: str


def stem(name: str) -> str:
    """Return a file's name without its endings."""
    while shorter := _SUFFIXES.sub("", name):
        if shorter == name:
            break
        name = shorter
    return name


def told_by_name(name: str) -> Told:
    """Return the symbol, the date and the interval that a file's name tells.

    Parameters
    ----------
    name
        For example ``AAPL.csv``, ``BRK-B_1min.csv.gz``, ``BATS_KLMN, 1D_60720.csv``, ``2024-01-02.csv``.
    """
    text = stem(name)
    if (
        _usable(text)
        and not re.fullmatch(r"(19|20)\d\d", text)
        and not parse_interval(text)
        and text.lower() not in _WORDS
        and not _ANY_DATE.search(text)
    ):
        return Told(text, "", "")
    days = [f"{m[1]}-{m[2]}-{m[3]}" for m in _DATE.finditer(text) if _is_day(m)]
    bare = _ANY_DATE.sub(" ", re.sub(r"\(\d+\)$", "", text)).strip()
    interval, left = "", []
    for token in re.split(r"[\s_,;()\[\]@]+", bare):
        parts = [part for part in token.split("-") if part]
        for part in parts:
            interval = interval or (parse_interval(part) if len(part) > 1 or len(parts) == 1 else "")
        # BRK-B is one symbol, AAPL-1min and WIKI-ORCX are a symbol and a word
        kept = "-".join(part for part in parts if not _says_nothing(part, alone=len(parts) == 1))
        left += [kept] if kept else []
    day = days[0] if len(set(days)) == 1 else ""
    upper = [token.upper() if token.islower() or token.isupper() else token for token in left]
    # of several words the one in capitals: `AAPL - Historical prices of mine`
    capitals = [token for token in left if token.isupper() and _usable(token) and len(token) <= 10]
    chosen = upper if len(upper) == 1 else capitals
    symbol = chosen[0] if len(chosen) == 1 and _usable(chosen[0]) else ""
    return Told(symbol, day, interval)


def _says_nothing(part: str, *, alone: bool) -> bool:
    if part.lower() in _WORDS or re.fullmatch(r"\d{1,2}|\d{4,}" if alone else r"\d+", part):
        return True
    return bool(parse_interval(part)) and (alone or len(part) > 1)


def _usable(text: str) -> bool:
    return (
        _TICKER.fullmatch(text) is not None
        and re.search("[A-Z]|^[0-9]{4,6}$|[0-9]\\.[A-Z]", text) is not None
        and is_symbol(text)
    )


def _is_day(match: re.Match[str]) -> bool:
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return False
    return True


def symbol_of(name: str, container: str = "", folder: str = "") -> tuple[str, str, str]:
    """Return a symbol, where it comes from, and a warning that is empty if the symbol is sure.

    Parameters
    ----------
    name
        The name of a file.
    container
        The name of the archive that holds it, if it is in one.
    folder
        The path of the folder it lies in: the last part may be a symbol, any may say ``symbol=AAPL``.

    Raises
    ------
    DataError
        If nothing is left of which a symbol could be made.
    """
    for each in dict.fromkeys((name, container)):
        if each and (symbol := told_by_name(each).symbol):
            return symbol, "file name", ""
    parts = PurePath(folder).parts
    for part in reversed(parts):
        key, equals, value = part.partition("=")
        if equals and key.lower() in {"symbol", "ticker", "sym", "instrument"} and is_symbol(value):
            return value, "folder", ""
    last = parts[-1] if parts else ""
    if (
        _says_little(name)
        and _usable(last)
        and last.lower() not in _WORDS
        and not parse_interval(last)
        and not _ANY_DATE.search(last)
    ):
        return last, "folder", ""
    made = slug(stem(name))
    if not made:
        raise DataError(f"{name} has no column with the symbol.", "Name it: --symbol AAPL")
    warning = f"{name} has no column with the symbol: {made} is made from its name. Name it with --symbol."
    return made, "file name", warning


def _says_little(name: str) -> bool:
    """Tell whether a file's name holds nothing but dates, intervals, numbers and common words."""
    tokens = [token for token in re.split(r"[^A-Za-z0-9]+", _ANY_DATE.sub(" ", stem(name))) if token]
    return all(token.isdigit() or token.lower() in _WORDS or parse_interval(token) for token in tokens)

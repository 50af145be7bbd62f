"""Symbol and interval from the name of a file or its folder, if no column has them."""

import re
import unicodedata
from itertools import zip_longest
from pathlib import PurePath
from typing import Final, NamedTuple
from urllib.parse import unquote

from tickerlake.errors import DataError
from tickerlake.model.instrument import is_plain_symbol, is_symbol, normalize_symbol, slug
from tickerlake.sources.csv.currencies import COINS, MAJOR_CURRENCIES, PRECIOUS_METALS, STABLECOINS
from tickerlake.sources.csv.detect.name_words import is_common_word
from tickerlake.sources.csv.detect.times.interval import parse_interval

_SUFFIXES: Final = re.compile(r"\.(csv|txt|tsv|dat|prn|asc|gz|zst|bz2|xz|zip)$", re.IGNORECASE)
_COPY_MARK: Final = re.compile(
    r"\s*\(\d+\)$|(?<=[A-Za-z])-\d$|[\s_-]+copy(?:[\s_-]*\d+)?$|^copy of ", re.IGNORECASE
)
_TICKER: Final = re.compile(r"[\^.]?[A-Z0-9][A-Z0-9&^=.-]{0,14}|[A-Z]{1,10}\d[A-Z0-9]{0,14}")
_SHORT_DATE: Final = r"\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_ANY_DATE: Final = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])|\d\d[-_.]\d\d[-_.](?:19|20)\d\d"
    rf"|(?:19|20)\d\d[-_](?:0[1-9]|1[0-2])|{_SHORT_DATE}[-_]{_SHORT_DATE})"
    r"(?:T\d\d[-:]?\d\d(?:[-:]?\d\d)?(?:\.\d+)?Z?)?(?!\d)"
)
_SPAN: Final = re.compile(
    r"\d{1,2}(?:y|yrs?|years?|mo|mth|months?)|q[1-4]|fy\d\d(?:\d\d)?|ytd", re.IGNORECASE
)
"""How much time a file spans, or which part of a year."""

_NUMBER_INTERVALS: Final = frozenset("5 10 15 20 30 45 60 90 120 180 240 360 480 720 1440".split())
"""Bare numbers that are minutes: smaller ones number files."""

_CURRENCIES: Final = MAJOR_CURRENCIES | PRECIOUS_METALS | STABLECOINS | COINS
_VENDORS: Final = frozenset(
    """
    yahoo yahoofinance yf yfinance finance stooq alpaca polygon massive tiingo alphavantage av binance kraken
    coinbase bitstamp bitfinex bitmex databento kibot firstrate firstratedata tradingview barchart investing
    quandl wiki iex finnhub eodhd twelvedata dukascopy histdata finam moex nasdaq nyse amex arca bats lse
    xetra nse bse tsx asx hkex otc cboe dbeq xnas xnys gemini okx bybit poloniex cdd tadawul tase zse brvm bvb
    questrade settrade macrotrends oanda fxcm ibkr nsedt kucoin itch pillar glbx mdp3 opra
    """.split()
)
_GENERIC_WORDS: Final = _VENDORS | frozenset(
    """
    historical historic history hist data datas dataset price prices quote quotes stock stocks share shares
    ohlc ohlcv adjusted adj unadjusted raw bar bars trade trades tick ticks candle candles kline klines aggs
    agg aggregate aggregates download downloads export chart table time series timeseries intraday eod full
    sample test train file files report quotesdata max all us market from to last close csv new old copy final
    clean cleaned processed merged output result results my extended stat sip delayed ascii mt mt4 mt5 dat
    msbar bid ask mid candlestick candlesticks spot perp historicaldata historicalprices historicalquotes part
    aggtrades equity eq hourly quotehistory pricehistory stockprice stockprices stockdata 1s tickbidask
    adjsplitdiv splitadjusted split continuous cont year years macro trends crypto forex etf etfs futures
    options indices commodities currencies bookticker booktickers bbo markpriceklines indexpriceklines
    bardata scid premiumindexklines liquidations liquidationsnapshot timesales timeandsales executions fills
    """.split()
)
_WORDS_AFTER_DOTS: Final = frozenset({"DAILY", "INTRADAY"})
_NUMBERED_WORD: Final = re.compile(
    r"(?:v|data|file|sheet|table|prices?|part|test|sample|stocks?)\d{1,3}", re.IGNORECASE
)
_NUMERIC_CODE: Final = re.compile(r"\d{4,6}")
_WORDS_NEXT_TO_CODES: Final = frozenset(
    "kline k day daily stock hkex sse szse tse krx kosdaq nse bse".split()
)
_WORDS_NEXT_TO_SYMBOLS: Final = frozenset(
    """
    rth eth ext reg fx idc ib k cme comex nymex cbot ice eurex mcx chris lbma eod index future cash dly
    dl continuous split index com corp comdty curncy
    """.split()
)
"""Exchanges, sessions and the like: symbols only if nothing else is one."""

_OTHER_CONTRACTS: Final = frozenset({"mini", "micro", "emini", "nano"})
"""Words that make a symbol that of another instrument."""

_NEVER_CURRENCIES: Final = _WORDS_NEXT_TO_SYMBOLS - _CURRENCIES
_FUTURES_EXCHANGES: Final = frozenset({"CME", "CBOT", "NYMEX", "COMEX"})
_DUKASCOPY_UNITS: Final = {
    "s": "s",
    "sec": "s",
    "m": "m",
    "min": "m",
    "h": "h",
    "hour": "h",
    "d": "d",
    "w": "w",
}
_FOLDER_KEYS: Final = frozenset({"symbol", "ticker", "sym", "instrument", "pair"})
_EPOCH_DIGITS: Final = 10
_MAX_FILE_NUMBER: Final = 12
_MAX_LOWER_TICKER: Final = 6
_MAX_FOLDERS: Final = 3
"""How far up a folder is looked for that has a symbol's name."""

_FORMS: Final = (
    # of Dukascopy, as `AAPL.USUSD_Candlestick_1_M_BID_01.01.2024-31.01.2024`
    re.compile(r"(?P<symbol>.+?)_Candlestick_(?P<interval>\d+_[A-Za-z]+)_(?:BID|ASK)\b.*"),
    # of TradingView, as `BATS_AAPL, 1D_60720`
    re.compile(
        r"(?:[A-Z]+(?:_(?:MINI|DLY|EOD|DL|IDC))?_)?(?P<symbol>[A-Z0-9][A-Z0-9!.&^-]*), "
        r"(?P<interval>\w+?)(?:_[0-9a-f]+)?"
    ),
    # of HistData, as `DAT_ASCII_EURUSD_M1_2020`
    re.compile(
        r"(?:DAT|HISTDATA_COM)_[A-Z0-9]+_(?P<symbol>[A-Z0-9]+)_(?:(?P<interval>M1)|T(?:_[A-Z]+)?)_?(?:\d{4}|\d{6})"
    ),
    # of NinjaTrader, as `ES 12-23.Last`
    re.compile(r"(?P<symbol>[A-Z0-9]{1,6}(?: \d\d-\d\d)?)\.(?:Last|Bid|Ask)"),
    # with the kind of code, as `wkn_710999_historic`
    re.compile(
        r"(?i:(?:.*[\s_-])?(?:wkn|isin|symbol|ticker|conid|stock|code)[\s_=-]+)(?P<symbol>[A-Z0-9]*\d[A-Z0-9]*)"
        r"(?:[\s_-]+(?P<rest>.*))?"
    ),
    # of TDX, as `SH#600000`
    re.compile(r"(?P<symbol>(?:SH|SZ|BJ)#\d{6})"),
    # with a sign, as `$SPX`, `@ES#`
    re.compile(r"(?P<symbol>[$@#][A-Z][A-Z0-9.]{0,9}#?|[A-Z]{1,6}\d!)"),
)
"""Names as some vendors write them."""

_METATRADER: Final = re.compile(r"([A-Z]{3})([A-Z]{3})(1|5|15|30|60|240|1440)")


class NameHints(NamedTuple):
    """What a file's name contains; empty for what it does not.

    Parameters
    ----------
    symbol
        A symbol as it is written.
    interval
        The length of bars.
    """

    symbol: str
    interval: str


def strip_extensions(name: str) -> str:
    """Return a file's name without its extensions."""
    while shorter := _SUFFIXES.sub("", name):
        if shorter == name:
            break
        name = shorter
    return name


def _strip_copy_marks(text: str) -> str:
    """Return a name without what a browser or a file manager adds to copies: ``(1)``, `` - Copy``."""
    while (shorter := _COPY_MARK.sub("", text)) and shorter != text:
        text = shorter
    return text


def parse_file_name(name: str) -> NameHints:
    """Return the symbol and the interval in a file's name.

    Parameters
    ----------
    name
        For example ``AAPL.csv``, ``BRK-B_1min.csv.gz``, ``BATS_KLMN, 1D_60720.csv``, ``2024-01-02.csv``.
    """
    text = _strip_copy_marks(normalize_symbol(strip_extensions(name)))
    if text.startswith(".") and not text.isupper():
        text = text.lstrip(".")  # a hidden file, not an index such as `.SPX`
    if form := _match_form(text):
        return form
    return NameHints(text, "") if _is_symbol_alone(text) else _parse_words(text)


def _match_form(text: str) -> NameHints | None:
    """Return what a name of a known form contains."""
    for form in _FORMS:
        if (match := form.fullmatch(text)) and not re.fullmatch(r"(19|20)\d\d", match["symbol"]):
            groups = match.groupdict()
            interval = _name_interval((groups.get("interval") or "").replace("_", ""))
            if "Candlestick" in text:
                count, _, unit = groups["interval"].partition("_")
                interval = parse_interval(f"{count}{_DUKASCOPY_UNITS.get(unit.lower(), '?')}")
            return NameHints(match["symbol"], interval or _parse_words(groups.get("rest") or "").interval)
    match = _METATRADER.fullmatch(text)
    if match and {match[1].lower(), match[2].lower()} <= _CURRENCIES:
        return NameHints(match[1] + match[2], parse_interval(match[3]))
    return None


def _is_symbol_alone(text: str) -> bool:
    """Return whether a name is a symbol as a whole."""
    parts = text.split("-")
    return (
        _is_ticker(text)
        and not re.fullmatch(r"(19|20)\d\d", text)
        and not _name_interval(text)
        and text.lower() not in _GENERIC_WORDS
        and not _ANY_DATE.search(text)
        # AAPL-1d, WIKI-AAPL
        and not (len(parts) > 1 and any(re.search(r"\d", p) and _name_interval(p) for p in parts[1:]))
        and not (
            len(parts) > 1 and (parts[0].lower() in _VENDORS | {"eod"} or parts[-1] in _FUTURES_EXCHANGES)
        )
        and not any(re.fullmatch(r"(19|20)\d\d", part) for part in parts[1:])
    )


class _Word(NamedTuple):
    """A word of a name, and what joins it to the word before it; empty if they are not neighbors."""

    text: str
    joint: str = ""

    def is_one_of(self, words: frozenset[str]) -> bool:
        """Return whether it consists of some words."""
        return set(self.text.lower().split("-")) <= words


def _parse_words(text: str) -> NameHints:
    """Return what the words of a name contain."""
    # a dot belongs to a symbol only at the start of the name
    bare = re.sub(r"(?<=\s)\.", "", _ANY_DATE.sub(" ", text)).strip()
    pieces = re.split(r"([\s_,;()\[\]@]+)", bare)
    interval = joint = ""
    words: list[_Word] = []
    for token, after in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        parts = [part for part in _split_dots(token).split("-") if part]
        for part in parts:
            # `h_index`: a letter is an interval only behind a symbol
            is_interval = len(part) > 1 or (len(parts) == 1 and bool(words))
            interval = interval or (_name_interval(part) if is_interval else "")
        own = _own_words(parts)
        words += [_Word(word, joint if n == 0 else "") for n, word in enumerate(own)]
        joint = after if own else ""
    symbol = _find_pair([word for word in words if not word.is_one_of(_NEVER_CURRENCIES)])
    if not symbol:
        texts = [word.text for word in words if not word.is_one_of(_WORDS_NEXT_TO_SYMBOLS)]
        symbol = _find_ticker([_strip_venues(word) for word in texts or [word.text for word in words]])
    if any(set(word.text.lower().split("-")) & _OTHER_CONTRACTS for word in words):
        symbol = ""
    if not set(map(str.lower, (word.text for word in words))) - _WORDS_NEXT_TO_CODES:
        symbol = symbol or _find_code(pieces[::2])
    return NameHints(symbol, interval)


def _split_dots(token: str) -> str:
    """Return a token with dashes for the dots around common words and intervals: ``SPY.trades``."""
    parts = [part for part in token.rstrip(".").split(".") if part]
    separated = "." if token.startswith(".") else ""
    was_common = True
    for part in parts:
        is_word = part.islower() and len(part) > 2 and part in _GENERIC_WORDS
        is_common = (is_word or part in _WORDS_AFTER_DOTS) or (
            len(part) > 1 and bool(_name_interval(part)) and not part.isupper()
        )
        separated += (
            part if not separated or separated == "." else f"{'-' if is_common or was_common else '.'}{part}"
        )
        was_common = is_common
    return separated


def _own_words(parts: list[str]) -> list[str]:
    """Return the parts of a token that are not common, joined where they are neighbors.

    ``BRK-B`` is one symbol, ``AAPL-1min`` and ``WIKI-ORCX`` are a symbol and a word, ``sp-500-micro`` is two
    words.
    """
    groups: list[list[str]] = [[]]
    alone = len(parts) == 1
    for part, after in zip_longest(parts, parts[1:], fillvalue=""):
        is_base = after.lower() in _CURRENCIES and part.lower() not in _VENDORS and not part.isdigit()
        if is_base or not _is_generic_part(part, alone=alone):
            groups[-1].append(part)
        elif groups[-1]:
            groups.append([])
    return ["-".join(group) for group in groups if group]


def _find_code(tokens: list[str]) -> str:
    """Return the only number that can be a code of an exchange in Asia: not a date, nor a year."""
    codes = [
        token
        for token in tokens
        if _NUMERIC_CODE.fullmatch(token)
        and not re.fullmatch(rf"(19|20)\d\d(0[1-9]|1[0-2])?|[0-2]{_SHORT_DATE[2:]}", token)
    ]
    rest = [token for token in tokens if token not in codes and token and not token.isdigit()]
    is_named = all(token.lower() in _WORDS_NEXT_TO_CODES or _name_interval(token) for token in rest)
    return codes[0] if len(codes) == 1 and is_named else ""


def _find_pair(words: list[_Word]) -> str:
    """Return the symbol of a name with one pair of currencies, as it is written: ``BTC_USD``."""
    upper = [word.text.upper() if word.text.islower() else word.text for word in words]
    for n, base in enumerate(upper):
        end = n + 1
        while end < len(upper) and words[end].joint in {"_", " "} and upper[end].lower() in _CURRENCIES:
            end += 1
        if end > n + 1 and base.isalnum() and _is_ticker(base):
            pair = base + "".join(words[k].joint + upper[k] for k in range(n + 1, end))
            return "" if any(map(str.isupper, [*upper[:n], *upper[end:]])) else pair
    return ""


def _find_ticker(words: list[str]) -> str:
    """Return the only word that can be a ticker; of several words, the only one in upper case."""
    upper = [word.upper() if word.islower() or word.isupper() else word for word in words]
    # `AAPL - Historical prices of mine`, but not `S&P 500`
    capitals = [word for word in words if word.isupper() and _is_ticker(word) and len(word) <= 10]
    if len(words) == 1 and words[0].islower() and not _is_lower_ticker(words[0]):
        return ""
    candidates = upper if len(upper) == 1 else [] if any(map(str.isdigit, words)) else capitals
    return candidates[0] if len(candidates) == 1 and _is_ticker(candidates[0]) else ""


def _is_lower_ticker(word: str) -> bool:
    """Return whether a word in lower case is a ticker rather than a word: short, with a digit, or a pair."""
    return (
        len(word) <= _MAX_LOWER_TICKER
        or any(character in "0123456789.-^=" for character in word)
        or word[-3:] in _CURRENCIES
        or word[-4:] in _CURRENCIES
    )


def _strip_venues(word: str) -> str:
    """Return ``ESZ23`` of ``ESZ23-CME``."""
    parts = word.split("-")
    kept = [part for part in parts if part.lower() not in _NEVER_CURRENCIES]
    return "-".join(kept) or word


def _name_interval(part: str) -> str:
    """Return the interval in a part of a name; a bare number only if it is a usual one."""
    if part.isdigit():
        return parse_interval(part) if part in _NUMBER_INTERVALS else ""
    return "" if _SPAN.fullmatch(part) else parse_interval(part)


def _is_generic_part(part: str, *, alone: bool) -> bool:
    if part.lower() in _GENERIC_WORDS or _SPAN.fullmatch(part) or _NUMBERED_WORD.fullmatch(part):
        return True
    if part.isdigit():
        # files are numbered up to a dozen; NIFTY_50
        return not alone or len(part) > 3 or int(part) <= _MAX_FILE_NUMBER or part in _NUMBER_INTERVALS
    return bool(_name_interval(part)) and (alone or len(part) > 1)


def _is_ticker(text: str) -> bool:
    return (
        _TICKER.fullmatch(text) is not None
        and re.search("[A-Z]|^[0-9]{4,6}$|[0-9]\\.[A-Z]", text) is not None
        and is_plain_symbol(text)
    )


def infer_symbol(name: str, archive_name: str = "", folder: str = "") -> tuple[str, str, str]:
    """Return a symbol, where it comes from, and a warning that is empty if the symbol is certain.

    Parameters
    ----------
    name
        The name of a file.
    archive_name
        The name of the archive that contains it, if any.
    folder
        The path of its folder: the last parts may be a symbol, any part may be ``symbol=AAPL``.

    Raises
    ------
    DataError
        If the name contains nothing from which a symbol can be made.
    """
    doubtful = ""
    for each in dict.fromkeys((name, archive_name)):
        if each and (symbol := parse_file_name(each).symbol):
            if symbol in normalize_symbol(each) or not is_common_word(symbol.lower()):
                return symbol, "file name", ""
            doubtful = doubtful or symbol
    parts = PurePath(folder).parts
    for part in reversed(parts):
        key, equals, value = part.partition("=")
        value = normalize_symbol(unquote(value))
        if equals and key.lower() in _FOLDER_KEYS and is_symbol(value):
            return value, "folder", ""
    if (doubtful or _is_generic_name(strip_extensions(name))) and (symbol := _folder_symbol(parts)):
        return symbol, "folder", ""
    derived = doubtful or _derive_symbol(name)
    if not derived:
        raise DataError(f"{name} has no column with the symbol.", "Specify it: --symbol AAPL")
    warning = (
        f"{name} has no column with the symbol: {derived} is derived from its name. Specify it with --symbol."
    )
    return derived, "file name", warning


def _folder_symbol(parts: tuple[str, ...]) -> str:
    """Return the symbol that the folder is called, or one above folders for intervals, years or vendors."""
    for part in list(reversed(parts))[:_MAX_FOLDERS]:
        if _is_ticker(part) and _is_symbol_alone(part):
            return part
        if not _is_generic_name(part):
            return ""
    return ""


def _is_generic_name(text: str) -> bool:
    """Return whether a name contains only dates, intervals, numbers and common words."""
    bare = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", _ANY_DATE.sub(" ", text))
    tokens = [token for token in re.split(r"[^A-Za-z0-9]+", bare) if token]
    return bare.isascii() and all(
        token.isdigit() or token.lower() in _GENERIC_WORDS or _SPAN.fullmatch(token) or parse_interval(token)
        for token in tokens
    )


def _derive_symbol(name: str) -> str:
    """Return a symbol made of a name's own words, or else of the whole name."""
    text = _ANY_DATE.sub(" ", _strip_copy_marks(strip_extensions(name)))
    text = re.sub(r"(\d)[\s_-](?=(?:sec|min|hour|day)[a-z]*)", r"\1", text)
    words = [word for word in re.split(r"[\s_,;()\[\]@.-]+", text) if word and not _is_common_word(word)]
    own = slug(_fold_accents(" ".join(words))) if any(re.search(r"[^\W\d]", word) for word in words) else ""
    return own or slug(_fold_accents(strip_extensions(name)))


def is_generic_word(word: str) -> bool:
    """Return whether a word is one of vendors, intervals and the like, and never a symbol."""
    return _is_generic_part(word, alone=True)


def _is_common_word(word: str) -> bool:
    """Return whether a word says nothing about a symbol; numbers may be part of one (a strike, NIFTY 50)."""
    if word.isdigit():
        return bool(re.fullmatch(r"(19|20)\d\d", word)) or len(word) >= _EPOCH_DIGITS
    is_interval = (
        bool(_name_interval(word)) and len(word) > 1 and word.lower() not in {"day", "week", "month"}
    )
    is_common = word.lower() in _GENERIC_WORDS or bool(
        _SPAN.fullmatch(word) or _NUMBERED_WORD.fullmatch(word)
    )
    return is_common or is_interval


def _fold_accents(text: str) -> str:
    """Return a text in which letters with accents are the letters without them, where these are ASCII."""
    folded = (unicodedata.normalize("NFKD", character)[0] for character in normalize_symbol(text))
    return "".join(
        plain if plain.isascii() else written
        for plain, written in zip(folded, normalize_symbol(text), strict=True)
    )

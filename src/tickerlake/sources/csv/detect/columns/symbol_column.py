"""The column that has the symbols, by its name and by what its values allow. Pure."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from tickerlake.model.schema import BAR
from tickerlake.sources.csv.detect.columns.assignment import RoleAssignment
from tickerlake.sources.csv.detect.columns.cells import (
    MIN_SHARE,
    SAMPLE_CELLS,
    ColumnSample,
    is_running_number,
)
from tickerlake.sources.csv.detect.columns.close_names import is_national_money
from tickerlake.sources.csv.detect.columns.layout import ROLE_RANKS, normalize_name, role_ranks, split_words
from tickerlake.sources.csv.detect.times.dates import is_short_month

_FIRST_WEAK_RANK: Final = ROLE_RANKS["symbol"]["tick"]
"""From here on, the names of symbol columns may also mean something else."""

_NOT_SYMBOL_WORDS: Final = {"id", "exchange", "conditions", "type", "side", "series", "market"}
_FLAGS: Final = frozenset("D EQ ADJ LAST TRADE TRUE FALSE B S BUY SELL N Y".split())
_NAME: Final = re.compile(r"[^\W_][\w.&’()-]*(?:[ /:][\w.&’()-]+)*")
"""A name of words or a pair: ``Koç Holding``, ``EUR/USD``."""

_MIN_NAME_LENGTH: Final = 3
_TICKER_OF_TWO_PARTS: Final = re.compile(r"[$#@^]?[A-Z0-9][A-Z0-9.-]{0,11}[/: ][A-Z0-9][A-Z0-9.-]{0,11}")
_CONTRACT_MONTH: Final = re.compile(
    r"(?:19|20)\d\d-?(?:0[1-9]|1[0-2])(?:00|W\d|F\d)?(?:[/:](?:19|20)\d\d(?:0[1-9]|1[0-2])(?:W\d|F\d)?)?"
)
"""``202403``, ``20240300``, of a week ``202403W2``, of a spread ``202403/202406``."""

_FUTURE: Final = re.compile(r"[A-Z0-9]{1,8} (?:[A-Z]{3} ?\d{2}|\d{2}-\d{2})(?:\d\d)?")
"""``ES 03-24``, ``MES SEP25``."""

_ORDER_WORDS: Final = re.compile(
    r"(?:(?:entry|exit|stop|target|profit|loss|take|trail(?:ing)?|buy|sell|long|short|limit|market|open|close|"
    r"cover|flat(?:ten)?|add|reduce|order|mit|\d+)[ _-]?)+\d*",
    re.IGNORECASE,
)
_CLEAR_TICKER: Final = re.compile(
    r"[A-Z0-9][A-Z0-9.-]{0,11}[/:][A-Z][A-Z0-9.-]{0,11}|[A-Z]{1,12} (?:[A-Z]|\d{2,4})"
    r"|[$#@/][A-Z][A-Z0-9.]{0,11}"
)
"""A ticker that is not another text: ``EUR/USD``, ``NSE:INFY``, ``BRK B``, ``NIFTY 50``, ``$SPX``."""

_PLAIN_TICKER: Final = re.compile(r"[\^.]?[A-Z0-9][A-Z0-9.&^=_-]{0,14}")
_LETTERS: Final = re.compile(r"[A-Z]{1,6}(?:[.-][A-Z]{1,3})?")
_ISIN: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{9}\d")
_DIGITS: Final = re.compile(r"\d{3,10}")
_EMPTY_MARKS: Final = frozenset({"", "-", "--", "—", "–"})
_CODE_WORDS: Final = frozenset(
    split_words(
        """
        code codes symbol ticker sym tick mnemonic mnemo abbreviation kodu kod kode koda kód κωδικός cod
        codice código símbolo simbol sembol symbole kürzel kuerzel код тикер 代码 代碼 代號 コード 코드
        """
    )
)
_WORDS_OF_OTHER_CODES: Final = frozenset(
    """
    exchange currency country sector industry market mic board segment group type class status session order
    trade transaction account broker member isin error condition conditions side venue region index category
    """.split()
)
"""Of codes that are not an instrument's, although they may differ on each of a few rows."""

_KINDS: Final = frozenset(
    """
    CNC MIS NRML MTF INTRADAY DELIVERY MARGIN CROSS ISOLATED SPOT FUTURE FUTURES PERP PERPETUAL SWAP
    OPTION OPTIONS STOCK STOCKS EQUITY EQUITIES SHARE SHARES CRYPTO CRYPTOCURRENCY FOREX FX CFD CFDS ETF
    ETFS FUND FUNDS BOND BONDS COMMODITY COMMODITIES CURRENCY SECURITIES TOTAL
    """.split()
)
"""Kinds of instruments and of orders, which a column of products may hold."""

_VENUE_WORDS: Final = frozenset(
    "market markets exchange exchanges venue mic board platform bourse borse boerse borsa mercado".split()
)
_VENUES: Final = frozenset(
    """
    NYSE NASDAQ NASDAQGS NASDAQGM NASDAQCM NMS NSDQ AMEX ARCA NYSEARCA BATS BZX BYX EDGA EDGX IEX CBOE
    CBT CME CBOT NYMEX COMEX GLOBEX ICE IFEU EUREX XETRA FRA LSE LSEG TSX TSXV CSE NEO ASX CXA CHIX
    CHI-X NSX SSX NSE BSE NFO BFO MCX NCDEX SSE SZSE SHSE SH SZ BJ SHFE DCE CZCE CFFEX INE HKEX HKG SEHK
    TSE TYO JPX OSE JASDAQ MOTHERS KRX KOSPI KOSDAQ KONEX TWSE TPEX OTC OTCMKTS PINK SGX SET IDX PSE
    HOSE HNX UPCOM MOEX MISX RTS GPW BIST B3 BOVESPA BVMF BMV BCBA BYMA JSE NGX EGX TADAWUL DFM ADX QSE
    TASE EURONEXT ENX SIX SWX OMX AQUIS TRADEGATE GETTEX BINANCE COINBASE KRAKEN BITSTAMP BITFINEX
    BITMEX BYBIT OKX KUCOIN GEMINI HUOBI UPBIT BITHUMB DERIBIT US USA UK EU JP HK CN IN AU CA KR TW SG
    """.split()
)
_GROUP_WORDS: Final = frozenset(
    """
    provider sector issuer category exchange industry region country manager custodian administrator
    market board segment group
    """.split()
)
"""Names of columns that put several instruments together."""

_MIC: Final = re.compile(r"X[A-Z]{3}")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{16,}")

_MIN_INSTRUMENTS: Final = 3
"""Two rows differ in much."""

_MAX_CODES_PER_NAME: Final = 1.5

_BASE_NAMES: Final = frozenset("currency coin basecurrency baseasset basecoin cryptocurrency crypto".split())
_CURRENCY_NAMES: Final = frozenset(
    map(
        normalize_name,
        """
        currency currencyname currencycode ccy currencies moneda divisa waluta devise währung valuta döviz
        dövizcinsi dövizkodu 货币 货币名称 貨幣 幣別 币别 通貨 通貨名 통화 통화명 валюта
        """.split(),
    )
)
_RATE_WORDS: Final = frozenset("rate buying".split())
_RATE_NAMES: Final = frozenset(
    map(
        normalize_name,
        """
        ttb ttbuy ttbuying bankbuying 现汇买入价 現匯買入價 买入价 買入價 買入匯率 買気配 ankaufskurs
        dövizalış kurskupna cursachat tauxachat
        """.split(),
    )
)
"""Names of what a bank pays for a currency."""

_TICKER_WITH_SIGN: Final = re.compile(r"[$#@/][A-Z0-9.]{1,12}")


def find_symbol_column(assignment: RoleAssignment, ranks: Sequence[dict[str, int]]) -> int | None:
    """Return the column that is called a symbol, None if there is none.

    A name such as ``ticker`` settles it, whatever the values are; a name such as ``code`` or ``market`` only
    if the values can be symbols.

    Parameters
    ----------
    ranks
        The roles that each column's name may mean, with their ranks.
    """
    columns = assignment.columns
    named = sorted((ranks[i]["symbol"], i) for i in assignment.unassigned if "symbol" in ranks[i])
    strong = [i for rank, i in named if rank < _FIRST_WEAK_RANK and not _is_empty(columns[i])]
    if strong:
        return next((i for i in strong if can_be_symbol(columns[i])), strong[0])
    weak = [
        i
        for rank, i in named
        if rank >= _FIRST_WEAK_RANK
        and not _is_empty(columns[i])
        and not ("size" in ranks[i] and columns[i].is_numeric)
        and not _are_order_words(columns[i])
        and not _are_no_instruments(assignment.names[i], columns[i])
        and not columns[i].share_where(_CONTRACT_MONTH.fullmatch) >= MIN_SHARE
    ]
    plain = [i for i in weak if can_be_symbol(columns[i]) or columns[i].share_where(_is_clear_ticker) >= 0.5]
    if plain and _has_empty_marks(columns[plain[0]]):
        plain.sort(key=lambda i: not _is_complete_code(columns[i]))
    names = [i for i in weak if i not in plain and _are_names(columns[i])]
    distinguishing = [i for i in [*plain, *names] if _separates_rows(assignment, i)]
    if plain and (not distinguishing or len(set(columns[plain[0]].strings)) > 1):
        found = plain[0]
        finer = [i for i in distinguishing if _is_finer(assignment, i, found)]
        found = finer[0] if finer else found
    else:
        found = next(iter([*distinguishing, *names]), -1)
    return _code_beside(assignment, ranks, found) if found >= 0 else None


def find_base_currency(assignment: RoleAssignment) -> int | None:
    """Return the column with the coin of each trade, which some exchanges call currency, if there is one.

    It is the currency of the price if it holds national currencies, or stablecoins alone.
    """
    names, columns = assignment.names, assignment.columns
    bases = [i for i in assignment.unassigned if normalize_name(names[i]) in _BASE_NAMES]
    bases = [i for i in bases if can_be_symbol(columns[i])]
    if len(bases) != 1:
        return None
    is_beside_quote = any(
        {"quote", "counter", "price"} & set(split_words(name)) and "currency" in split_words(name)
        for name in names
    )
    coins = {text.upper() for text in columns[bases[0]].non_missing if not is_national_money(text)}
    return bases[0] if is_beside_quote or len(coins) > 1 else None


def find_quoted_currency(assignment: RoleAssignment, bid: int) -> int | None:
    """Return the column with the currency that a bank buys and sells, None if there is none.

    One currency on all rows is that of the prices, unless these are called rates.
    """
    names, columns = assignment.names, assignment.columns
    found = [i for i in assignment.unassigned if normalize_name(names[i]) in _CURRENCY_NAMES]
    found = [i for i in found if not columns[i].is_numeric and any(columns[i].strings)]
    if len(found) != 1:
        return None
    is_rate = bool(_RATE_WORDS & set(split_words(names[bid]))) or normalize_name(names[bid]) in _RATE_NAMES
    return found[0] if is_rate or len(set(columns[found[0]].non_missing)) > 1 else None


def find_contract_month(
    assignment: RoleAssignment, ranks: Sequence[dict[str, int]], record_type: str
) -> int | None:
    """Return the column that distinguishes the contracts of one product, None if there is none.

    Of bars it must distinguish rows of one time: else they are one series, of the nearest contract.
    """
    columns = assignment.columns
    found = [
        i
        for i in assignment.unassigned
        if "contract_month" in ranks[i] and columns[i].share_where(_CONTRACT_MONTH.fullmatch) >= MIN_SHARE
    ]
    if record_type == BAR:
        found = [i for i in found if _separates_rows(assignment, i)]
    return next(iter(found), None)


def passed_over_columns(assignment: RoleAssignment, ranks: Sequence[dict[str, int]]) -> tuple[int, ...]:
    """Return the columns with names of symbols whose first rows are empty, or always the same.

    If a later row differs, they distinguish symbols.
    """
    columns = assignment.columns
    return tuple(
        i
        for i in assignment.unassigned
        if "symbol" in ranks[i]
        and not columns[i].is_numeric
        and not columns[i].temporal_kind
        and len(set(columns[i].strings)) <= 1
        and not _are_no_instruments(assignment.names[i], columns[i])
    )


def is_vague_symbol_name(name: str) -> bool:
    """Return whether a column's name may be that of a symbol or of another number: ``name``, ``asset``."""
    rank = role_ranks(name).get("symbol", -1)
    joined = "".join(split_words(name))
    return rank >= _FIRST_WEAK_RANK and not any(word in joined for word in _CODE_WORDS)


def infer_symbol_column(assignment: RoleAssignment) -> None:
    """Assign the symbol to a column that distinguishes rows of one time, or to the only column of text."""
    columns, names = assignment.columns, assignment.names
    candidates = _without_groups(
        assignment, [i for i in assignment.unassigned if _can_be_unnamed(names[i], columns[i])]
    )
    if any(_has_empty_marks(columns[i]) for i in candidates):
        codes = [i for i in assignment.unassigned if _is_code_of_digits(names[i], columns[i])]
        complete = [i for i in (*codes, *candidates) if not _has_empty_marks(columns[i])]
        candidates = complete[:1] if codes or len(complete) == 1 else candidates
    if not any(names) and candidates:
        assignment.assign("symbol", candidates[0], "its values are symbols")
    elif (
        len(candidates) == 1
        and any(cells.strings for cells in columns)
        and _separates_rows(assignment, candidates[0])
    ):
        assignment.assign("symbol", candidates[0], "its values distinguish rows of one time")


def _without_groups(assignment: RoleAssignment, candidates: list[int]) -> list[int]:
    """Return candidates without providers, sectors and the like, if a column of codes or names is finer."""
    names, columns = assignment.names, assignment.columns
    groups = [i for i in candidates if _is_group_name(names[i])]
    if not groups:
        return candidates
    finer = [i for i in candidates if i not in groups and len(set(columns[i].strings)) > 1]
    finer = finer or [
        i
        for i in assignment.unassigned
        if i not in groups
        and _are_names(columns[i])
        and not (_GROUP_WORDS | _NOT_SYMBOL_WORDS) & set(split_words(names[i]))
    ]
    return finer or candidates


def _is_finer(assignment: RoleAssignment, index: int, coarse: int) -> bool:
    """Return whether a column that tells rows apart divides the groups of another one."""
    names = assignment.names
    if _is_group_name(names[index]) or index == coarse:
        return False
    fine, groups = assignment.columns[index].strings, assignment.columns[coarse].strings
    divides = len(set(zip(fine, groups, strict=True))) == len(set(fine)) > len(set(groups))
    is_repeated = len(set(fine)) < len(fine)
    return _is_group_name(names[coarse]) or (divides and is_repeated)


def _is_group_name(name: str) -> bool:
    return bool(_GROUP_WORDS & set(split_words(name)))


def _code_beside(assignment: RoleAssignment, ranks: Sequence[dict[str, int]], index: int) -> int:
    """Return the column of tickers that distinguishes the same instruments as a column of names or ISINs.

    It is the column itself if that has tickers, or no other column has.
    """
    columns = assignment.columns
    if columns[index].share_where(_is_ticker) >= MIN_SHARE:
        return index
    words = {i: split_words(assignment.names[i]) for i in assignment.unassigned if i != index}
    free = [
        i for i, own in words.items() if set(ranks[i]) <= {"symbol"} and not _WORDS_OF_OTHER_CODES & set(own)
    ]
    codes = [i for i in free if words[i] and words[i][-1] in _CODE_WORDS]
    texts = columns[index].strings
    named = [i for i in codes if _is_code_of(columns[i], texts, _is_ticker)]
    # without a name that says so, numbers and identifiers of rows would be codes as well
    others = [i for i in free if i not in codes and _is_code_of(columns[i], texts, _LETTERS.fullmatch)]
    return next(iter([*named, *others]), index)


def _is_code_of(cells: ColumnSample, names: Sequence[str], is_code: Callable[[str], object]) -> bool:
    """Return whether a column has one code for each of several names; for a few, two: a share and a right."""
    pairs = {(code, name) for code, name in zip(cells.strings, names, strict=True) if code and name}
    codes, distinct = {code for code, _ in pairs}, set(filter(None, names))
    return (
        _MIN_INSTRUMENTS <= len(distinct) <= len(codes) <= _MAX_CODES_PER_NAME * len(distinct)
        and len(pairs) == len(codes)
        and sum(map(bool, cells.strings)) >= MIN_SHARE * len(names)
        and cells.share_where(is_code) >= MIN_SHARE
        and not _is_flag_column(cells)
    )


def can_be_symbol(cells: ColumnSample) -> bool:
    """Return whether a column can be symbols: not dates, nor a running number."""
    is_dated = cells.temporal_kind == "timestamp" and not cells.share_where(is_short_month) >= MIN_SHARE
    return cells.is_symbol_like and not is_dated and not is_running_number(cells)


def _has_empty_marks(cells: ColumnSample) -> bool:
    """Return whether rows have no code, or a sign that stands for none."""
    return any(text in _EMPTY_MARKS for text in cells.strings)


def _is_complete_code(cells: ColumnSample) -> bool:
    return not _has_empty_marks(cells) and cells.share_where(_is_ticker) >= MIN_SHARE


def _is_code_of_digits(name: str, cells: ColumnSample) -> bool:
    """Return whether a column is called a code, and has digits: ``Scheme Code``."""
    words = split_words(name)
    is_called_so = bool(words) and words[-1] in _CODE_WORDS and not _WORDS_OF_OTHER_CODES & set(words)
    return is_called_so and cells.share_where(_DIGITS.fullmatch) >= MIN_SHARE


def _is_empty(cells: ColumnSample) -> bool:
    # not `non_missing`: `NA` is a symbol as well
    return bool(cells.strings) and not any(cells.strings)  # a file without rows contradicts no name


def _are_names(cells: ColumnSample) -> bool:
    """Return whether a column has different names of several words: ``Koç Holding``, ``EUR/USD``."""
    return (
        len(set(cells.strings)) > 1
        and not cells.is_numeric
        and not cells.temporal_kind
        and cells.share_where(lambda text: len(text) >= _MIN_NAME_LENGTH and _NAME.fullmatch(text)) >= 0.5
    )


def _can_be_unnamed(name: str, cells: ColumnSample) -> bool:
    return (
        (cells.is_symbol_like or cells.share_where(_is_composed_ticker) >= 0.5)
        and not cells.temporal_kind
        and not cells.is_numeric
        and not _is_flag_column(cells)
        and not all(len(text) == 1 and text.islower() for text in cells.strings[:SAMPLE_CELLS])
        and not _NOT_SYMBOL_WORDS & set(split_words(name))
    )


def _are_no_instruments(name: str, cells: ColumnSample) -> bool:
    """Return whether a column has venues, kinds of instruments, fractions or addresses instead of symbols."""
    texts = {text.upper() for text in cells.strings[:SAMPLE_CELLS] if text}
    if not texts:
        return False
    if _VENUE_WORDS & set(split_words(name)) and all(
        text in _VENUES or _MIC.fullmatch(text) is not None for text in texts
    ):
        return True
    if any(re.fullmatch(r"\d+[.,]\d+", text) for text in texts):
        return True
    return texts <= _KINDS or any(map(_ADDRESS.match, cells.non_missing[:SAMPLE_CELLS]))


def _are_order_words(cells: ColumnSample) -> bool:
    """Return whether a column has nothing but words for orders: Entry, Stop1, Profit target."""
    texts = set(cells.non_missing)
    # 600000 and 000001 are codes
    is_worded = not all(map(str.isdigit, texts))
    return len(texts) > 1 and is_worded and all(map(_ORDER_WORDS.fullmatch, texts))


def _is_ticker(text: str) -> bool:
    """Return whether a text is written as tickers are, and is not an ISIN."""
    is_plain = _PLAIN_TICKER.fullmatch(text) and not _ISIN.fullmatch(text)
    return bool(is_plain) or _is_clear_ticker(text)


def _is_clear_ticker(text: str) -> bool:
    return (_CLEAR_TICKER.fullmatch(text) or _FUTURE.fullmatch(text)) is not None


def _is_composed_ticker(text: str) -> bool:
    """Return whether a text is written as tickers are: ``BTC/USD``, ``NSE:INFY``, ``BRK B``, ``$SPX``."""
    pattern = _TICKER_WITH_SIGN if text[:1] in "$#@/" else _TICKER_OF_TWO_PARTS
    return pattern.fullmatch(text) is not None and any(map(str.isalpha, text))


def _is_flag_column(cells: ColumnSample) -> bool:
    # not `non_missing`: `NA` is a symbol as well
    return {text.upper() for text in cells.strings[:SAMPLE_CELLS] if text} <= _FLAGS


def _separates_rows(assignment: RoleAssignment, index: int) -> bool:
    """Return whether several rows have one time, and nearly all of these differ in a column."""
    if "time" not in assignment.roles:
        return False
    keys = list(zip(assignment.strings("time"), assignment.strings("clock"), strict=True))
    with_symbol = set(zip(keys, assignment.columns[index].strings, strict=True))
    return len(set(keys)) < 0.8 * len(keys) and len(with_symbol) > 0.95 * len(keys)

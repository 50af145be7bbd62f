"""The names of columns in tables of closes: closes, volumes, symbols, and names that say otherwise."""

import re
from collections.abc import Collection, Sequence
from typing import Final

from tickerlake.model.instrument import is_symbol
from tickerlake.sources.csv.currencies import (
    COINS,
    CURRENCIES,
    PRECIOUS_METALS,
    STABLECOINS,
    UNITS_OF_ACCOUNT,
)
from tickerlake.sources.csv.detect.columns.layout import ROLE_RANKS, normalize_name, role_ranks, split_words

_LEVELS: Final = frozenset(
    map(
        normalize_name,
        """
        nav netassetvalue navpershare navperunit navprice navunit netassetvaluepershare
        netassetvalueperunit unitnav dailynav accumulatednav unitprice unitvalue indexclose indexvalue
        indexlevel anteilwert anteilspreis anteilpreis inventarwert nettoinventarwert rücknahmepreis
        valeurliquidative vl valeurdelapart valorliquidativo vliq valorcuota valorcota valordacota cota
        cuota vlquota valoredellaquota valorequota valorquota nettoandelsværdi andelsvärde andelskurs
        indreværdi osuudenarvo wartośćjednostki nilaiaktivabersih
        基準価額 単位净值 单位净值 净值 最新净值 基準價 기준가 기준가격
        """.split(),
    )
)
"""What funds and indices call their close."""

_RATES: Final = frozenset(
    map(
        normalize_name,
        """
        rate fixing fix exchangerate fxrate referencerate spotrate officialrate midrate wechselkurs
        referenzkurs devisenkurs tauxdechange cours tipodecambio tasadecambio taxadecambio cambio
        kurswymiany kursśredni курс döviz dövizkuru 汇率 中间价 為替レート 仲値 환율 index level
        """.split(),
    )
)
"""What may be a close where no other column is."""

RATE_NAMES: Final = frozenset(
    map(
        normalize_name,
        """
        rate fixing fix exchangerate fxrate referencerate spotrate officialrate midrate wechselkurs
        referenzkurs devisenkurs tauxdechange tipodecambio tasadecambio taxadecambio kurswymiany döviz
        dövizkuru 汇率 中间价 為替レート 仲値 환율
        """.split(),
    )
)
"""Those of them that are rates of currencies."""

_LAST_RANK: Final = ROLE_RANKS["close"]["last"]
"""The names before this one mean the close and nothing else."""

_RESEMBLING_RANK: Final = 500
_QUANTITIES: Final = frozenset(
    map(
        normalize_name,
        """
        qty quantity shares size amount menge stück stueck quantité cantidad quantidade quantità units lot
        """.split(),
    )
)
"""Names of volumes that are as well those of what an account holds."""

_ACCOUNT_WORDS: Final = frozenset(
    """
    qty quantity quantité cantidad quantidade quantità menge anzahl aantal antal stück stueck position
    positions holding holdings cost proceeds pnl realized unrealized strike expiry expiration option put
    call side order action account portfolio balance saldo debit credit fee fees gebühr gebühren
    commission courtage entry exit weight weights allocation deposit withdrawal
    手数料 手续费 手續費 수수료 売買 売買区分 取引区分 口座区分 受渡日 受渡金額 買賣 买卖方向 매매구분
    """.split()
)
_OTHER_WORDS: Final = frozenset(
    """
    amount betrag montant importe importo kwota revenue sales income earnings eps ebitda ebit assets
    liabilities debt cash capex margin profit loss tax taxes description memo category payee reference
    type units return returns score count fiscal quarter
    """.split()
)
"""Words of other tables, which do not contradict a column that is called close."""

_NOT_SYMBOLS: Final = frozenset(
    """
    prev previous prior chg change pct next raw unadj tmax tmin tavg prcp snow wind humidity rsi
    macd sma ema wma dema tema ma atr adx cci roc obv vwap bb bbands bollinger stoch mfi psar sar
    kama trix momentum signal hist volatility vol zscore indicator mkt smb hml rmw cma umd mom rf
    rfr mktrf qmj bab wml alpha beta excess factor revenue sales ebitda ebit eps pe pb ps pcf roe
    roa assets liabilities equity debt cash capex fcf income netincome profit margin dividend
    dividends yield div marketcap mcap aum amount balance fee fees tax total cost pnl pl qty units
    quantity weight weights position positions deposit withdrawal debit credit return returns ret
    logret mean std stdev var median sum index level score rank id cum cumulative shares float
    spread delta gamma vega theta iv strike expiry option put call portfolio benchmark strategy nav
    value values price prices rate rates date time year month day week quarter hour weekday flag
    label target open high low close volume adj adjclose last bid ask mid count min max number no
    temp temperature rain population prediction predicted actual forecast y x z a1 a2
    """.split()
)
"""Names in capital letters that are quantities, not symbols."""

_CURRENCIES_OR_METALS: Final = CURRENCIES | PRECIOUS_METALS | UNITS_OF_ACCOUNT
_CURRENCIES_OR_COINS: Final = _CURRENCIES_OR_METALS | STABLECOINS | COINS
_NATIONAL_MONEY: Final = CURRENCIES | STABLECOINS
_SYMBOL_NAME: Final = re.compile(r"[\^$.]?[A-Z0-9][A-Z0-9.\-_^=&/:]{0,24}[a-z]?")
_SPACED_SYMBOL_NAME: Final = re.compile(
    r"[A-Z0-9]{1,6} [A-Z]|[A-Z0-9./]{1,12} (?:[A-Z]{2} )?(?:Equity|Index|Curncy|Comdty|Corp|Govt)"
)
_NUMERIC_SYMBOL: Final = re.compile(r"(?!(?:19|20)\d\d$)\d{4,6}")
_MIN_SYMBOLS: Final = 2
_MAX_ODD_SHARE: Final = 0.05
_MAX_LETTER_SHARE: Final = 1 / 3
"""Of many symbols some are also names: ``C``, ``V``, ``LOW``, ``CASH``."""

_QUOTED_AMOUNT: Final = re.compile(
    r"(?P<before>10{0,5})[ _]?(?P<of>[A-Z]{3})|(?P<code>[A-Z]{3}) ?(?:\((?P<in>10{0,5})\)|(?P<behind>100+))"
)
_SEPARATORS: Final = re.compile(r"[._ :|-]")


def is_close(name: str) -> bool:
    """Return whether a column's name can be that of closes."""
    return bool({"close", "price"} & set(role_ranks(name))) or _core(name) & (_LEVELS | _RATES) != set()


def is_definite_close(name: str) -> bool:
    """Return whether a column's name means the close, or the net asset value, and nothing else."""
    rank = role_ranks(name).get("close")
    return bool(_core(name) & _LEVELS) or (rank is not None and rank % _RESEMBLING_RANK < _LAST_RANK)


def _core(name: str) -> set[str]:
    """Return a name for lookup: as it is, and without what stands in brackets."""
    return {normalize_name(name), normalize_name(re.sub(r"[(\[].*", "", name))}


def is_volume(name: str, names: Sequence[str]) -> bool:
    """Return whether a column's name is that of a volume: not of a quantity held, nor of money."""
    rank = role_ranks(name).get("volume")
    if rank is None or normalize_name(name) in _QUANTITIES or CURRENCIES & set(split_words(name)):
        return False
    # CoinGecko's total volume is money
    return not (normalize_name(name) == "totalvolume" and "marketcap" in map(normalize_name, names))


def has_other_meaning(names: Sequence[str]) -> bool:
    """Return whether names are those of statements, holdings, options or companies' figures."""
    words = {word for name in names for word in split_words(name)}
    if any("outstanding" in split_words(name) for name in names):
        words -= {"shares"}
    others = (
        _ACCOUNT_WORDS if any(map(is_definite_close, names)) else _ACCOUNT_WORDS | _OTHER_WORDS | {"shares"}
    )
    return bool(words & {word for each in others for word in split_words(each)})


def quoted_amount(name: str) -> int:
    """Return how many units of a currency a rate is of: 100 of ``100JPY``, ``JPY (100)``; else 0."""
    match = _QUOTED_AMOUNT.fullmatch(name)
    if not match or (match["of"] or match["code"]).lower() not in _CURRENCIES_OR_METALS:
        return 0
    return int(match["before"] or match["in"] or match["behind"])


def is_currency_or_coin(name: str) -> bool:
    """Return whether a name is the code of a currency, a precious metal or a coin."""
    return bool(quoted_amount(name)) or name.lower() in _CURRENCIES_OR_COINS


def is_national_money(name: str) -> bool:
    """Return whether a text is the code of a national currency, or of a coin that stands for one."""
    return name.lower() in _NATIONAL_MONEY


def is_symbol_name(name: str, *, alone: bool = False) -> bool:
    """Return whether a column's name looks like a symbol: in capital letters, or a code of digits.

    Parameters
    ----------
    alone
        True for the only column: then words that mean a quantity, and single letters, are not symbols.
    """
    name = name.strip()
    pattern = _SYMBOL_NAME.fullmatch(name) or _SPACED_SYMBOL_NAME.fullmatch(name)
    if quoted_amount(name):
        return True
    if not pattern or not is_symbol(name):
        return False
    if not re.search("[A-Z]", name):
        return _NUMERIC_SYMBOL.fullmatch(name) is not None and not alone
    if not alone:
        return True
    return len(name) > 1 and not is_word(name) and name.lower() not in _CURRENCIES_OR_METALS


def is_word(name: str) -> bool:
    """Return whether a name that could be a symbol has another meaning than a symbol."""
    normalized = normalize_name(name)
    return (
        normalized in _NOT_SYMBOLS
        or any(normalized in names for names in ROLE_RANKS.values())
        or set(split_words(name)) <= _NOT_SYMBOLS
    )


def may_be_symbols(names: Sequence[str]) -> bool:
    """Return whether all columns of a table may be named by symbols."""
    if len(names) < _MIN_SYMBOLS or len(set(names)) < len(names) or not all(map(is_symbol_name, names)):
        return False
    letters = [name for name in names if len(name) == 1]
    odd = [name for name in names if len(name) > 1 and is_word(name)]
    return len(letters) <= _MAX_LETTER_SHARE * len(names) and len(odd) <= _MAX_ODD_SHARE * len(names)


def split_symbol(name: str) -> tuple[str, str]:
    """Split a name into a role and a symbol: ``AAPL_Close``, ``Close AAPL``, ``('Adj Close', 'AAPL')``.

    The symbol is empty if there is none.
    """
    if match := re.fullmatch(r"\(\s*['\"]?(.*?)['\"]?\s*,\s*['\"]?(.*?)['\"]?\s*\)", name.strip()):
        pairs = [(match[1], match[2]), (match[2], match[1])]
    else:
        places = [match.start() for match in _SEPARATORS.finditer(name.strip())]
        parts = [(name.strip()[:at], name.strip()[at + 1 :]) for at in places]
        pairs = [pair for one, other in parts for pair in ((one, other), (other, one))]
    for role, symbol in pairs:
        if is_panel_role(role) and is_symbol_name(symbol):
            return role, symbol
    return name, ""


def is_panel_role(name: str) -> bool:
    """Return whether a text is the name of a role as it is: not `USD_Close`, a part of `BTC-USD_Close`."""
    normalized = normalize_name(name)
    is_other = any(normalized in ROLE_RANKS[role] for role in ("adj_close", "volume"))
    is_close_name = normalized in _LEVELS or ROLE_RANKS["close"].get(normalized, _LAST_RANK) < _LAST_RANK
    return len(normalized) > 1 and (is_other or is_close_name)


def are_panel_symbols(symbols: Collection[str]) -> bool:
    """Return whether texts that stand next to the names of prices are symbols: ``Close_USD`` has none.

    One alone must be clear; of several, one is enough.
    """
    clear = [
        symbol
        for symbol in symbols
        if is_symbol_name(symbol, alone=True) or _NUMERIC_SYMBOL.fullmatch(symbol)
    ]
    return bool(clear) and all(map(is_symbol_name, symbols))


def is_named(name: str, role: str) -> bool:
    """Return whether a column has the name of a role: a close, an adjusted close or a volume."""
    return role in role_ranks(name) and (role != "close" or is_definite_close(name) or is_close(name))

"""What the columns of a CSV file mean, by their names; the names themselves are in vendor_names.toml."""

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Final

from tickerlake.model.schema import BAR, QUOTE, TRADE
from tickerlake.sources.csv.currencies import COINS, CURRENCIES, MAJOR_CURRENCIES, STABLECOINS

PRICES: Final = ("open", "high", "low", "close")
TIME_ROLES: Final = frozenset({"time", "clock", "year"})
"""The roles of which a table of prices has at least one."""

ROLE_WORDS: Final = {"time": "date", "clock": "time", "bid_price": "bid", "ask_price": "ask"}
"""What ``--columns`` calls roles that have another name there."""

DATE_RESTS: Final = ("date_rest", "date_rest_2")
"""The columns after the date that hold the rest of it, if its commas are not quoted: ``March 5, 2024``."""

DATE_PARTS: Final = ("year", "month", "day")
"""Columns that often repeat the date; they are dropped if they do on every row."""

_NAME_WRAPPER: Final = re.compile(
    r"^(?:@|(?:data|results?|values?|payload|fields|_source|after|doc|candles?|bars?|ohlcv?|quotes?|ticks?)\.)|\.keyword$",
    re.IGNORECASE,
)
"""What surrounds a name where nested records were flattened to columns: ``candles.open``, ``@timestamp``."""


def _strip_accents(text: str) -> str:
    """Return a text without accents, which files lose and people leave out."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _load_role_ranks() -> dict[str, dict[str, int]]:
    text = resources.files(__package__).joinpath("vendor_names.toml").read_text("utf-8")
    names_by_role: dict[str, str] = tomllib.loads(text)
    return {
        role: {
            _strip_accents(name.casefold()): rank for rank, name in reversed(list(enumerate(names.split())))
        }
        for role, names in names_by_role.items()
    }


ROLE_RANKS: Final = _load_role_ranks()
"""Role to its names (lower-case letters and digits only), each with its rank: 0 is the likeliest."""

_CURRENCY_WORDS: Final = MAJOR_CURRENCIES | STABLECOINS
_NOISE_WORDS: Final = (_CURRENCY_WORDS | COINS) | frozenset(
    """
    rs px raw unadjusted local in of the de du des
    nos pcs units ks kpl db stk sum total ohlc candle bar daily intraday regular utc gmt et est edt ct cst cet
    ist jst hkt msk
    """.split()
)
_UNRELATED_WORDS: Final = frozenset(
    """
    prev previous prior pre yesterday vorherige vortag chg change changes chng net pct percent
    percentage perc veränderung 52w 52wk 52week wk52 ma sma ema wma rsi macd  moving cum cumulative
    quote taker buy sell up down delivery deliverable deliv dly delivered next estimated  tick oi
    openint interest implied theoretical notional usdvolume exec ex-dividend
    """.split()
)
_PRICE_WORDS: Final = frozenset(
    """
    price trade px precio preço preco prezzo prix cours kurs kurz cena ár ar giá gia harga fiyat pret
    preț τιμή цена saham
    """.split()
)
_PERIODS: Final = frozenset("day session period month quarter t d".split())
"""Names of dates that are not so in the name of a price: ``Day Price``."""

_QUANTITY_WORDS: Final = frozenset("volume vol qty qnty quantity shares volumen wolumen".split())
MS_OF_DAY_NAMES: Final = frozenset(
    "msofday millisecondsofday millisecondssincemidnight mssincemidnight".split()
)
"""Names of columns of times of day in milliseconds."""

TICK_VOLUME_NAMES: Final = frozenset(
    "tickvol tickvolume tickqty ticks tickcount numticks ticksvolume".split()
)
"""Names of columns that count changes of the price, which some vendors give in place of a volume."""

_NOT_QUANTITY_WORDS: Final = frozenset(
    """
    avg average mean value money turnover percent ratio weighted price outstanding float id code time date
    """.split()
)
_DAY_WORDS: Final = frozenset("24h 24hr 24hrs 24hour 24hours day daily today".split())
_TIME_WORDS: Final = frozenset("time date timestamp datetime ts".split())
_OTHER_TIME_WORDS: Final = frozenset(
    """
    close closing end ending expiry expiration expire settle settlement update updated listing ipo
    ex dividend until last
    """.split()
)
_DATES_OF_INSTRUMENTS: Final = frozenset(
    "expiry expiration expirydate expirationdate expires maturity maturitydate listing ipo delisting".split()
)
_ADJUSTED_WORDS: Final = frozenset({"adj", "adjusted", "adjusted:", "div", "split"})
_BRACKETED_CURRENCY: Final = re.compile(
    rf"""\s*[(\[/]?\s*(?:
        (?:gh|us?|r|au?|ca?|hk|nz|s|nt|mx|z|j|ec|tt|ar)?\.?[$¢£¥€₤₦₹₵₱₫₩₪₴₸₺₽₡₲฿৳]       # GH¢, R$
        |(?<=[(\[/])\s*(?:
            kshs?|tshs?|ushs?|rs|rp|rm|kr|zł|zl|kč|kc|ft|lei|tk|fcfa|cfa|dh|din|ден|лв|руб|грн
            |all|top|{"|".join(sorted(CURRENCIES))}
        )\.?
    )\s*[)\]]?\s*$""",
    re.IGNORECASE | re.VERBOSE,
)
"""A currency behind a name: ``Opening Price (GH¢)``, ``Close (KES)``."""

_QUALIFIER: Final = re.compile(
    r"(?<=\w)\s*(?:\s[-–—]\s*|[(\[]\s*)(?:vwap|official|final)\s*[)\]]?\s*$", re.IGNORECASE
)
"""How a price was formed, behind its name: ``Closing Price - VWAP``."""

_MAX_ADJUSTED_RANK: Final = 12
"""Only the plain names of a price are also used with "adjusted": they are the first ones of its role."""

_UNIT_FACTORS: Final = {
    **dict.fromkeys(("000", "000s", "thousand", "thousands", "tsd"), 1_000),
    **dict.fromkeys(("lac", "lacs", "lakh", "lakhs"), 100_000),
    **dict.fromkeys(("million", "millions", "mio", "mln", "mn"), 1_000_000),
    **dict.fromkeys(("crore", "crores"), 10_000_000),
    **dict.fromkeys(("千株", "千股", "仟股", "千口", "천주"), 1_000),
    **dict.fromkeys(("万株", "万股", "萬股", "만주"), 10_000),
    **dict.fromkeys(("百万株", "百万股", "百萬股", "백만주"), 1_000_000),
}
_BRACKETED_UNIT: Final = re.compile(
    r"""\s*[(\[{（［｛【〔]\s*(?:
        (?:千|仟|万|萬|百万|百萬)?[株股] | 千?口 | (?:천|만|백만)?주 | 원 | 계약 | 枚 | 份 | 張 | [円元]
        | [円元] */ *[株股口] | 원 */ *주 | 人民[币幣] | [美港日]元 | (?:米|US)?ドル | ユーロ
        | shares? | shs | pcs | units? | contracts? | st(?:k|ck|ück)?\.? | szt\.? | шт\.? | ks | kpl | adet
    )\s*[)\]}）］｝】〕]\s*$""",
    re.IGNORECASE | re.VERBOSE,
)
"""A unit behind a name: ``数量［株］``, ``Volume (shares)``; those of thousands are of quantities only."""
_MAX_NAME_LENGTH: Final = 64
_SIDE_WORDS: Final = {"bid": "bid", "ask": "ask", "mid": "mid", "offer": "ask"}
REQUIRED_ROLES: Final[dict[str, tuple[str, ...]]] = {
    BAR: ("time", *PRICES),
    QUOTE: ("time", "bid_price", "ask_price"),
    TRADE: ("time", "price"),
}
"""The roles that rows of each record type must have."""

ROLES_BY_TYPE: Final[dict[str, tuple[str, ...]]] = {
    BAR: (*PRICES, "volume", "vwap", "trade_count", "adj_close", "currency", "interval"),
    QUOTE: ("bid_price", "bid_size", "ask_price", "ask_size", "sequence"),
    TRADE: (
        "price",
        "size",
        "aggressor_side",
        "buyer_is_maker",
        "trade_id",
        "sequence",
        "conditions",
        "correction",
    ),
}
DECIMAL_ROLES: Final[dict[str, tuple[str, ...]]] = {
    BAR: (*PRICES, "volume", "vwap", "trade_count", "adj_close"),
    QUOTE: ("bid_price", "bid_size", "ask_price", "ask_size"),
    TRADE: ("price", "size", "unfilled"),
}
"""The roles of each record type that are decimals."""


@dataclass(frozen=True)
class VendorLayout:
    """Facts about a vendor's layout that its values do not show.

    Parameters
    ----------
    name
        As ``inspect`` shows it.
    columns
        Columns by which it is recognized, normalized as by :func:`normalize_name`.
    zone
        The time zone of times without one.
    scale
        Prices that are whole numbers count units of ``10 ** -scale``.
    record_type
        The type of its records, if it has columns of more than one type.
    symbol
        The symbol that the file's path names in this layout.
    """

    name: str
    columns: frozenset[str]
    zone: str = ""
    scale: int = 0
    record_type: str = ""
    symbol: str = ""


CRSP: Final = "CRSP"
"""The name of the layout in which a negative price is the mean of bid and ask."""

VENDOR_LAYOUTS: Final = (
    VendorLayout(
        "Databento OHLCV",
        frozenset({"tsevent", "rtype", "publisherid", "instrumentid", "open", "close"}),
        scale=9,
    ),
    VendorLayout(
        "Databento MBP-1",
        frozenset({"tsevent", "publisherid", "instrumentid", "bidpx00", "askpx00"}),
        scale=9,
        record_type=QUOTE,
    ),
    VendorLayout(
        "Databento trades",
        frozenset({"tsevent", "rtype", "publisherid", "instrumentid", "price", "size"}),
        scale=9,
    ),
    VendorLayout("MetaTrader 5", frozenset({"date", "time", "open", "tickvol", "vol", "spread"})),
    VendorLayout("Stooq", frozenset({"ticker", "per", "date", "time", "open", "openint"})),
    VendorLayout("Nasdaq Data Link WIKI", frozenset({"date", "exdividend", "splitratio", "adjclose"})),
    VendorLayout(
        "NSE bhavcopy", frozenset({"symbol", "series", "prevclose", "tottrdqty", "isin"}), zone="Asia/Kolkata"
    ),
    VendorLayout(
        "NSE bhavcopy (UDiFF)", frozenset({"traddt", "tckrsymb", "opnpric", "clspric"}), zone="Asia/Kolkata"
    ),
    VendorLayout(CRSP, frozenset({"permno", "prc"})),
    VendorLayout("Moscow Exchange", frozenset({"boardid", "secid", "open", "close"}), zone="Europe/Moscow"),
)
"""Layouts that are recognized by their columns."""


@dataclass(frozen=True)
class Layout:
    """The columns of a file and their roles.

    Parameters
    ----------
    record_type
        ``bar.v1``, ``trade.v1`` or ``quote.v1``; empty if it is none of them.
    names
        The names of all columns, as in the file; empty for a column without a name.
    roles
        Role to index of its column.
    date_duplicates
        Columns that may only repeat the date: index to ``year``, ``month``, ``day`` or ``time``.
    panels
        For files with separate columns for each symbol: symbol to its roles, which override ``roles``.
    price_type
        ``last``, ``bid``, ``ask`` or ``mid``.
    reasons
        Role to why its column has it.
    vendor_layout
        The vendor's layout, if it is a known one.
    tick_volume
        The column that counts changes of the price, if there is one beside the volume.
    clock_in_ms
        True if times of day are milliseconds since midnight.
    passed_over
        Columns with a symbol's name that are not the symbol, as long as no later row differs.
    executed
        Column to its texts, in lower case, on rows that are executions; other rows are rejected.
    events
        Those of the columns whose other texts are quotes and the like, not orders.
    units
        Role to the unit behind its numbers, in upper case; empty if it is the base of each row's pair.
    has_signed_sizes
        True if a minus sign of a size means a sale.
    notes
        What is assumed about the columns.
    """

    record_type: str
    names: tuple[str, ...]
    roles: dict[str, int]
    date_duplicates: dict[int, str] = field(default_factory=dict)
    panels: dict[str, dict[str, int]] = field(default_factory=dict)
    price_type: str = "last"
    reasons: dict[str, str] = field(default_factory=dict)
    vendor_layout: VendorLayout | None = None
    tick_volume: int | None = None
    clock_in_ms: bool = False
    passed_over: tuple[int, ...] = ()
    executed: dict[int, frozenset[str]] = field(default_factory=dict)
    events: frozenset[int] = frozenset()
    units: dict[str, str] = field(default_factory=dict)
    has_signed_sizes: bool = False
    notes: tuple[str, ...] = ()

    def column_id(self, role: str) -> str:
        """Return the unique name of the column of a role."""
        return f"c{self.roles[role]}"

    @property
    def price_roles(self) -> set[str]:
        """The roles of the columns of a symbol."""
        return {*self.roles, *next(iter(self.panels.values()), {})}

    @property
    def decimal_columns(self) -> list[int]:
        """The columns that are decimals, of all symbols."""
        return [
            column
            for role, columns in self.columns_by_role().items()
            if role in self.decimal_roles
            for column in columns
        ]

    @property
    def decimal_roles(self) -> tuple[str, ...]:
        """The roles of the record type that are decimals."""
        return DECIMAL_ROLES.get(self.record_type, ())

    def with_columns_after(self, column: int, count: int) -> "Layout":
        """Return the layout of the same table with columns without a name inserted after one of them."""

        def moved(index: int) -> int:
            return index + count * (index > column)

        return replace(
            self,
            names=(*self.names[: column + 1], *[""] * count, *self.names[column + 1 :]),
            roles={role: moved(i) for role, i in self.roles.items()},
            date_duplicates={moved(i): part for i, part in self.date_duplicates.items()},
            panels={
                symbol: {role: moved(i) for role, i in roles.items()} for symbol, roles in self.panels.items()
            },
            tick_volume=None if self.tick_volume is None else moved(self.tick_volume),
            passed_over=tuple(map(moved, self.passed_over)),
        )

    def columns_by_role(self) -> dict[str, list[int]]:
        """Return the columns of each role, those of all symbols."""
        columns: dict[str, list[int]] = {}
        for roles in (self.roles, *self.panels.values()):
            for role, column in roles.items():
                columns.setdefault(role, []).append(column)
        return columns

    def extra_columns(self) -> dict[str, str]:
        """Return the columns without a role: unique name to a unique key for ``extra``."""
        used = {
            *self.roles.values(),
            *self.date_duplicates,
            *(i for roles in self.panels.values() for i in roles.values()),
        }
        if self.has_signed_sizes or "unfilled" in self.roles:
            used -= {self.roles["size"], self.roles.get("unfilled")}
        extras: dict[str, str] = {}
        for index, name in enumerate(self.names):
            if index in used or (not name and index == len(self.names) - 1):
                continue
            key = base = name or f"column_{index + 1}"
            n = 1
            while key in extras.values():
                n += 1
                key = f"{base}_{n}"
            extras[f"c{index}"] = key
        return extras


def split_words(name: str) -> list[str]:
    """Return the words of a column's name: ``<AdjClose*>``, ``adj close``."""
    spaced = re.sub(r"(?<=[a-zа-я0-9])(?=[A-ZА-Я])", " ", name)
    return [word for word in re.split(r"[\W_]+", _strip_accents(spaced.casefold())) if word]


def normalize_name(name: str) -> str:
    """Return a column's name for lookup: ``<Adj Close>`` becomes ``adjclose``."""
    return re.sub(r"[\W_]+", "", _strip_accents(name.casefold()))


def role_ranks(name: str) -> dict[str, int]:
    """Return the roles that a column's name may mean, each with its rank; smaller is likelier.

    A name from the table has its rank there, below 500. A name that only resembles one has a rank above
    that, the higher the less they resemble.
    """
    name = _NAME_WRAPPER.sub("", name.strip())
    normalized = normalize_name(name)
    matches = {role: ranks[normalized] for role, ranks in ROLE_RANKS.items() if normalized in ranks}
    if (matches and "price" not in matches) or not normalized:
        return matches
    name = bare_unit(name)
    bare_name = _BRACKETED_CURRENCY.sub("", name)
    has_currency = bare_name != name
    name = _QUALIFIER.sub("", bare_name)
    words = list(dict.fromkeys(split_words(name)))
    has_currency |= bool(_CURRENCY_WORDS & set(words))
    if words and words[0].isdigit() and len(words[0]) == 1:
        words = words[1:]  # `1. open`, not `52 High`
    if _UNRELATED_WORDS & set(words):
        return matches
    core_words = [
        word for word in words if word not in _NOISE_WORDS | _CURRENCY_WORDS and word not in _SIDE_WORDS
    ]
    core_words_without_price = [word for word in core_words if word not in _PRICE_WORDS]
    for penalty, attempt in ((500, "".join(core_words)), (600, "".join(core_words_without_price))):
        for role, ranks in ROLE_RANKS.items():
            if attempt in ranks and not (penalty == 600 and attempt in _PERIODS):
                matches.setdefault(role, penalty + ranks[attempt] + 50 * has_currency)
    if matches:
        return matches
    if (
        core_words
        and core_words[0] in {"volume", "vol"}
        and len(core_words) == 2
        and re.search(r"[ _(]+[A-Z0-9]{2,6}\)?$", name.strip())
    ):
        rank = 500 + 50 * has_currency
        return {"volume": rank, "size": rank}  # `Volume SOL`, before `Volume KRW`
    if (
        core_words
        and _QUANTITY_WORDS & set(core_words)
        and not _NOT_QUANTITY_WORDS & set(core_words)
        and not _SIDE_WORDS.keys() & set(words)
    ):
        # `TTL_TRD_QNTY`; the volume of a day is not the size of a trade
        return {"volume": 950} if _DAY_WORDS & set(words) else {"volume": 950, "size": 950}
    if _TIME_WORDS & set(core_words) and not _OTHER_TIME_WORDS & set(core_words):
        return {"time": 900}
    if _ADJUSTED_WORDS & set(core_words):
        rest = "".join(word for word in core_words if word not in _ADJUSTED_WORDS)
        roles = [role for role in (*PRICES, "volume") if rest in ROLE_RANKS[role]]
        return {f"adj_{role}": 800 for role in roles if ROLE_RANKS[role][rest] < _MAX_ADJUSTED_RANK}
    return {}


def bare_unit(name: str) -> str:
    """Return a column's name without the unit in brackets behind it: ``数量［株］`` is ``数量``."""
    return _BRACKETED_UNIT.sub("", name)


def is_other_date(name: str) -> bool:
    """Return whether a column's name says that its dates are not those of the rows: of expiry or listing."""
    return bool(_DATES_OF_INSTRUMENTS & set(split_words(name)))


def has_unrelated_word(name: str) -> bool:
    """Return whether a column's name has a word of something else than a row's price: ``Prev. Close``."""
    return bool(_UNRELATED_WORDS & set(split_words(name)))


def unit_factor(name: str) -> int:
    """Return the unit of a column's numbers by its name: 1000 for ``Volume (000s)``."""
    return next((_UNIT_FACTORS[word] for word in split_words(name) if word in _UNIT_FACTORS), 1)


def price_side(name: str) -> str:
    """Return ``bid``, ``ask`` or ``mid`` if a column's name has it, else an empty text."""
    return next((_SIDE_WORDS[word] for word in split_words(name) if word in _SIDE_WORDS), "")


def columns_option(words: Mapping[int, str]) -> str:
    """Return the value of ``--columns`` that gives these names to columns by position, and none to others."""
    return ",".join(words.get(i, "") for i in range(max(words) + 1))


def count_named_roles(cells: Sequence[str]) -> int:
    """Return the number of different roles that the cells of a line name."""
    named: set[str] = set()
    for cell in cells:
        if len(cell) <= _MAX_NAME_LENGTH:
            named.update(list(role_ranks(cell))[:1])
    return len(named)


def find_vendor_layout(names: Sequence[str]) -> VendorLayout | None:
    """Return the known layout that has these columns, None if there is none."""
    normalized = {normalize_name(name) for name in names}
    return next((layout for layout in VENDOR_LAYOUTS if layout.columns <= normalized), None)

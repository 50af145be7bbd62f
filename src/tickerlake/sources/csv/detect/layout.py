"""What the columns of a CSV file mean: a table of names, and how a header is read with it."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tickerlake.model.schema import BAR, QUOTE, TRADE

PRICES: Final = ("open", "high", "low", "close")
DATE_PARTS: Final = ("year", "month", "day")
"""Columns which often repeat the date; they are dropped if they really do."""

# A role's names, the likeliest first; of two columns for one role that whose name stands further left has it.
_ROLE_NAMES: Final[dict[str, str]] = {
    "time": """
        tsevent|participanttimestamp|timestamp|datetime|date|tradedate|time|tradingdate|tradingday
        pricedate|quotedate|datadate
        windowstart|opentime|opentimestamp|starttime|startedat|startdate|begin|begins|bartime|barstart
        timebarstart|timebar|candletime|eventtime|exchtime|tradetime
        transacttime|exchangetimestamp|exchangetime|datetimeutc|dateutc|timestamputc|timeutc|gmttime
        localtime|utctime|utc|dt|ts|t|d|day|session|period|caldt|asofdate|asof|traddt|bizdt|refdate
        datum|datumzeit|zeitpunkt|handelstag|fecha|fechahora|fechacotizacion|data|dataora|datahora
        datapregao|datanegocio|datareferencia|dia|jour|seance|horodatage|tarih|дата|ngày|датавремя|дататоргов|begin|dato|pvm
        päivämäärä|dátum|idő
        日期|交易日期|年月日|时间|日時|日付|年月日|일자|날짜|거래일|일시|ημερομηνία|ngày|tanggal|وقت
        التاريخ|תאריך
        mts|candledatetimeutc|execdate|วันที่
        unix|unixtime|unixtimestamp|unixts|epoch|epochtime|epochms|timems|timens|timestampms|timestampns
        secs|msttime|sipts|siptimestamp|tsrecv|tsin|receivedat|localtimestamp|recvtime|trftimestamp
    """,
    "clock": """
        time|updatetime|timeofday|hour|clock|uhrzeit|zeit|heure|hora|ora|czas|godzina|saat|tijd|время
        timem|tradetime|horafechamento|horanegocio|horario|hhmm|hhmmss|tid|klockan|时刻|時刻|时间|時間|시간
    """,
    "symbol": """
        symbol|ticker|tick|mãck|sym|tckrsymb|tradingsymbol|instrumentsymbol|symbolcode|symbool|sembol|simbolo
        символ|stocksymbol|mnemonic|tradingcode|codneg|kodesaham|tic|nemotecnico|especie|simbol|paper
        instrumentname|tickersymbol|rawsymbol|actsymbol|sectksymbol|symroot|tsym|secid|ric|tscode
        stockcode|shortcode|sccode|scripcode|stkcd|wkn
        codigoinstrumento|securitycode|localcode|seccode|code|instrument|instrumentid|scrip|scripname|stock|stockname|name
        index|indexname|security|pair|currencypair|market|productid|contract|asset|coin|share|company
        scname|issue
        股票代码|证券代码|代码|名称|コード|銘柄コード|銘柄|종목코드|단축코드|종목명|тикер|инструмент
        kürzel|titolo|valor|codigo|código|codice|simbolo|symbole|codnegotiation|papel|ativo|permno|isin
    """,
    "suffix": "symsuffix|symbolsuffix",
    "open": """
        open|op|openprice|openingprice|opening|opn|opnpric|openpric|openprc|pxopen|openpx|o|opentrade
        firstprice|first
        eröffnung|eroffnung|eröffn|eroffn|åbningskurs|nyitóár|otevíracíkurz|giámởcửa|coursdouverture
        openp|prcod|openpx|pxopen|deschidere|ราคาเปิด|пå|שערפתיחה|eroeffnung|eröffnungskurs
        eröffnungspreis|erster|erst|start|anfang|ouverture|ouv|ouvert|premier|apertura|aper|abertura
        prva|отваряне|שערפתיחה|abert|preabe|otwarcie|otwarcia|otw|otevírací|openen|openingskoers|opening|açılış|acilis|açiliş|откр|открытие
        открытия|öppning|öppen|öppningskurs|åpning|åbning|avaus|otevření|nyitó|nyitóár|deschidere
        开盘|开盘价|開盤|開盤價|今开|始値|시가|άνοιγμα|mởcửa|pembukaan|פתיחה|الافتتاح
    """,
    "high": """
        high|highprice|highestprice|highest|hgh|hghpric|highpric|hi|pxhigh|highpx|askhi|h|max|maximum
        maxprice|dayhigh|tradinghigh
        hoch|höchst|hoechst|höchster|höchstkurs|tageshoch|tageshöchst|plushaut|haut|maxi|máximo|máxima
        maxima|højeste|maximumár|giácaonhất|tertinggi|cenahigh|mayor|prchd|ราคาสูงสุด|גבוהיומי|maximo|máx
        premax|alto|massimo|massimi|mas|najwyższy|najwyzszy|maks|hoog|hoogste|yüksek|yuksek|enyüksek
        highprc|najviša|найвисока|hautdujour|שערגבוה|макс|максимум|максимальная|högst|högsta|høy|høj|høyest|ylin|korkein|max|maxim|legmagasabb
        最高|最高价|最高價|高値|고가|υψηλό|caonhất|tertinggi|גבוה|الأعلى
    """,
    "low": """
        low|lowprice|lowestprice|lowest|lwpric|lowpric|lo|pxlow|lowpx|bidlo|l|min|minimum|minprice
        daylow|tradinglow
        tief|tiefst|tiefster|tiefstkurs|tagestief|plusbas|bas|mini|mínimo|mínima|minima|laveste
        minimumár|giáthấpnhất|terendah|menor|prcld|ราคาต่ำสุด|נמוךיומי|minimo|mín|premin|basso|minimi
        lowprc|najniža|найниска|basdujour|שערנמוך|najniższy|najnizszy|laag|laagste|düşük|dusuk|endüşük|мин|минимум|минимальная|lägst|lägsta|lav
        lavest|alin|matalin|minim|legalacsonyabb
        最低|最低价|最低價|安値|저가|χαμηλό|thấpnhất|terendah|נמוך|الأدنى
    """,
    "close": """
        close|closeprice|closingprice|closing|cls|clspric|closepric|pxclose|closepx|c|closelast|closed
        closingvalue|endofday
        schluss|schlusskurs|schlusspr|endkurs|lukkekurs|závěrečnýkurz|giáđóngcửa|penutupan|closep|prccd
        inchidere|utolsóár|derniercours|ราคาปิด|שערנעילה|schlußkurs|schlusspreis|clôture|cloture|clôt
        clot|clôtur|fermeture|cierre|fechamento|fech|fecho|preult|chiusura|chius|zamknięcie|zamkniecie
        closeprc|cl|zadnja|затваряне|závěr|ultim|zamknięcia|zamkniecia|závěrečný|zamk|slot|slotkoers|sluiting|kapanış|kapanis|закр|закрытие|закрытия|ценазакрытия|stängning
        slutkurs|slutt|sluttkurs|lukkekurs|päätös|záró|záróár|închidere|zavření
        收盘|收盘价|收盤|收盤價|終値|종가|현재가|κλείσιμο|penutupan|נעילה|الإغلاق
        last|lastprice|lasttrade|latest|latestprice|price|px|pxlast|prc|settle|settlement|settleprice
        settlementprice|value|ltp|lastpric|lasttradedprice
        letzter|letzte|zuletzt|end|endprice|final|kurs|dernier|cours|último|ultimo|últ|ult|ultimoprecio
        ultimo|precio|preço|preco|prezzo|ostatnio|ostatni|laatste|koers|şimdi|simdi|son|fiyat|цена
        последняя|посл|senast|siste|seneste|viimeisin|最新|最新价|현재가|مشاهدة
    """,
    "adj_close": """
        adjclose|adjustedclose|closeadj|adjcloseprice|adjustedcloseprice|closeadjusted|adjclosing
        adjusted|adjprice|調整値|終値調整値|giáđiềuchỉnh|adjc|divadjclose|closesplitadj|adjlast
        שערנעילהמתואם|bereinigt|调整后收盘价|調整後終値|修正株価|adjustedprice|adjustmentclose
    """,
    "volume": """
        volume|vol|v|totalvolume|sharevolume|tradedvolume|tradingvolume|dayvolume|tradevolume
        volumeshares|tottrdqty|ttltradgvol|totaltradedquantity|tradedquantity|tradedqty
        totaltradedvolume|sharestraded|noofshares|numberofshares|totalquantity|pxvolume
        shares|qty|quantity|basevolume|stücke|stuecke|sharevolume|volshares|sharesvolume|vaihtokpl
        omsatantal|forgalomdb|objemks|klkhớplệnh|الكمیةالمتداولة|الكميةالمتداولة|nombredetitres
        nombredetitreséchangés|cshtrd|מחזורביחידות|ปริมาณ|cantidadnominal|stückzahl|umsatzstk
        umsatzstücke|títulosnegociados|titulosnegociados|titulos|títulos|volumebase|volumetraded
        unitstraded|nooftradedshares|turnovervol|حجمالتداول|khốilượngkhớplệnh|količina|обем|nombredetitreséchangés
        מחזוריחידות|כמותנעבמחזור|ปริมาณหุ้น
        volumen|umsatzstück|stückumsatz|stück|stueck|volumes|titreséchangés|quantité|volumi|quantità
        quantidade|quatot|voltot|wolumen|wol|hacim|hac|lot|объем|объём|volym|volum|omsatt|vaihto
        mennyiség|objem|volumul
        成交量|出来高|成交股數|成交股数|成交數量|売買高|거래량|όγκος|khốilượng|kl|חזור|الحجم
        tickvol|tickvolume|amount|size|menge|turnovershares
    """,
    "vwap": """
        vwap|vw|wap|weightedaverage|volumeweightprice|volumeweightedprice|volweightedprice
        weightedaverageprice|weightedavg|volumeweightedaverageprice|avgprice|averageprice|average|avg
        durchschnitt|均价|premed
    """,
    "trade_count": """
        tradecount|tradescount|trades|transactions|transactioncount|numberoftrades|nooftrades|numtrades
        numberoftransactions|nooftransactions|numoftrades|nooftrans|totaltrades|tottrades
        ttlnboftxsexctd|totneg|tradesnumber|barcount|count|n|成交笔数|成交筆數|numberoftrade
    """,
    "subsecond": """
        microseconds|microsecond|micros|usec|milliseconds|millisecond|millisec|msec|updatemillisec
        millis|nanoseconds|nanos|timem_m
    """,
    "interval": "per|interval|timeframe|barsize|resolution|granularity|frequency|periodicity",
    "currency": "currency|ccy|currencycode|währung|devise|moneda|waehrung",
    "price": """
        price|ltp|tradeprice|preconegocio|last|lastprice|px|pxlast|tradepx|p|rate|lasttradeprice|executedprice
        execprice|dealprice|precio|prix|kurs|preis|prezzo|цена|成交价|成交价格|約定値段|체결가|close
    """,
    "size": """
        size|sz|ltq|tradesize|lastsize|qty|quantity|q|s|amount|volume|vol|v|shares|lastqty|tradeqty
        tradequantity|quantidadenegociada|tradevolume|executedqty|baseqty|menge|stück|cantidad|quantité|cantidad|объем
        成交量|체결량
    """,
    "trade_id": """
        tradeid|id|tid|trdmatchid|aggtradeid|aggregatetradeid|matchid|executionid|execid|transactionid
        dealid|codigoidentificadornegocio|tradeno|tradenumber|成交编号
    """,
    "sequence": "sequence|sequencenumber|seq|seqno|seqnum|trseqnum|msgseqnum",
    "conditions": """
        conditions|condition|cond|tradecondition|saleconditions|salecondition|trscond|conditioncodes
    """,
    "aggressor_side": "aggressorside|aggressor|takerside|side|tradeside|buysell|direction|tradetype|type",
    "buyer_is_maker": "isbuyermaker|buyerismaker|buyermaker|wasthebuyerthemaker|m",
    "correction": "correction|corr|trcorr|correctionindicator",
    "bid_price": """
        bidprice|bid|bidpx|bidpx00|bestbid|bestbidprice|bidprice0|bidprice1|bidpx0|bidpx1|bp|bp1|b
        bidprice00|ratebid|bids0price|pricebid|buyprice|geldkurs|geld|bid1
    """,
    "ask_price": """
        askprice|ask|askpx|askpx00|bestask|bestaskprice|askprice0|askprice1|askpx0|askpx1|ap|ap1|a|offer
        ofr|rateask|offerprice|bestoffer|ofrprice|asks0price|priceask|sellprice|briefkurs|brief|ask1
    """,
    "bid_size": """
        bidsize|bsize|bidsizeshares|bestbidsizeshares|bidsz|bidvolume1|bidsz00|bidqty|bidquantity|bidvolume|bidvol|bidamount|bestbidsize
        bestbidqty|bidsiz|bs|bs1|bids0amount|bidsize1|bidsize0|biddepth|bidsz0|bidshares|buyqty
        buyquantity
    """,
    "ask_size": """
        asksize|asize|asksizeshares|bestasksizeshares|asksz|askvolume1|asksz00|askqty|askquantity|askvolume|askvol|askamount|bestasksize
        bestaskqty|ofrsiz|offersize|offerqty|as|as1|asks0amount|asksize1|asksize0|askdepth|offerdepth
        ofrdepth|asksz0|ofrsize|askshares|sellqty|sellquantity
    """,
}  # fmt: skip


_NAME_WRAPPER: Final = re.compile(
    r"^(?:@|(?:data|results?|values?|payload|fields|_source|after|doc|candles?|bars?|ohlcv?|quotes?|ticks?)\.)|\.keyword$",
    re.IGNORECASE,
)
"""What is left around a name where nested records became columns: ``candles.open``, ``@timestamp``."""


def _strip_accents(text: str) -> str:
    """Return a text without accents: files lose them, and people leave them out."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


ROLE_RANKS: Final[dict[str, dict[str, int]]] = {
    role: {
        _strip_accents(name): rank
        for rank, name in reversed(list(enumerate(re.split(r"[|\s]+", names.strip()))))
    }
    for role, names in _ROLE_NAMES.items()
}
"""Role to its names (small letters and digits only), each with its rank: 0 is the likeliest."""

_NOISE_WORDS: Final = frozenset(
    """
    usd eur gbp gbx inr rs chf jpy cad aud hkd cny rub brl usdt usdc btc eth px raw unadjusted local in of the
    de du des
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
_CURRENCY_WORDS: Final = frozenset("usd usdt usdc eur gbp jpy inr".split())
_QUANTITY_WORDS: Final = frozenset("volume vol qty qnty quantity shares volumen wolumen".split())
_NOT_QUANTITY_WORDS: Final = frozenset(
    """
    avg average mean value money turnover percent ratio weighted price outstanding float id code time date
    """.split()
)
_TIME_WORDS: Final = frozenset("time date timestamp datetime ts".split())
_OTHER_TIME_WORDS: Final = frozenset(
    """
    close closing end ending expiry expiration expire settle settlement update updated listing ipo
    ex dividend until last
    """.split()
)
_ADJUSTED_WORDS: Final = frozenset({"adj", "adjusted", "adjusted:", "div", "split"})
_UNIT_FACTORS: Final = {
    **dict.fromkeys(("000", "000s", "thousand", "thousands", "tsd"), 1_000),
    **dict.fromkeys(("lac", "lacs", "lakh", "lakhs"), 100_000),
    **dict.fromkeys(("million", "millions", "mio", "mln", "mn"), 1_000_000),
    **dict.fromkeys(("crore", "crores"), 10_000_000),
}
_SIDE_WORDS: Final = {"bid": "bid", "ask": "ask", "mid": "mid", "offer": "ask"}
REQUIRED_ROLES: Final[dict[str, tuple[str, ...]]] = {
    BAR: ("time", *PRICES),
    QUOTE: ("time", "bid_price", "ask_price"),
    TRADE: ("time", "price"),
}
"""The roles without which rows are not records of a kind."""

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
    TRADE: ("price", "size"),
}
"""The roles of each kind that are decimals."""


@dataclass(frozen=True)
class VendorLayout:
    """Facts about a vendor's layout that its values don't tell.

    Parameters
    ----------
    name
        For people.
    header
        Columns that it has, as in :data:`RANKS`.
    zone
        Of times without one.
    scale
        Prices that are whole numbers count units of ``10 ** -scale``.
    kind
        Of its records, where columns of more than one kind stand together.
    """

    name: str
    columns: frozenset[str]
    zone: str = ""
    scale: int = 0
    record_type: str = ""


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
    VendorLayout("Moscow Exchange", frozenset({"boardid", "secid", "open", "close"}), zone="Europe/Moscow"),
)
"""Layouts that are recognised by their columns; adding one is a line."""


@dataclass(frozen=True)
class Layout:
    """Where each role stands.

    Parameters
    ----------
    kind
        ``bar.v1``, ``trade.v1`` or ``quote.v1``; empty if it is none.
    names
        The names of all columns, as in the file; empty where one has none.
    roles
        Role to index of its column.
    repeats
        Columns that may only repeat the date: index to ``year``, ``month``, ``day`` or ``time``.
    panels
        For files with columns for each symbol: symbol to its roles, which go over ``roles``.
    price_type
        ``last``, ``bid``, ``ask`` or ``mid``.
    reasons
        Role to why its column has it.
    known
        The vendor's layout, if it is a known one.
    """

    record_type: str
    names: tuple[str, ...]
    roles: dict[str, int]
    date_duplicates: dict[int, str] = field(default_factory=dict)
    panels: dict[str, dict[str, int]] = field(default_factory=dict)
    price_type: str = "last"
    reasons: dict[str, str] = field(default_factory=dict)
    vendor_layout: VendorLayout | None = None

    @property
    def column_ids(self) -> list[str]:
        """Unique names for the columns: ``c0``, ``c1`` and so on."""
        return [f"c{i}" for i in range(len(self.names))]

    def column_id(self, role: str) -> str:
        """Return the unique name of the column of a role."""
        return f"c{self.roles[role]}"

    @property
    def decimal_columns(self) -> list[int]:
        """The columns that are decimals, of all symbols."""
        parts = (self.roles, *self.panels.values())
        decimals = DECIMAL_ROLES.get(self.record_type, ())
        return [column for roles in parts for role, column in roles.items() if role in decimals]

    def extra_columns(self) -> dict[str, str]:
        """Return the columns without a role: unique name to a key for ``extra``, which is unique as well."""
        used = {
            *self.roles.values(),
            *self.date_duplicates,
            *(i for roles in self.panels.values() for i in roles.values()),
        }
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


@dataclass
class RoleAssignment:
    """Roles found so far, and why."""

    roles: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def assign(self, role: str, index: int, reason: str) -> None:
        """Give a column a role."""
        self.roles[role], self.reasons[role] = index, reason


def split_words(name: str) -> list[str]:
    """Return the words of a column's name: ``<AdjClose*>``, ``adj close``."""
    spaced = re.sub(r"(?<=[a-zа-я0-9])(?=[A-ZА-Я])", " ", name)
    return [word for word in re.split(r"[\W_]+", _strip_accents(spaced.casefold())) if word]


def normalize_name(name: str) -> str:
    """Return a column's name for look-up: ``<Adj Close>`` becomes ``adjclose``."""
    return re.sub(r"[\W_]+", "", _strip_accents(name.casefold()))


def role_ranks(name: str) -> dict[str, int]:
    """Return the roles that a column's name may mean, each with its rank; smaller is likelier."""
    name = _NAME_WRAPPER.sub("", name.strip())
    normalized = normalize_name(name)
    found = {role: ranks[normalized] for role, ranks in ROLE_RANKS.items() if normalized in ranks}
    if (found and not {"price"} & set(found)) or not normalized:
        return found
    words = list(dict.fromkeys(split_words(name)))
    if words and words[0].isdigit():
        words = words[1:]  # `1. open`
    if _UNRELATED_WORDS & set(words):
        return {}
    core_words = [word for word in words if word not in _NOISE_WORDS and word not in _SIDE_WORDS]
    core_words_without_price = [word for word in core_words if word not in _PRICE_WORDS]
    for penalty, attempt in ((500, "".join(core_words)), (600, "".join(core_words_without_price))):
        for role, ranks in ROLE_RANKS.items():
            if attempt in ranks:
                found.setdefault(role, penalty + ranks[attempt] + 50 * bool(_CURRENCY_WORDS & set(words)))
    if found:
        return found
    if (
        core_words
        and _QUANTITY_WORDS & set(core_words)
        and not _NOT_QUANTITY_WORDS & set(core_words)
        and not _SIDE_WORDS.keys() & set(words)
    ):
        return {"volume": 950, "size": 950}  # `TTL_TRD_QNTY`
    if (
        core_words
        and core_words[0] in {"volume", "vol"}
        and len(core_words) == 2
        and re.search(r"[ _(]+[A-Z0-9]{2,6}\)?$", name.strip())
    ):
        return {"volume": 500, "size": 500}  # `Volume BTC`
    if _TIME_WORDS & set(core_words) and not _OTHER_TIME_WORDS & set(core_words):
        return {"time": 900}
    if _ADJUSTED_WORDS & set(core_words):
        rest = "".join(word for word in core_words if word not in _ADJUSTED_WORDS)
        return {f"adj_{role}": 800 for role in (*PRICES, "volume") if ROLE_RANKS[role].get(rest, 99) < 12}
    return {}


def unit_factor(name: str) -> int:
    """Return the unit that a column's name says its numbers are in: ``Volume (000s)``, 1000."""
    return next((_UNIT_FACTORS[word] for word in split_words(name) if word in _UNIT_FACTORS), 1)


def price_side(name: str) -> str:
    """Return ``bid``, ``ask`` or ``mid`` if a column's name says so."""
    return next((_SIDE_WORDS[word] for word in split_words(name) if word in _SIDE_WORDS), "")


def count_named_roles(cells: Sequence[str]) -> int:
    """Return how many different roles the cells of a line name."""
    named: set[str] = set()
    for cell in cells:
        if len(cell) <= 64:
            named.update(list(role_ranks(cell))[:1])
    return len(named)


def find_vendor_layout(names: Sequence[str]) -> VendorLayout | None:
    """Return the known layout that has these columns, if any."""
    plain = {normalize_name(name) for name in names}
    return next((known for known in VENDOR_LAYOUTS if known.columns <= plain), None)

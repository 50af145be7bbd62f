"""Sale conditions of US stocks: what a trade may set, and how tapes and vendors write it. Data.

The tapes publish for each condition whether it updates the consolidated last price, high and low, and volume:
the *CTS Output Specification* of the CTA plan (tapes A and B, listings of NYSE, NYSE American, NYSE Arca and
Cboe) and the *UTDF Specification* of the UTP plan (tape C, listings of Nasdaq), there in the table of trade
conditions; V and 7 as redefined by UTP Vendor Alert 2015-4. Massive's numbers are those of
``/v3/reference/conditions``, Algoseek's bits those of its *US Equity TAQ* guide, also in Lean's
``TradeConditionFlags``.
"""

from typing import Final, NamedTuple

SETS_PRICE: Final = 1
"""Sets open and close, and high and low of intraday bars."""

SETS_DAY_RANGE: Final = 2
"""Sets high and low of daily bars."""

SETS_DAY_CLOSE: Final = 4
"""Sets open and close of daily bars."""

COUNTS: Final = 8
"""Counts in volume, VWAP and number of trades."""

IS_AUCTION: Final = 16
"""A print of an opening, reopening or closing auction, or the official price made from it."""

IS_EXTENDED: Final = 32
"""Executed outside regular hours (Form T)."""

SETS_ALL: Final = SETS_PRICE | SETS_DAY_RANGE | SETS_DAY_CLOSE | COUNTS
_SETS: Final = {
    "price": SETS_ALL,
    # the last price only if nothing else has traded: for a bar, never
    "range": SETS_DAY_RANGE | COUNTS,
    "volume": COUNTS,
    "close": SETS_DAY_RANGE | SETS_DAY_CLOSE,
    "nothing": 0,
    "auction": SETS_ALL | IS_AUCTION,
    "close+auction": SETS_DAY_RANGE | SETS_DAY_CLOSE | IS_AUCTION,
    "nothing+auction": IS_AUCTION,
    "price+extended": SETS_ALL | IS_EXTENDED,
    "volume+extended": COUNTS | IS_EXTENDED,
}

_TABLE: Final = """
    @ | @ | 0  | 0  | price           | regular sale
    A | A | 1  | 16 | price           | acquisition
    B | W | 2  | 20 | volume          | average price trade
    E | E | 3  | 28 | price           | automatic execution
    - | B | 4  | 17 | price           | bunched trade
    G | G | 5  | -  | range           | bunched sold trade
    - | - | 6  | 27 | price           | cap election
    C | C | 7  | 1  | volume          | cash sale
    6 | 6 | 8  | 7  | auction         | closing print
    X | X | 9  | 21 | price           | cross trade
    4 | 4 | 10 | 9  | range           | derivatively priced
    D | D | 11 | 19 | price           | distribution
    T | T | 12 | 10 | price+extended  | form t
    - | - | -  | 13 | price+extended  | extended hours trade
    U | U | 13 | -  | volume+extended | extended hours sold out of sequence
    F | F | 14 | 5  | price           | intermarket sweep
    M | M | 15 | 24 | nothing+auction | market center official close
    Q | Q | 16 | 26 | nothing+auction | market center official open
    - | - | 17 | -  | auction         | market center opening trade
    - | - | 18 | -  | auction         | market center reopening trade
    - | - | 19 | -  | auction         | market center closing trade
    N | N | 20 | 2  | volume          | next day
    H | H | 21 | 22 | volume          | price variation trade
    P | P | 22 | 25 | range           | prior reference price
    K | K | 23 | 23 | price           | rule 155 trade
    - | - | 24 | -  | price           | rule 127 trade
    O | O | 25 | 6  | auction         | opening print
    - | - | 26 | -  | price           | opened
    1 | 1 | 27 | 12 | price           | stopped stock
    5 | 5 | 28 | 8  | auction         | reopening print
    R | R | 29 | 3  | volume          | seller
    L | L | 30 | 11 | range           | sold last
    2 | 2 | 31 | -  | range           | sold last and stopped stock
    Z | Z | 32 | 14 | range           | sold out of sequence
    3 | 3 | 33 | -  | range           | sold out of sequence and stopped stock
    S | S | 34 | 15 | price           | split trade
    - | - | 35 | -  | price           | stock option
    Y | Y | 36 | 4  | price           | yellow flag regular trade
    I | I | 37 | 31 | volume          | odd lot trade
    9 | 9 | 38 | -  | close+auction   | corrected consolidated close
    - | - | 41 | 29 | price           | trade through exempt
    - | - | -  | 30 | price           | a flag without a description
    V | V | 52 | 18 | volume          | contingent trade
    7 | 7 | 53 | -  | volume          | qualified contingent trade
    - | - | 55 | -  | auction         | opening or reopening trade detail
    8 | 8 | -  | -  | price           | exempt by rule 611
"""
"""Letter of CTA, letter of UTP, number of Massive, bit of Algoseek, what the trade sets, name."""

_OTHER_NAMES: Final = {
    "average price": "average price trade",
    "bunched sold": "bunched sold trade",
    "closing prints": "closing print",
    "closing price": "closing print",
    "cash trade": "cash sale",
    "contingent": "contingent trade",
    "extended hours": "extended hours trade",
    "extended trading hours": "extended hours sold out of sequence",
    "extended trading hours sold out of sequence": "extended hours sold out of sequence",
    "form t extended hours": "form t",
    "intermarket sweep order": "intermarket sweep",
    "market center close price": "market center official close",
    "market center open price": "market center official open",
    "next day trade": "next day",
    "odd lot": "odd lot trade",
    "opening prints": "opening print",
    "official close": "market center official close",
    "official open": "market center official open",
    "out of sequence": "sold out of sequence",
    "price variation": "price variation trade",
    "qualified contingent": "qualified contingent trade",
    "re opening prints": "reopening print",
    "regular": "regular sale",
    "regular trade": "regular sale",
    "reopening prints": "reopening print",
    "sold last late reporting": "sold last",
    "stopped stock regular trade": "stopped stock",
    "trade thru exempt": "trade through exempt",
}


class Condition(NamedTuple):
    """A sale condition: its codes (None where there is none), what a trade with it sets, and its name."""

    cta: str | None
    utp: str | None
    massive: str | None
    algoseek_bit: int | None
    sets: int
    name: str


def _read_table() -> list[Condition]:
    conditions = []
    for line in _TABLE.strip().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        cta, utp, number, bit = (None if cell == "-" else cell for cell in cells[:4])
        conditions.append(Condition(cta, utp, number, int(bit) if bit else None, _SETS[cells[4]], cells[5]))
    return conditions


CONDITIONS: Final = _read_table()
"""All conditions, in the order in which they are numbered."""

OTHER_NAMES: Final = _OTHER_NAMES
"""Other names that vendors write, with the name of the table."""

NEUTRAL_NUMBERS: Final = frozenset(str(n) for n in (*range(57, 61), *range(62, 72)))
"""Massive's numbers of short sale restrictions and of an issuer's financial status."""

SIP_DIGITS: Final = frozenset("4567")
"""Digits that, without another code, are those of the tapes: Massive's 4, 5 and 6 are no longer in use, and a
7 counts in the volume alone, either way. Other digits are Massive's."""

PLACES: Final = ("@CNRY", "FO456789", "LTUZ", "ABDEGHIKMPQSVWX123")
"""The letters of the four places of a code: settlement, exemption, extended hours or sequence, detail."""

UTP_MICS: Final = frozenset("XNAS XNGS XNMS XNCM".split())
CTA_MICS: Final = frozenset("XNYS ARCX XASE AMXO BATS IEXG".split())
US_MICS: Final = (
    UTP_MICS
    | CTA_MICS
    | frozenset(
        "BATY EDGA EDGX XBOS XPHL XPSX XCHI XCIS MEMX LTSE EPRL OOTC XADF OTCM PINX XOTC PSGM EXPM".split()
    )
)
"""Markets whose trades the tapes publish: that of an instrument is where it is listed, or where it trades."""

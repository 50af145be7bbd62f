"""Markets by the ending of a symbol: ``0700.HK`` is in Hong Kong, ``VOD.L`` in London. Mostly data.

The endings are those of Yahoo Finance, and others that mean one market wherever they are written. Endings
that share classes (``BRK.B``), units or futures have as well name no market.
"""

import re
from typing import Final, NamedTuple

import polars as pl

from tickerlake.model.instrument import UNKNOWN_MIC

_MARKETS: Final = """
    XLON  Europe/London                   L IL LN LSE
    XDUB  Europe/Dublin                   IR
    XNSE  Asia/Kolkata                    NS NSE
    XBOM  Asia/Kolkata                    BO BSE
    XETR  Europe/Berlin                   DE XETRA
    XFRA  Europe/Berlin                   -F
    XBER  Europe/Berlin                   BE
    XDUS  Europe/Berlin                   DU
    XHAM  Europe/Berlin                   HM
    XHAN  Europe/Berlin                   HA
    XMUN  Europe/Berlin                   MU
    XSTU  Europe/Berlin                   SG STU
    XPAR  Europe/Paris                    PA
    XAMS  Europe/Amsterdam                AS
    XBRU  Europe/Brussels                 BR
    XLIS  Europe/Lisbon                   LS
    XMIL  Europe/Rome                     MI
    XMAD  Europe/Madrid                   MC
    XSWX  Europe/Zurich                   SW
    XWBO  Europe/Vienna                   VI
    XSTO  Europe/Stockholm                ST
    XHEL  Europe/Helsinki                 HE
    XCSE  Europe/Copenhagen               CO
    XOSL  Europe/Oslo                     OL
    XICE  Atlantic/Reykjavik              IC
    XTAL  Europe/Tallinn                  TL
    XRIS  Europe/Riga                     RG
    XLIT  Europe/Vilnius                  VS
    XWAR  Europe/Warsaw                   WA WAR
    XBUD  Europe/Budapest                 BD BUD
    XBSE  Europe/Bucharest                RO
    ASEX  Europe/Athens                   AT
    XBEL  Europe/Belgrade
    XCYS  Asia/Nicosia
    XIST  Europe/Istanbul                 IS
    MISX  Europe/Moscow                   ME MOEX
    XTAE  Asia/Jerusalem                  TA
    XSAU  Asia/Riyadh                     +SR
    XTKS  Asia/Tokyo                      +T
    XHKG  Asia/Hong_Kong                  HK
    XSHG  Asia/Shanghai                   SS SH XSHG
    XSHE  Asia/Shanghai                   SZ XSHE
    XKRX  Asia/Seoul                      KS
    XKOS  Asia/Seoul                      KQ
    XTAI  Asia/Taipei                     TW
    ROCO  Asia/Taipei                     TWO
    XSES  Asia/Singapore                  SI
    XKLS  Asia/Kuala_Lumpur               KL KLSE
    XIDX  Asia/Jakarta                    JK
    XBKK  Asia/Bangkok                    BK
    XPHS  Asia/Manila                     PSE
    XKAR  Asia/Karachi                    KAR
    XASX  Australia/Sydney                AX
    XNZE  Pacific/Auckland                NZ
    XTSE  America/Toronto                 TO TSX
    XTSX  America/Toronto                 -V
    XCNQ  America/Toronto                 -CN
    NEOE  America/Toronto                 NE
    BVMF  America/Sao_Paulo               SA
    XMEX  America/Mexico_City             MX
    XBUE  America/Argentina/Buenos_Aires  BA
    XSGO  America/Santiago                SN
    XJSE  Africa/Johannesburg             JO JSE
"""
"""ISO 10383 code, time zone, and endings; a market without an ending is here for its time zone.

``+`` marks an ending that follows a code that begins with a digit (``7203.T``), ``-`` one that follows a code
that begins with a letter (``600519.CN`` is not traded in Canada).
"""

_LENGTHS: Final = "{1,5}"
_ENDING: Final = rf"^[^.].*\.([A-Z]{_LENGTHS})$"
_ENDING_REGEX: Final = re.compile(_ENDING[:-1], re.DOTALL)
_STARTS_WITH_DIGIT: Final = r"^[0-9]"


class Market(NamedTuple):
    """A market: its ISO 10383 code and its time zone."""

    mic: str
    zone: str


def _read_markets() -> tuple[dict[str, Market], dict[str, Market]]:
    """Return the markets of symbols that begin with a digit, and of all others, by ending."""
    after_digit, after_letter = {}, {}
    for line in _MARKETS.strip().splitlines():
        mic, zone, *endings = line.split()
        market = Market(mic, zone)
        for marked in endings:
            ending = marked.lstrip("+-")
            if not marked.startswith("-"):
                after_digit[ending] = market
            if not marked.startswith("+"):
                after_letter[ending] = market
    return after_digit, after_letter


_AFTER_DIGIT, _AFTER_LETTER = _read_markets()
ZONE_OF_MIC: Final = {mic: zone for mic, zone, *_ in map(str.split, _MARKETS.strip().splitlines())}
"""The time zones of markets."""


def market_of_symbol(symbol: str) -> Market | None:
    """Return the market that the ending of a symbol names, None if there is none: ``AAPL``, ``BRK.B``."""
    found = _ENDING_REGEX.fullmatch(symbol)
    if found is None:
        return None
    return (_AFTER_DIGIT if symbol[0] in "0123456789" else _AFTER_LETTER).get(found[1])


def mic_of_symbol(symbol: str) -> str:
    """Return the ISO 10383 code of the market that a symbol's ending names, ``XXXX`` if there is none."""
    market = market_of_symbol(symbol)
    return market.mic if market else UNKNOWN_MIC


def mic_of_symbol_expr(column: str) -> pl.Expr:
    """Return what `mic_of_symbol` does, for the symbols of a column."""
    text = pl.col(column)
    ending = text.str.extract(_ENDING)
    after_digit, after_letter = (
        ending.replace_strict(
            {name: market.mic for name, market in markets.items()},
            default=UNKNOWN_MIC,
            return_dtype=pl.String,
        )
        for markets in (_AFTER_DIGIT, _AFTER_LETTER)
    )
    return pl.when(text.str.contains(_STARTS_WITH_DIGIT)).then(after_digit).otherwise(after_letter)

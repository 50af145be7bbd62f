"""Words of currencies, in lower case. Pure.

The codes are those of ISO 4217, without ALL and TOP, which are words; ``cnh`` (yuan outside of China) and
``gbx`` (pence) are the market's own.
"""

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MAJOR_CURRENCIES: Final = _words(
    """
    aud brl cad chf clp cnh cny czk dkk eur gbp gbx hkd huf idr ils inr jpy krw mxn myr ngn nok nzd php
    pkr pln rub sek sgd thb try twd uah usd vnd zar
    """
)
"""Units of prices in names of columns: none is also a word, or the symbol of a large company."""

CURRENCIES: Final = MAJOR_CURRENCIES | _words(
    """
    aed afn amd aoa ars ats azn bam bdt bef bgn bhd bmd bnd bob bwp byn cdf cop crc cup cyp dem djf dop
    dzd eek egp esp etb fim fjd frf gel ghs gnf grd gtq hnl hrk iep iqd irr isk itl jmd jod kes kgs khr
    kwd kzt lak lbp lkr ltl lvl lyd mad mdl mga mkd mmk mnt mop mtl mur mvr mwk mzn nad nio nlg npr omr
    pab pen pgk pte pyg qar rol ron rsd rwf sar scr sdg sit skk sos syp szl tjs tnd trl ttd tzs ugx uyu
    uzs ves xaf xof yer zmw
    ang awg bbd bif bov bsd btn bzd che chw clf cou cuc cve ern fkp gip gmd gyd htg kmf kpw kyd lrd lsl
    mru mxv sbd shp sle sll srd ssp stn svc tmt usn uyi uyw ved vuv wst xcd xcg xpf zwg zwl
    """
)
"""Also the smaller ones, and those that the euro has replaced."""

PRECIOUS_METALS: Final = _words("xag xau xpd xpt")
UNITS_OF_ACCOUNT: Final = _words("ecu sdr xba xbb xbc xbd xdr xeu xsu xua")
"""Special drawing rights and other baskets: rates of them stand beside those of currencies."""

STABLECOINS: Final = _words("busd dai eurt fdusd tusd usdc usdt ust")
COINS: Final = _words("bnb btc eth xbt")
"""Coins that prices of other coins are in."""

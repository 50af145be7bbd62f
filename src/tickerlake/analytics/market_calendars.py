"""The calendar of each market, among those of `exchange_calendars`. Mostly data."""

from typing import Final

from tickerlake.model.instrument import UNKNOWN_MIC

_MARKETS: Final = {
    "XNYS": "XNAS ARCX XASE BATS BATY EDGA EDGX IEXG XBOS XPHL XPSX XCHI XCIS MEMX LTSE EPRL "
    "24EQ XNGS XNMS XNCM XADF FINN FINY FINC OOTC OTCM PINX OTCQ OTCB PSGM EXPM XCBO CBOE "
    "C2OX BATO EDGO AMXO ARCO XISX GMNI MCRY XNDQ XBXO XBOX XMIO EMLD MPRL",
    "CMES": "XCME XCBT XNYM XCEC GLBX XKBT XIMM XIOM FCME FCBT NYMS CBTS CECS",
    "IEPA": "IFUS IFED IFEU",
    "XTSE": "XTSX XCNQ CSE2 NEOE NEON NEOD XATS XATX PURE OMGA CHIC LYNX XCX2",
    "XMEX": "BIVA",
    "BVMF": "XBSP",
    "XSGO": "XBCL",
    "XLON": "AIMX XLOM AQSE NEXX BATE CHIX TRQX",
    "XDUB": "XESM XMSM XATL",
    "XPAR": "ALXP XMLI",
    "XAMS": "ALXA TNLA",
    "XBRU": "ALXB MLXB TNLB ENXB",
    "XLIS": "ALXL ENXL",
    "XMIL": "MTAA EXGM ETFP MOTX SEDX BGEM",
    "XOSL": "XOAS MERK",
    "XMAD": "XMCE MABX GROW XBAR XBIL XVAL",
    "XSWX": "XVTX XQMH",
    "XWBO": "XVIE WBAH WBDM",
    "XETR": "XETA XETB XETU",
    "XFRA": "FRAA FRAB XBER BERA BERB XMUN MUNA MUNB XHAN HANA HANB XGAT TGAT XQTX",
    "XDUS": "DUSA DUSB",
    "XHAM": "HAMA HAMB",
    "XSTU": "STUA STUB EUWX",
    "XSTO": "FNSE XNGM XSAT",
    "XHEL": "FNFI",
    "XCSE": "FNDK",
    "XICE": "FNIS",
    "XTAL": "FNEE",
    "XRIS": "FNLV",
    "XLIT": "FNLT",
    "XWAR": "XNCO",
    "ASEX": "XATH ENAX",
    "XMOS": "MISX RTSX",
    "XJSE": "A2XX",
    "XBOM": "XNSE",
    "XTKS": "XJAS XNGO XFKA XSAP SBIJ CHIJ",
    "XHKG": "XGEM",
    "XSHG": "XSHE XSSC XSEC SHSC SZSC BJSE",
    "XKRX": "XKOS XKON",
    "XTAI": "ROCO",
    "XKLS": "MESQ",
    "XIDX": "XJKT",
    "XBKK": "XMAI",
    "XASX": "CHIA",
}
"""Calendars, and the ISO 10383 codes of other markets that have the same days, and nearly the same hours.

Options, futures of ICE Europe and regional exchanges are among them: an hour more or less does not change the
date of a session, and no calendar at all would make it the UTC day.
"""

_CALENDAR_OF: Final = {
    mic: calendar for calendar, mics in _MARKETS.items() for mic in (calendar, *mics.split())
}


def calendar_of_mic(mic: str) -> str | None:
    """Return the name of the calendar of a market, given its ISO 10383 code; None if there is none."""
    if mic == UNKNOWN_MIC:
        return None
    if mic in _CALENDAR_OF:
        return _CALENDAR_OF[mic]
    import exchange_calendars

    is_listed = mic in exchange_calendars.get_calendar_names()
    return str(exchange_calendars.resolve_alias(mic)) if is_listed else None

"""The markets that the endings of symbols name."""

import re
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.model.instrument import instrument_id, split_instrument_id
from tickerlake.model.markets import ZONE_OF_MIC, market_of_symbol, mic_of_symbol, mic_of_symbol_expr

FILES_PAGE = Path(__file__).parents[2] / "docs" / "files.md"


@pytest.mark.parametrize(
    ("symbol", "mic", "zone"),
    [
        ("VOD.L", "XLON", "Europe/London"),
        ("BT-A.L", "XLON", "Europe/London"),
        ("3LUS.L", "XLON", "Europe/London"),
        ("0700.HK", "XHKG", "Asia/Hong_Kong"),
        ("HSI.HK", "XHKG", "Asia/Hong_Kong"),
        ("7203.T", "XTKS", "Asia/Tokyo"),
        ("130A.T", "XTKS", "Asia/Tokyo"),
        ("RY.TO", "XTSE", "America/Toronto"),
        ("BBD.B.TO", "XTSE", "America/Toronto"),
        ("ABC.V", "XTSX", "America/Toronto"),
        ("HUT.CN", "XCNQ", "America/Toronto"),
        ("RELIANCE.NS", "XNSE", "Asia/Kolkata"),
        ("M&M.NS", "XNSE", "Asia/Kolkata"),
        ("500325.BO", "XBOM", "Asia/Kolkata"),
        ("SAP.DE", "XETR", "Europe/Berlin"),
        ("SAP.F", "XFRA", "Europe/Berlin"),
        ("AIR.PA", "XPAR", "Europe/Paris"),
        ("ASML.AS", "XAMS", "Europe/Amsterdam"),
        ("ENI.MI", "XMIL", "Europe/Rome"),
        ("NESN.SW", "XSWX", "Europe/Zurich"),
        ("BHP.AX", "XASX", "Australia/Sydney"),
        ("005930.KS", "XKRX", "Asia/Seoul"),
        ("035720.KQ", "XKOS", "Asia/Seoul"),
        ("600519.SS", "XSHG", "Asia/Shanghai"),
        ("600519.SH", "XSHG", "Asia/Shanghai"),
        ("000001.SZ", "XSHE", "Asia/Shanghai"),
        ("000001.XSHE", "XSHE", "Asia/Shanghai"),
        ("2330.TW", "XTAI", "Asia/Taipei"),
        ("6488.TWO", "ROCO", "Asia/Taipei"),
        ("TEVA.TA", "XTAE", "Asia/Jerusalem"),
        ("VOLV-B.ST", "XSTO", "Europe/Stockholm"),
        ("NOKIA.HE", "XHEL", "Europe/Helsinki"),
        ("NOVO-B.CO", "XCSE", "Europe/Copenhagen"),
        ("EQNR.OL", "XOSL", "Europe/Oslo"),
        ("EDP.LS", "XLIS", "Europe/Lisbon"),
        ("ABI.BR", "XBRU", "Europe/Brussels"),
        ("OMV.VI", "XWBO", "Europe/Vienna"),
        ("PETR4.SA", "BVMF", "America/Sao_Paulo"),
        ("AMXL.MX", "XMEX", "America/Mexico_City"),
        ("NPN.JO", "XJSE", "Africa/Johannesburg"),
        ("D05.SI", "XSES", "Asia/Singapore"),
        ("AIR.NZ", "XNZE", "Pacific/Auckland"),
        ("2222.SR", "XSAU", "Asia/Riyadh"),
    ],
)
def test_the_ending_of_a_symbol_names_its_market(symbol: str, mic: str, zone: str) -> None:
    assert market_of_symbol(symbol) == (mic, zone)
    identifier = instrument_id(symbol, mic_of_symbol(symbol))
    assert identifier == f"{symbol}.{mic}"
    assert split_instrument_id(identifier) == (symbol, mic)


@pytest.mark.parametrize(
    "symbol",
    [
        *("AAPL", "BRK.B", "BRK.A", "BF-B", "HEI.A", "PBR.A", "ABC.U", "ABC.WS", "ABC.RT", "AAPL.US"),
        # none of these markets has such codes
        *("ABC.T", "ABC.SR", "600519.CN", "123.V", "1.F"),
        *(
            "aapl.de",
            "0700.hk",
            ".DE",
            ".L",
            "DE",
            "",
            "BTC.D",
            "ES=F",
            "^GSPC",
            "BTC/USD",
            "SAP.DE ",
            "SAP.DE\n",
        ),
    ],
)
def test_other_symbols_name_no_market(symbol: str) -> None:
    assert market_of_symbol(symbol) is None
    assert mic_of_symbol(symbol) == "XXXX"


_ENDINGS = st.sampled_from([*"L T V F A".split(), "HK", "DE", "CN", "SR", "XETRA", "TWO", "XX", "ABCDEF", ""])
_BODIES = st.text(alphabet="AZ09.^-é&/\n ", max_size=5)


@given(st.lists(st.builds("{}.{}".format, _BODIES, _ENDINGS) | st.text()))
def test_columns_have_the_markets_of_their_symbols(symbols: list[str]) -> None:
    symbols = [symbol for symbol in symbols if "\n" not in symbol and symbol.isprintable()]
    frame = pl.DataFrame({"s": symbols}, schema={"s": pl.String})
    expected = [mic_of_symbol(symbol) for symbol in symbols]
    assert frame.select(mic_of_symbol_expr("s")).to_series().to_list() == expected


def test_the_documentation_lists_all_endings() -> None:
    documented: dict[str, str] = {}
    for endings, mic in re.findall(r"\| ((?:`\.[A-Z]+` ?)+) \| (\w{4}) ", FILES_PAGE.read_text()):
        documented |= dict.fromkeys(re.findall(r"\.([A-Z]+)", endings), mic)
    assert len(documented) > 60
    for ending, mic in documented.items():
        assert mic in {mic_of_symbol(f"A.{ending}"), mic_of_symbol(f"1.{ending}")}
    assert set(documented.values()) == ZONE_OF_MIC.keys() - {"XBEL", "XCYS"}
    assert all(ZoneInfo(zone) for zone in ZONE_OF_MIC.values())

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.errors import DataError
from tickerlake.model.instrument import (
    check_symbol,
    instrument_id,
    instrument_id_expr,
    is_symbol,
    is_symbol_expr,
    normalize_symbol_expr,
    slug,
    split_instrument_id,
)

PLAIN_SYMBOLS = [
    "BRK.B",
    "BRK-B",
    "^GSPC",
    "M&M",
    "RELIANCE.NS",
    "BTC-USD",
    "EURUSD=X",
    "NA",
    "TRUE",
    ".DJI",
    "7203.T",
]
IDENTIFIERS = {
    "BTC/USD": "BTC~2FUSD",
    "BRK B": "BRK~20B",
    "NSE:INFY": "NSE~3AINFY",
    "$SPX": "~24SPX",
    "@ES#": "~40ES~23",
    "/ES": "~2FES",
    "&A": "~26A",
    "A~2FB": "A~7E2FB",
    "A%2F": "A~252F",
    "NIFTY 50": "NIFTY~2050",
    "AAPL  240119C00150000": "AAPL~20~20240119C00150000",
    "Ä": "~C3~84",
    "株価": "~E6~A0~AA~E4~BE~A1",
    "حديد": "~D8~AD~D8~AF~D9~8A~D8~AF",
    "A" * 64: "A" * 64,
}
INVALID_SYMBOLS = {
    "": "is empty",
    "  ": "is empty",
    ".": "neither a letter nor a digit",
    "..": "neither a letter nor a digit",
    "^": "neither a letter nor a digit",
    "🚀": "neither a letter nor a digit",
    "A\nB": r"contains U\+000A",
    "A\x00": r"contains U\+0000",
    "A\u2028B": r"contains U\+2028",
    "\u202eAPPL": r"contains U\+202E",
    "A\u200bB": r"contains U\+200B",
    "A\ufffd": r"contains U\+FFFD",
    "A\ufdd0": r"contains U\+FDD0",
    "A\ue000": r"contains U\+E000",
    "\ud800A": r"contains U\+D800",
    "A\u3164": r"contains U\+3164",
    "=A": "begins with =",
    "-A": "begins with -",
    "+A": r"begins with \+",
    "A'B": "contains '",
    'A"B': 'contains "',
    "A`B": "contains `",
    "A\\B": r"contains \\",
    "<A>": "contains <",
    "A" * 65: "has 65 characters, more than 64",
}


@pytest.mark.parametrize("symbol", PLAIN_SYMBOLS)
def test_a_plain_symbol_is_its_own_safe_form(symbol: str) -> None:
    assert is_symbol(symbol)
    assert instrument_id(symbol, "XNAS") == f"{symbol}.XNAS"
    assert split_instrument_id(f"{symbol}.XNAS") == (symbol, "XNAS")


@pytest.mark.parametrize(("symbol", "safe"), IDENTIFIERS.items())
def test_an_identifier_encodes_other_characters(symbol: str, safe: str) -> None:
    assert is_symbol(symbol)
    assert instrument_id(symbol) == f"{safe}.XXXX"
    assert split_instrument_id(f"{safe}.XXXX") == (symbol, "XXXX")


@pytest.mark.parametrize(("symbol", "problem"), INVALID_SYMBOLS.items())
def test_an_invalid_symbol_is_refused_with_its_rule(symbol: str, problem: str) -> None:
    assert not is_symbol(symbol)
    with pytest.raises(DataError, match=problem):
        instrument_id(symbol)


@pytest.mark.parametrize(
    ("written", "symbol"),
    [(" AAPL ", "AAPL"), ("e\u0301x", "éx"), ("NIFTY\u00a050", "NIFTY 50"), ("日経\u3000225", "日経 225")],
)
def test_a_symbol_is_normalized(written: str, symbol: str) -> None:
    assert check_symbol(written) == symbol
    frame = pl.DataFrame({"s": [written]})
    assert frame.select(normalize_symbol_expr("s")).item() == symbol


@pytest.mark.parametrize(
    "identifier",
    [
        "~41APL.XXXX",
        "BTC~2fUSD.XXXX",
        "BTC/USD.XXXX",
        "~FF.XXXX",
        "A~0A.XXXX",
        "A~.XXXX",
        "A~2.XXXX",
        "e~CC~81.XXXX",
    ],
)
def test_another_spelling_of_an_identifier_is_refused(identifier: str) -> None:
    with pytest.raises(DataError):
        split_instrument_id(identifier)


_TEXTS = st.one_of(
    st.text(max_size=70),
    st.from_regex(r"[A-Z^.&=/-]{0,66}\n?", fullmatch=True),
    st.text(alphabet="AZaz09.^=&-_~/: $日é\u0301\u00a0", max_size=12),
)


@given(st.lists(_TEXTS))
def test_the_expressions_agree_with_the_functions(texts: list[str]) -> None:
    frame = pl.DataFrame({"s": texts}, schema={"s": pl.String})
    assert frame.select(is_symbol_expr("s")).to_series().to_list() == [is_symbol(t) for t in texts]
    valid = frame.filter(is_symbol_expr("s"))
    symbols = valid.get_column("s").to_list()
    identifiers = valid.select(instrument_id_expr("s")).to_series().to_list()
    assert identifiers == [instrument_id(symbol) for symbol in symbols]
    assert [split_instrument_id(each) for each in identifiers] == [(symbol, "XXXX") for symbol in symbols]
    assert all(re.fullmatch(r"[A-Za-z0-9.\-_^=&~]+", each) for each in identifiers)


def test_identifiers_of_a_column() -> None:
    frame = pl.DataFrame({"s": ["AAPL"]})
    assert frame.select(instrument_id_expr("s", "XNAS")).item() == "AAPL.XNAS"
    with pytest.raises(DataError):
        instrument_id("AAPL", "nasdaq")


@given(st.text())
def test_a_slug_is_a_symbol_or_nothing(text: str) -> None:
    assert slug(text) == "" or is_symbol(slug(text))

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.errors import DataError
from tickerlake.model.instrument import (
    instrument_id,
    instrument_id_expr,
    is_symbol,
    is_symbol_expr,
    slug,
    split_instrument_id,
)

VALID_SYMBOLS = [
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
INVALID_SYMBOLS = [
    "",
    ".",
    "..",
    "^",
    "A/B",
    "A%2F",
    "A B",
    "A\n",
    "A\x00",
    "\u202eAPPL",
    "Ä",
    "=A",
    "-A",
    "A:B",
    "A" * 33,
]


@pytest.mark.parametrize("symbol", VALID_SYMBOLS)
def test_symbols_that_exist_are_valid(symbol: str) -> None:
    assert is_symbol(symbol)
    assert split_instrument_id(instrument_id(symbol, "XNAS")) == (symbol, "XNAS")


@pytest.mark.parametrize("symbol", INVALID_SYMBOLS)
def test_unsafe_symbols_are_rejected(symbol: str) -> None:
    assert not is_symbol(symbol)
    with pytest.raises(DataError):
        instrument_id(symbol)


@given(st.lists(st.one_of(st.text(max_size=40), st.from_regex(r"[A-Z^.&=/-]{0,34}\n?", fullmatch=True))))
def test_the_expression_agrees_with_the_function(texts: list[str]) -> None:
    frame = pl.DataFrame({"s": texts}, schema={"s": pl.String})
    assert frame.select(is_symbol_expr("s")).to_series().to_list() == [is_symbol(t) for t in texts]


def test_identifiers_of_a_column() -> None:
    frame = pl.DataFrame({"s": ["AAPL"]})
    assert frame.select(instrument_id_expr("s", "XNAS")).item() == "AAPL.XNAS"
    with pytest.raises(DataError):
        instrument_id("AAPL", "nasdaq")


@given(st.text())
def test_a_slug_is_a_symbol_or_nothing(text: str) -> None:
    assert slug(text) == "" or is_symbol(slug(text))

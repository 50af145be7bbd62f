"""Daily lists of exchanges: currencies behind names, changes beside prices, and ranges without an open."""

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.layout import role_ranks
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

KENYA = "Date,Code,Name,12m Low,12m High,Day Low,Day High,Day Price,Previous,Change,Change%,Volume"
GHANA = (
    "Daily Date,Share Code,Year High (GH¢),Year Low (GH¢),Previous Closing Price - VWAP (GH¢),"
    "Opening Price (GH¢),Closing Price - VWAP (GH¢),Price Change (GH¢),Total Shares Traded"
)
CLOSES = {"QCOM": 14, "QQTY": 34}


def open_list(folder: Path, header: str, template: str, columns: str | None = None) -> CsvSource:
    rows = [
        template.format(day=day, symbol=symbol, close=f"{close + day / 100:.2f}")
        for day in range(10, 16)
        for symbol, close in CLOSES.items()
    ]
    path = folder / "list.csv"
    path.write_text("\n".join((header, *rows)) + "\n", "utf-8")
    return open_csv(path, parse_options(columns=columns), ts_recv_ns=1, digest=False)


def closes(source: CsvSource) -> list[tuple[str, Decimal]]:
    records = pl.concat(batch.records for batch in source.batches())
    return list(zip(records["symbol"], records["close"], strict=True))[:2]


@pytest.mark.parametrize(
    ("header", "template", "missing", "others"),
    [
        (
            KENYA,
            '{day}-Jan-2024,{symbol},Some Plc,1,90,13.2,35.9,{close},13.7,0.4,2.7%,"79,761.00"',
            "open",
            "Day High, Day Low",
        ),
        (
            GHANA,
            "2024-01-{day},{symbol},90.5,1.5,13.7,13.8,{close},0.1,79761",
            "high and low",
            "Opening Price (GH¢)",
        ),
        (
            "Date;Symbol;High [KSh];Low [KSh];Close [KSh];Change;% Change;Volume",
            "2024-01-{day};{symbol};35.9;13.2;{close};0.4;2.7%;79761",
            "open",
            "High [KSh], Low [KSh]",
        ),
        (
            "Date,Code,Opening Price,Closing Price - VWAP,Closing Bid Price,Closing Offer Price,Volume",
            "2024-01-{day},{symbol},13.8,{close},13.7,{close},79761",
            "high and low",
            "Opening Price",
        ),
        (
            "Date,Code,High,Low,Last,Previous,Volume",
            "2024-01-{day},{symbol},35.9,13.2,{close},13.7,79761",
            "open",
            "High, Low",
        ),
    ],
)
def test_lists_without_all_prices_are_closes(
    tmp_path: Path, header: str, template: str, missing: str, others: str
) -> None:
    source = open_list(tmp_path, header, template)
    assert closes(source) == [("QCOM", Decimal("14.1")), ("QQTY", Decimal("34.1"))]
    records = pl.concat(batch.records for batch in source.batches())
    assert set(records["volume"]) == {Decimal(79761)}
    assert not {"open", "high", "low"} & set(records.columns)
    assert source.warnings == [
        f"list.csv: no column has the {missing}: bars have the close alone (stored as extra: {others})."
    ]


@pytest.mark.parametrize(
    ("header", "template", "missing"),
    [
        # a column that may be the open, by its values
        (
            "Date,Symbol,Apertum,High,Low,Close,Volume",
            "2024-01-{day},{symbol},{close},35.9,13.2,{close},5",
            "open",
        ),
        (
            "Date,Symbol,Open,Close,Zenith,Volume",
            "2024-01-{day},{symbol},{close},{close},{close},5",
            "high, low",
        ),
        # two closes
        (
            "Date,Symbol,Open,Close Regular,Close Evening,Change",
            "2024-01-{day},{symbol},14,{close},{close},1",
            "high, low",
        ),
    ],
)
def test_closes_are_advised_where_a_column_may_be_another_price(
    tmp_path: Path, header: str, template: str, missing: str
) -> None:
    with pytest.raises(DataError, match=f"no column for {missing}"):
        open_list(tmp_path, header, template)


def test_advice_for_closes_works(tmp_path: Path) -> None:
    header, template = (
        "Date,Symbol,Apertum,High,Low,Close",
        "2024-01-{day},{symbol},{close},35.9,13.2,{close}",
    )
    with pytest.raises(DataError, match="no column for open among") as caught:
        open_list(tmp_path, header, template)
    advised = caught.value.hint.partition("--columns ")[2].partition(" ")[0]
    source = open_list(tmp_path, header, template, advised)
    assert closes(source) == [("QCOM", Decimal("14.1")), ("QQTY", Decimal("34.1"))]


@pytest.mark.parametrize(
    "unit", ["(GH¢)", "(KES)", "[KSh]", "(Kshs.)", "(₦)", "(R$)", "/NGN", "(zł)", "(RM)"]
)
def test_bars_in_any_currency(tmp_path: Path, unit: str) -> None:
    names = ("Opening Price", "High Price", "Low Price", "Closing Price")
    header = ",".join(("Date", "Symbol", *(f"{name} {unit}" for name in names), "Volume"))
    source = open_list(tmp_path, header, "2024-01-{day},{symbol},{close},90,1,{close},5")
    assert closes(source) == [("QCOM", Decimal("14.1")), ("QQTY", Decimal("34.1"))]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("Closing Price - VWAP (GH¢)", "close"),
        ("Close (official)", "close"),
        ("Day Price", "close"),
        ("Previous Closing Price - VWAP (GH¢)", None),
        ("Year High (GH¢)", None),
        ("Close - Open", None),
        ("Close (AVG)", None),
        ("Price Change (GH¢)", None),
        ("Total Value Traded (GH¢)", None),
        ("Value m$", None),
        ("Turnover (KES)", None),
    ],
)
def test_currencies_and_qualifiers_behind_names(name: str, role: str | None) -> None:
    assert next(iter(role_ranks(name)), None) == role


@pytest.mark.parametrize("change", ["Change%", "% Change", "Chg %", "Pct_Change", "Percent Change"])
def test_a_price_with_changes_is_no_statement(tmp_path: Path, change: str) -> None:
    header = f"Date,Code,Name,Price,Change,{change}"
    source = open_list(tmp_path, header, "2024-01-{day},{symbol},Some Plc,{close},0.1,0.7%")
    assert closes(source) == [("QCOM", Decimal("14.1")), ("QQTY", Decimal("34.1"))]
    try:
        open_list(tmp_path, f"Date,Code,Worth,Change,{change}", "2024-01-{day},{symbol},{close},0.1,0.7%")
    except DataError as error:
        assert "statement" not in error.message  # noqa: PT017 - read or refused, but never a statement


def test_a_statement_with_changes_stays_one(tmp_path: Path) -> None:
    header = "Date,Account,Operation,Code,Change,Remark"
    with pytest.raises(DataError, match="an account's statement"):
        open_list(tmp_path, header, "2024-01-{day} 10:00:00,Spot,Deposit,{symbol},{close},none")

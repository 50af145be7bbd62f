"""Tables of registries and universities whose facts the values do not show: CVM's funds, CRSP's prices."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import CsvSource, open_csv


def read(path: Path) -> tuple[CsvSource, list[Any]]:
    source = open_csv(path)
    return source, [row for batch in source.batches() for row in batch.records.iter_rows(named=True)]


@pytest.mark.parametrize(
    ("header", "form"),
    [
        (
            "TP_FUNDO;CNPJ_FUNDO;DT_COMPTC;VL_TOTAL;VL_QUOTA;VL_PATRIM_LIQ;NR_COTST",
            "FI;{f};{d};{m};{q};{m};{n}",
        ),
        (
            "TP_FUNDO_CLASSE;CNPJ_FUNDO_CLASSE;ID_SUBCLASSE;DT_COMPTC;VL_TOTAL;VL_QUOTA;VL_PATRIM_LIQ;CAPTC_DIA",
            "FIF;{f};;{d};{m};{q};{m};0.00",
        ),
        (
            "CNPJ_FUNDO;DT_COMPTC;VL_TOTAL;VL_QUOTA;VL_PATRIM_LIQ;CAPTC_DIA;RESG_DIA",
            "{f};{d};{m};{q};{m};0.00;0.00",
        ),
    ],
)
def test_the_value_of_a_share_is_the_close_of_a_fund(tmp_path: Path, header: str, form: str) -> None:
    path = tmp_path / "inf_diario_fi_202403.csv"
    rows = [
        form.format(f=fund, d=f"2024-03-{n:02}", m=f"{10**6 + 7 * n}.55", q=f"{first + n * 0.0123:.9f}", n=n)
        for fund, first in (("00.017.024/0001-53", 35.1), ("00.068.305/0001-35", 1.23))
        for n in range(1, 21)
    ]
    path.write_text("\n".join([header, *rows]) + "\n")
    _, records = read(path)
    assert len(records) == 40
    assert {row["symbol"] for row in records} == {"00.017.024/0001-53", "00.068.305/0001-35"}
    first = next(row for row in records if row["symbol"].startswith("00.017"))
    assert (first["session_date"], first["close"]) == (date(2024, 3, 1), Decimal("35.112300000"))


def test_subclasses_of_a_fund_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "inf_diario_fi_202503.csv"
    rows = [
        f"FIF;00.017.024/0001-53;{sub};2025-03-{n:02};1000.55;{value + n / 100:.4f}"
        for sub, value in (("ABC12", 3), ("XYZ34", 5), ("", 4))
        for n in range(1, 21)
    ]
    header = "TP_FUNDO_CLASSE;CNPJ_FUNDO_CLASSE;ID_SUBCLASSE;DT_COMPTC;VL_TOTAL;VL_QUOTA"
    path.write_text("\n".join([header, *rows]) + "\n")
    symbols = {row["symbol"] for row in read(path)[1]}
    assert symbols == {"00.017.024/0001-53", "00.017.024/0001-53.ABC12", "00.017.024/0001-53.XYZ34"}


@pytest.mark.parametrize("every", [3, 4, 20])
@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("PERMNO,date,TICKER,PRC,VOL,RET", "10001,{d:%Y%m%d},QAA,{p},{v},0.01"),
        ("permno,permco,date,ticker,bidlo,askhi,prc,vol,openprc", "1,2,{d},QAA,19.5,29.5,{p},{v},20.25"),
    ],
)
def test_negative_prices_of_crsp_are_named(tmp_path: Path, header: str, form: str, every: int) -> None:
    path = tmp_path / "crsp.csv"
    rows = [
        form.format(
            d=date(2010, 1, 4) + timedelta(n), p=f"{'-' if n % every == 0 else ''}{20 + n % 7}.5", v=1000 + n
        )
        for n in range(60)
    ]
    path.write_text("\n".join([header, *rows]) + "\n")
    source, records = read(path)
    assert len(records) == 60 - len(range(0, 60, every))
    assert all(row["close"] > 0 for row in records)
    assert any("mean of bid and ask" in each and "minus signs" in each for each in source.warnings)
    assert not any("--allow-negative-prices" in each for each in source.warnings)
    with pytest.raises(DataError, match="mean of bid and ask"):
        open_csv(path, Options(negative_prices=True))

"""Two columns of names: the one that tells the rows of a date apart is the symbol, not a group of them."""

from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.read import open_csv

DAYS = [f"2024-01-{day:02}" for day in (2, 3, 4, 5, 8, 9, 10, 11)]
PLANS = {"Plan One 1961-1967 m.": "QWED", "Plan Two (balanced)": "QLLI"}


def write(folder: Path, header: str, rows: list[str]) -> Path:
    path = folder / "history.csv"
    path.write_text(header + "\n" + "\n".join(rows) + "\n", "utf-8")
    return path


def symbols(path: Path) -> set[str]:
    return {row["symbol"] for batch in open_csv(path).batches() for row in batch.records.to_dicts()}


@pytest.mark.parametrize("group", ["provider", "Sector", "issuer", "category", "Fund Manager"])
@pytest.mark.parametrize("name", ["fund", "plan", "scheme_name"])
@pytest.mark.parametrize("is_one", [False, True])
def test_the_finer_column_is_the_symbol(tmp_path: Path, group: str, name: str, is_one: bool) -> None:
    rows = [
        f"{day},{'QA' if is_one else code},{plan},{n}.0060"
        for n, day in enumerate(DAYS, 10)
        for plan, code in PLANS.items()
    ]
    assert symbols(write(tmp_path, f"date,{group},{name},unit_value", rows)) == set(PLANS)


def test_codes_are_finer_than_their_issuer(tmp_path: Path) -> None:
    rows = [f"{day},QB,{bond},{n}.5" for n, day in enumerate(DAYS, 10) for bond in ("QB27", "QB29")]
    assert symbols(write(tmp_path, "date,issuer,bond,price", rows)) == {"QB27", "QB29"}


def test_codes_are_finer_than_their_market(tmp_path: Path) -> None:
    rows = [
        f"{day},{market},{name},10,20,9,1{n}"
        for n, day in enumerate(DAYS, 0)
        for market, name in (("MAIN", "QA Bank"), ("MAIN", "QB Steel"), ("STAR", "QC Oil"))
    ]
    expected = {"QA Bank", "QB Steel", "QC Oil"}
    assert symbols(write(tmp_path, "date,market,name,open,high,low,close", rows)) == expected


def test_a_group_without_a_finer_column_is_the_symbol(tmp_path: Path) -> None:
    rows = [f"{day},{sector},{n}.5" for n, day in enumerate(DAYS, 10) for sector in ("TECH", "BANKS")]
    assert symbols(write(tmp_path, "date,sector,close", rows)) == {"TECH", "BANKS"}


def test_a_code_beside_unique_texts_remains_the_symbol(tmp_path: Path) -> None:
    rows = [
        f"{day},{code},Note {n} of {code},{n}.5" for n, day in enumerate(DAYS, 10) for code in ("QA", "QB")
    ]
    assert symbols(write(tmp_path, "date,code,name,close", rows)) == {"QA", "QB"}


def test_rows_that_no_column_tells_apart_are_asked_about(tmp_path: Path) -> None:
    rows = [f"{day},QA,Fund One,{n}.{share}" for n, day in enumerate(DAYS, 10) for share in (1, 2)]
    with pytest.raises(DataError):
        symbols(write(tmp_path, "date,provider,fund,unit_value", rows))

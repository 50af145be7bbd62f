"""Three digits before and after a point: settled by the times of the rows, else asked about. Short rows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.read import CsvSource, open_csv

Row = Callable[[int], str]


def open_rows(folder: Path, header: str, row: Row, name: str = "QSDJPY.csv") -> CsvSource:
    path = folder / name
    path.write_text("\n".join([*filter(None, [header]), *map(row, range(24))]) + "\n", "utf-8")
    return open_csv(path, ts_recv_ns=1, digest=False)


def bar(n: int, sign: str = ".") -> list[str]:
    a, b = (146_100 + 37 * k % 101 for k in (n, n + 1))
    return [f"{x // 1000}{sign}{x % 1000:03}" for x in (a, max(a, b) + 9, min(a, b) - 8, b)]


def prices(source: CsvSource, column: str) -> list[str]:
    return [str(x) for x in next(iter(source.batches())).records[column].to_list()]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (
            "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
            lambda n: "\t".join(["2024.09.02", f"00:{n:02}:00", *bar(n), f"{50 + n}", "0", "2"]),
        ),
        ("", lambda n: ";".join([f"20240902 00{n:02}00", *bar(n), "0"])),
        (
            "Time;Open;High;Low;Close",
            lambda n: ";".join([f"22.09.2024 00:{n:02}:00.000", *bar(n)]),
        ),
        ("Date;Open;High;Low;Close", lambda n: ";".join([f"2024.09.{n + 1:02}", *bar(n)])),
    ],
)
def test_bars(tmp_path: Path, header: str, row: Row) -> None:
    source = open_rows(tmp_path, header, row)
    assert prices(source, "open")[0] == "146.100000000"
    assert not any("decimal" in each for each in source.warnings)


def test_a_comma_in_the_fractions_of_seconds(tmp_path: Path) -> None:
    source = open_rows(
        tmp_path,
        "Zeit;Kurs;Anzahl",
        lambda n: f"22.09.2024 00:00:{n:02},{n:03};146,{100 + n};{1 + 7 * n % 5}",
    )
    assert prices(source, "price")[1] == "146.101000000"


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Datum;Zeit;Kurs;Anzahl", lambda n: f"22.09.2024;00:{n:02}:00;146.{100 + n};{1 + 7 * n % 5}"),
        ("Date;Time;Price;Size", lambda n: f"2024-09-02;00:{n:02}:00;146.{100 + n};{1 + 7 * n % 5}"),
        ("Zeit;Kurs;Anzahl", lambda n: f"22.09.2024 00:00:{n:02},{n:03};146.{100 + n};{1 + 7 * n % 5}"),
    ],
)
def test_nothing_settles_it(tmp_path: Path, header: str, row: Row) -> None:
    with pytest.raises(DataError, match="decimal separator is ambiguous"):
        open_rows(tmp_path, header, row)


# --- rows without their last cells


def tick(n: int) -> str:
    cells = ["2024.09.02", f"00:00:{n:02}.{n:03}", f"146.{100 + n}", f"146.{103 + n}", "", f"{n}00"]
    return "\t".join(cells[: 4 if n % 3 == 0 else 6])


def test_ticks_that_end_after_the_ask(tmp_path: Path) -> None:
    source = open_rows(tmp_path, "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>", tick)
    assert len(prices(source, "bid_price")) == 24


def test_bars_without_a_volume(tmp_path: Path) -> None:
    source = open_rows(
        tmp_path,
        "Date,Open,High,Low,Close,Volume",
        lambda n: ",".join([f"2024-09-{n + 1:02}", *bar(n), f"{n}00"][: 5 if n % 4 == 0 else 6]),
    )
    assert prices(source, "volume")[:2] == ["None", "100.000000000"]


@pytest.mark.parametrize("short", [{5}, {5, 9}])
def test_single_short_rows_may_be_cut_off(tmp_path: Path, short: set[int]) -> None:
    source = open_rows(
        tmp_path,
        "Date,Open,High,Low,Close,Volume",
        lambda n: ",".join([f"2024-09-{n + 1:02}", *bar(n), f"{n}00"][: 5 if n in short else 6]),
    )
    assert len(prices(source, "close")) == 24 - len(short)


def test_rows_without_a_price_stay_rejected(tmp_path: Path) -> None:
    source = open_rows(
        tmp_path,
        "Date,Open,High,Low,Close,Volume",
        lambda n: ",".join([f"2024-09-{n + 1:02}", *bar(n), f"{n}00"][: 4 if n % 4 == 0 else 6]),
    )
    assert len(prices(source, "close")) == 18

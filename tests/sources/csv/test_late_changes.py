"""Columns whose form changes far below the first rows: a row is read as it is meant, or rejected."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.read import open_csv

DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y-%d-%m",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d.%m.%Y",
    "%Y%m%d",
    "%d-%b-%Y",
    "%Y-%m-%d 16:00",
    "%Y-%m-%dT16:00:00Z",
)
ROLES = ("open", "high", "low", "close", "volume")
Cells = dict[str, str]
Change = Callable[[Random, date, Cells], None]


def other_dates(rng: Random, day: date, cells: Cells) -> None:
    cells["date"] = day.strftime(rng.choice(DATE_FORMATS))


def number_of_day(rng: Random, day: date, cells: Cells) -> None:
    del rng
    cells["date"] = str((day - date(1899, 12, 30)).days)


def decimal_commas(rng: Random, day: date, cells: Cells) -> None:
    del rng, day
    for role in ROLES[:4]:
        cells[role] = cells[role].replace(".", ",")


def decimal_commas_of_three_digits(rng: Random, day: date, cells: Cells) -> None:
    del rng, day
    for role in ROLES[:4]:
        cells[role] = cells[role].replace(".", ",") + "0"


def changes_for_closes(rng: Random, day: date, cells: Cells) -> None:
    del day
    cells["close"] = f"{rng.uniform(-3, 3):.2f}%"


def texts(rng: Random, day: date, cells: Cells) -> None:
    del day
    cells[rng.choice(ROLES)] = rng.choice(["halted", "see note", "12:30", "#", "1.2.3"])


def no_symbols(rng: Random, day: date, cells: Cells) -> None:
    cells["symbol"] = rng.choice([day.isoformat(), cells["close"], f"<b>{day.day}", "-5"])


def prices_in_another_order(rng: Random, day: date, cells: Cells) -> None:
    del day, rng
    cells["high"], cells["low"] = cells["low"], cells["high"]


CHANGES: dict[str, Change] = {
    each.__name__: each
    for each in (
        other_dates,
        number_of_day,
        decimal_commas,
        decimal_commas_of_three_digits,
        changes_for_closes,
        texts,
        no_symbols,
        prices_in_another_order,
    )
}


def write(
    folder: Path, rng: Random, change: Change, form: str, first: int, rows: int
) -> tuple[Path, list[Any]]:
    """Write rows whose form changes after some; return what each of them means."""
    path = folder / "rows.csv"
    lines, meant = ["Date;Symbol;Open;High;Low;Close;Volume"], []
    seed, day = rng.random(), date(2017, 1, 2)
    for n in range(rows):
        close = 4500 + rng.randrange(900)
        values = [close - 20, close + 110, close - 130, close]
        numbers = [f"{each / 100:.2f}" for each in values] + [str(1000 + rng.randrange(500))]
        cells = {"date": day.strftime(form), "symbol": "QAA", **dict(zip(ROLES, numbers, strict=True))}
        meant.append((day, "QAA", *map(float, numbers)))
        if n >= first:
            change(Random(seed) if change is other_dates else rng, day, cells)
        lines.append(";".join(cells.values()))
        day += timedelta(1 if day.weekday() < 4 else 3)
    path.write_text("\n".join(lines) + "\n")
    return path, meant


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("change", CHANGES)
def test_a_later_change_is_never_read_as_something_else(tmp_path: Path, change: str, seed: int) -> None:
    rng = Random(f"{change} {seed}")
    form = rng.choice(DATE_FORMATS) if change == "other_dates" else "%Y-%m-%d"
    rows = rng.choice([1100, 1300])
    path, meant = write(tmp_path, rng, CHANGES[change], form, rows - rng.choice([40, 70]), rows)
    refusal: DataError | None = None
    try:
        source = open_csv(path, ts_recv_ns=1, digest=False)
    except DataError as error:
        refusal = error
    if refusal is not None:
        assert refusal.hint
        return
    for batch in source.batches():
        for row in batch.records.iter_rows(named=True):
            found = (row["session_date"], row["symbol"], *(float(row[role]) for role in ROLES))
            assert found == meant[row["source_line"] - 2], (form, source.describe())


@pytest.mark.parametrize(("first", "later"), [("%m/%d/%Y", "%d/%m/%Y"), ("%d.%m.%y", "%m.%d.%y")])
def test_day_and_month_exchanged_in_later_rows(tmp_path: Path, first: str, later: str) -> None:
    def change(rng: Random, day: date, cells: Cells) -> None:
        del rng
        cells["date"] = day.strftime(later)

    path, _ = write(tmp_path, Random(1), change, first, 1150, 1200)
    with pytest.raises(DataError, match=r"more than one order|order of day and month"):
        open_csv(path)


def test_one_date_with_day_and_month_exchanged_is_rejected(tmp_path: Path) -> None:
    def change(rng: Random, day: date, cells: Cells) -> None:
        del rng
        if day == date(2017, 3, 30):
            cells["date"] = "2017-30-03"

    path, meant = write(tmp_path, Random(1), change, "%Y-%m-%d", 0, 200)
    batches = list(open_csv(path).batches())
    (reject,) = [each for batch in batches for each in batch.rejects]
    assert meant[reject.line - 2][0] == date(2017, 3, 30)


def test_prices_above_a_thousand_that_begin_later_may_have_commas(tmp_path: Path) -> None:
    rows = [f"2024-01-{n % 28 + 1:02},Q{n // 28},{900 + n}.5" for n in range(280)]
    rows += [f'2024-02-{n + 1:02},Q0,"1,{100 + n}"' for n in range(28)]
    path = tmp_path / "rows.csv"
    path.write_text("Date,Symbol,Close\n" + "\n".join(rows) + "\n")
    records = [row for batch in open_csv(path).batches() for row in batch.records.iter_rows(named=True)]
    assert len(records) == 308
    assert max(row["close"] for row in records if row["session_date"].month == 2) == 1127

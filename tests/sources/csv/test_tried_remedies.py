"""A suggested ``--columns`` reads the file, or leaves to the user what the file does not show."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tickerlake.errors import DataError, UsageError
from tickerlake.sources.csv.detect.options import Options, parse_options
from tickerlake.sources.csv.read import open_csv

DAYS = [f"2024-01-{day:02}" for day in (2, 3, 4, 5, 8, 9, 10, 11)]


def write(folder: Path, text: str, name: str = "table_of_mine.csv") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def error_of(path: Path, **options: Any) -> DataError | UsageError:
    with pytest.raises((DataError, UsageError)) as caught:
        open_csv(path, parse_options(**options))
    assert isinstance(caught.value, DataError | UsageError)
    return caught.value


def suggestions(hint: str) -> list[str]:
    found = re.findall(r"--columns (?:\"(.*?)\"|'(.*?)'|(\S*[^\s.,;)]))", hint)
    return ["".join(each) for each in found]


def closes(path: Path, columns: str, **options: Any) -> list[float]:
    source = open_csv(path, Options(columns=tuple(columns.split(",")), **options))
    return [float(row["close"]) for batch in source.batches() for row in batch.records.to_dicts()]


@pytest.mark.parametrize("names", ["Qdate,Zahl,Wert je", "日付,株数x,単価x"])
def test_a_number_of_shares_is_not_suggested_as_the_close(tmp_path: Path, names: str) -> None:
    rows = "".join(f"{day},{n % 3 + 1}00,25{n}.5\n" for n, day in enumerate(DAYS))
    hint = error_of(write(tmp_path, f"{names}\n{rows}")).hint
    assert suggestions(hint) == ["date,…,…"]
    assert f"2 {names.split(',')[1]} (100), 3 {names.split(',')[2]} (250.5)" in hint


@pytest.mark.parametrize("names", ["low_yard,high_yard", "Bitcoin Value,Doge Value", "P/E,P/B"])
def test_one_of_several_likely_columns_is_not_suggested(tmp_path: Path, names: str) -> None:
    rows = "".join(f"{day},25{n}.5,13{n}.25\n" for n, day in enumerate(DAYS))
    hint = error_of(write(tmp_path, f"Date,{names}\n{rows}")).hint
    assert "--columns date,close" not in hint


def test_polls_without_a_header_keep_their_time_of_day(tmp_path: Path) -> None:
    rows = "".join(f"QAA,2024-01-02,18:42:0{n}.622,{n * n % 5},{n % 2}\n" for n in range(8))
    hint = error_of(write(tmp_path, rows)).hint
    assert suggestions(hint) == ["…,date,time,…,…"]


def test_a_rate_beside_an_incomplete_range(tmp_path: Path) -> None:
    rows = "".join(f"{day},1.{n}1,1.{n}2,1.{n}0\n" for n, day in enumerate(DAYS))
    path = write(tmp_path, f"Date,Xrate,High (est),Low (est)\n{rows}")
    assert suggestions(error_of(path).hint) == ["date,…,…,…"]
    (alone,) = suggestions(error_of(path, columns="date,close,high,low").hint)
    assert closes(path, alone)[0] == 1.01


def test_a_list_of_symbols_has_a_header(tmp_path: Path) -> None:
    error = error_of(write(tmp_path, "Symbol,Name\nES=F,E-Mini\nNQ=F,Nasdaq\nYM=F,Dow\n"))
    assert "has no header" not in error.message
    assert re.search("neither dates nor numbers|no rows of dates and numbers", error.message)
    assert not suggestions(error.hint)


def test_a_question_behind_the_suggestion_is_asked_at_once(tmp_path: Path) -> None:
    rows = "".join(f"{day};1,{n}11\n" for n, day in enumerate(DAYS))
    path = write(tmp_path, f"Day;Foo\n{rows}")
    hint = error_of(path).hint
    assert "--columns date,close" in hint
    assert "--decimal" in hint
    assert closes(path, "date,close", decimal=",")[1] == 1.111


@pytest.mark.parametrize(
    ("names", "columns", "row"),
    [
        ("Day,Foo", "date,close", "{day},1.{n}1"),
        ("date,contract,expiry,settle", "date,symbol,,close", "{day},QAH4,2024-03-15,10{n}.5"),
        ("date,open_price", "date,close", "{day},10{n}.5"),
    ],
)
def test_a_suggestion_that_works_is_printed(tmp_path: Path, names: str, columns: str, row: str) -> None:
    rows = "".join(row.format(day=day, n=n) + "\n" for n, day in enumerate(DAYS))
    path = write(tmp_path, f"{names}\n{rows}")
    found = suggestions(error_of(path).hint)
    assert found == [columns] or (names.startswith("date,contract") and found == ["date,,,close"])
    assert len(closes(path, found[0])) == len(DAYS)


def test_suggestions_for_any_table_are_read_or_left_to_the_user(tmp_path: Path) -> None:
    seed = 24
    rng = random.Random(seed)
    kinds: dict[str, Callable[[int], str]] = {
        "date": lambda n: DAYS[n],
        "count": lambda n: f"{rng.randrange(1, 9)}00",
        "price": lambda n: f"{250 + n}.{rng.randrange(10, 99)}",
        "word": lambda n: rng.choice(["buy", "sell"]),
        "constant": lambda n: "5",
        "noise": lambda n: f"{rng.uniform(-1, 1):.3f}",
        "clock": lambda n: f"09:3{n}:00",
        "code": lambda n: rng.choice(["QAA", "QBB"]),
    }
    for case in range(40):
        chosen = ["date", *rng.choices(list(kinds), k=rng.randrange(1, 6))]
        rng.shuffle(chosen)
        names = [f"{rng.choice(['foo', 'bar', 'Wert', 'x'])}{i}" for i in range(len(chosen))]
        header = ",".join(names) + "\n" if rng.random() < 0.8 else ""
        rows = "".join(",".join(kinds[kind](n) for kind in chosen) + "\n" for n in range(len(DAYS)))
        path = write(tmp_path, header + rows, f"table_{case}.csv")
        try:
            open_csv(path)
        except (DataError, UsageError) as error:
            for words in suggestions(error.hint):
                if "…" in words or "With it" in error.hint:
                    continue
                source = open_csv(path, Options(columns=tuple(words.split(","))))
                read = sum(batch.records.height for batch in source.batches())
                assert read, f"seed {seed}, case {case}: {words}"

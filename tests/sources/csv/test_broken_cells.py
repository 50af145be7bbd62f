"""Quoted cells with line breaks: named as such, and never read as other rows."""

from pathlib import Path

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.read import CsvSource, open_csv

HEADER = "Date,Note,Open,High,Low,Close,Volume\n"


def bar(day: int, note: str) -> str:
    return f'2024-01-{day:02},"{note}",{day}.0,{day}.5,{day - 1}.5,{day}.1,{100 * day}\n'


def bars(broken: set[int], note: str = "Foo\nCUSIP: 1", delimiter: str = ",") -> str:
    text = HEADER + "".join(bar(day, note if day in broken else "Foo") for day in range(2, 22))
    return text.replace(",", delimiter)


def open_text(folder: Path, text: str) -> CsvSource:
    path = folder / "QFOO.csv"
    path.write_bytes(text.encode())
    return open_csv(path, ts_recv_ns=1)


def lines_read(source: CsvSource) -> tuple[list[int], dict[int, str]]:
    batches = list(source.batches())
    records = pl.concat([batch.records for batch in batches])
    rejects = {reject.line: str(reject.reason) for batch in batches for reject in batch.rejects}
    return records["source_line"].to_list(), rejects


@pytest.mark.parametrize("note", ["Foo\nCUSIP: 1", "Foo\r\nCUSIP: 1", "a\nb\n\nc", "a, b\n2024-01-01, c"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_most_rows_with_line_breaks_are_refused_by_name(note: str, delimiter: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_text(tmp_path, bars(set(range(2, 22)), note, delimiter))
    assert caught.value.message == (
        "QFOO.csv, line 2: a quoted cell goes on in the next line: line breaks in cells are not supported."
    )
    assert "Replace them by spaces" in caught.value.hint


def test_line_breaks_in_two_cells_of_a_row(tmp_path: Path) -> None:
    text = bars(set()).replace(",Close,", ",Close,Tag,")
    text = text.replace('"Foo"', '"Foo\nBar"').replace(".1,", '.1,"x\ny",')
    with pytest.raises(DataError, match=r"line 2: a quoted cell goes on"):
        open_text(tmp_path, text)


def test_a_few_rows_with_line_breaks_are_rejected_with_a_warning(tmp_path: Path) -> None:
    source = open_text(tmp_path, bars({10, 11}))
    (warning,) = source.warnings
    assert warning == (
        "QFOO.csv, line 10: a quoted cell goes on in the next line: line breaks in cells are not supported, "
        "and such rows are rejected."
    )
    lines, rejects = lines_read(source)
    assert rejects == dict.fromkeys(range(10, 14), "field_count")
    assert lines == [*range(2, 10), *range(14, 24)]


def test_a_line_inside_a_cell_is_never_a_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 10: a quoted cell goes on"):
        open_text(tmp_path, bars({10}, "a\n2024-02-03,x,5,6,5,5,5\nb"))


def minutes(broken: set[int], note: str) -> str:
    """Return 1,500 bars of a minute; the rows of some lines have a note with line breaks."""
    times = [f"2024-01-{2 + k // 480:02} {10 + k % 480 // 60}:{k % 60:02}Z" for k in range(1_500)]
    notes = [note if k in broken else "x" for k in range(1_500)]
    return HEADER + "".join(f'{t},"{n}",5,6,4,5,9\n' for t, n in zip(times, notes, strict=True))


def test_line_breaks_below_the_first_lines_are_counted(tmp_path: Path) -> None:
    source = open_text(tmp_path, minutes({1_200, 1_300, 1_301}, "a\nb\nc"))
    (warning,) = source.warnings
    assert warning == (
        "QFOO.csv, line 1,202: a quoted cell goes on in the next line, and 2 more below it do so: "
        "line breaks in cells are not supported, and such rows are rejected."
    )
    lines, rejects = lines_read(source)
    assert len(lines) == 1_497
    assert set(rejects.values()) == {"field_count"}
    assert len(rejects) == 9


def test_a_line_inside_a_cell_is_never_a_row_below_the_first_lines(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 1202: a quoted cell goes on") as caught:
        open_text(tmp_path, minutes({1_200}, "a\n2024-02-03 10:00Z,x,5,6,4,5,9\nb"))
    assert "Replace them by spaces" in caught.value.hint


def test_stray_quotes_below_the_first_lines_are_no_line_breaks(tmp_path: Path) -> None:
    text = minutes({1_200}, "STRAY").replace('"STRAY"', '"STRAY').replace("\n", "\r\n")
    source = open_text(tmp_path, text)
    assert source.warnings == []
    assert lines_read(source)[1] == {1_202: "field_count"}


def test_line_breaks_in_the_header(tmp_path: Path) -> None:
    text = bars(set()).replace("Volume", '"Volume\n(shares)"', 1).replace("Note", '"Note of\nthe day"', 1)
    source = open_text(tmp_path, text)
    assert source.describe()["columns"]["volume"] == "Volume (shares)"  # type: ignore[index]
    assert source.warnings == []
    assert lines_read(source) == (list(range(4, 24)), {})


def test_stray_quotes_are_no_line_breaks(tmp_path: Path) -> None:
    text = (
        bars(set())
        .replace('2024-01-05,"Foo"', '2024-01-05,"Foo')
        .replace('2024-01-09,"Foo"', '2024-01-09,Foo"')
    )
    source = open_text(tmp_path, text)
    assert source.warnings == []
    assert lines_read(source)[1] == {5: "field_count", 9: "field_count"}


def test_what_a_file_is_is_seen_in_spite_of_line_breaks(tmp_path: Path) -> None:
    rows = "".join(
        f'"7/{day}/2026","QZO","Quto\nCUSIP: 99","Buy","{day}","$29.{day}","($29.{day})"\n'
        for day in range(10, 20)
    )
    with pytest.raises(DataError, match="an account"):
        open_text(
            tmp_path,
            '"Activity Date","Instrument","Description","Trans Code","Quantity","Price","Amount"\n' + rows,
        )

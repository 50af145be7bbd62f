"""``tickerlake inspect``: reports of files, readable or not."""

import json
from pathlib import Path

from support.process import run

DATA = Path(__file__).parent.parent / "data"


def test_the_human_readable_report() -> None:
    out, _ = run("inspect", DATA / "broken_rows.csv", DATA / "day_first_duplicate_date.csv")
    assert "rows      4 accepted, 11 rejected" in out
    assert "line 4    price_missing: AAA,2024-01-03,null" in out
    assert "dates     DD-MM-YYYY (" in out
    assert "records   bars of 1d (the time between rows)" in out
    assert "DAY-FIRST-DUPLICATE-DATE is derived from its name" in out


def test_the_machine_readable_report() -> None:
    out, _ = run("inspect", DATA / "broken_rows.csv", "--json")
    (report,) = json.loads(out)["files"]
    assert report["columns"]["close"] == "Close"
    assert (report["rows_accepted"], report["rows_rejected"]) == (4, 11)
    assert [each["line"] for each in report["first_rejects"]] == [3, 4, 5, 6, 7]


def test_other_files_are_reported_next_to_a_rejected_one(tmp_path: Path) -> None:
    empty = tmp_path / "EMPTY.csv"
    empty.touch()
    out, err = run("inspect", empty, DATA / "newest_first.csv", exit_code=4)
    assert "EMPTY.csv is empty" in out
    assert "3 accepted, 0 rejected" in out
    assert "1 of 2 files cannot be read" in err


def test_options_override_detection(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("Date;Open;High;Low;Close\n01/02/2012;1,5;2,5;1,5;2,5\n")
    options = ("--symbol", "ACME", "--date-format", "MM/DD/YYYY", "--decimal", ",", "--interval", "1d")
    out, _ = run("inspect", "x.csv", *options, "--json", cwd=tmp_path)
    (report,) = json.loads(out)["files"]
    assert (report["symbols"], report["date_format"]) == (["ACME"], "MM/DD/YYYY")
    assert (report["decimal"], report["interval"]) == (",", "1d")


def test_inspect_has_no_strict_option() -> None:
    _, err = run("inspect", DATA / "newest_first.csv", "--strict", exit_code=2)
    assert "--strict" in err


def test_an_invalid_symbol_is_explained(tmp_path: Path) -> None:
    rows = "".join(f"2024-01-0{day},株,1,2,1,2\n" for day in range(2, 9)) + "2024-01-09,/,1,2,1,2\n"
    (tmp_path / "x.csv").write_text("Date,Symbol,Open,High,Low,Close\n" + rows)
    out, _ = run("inspect", "x.csv", cwd=tmp_path)
    assert "7 accepted, 1 rejected, 1 symbol_invalid" in out
    assert "→ A symbol has up to 64 printable characters" in out

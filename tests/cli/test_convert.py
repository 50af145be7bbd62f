"""``tickerlake convert``: files become records in a file or a stream, complete or not at all."""

import gzip
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.process import run, tickerlake, wait_until
from tickerlake.errors import UsageError
from tickerlake.model.schema import polars_schema, time_columns, with_timestamps
from tickerlake.tools.files import output_file

DATA = Path(__file__).parent.parent / "data"
NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)
HEADER = "time,open,high,low,close,volume\n"
COMMAND = [sys.executable, "-c", "from tickerlake.cli.app import main; main()", "convert"]


def bars(path: Path, *, rows: int = 5, first: int = 0, step: int = 1, price: str = "1.5") -> Path:
    """Write one-minute bars (or bars of ``step`` minutes), oldest first."""
    times = [(NOON + timedelta(minutes=first + step * n)).isoformat() for n in range(rows)]
    path.write_text(HEADER + "".join(f"{time},{price},2,1,{price},{n}\n" for n, time in enumerate(times)))
    return path


def trades(path: Path) -> Path:
    path.write_text(
        "timestamp,symbol,price,size\n"
        "2024-01-02T12:00:00.000000001Z,ACME,10.123456789,5\n"
        "2024-01-02T12:00:00.5Z,ACME,10.25,0.5\n"
    )
    return path


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line, parse_float=Decimal) for line in text.splitlines()]


def source_lines(text: str) -> list[tuple[str, int]]:
    return [(record["source"], record["source_line"]) for record in records(text)]


def file_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- formats


def test_ndjson_to_standard_output(tmp_path: Path) -> None:
    out, err = run("convert", bars(tmp_path / "ACME.csv"), cwd=tmp_path)
    first = records(out)[0]
    assert first["schema"] == "bar.v1"
    assert first["instrument_id"] == "ACME.XXXX"
    assert (first["open"], first["volume"]) == (Decimal("1.5"), 0)
    assert first["ts_open_ns"] == int(NOON.timestamp()) * 10**9
    assert "wrote 5 records to standard output" in err
    assert file_names(tmp_path) == ["ACME.csv"]


def test_a_file_equals_standard_output(tmp_path: Path) -> None:
    source = bars(tmp_path / "ACME.csv")
    out, _ = run("convert", source, cwd=tmp_path)
    run("convert", source, "-o", tmp_path / "plain.ndjson")
    run("convert", source, "-o", tmp_path / "compressed.ndjson.gz")

    def without_reception(text: str) -> list[dict[str, Any]]:
        return [
            {name: value for name, value in record.items() if name != "ts_recv_ns"}
            for record in records(text)
        ]

    compressed = gzip.decompress((tmp_path / "compressed.ndjson.gz").read_bytes()).decode()
    assert without_reception((tmp_path / "plain.ndjson").read_text()) == without_reception(out)
    assert without_reception(compressed) == without_reception(out)
    assert len(records(out)) == 5


@pytest.mark.parametrize("kind", ["bar.v1", "trade.v1"])
def test_parquet_has_every_column_and_exact_decimals(tmp_path: Path, kind: str) -> None:
    source = (
        bars(tmp_path / "ACME.csv", price="1.123456789") if kind == "bar.v1" else trades(tmp_path / "t.csv")
    )
    run("convert", source, "--to", "parquet", "-o", tmp_path / "out.parquet")
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table.schema == with_timestamps(polars_schema(kind).to_frame(), time_columns(kind)).schema
    for name in time_columns(kind):
        assert table[name.removesuffix("_ns")].dt.epoch("us").to_list() == (table[name] // 1000).to_list()
    if kind == "bar.v1":
        assert table["open"].to_list() == [Decimal("1.123456789")] * 5
        assert table["volume"].to_list() == [Decimal(n) for n in range(5)]
    else:
        assert table["price"].to_list() == [Decimal("10.123456789"), Decimal("10.25")]
        assert table["size"].to_list() == [Decimal(5), Decimal("0.5")]
        assert table["ts_event_ns"].to_list() == [
            int(NOON.timestamp()) * 10**9 + 1,
            int(NOON.timestamp()) * 10**9 + 500_000_000,
        ]


def test_parquet_and_ndjson_have_the_same_records(tmp_path: Path) -> None:
    source = DATA / "broken_rows.csv"
    out, _ = run("convert", source, cwd=tmp_path)
    run("convert", source, "--to", "parquet", "-o", tmp_path / "out.parquet")
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["source_line"].to_list() == [record["source_line"] for record in records(out)]
    assert table["open"].to_list() == [record["open"] for record in records(out)]


# --- several files


def test_files_are_merged_by_time(tmp_path: Path) -> None:
    even = bars(tmp_path / "EVEN.csv", step=2)
    odd = bars(tmp_path / "ODD.csv", step=2, first=1)
    out, _ = run("convert", odd, even, cwd=tmp_path)
    assert source_lines(out) == [(name, line) for line in range(2, 7) for name in ("EVEN.csv", "ODD.csv")]


@pytest.mark.parametrize("names", [["data"], ["data/**/*.csv"], ["data", "data/A.csv"]])
def test_a_folder_and_a_pattern_mean_the_same_files(tmp_path: Path, names: list[str]) -> None:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    bars(folder / "A.csv", step=2)
    bars(folder / "deep" / "B.csv", step=2, first=1)
    (folder / "notes.md").write_text("no data")
    out, _ = run("convert", *names, "-o", "out.ndjson", "--json", cwd=tmp_path)
    summary = json.loads(out)
    # bars of a file that is read twice would be rejected
    assert [each["source"] for each in summary["files"]] == ["A.csv", "B.csv"]
    assert summary["rejects"] == 0
    assert source_lines((tmp_path / "out.ndjson").read_text()) == [
        (name, line) for line in range(2, 7) for name in ("A.csv", "B.csv")
    ]


@pytest.mark.parametrize("name", ["empty", "none*.csv", "none.csv"])
def test_no_matching_file_is_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    _, err = run("convert", tmp_path / name, "-o", tmp_path / "out.ndjson", exit_code=4)
    assert name in err
    assert "→" in err
    assert file_names(tmp_path) == ["empty"]


def test_more_files_than_are_merged_at_once(tmp_path: Path) -> None:
    count = 130
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(count):
        bars(folder / f"S{number:03}.csv", rows=4, first=number, step=1)
    run("convert", folder, "-o", tmp_path / "out.ndjson")
    merged = records((tmp_path / "out.ndjson").read_text())
    assert len(merged) == 4 * count
    assert len({(record["source"], record["source_line"]) for record in merged}) == 4 * count
    order = [(record["ts_close_ns"], record["symbol"]) for record in merged]
    assert order == sorted(order)


def test_a_bar_repeated_by_a_later_file_is_rejected(tmp_path: Path) -> None:
    first = bars(tmp_path / "one.csv")
    second = bars(tmp_path / "two.csv", rows=6)
    out, err = run("convert", first, second, "--symbol", "ACME", "-o", tmp_path / "out.ndjson", "--json")
    assert json.loads(out)["rejects"] == 5
    assert "two.csv, line 2: duplicate_key: 2024-01-02T12:00:00+00:00,1.5," in err
    rejects = records((tmp_path / "out.ndjson.rejects.ndjson").read_text())
    assert [(each["file"], each["line"], each["reason"]) for each in rejects] == [
        ("two.csv", line, "duplicate_key") for line in range(2, 7)
    ]
    assert source_lines((tmp_path / "out.ndjson").read_text()) == [
        *(("one.csv", line) for line in range(2, 7)),
        ("two.csv", 7),
    ]


def test_record_types_are_not_mixed(tmp_path: Path) -> None:
    bars(tmp_path / "ACME.csv")
    trades(tmp_path / "trades.csv")
    _, err = run(
        "convert", tmp_path / "ACME.csv", tmp_path / "trades.csv", "-o", tmp_path / "o.ndjson", exit_code=4
    )
    assert "ACME.csv holds bar.v1 records, trades.csv trade.v1" in err
    assert "one record type at a time" in err
    assert file_names(tmp_path) == ["ACME.csv", "trades.csv"]


# --- standard input


def test_standard_input(tmp_path: Path) -> None:
    source = bars(tmp_path / "ACME.csv")
    for data in (source.read_bytes(), gzip.compress(source.read_bytes())):
        done = subprocess.run(
            [*COMMAND, "-", "--symbol", "ACME"],
            input=data,
            capture_output=True,
            timeout=60,
            check=True,
            cwd=tmp_path,
        )
        assert source_lines(done.stdout.decode()) == [("stdin", line) for line in range(2, 7)]


def test_standard_input_twice_is_rejected() -> None:
    _, err = run("convert", "-", "-", exit_code=2)
    assert "is given more than once" in err


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    source = bars(tmp_path / "ACME.csv", rows=100_000)
    with tickerlake("convert", source, cwd=tmp_path) as child:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["source_line"] == 2
        child.stdout.close()
        assert child.stderr is not None
        err = child.stderr.read()
        assert child.wait(timeout=60) == 0
    assert err == ""
    assert file_names(tmp_path) == ["ACME.csv"]


# --- rejected rows


def with_invalid_rows(path: Path) -> Path:
    bars(path)
    path.write_text(path.read_text() + '2024-01-02T12:05:00+00:00,oops,2,1,1,1\n"\n')
    return path


def test_rejected_rows_are_kept_with_file_line_reason_and_text(tmp_path: Path) -> None:
    out, err = run(
        "convert", with_invalid_rows(tmp_path / "ACME.csv"), "-o", tmp_path / "out.ndjson", "--json"
    )
    assert records((tmp_path / "out.ndjson.rejects.ndjson").read_text()) == [
        {
            "file": "ACME.csv",
            "line": 7,
            "reason": "unparsable_number",
            "raw": "2024-01-02T12:05:00+00:00,oops,2,1,1,1",
        },
        {"file": "ACME.csv", "line": 8, "reason": "field_count", "raw": '"'},
    ]
    summary = json.loads(out)
    assert (summary["records"], summary["rejects"]) == (5, 2)
    assert summary["rejects_file"] == str(tmp_path / "out.ndjson.rejects.ndjson")
    assert "rejected 2 rows" in err
    assert len(records((tmp_path / "out.ndjson").read_text())) == 5


def test_the_rejects_file_can_be_chosen(tmp_path: Path) -> None:
    with_invalid_rows(tmp_path / "ACME.csv")
    run("convert", "ACME.csv", "--rejects", "bad.ndjson", "-o", "out.ndjson", cwd=tmp_path)
    assert file_names(tmp_path) == ["ACME.csv", "bad.ndjson", "out.ndjson"]
    out, _ = run("convert", "ACME.csv", cwd=tmp_path)
    assert file_names(tmp_path) == ["ACME.csv", "ACME.csv.rejects.ndjson", "bad.ndjson", "out.ndjson"]
    assert len(records(out)) == 5


def test_without_rejects_there_is_no_rejects_file(tmp_path: Path) -> None:
    bars(tmp_path / "ACME.csv")
    out, _ = run("convert", "ACME.csv", "-o", "out.ndjson", "--json", cwd=tmp_path)
    assert file_names(tmp_path) == ["ACME.csv", "out.ndjson"]
    assert json.loads(out)["rejects_file"] is None


def test_force_removes_the_rejects_of_an_earlier_run(tmp_path: Path) -> None:
    with_invalid_rows(tmp_path / "ACME.csv")
    run("convert", "ACME.csv", "-o", "out.ndjson", cwd=tmp_path)
    bars(tmp_path / "ACME.csv")
    run("convert", "ACME.csv", "-o", "out.ndjson", "--force", cwd=tmp_path)
    assert file_names(tmp_path) == ["ACME.csv", "out.ndjson"]


@pytest.mark.parametrize("output", ["-", "out.ndjson", "out.ndjson.gz", "out.parquet"])
def test_strict_writes_all_or_nothing(tmp_path: Path, output: str) -> None:
    with_invalid_rows(tmp_path / "ACME.csv")
    to = "parquet" if output.endswith("parquet") else "ndjson"
    out, err = run("convert", "ACME.csv", "--strict", "--to", to, "-o", output, cwd=tmp_path, exit_code=4)
    assert out == ""
    assert "ACME.csv, line 7 is rejected (unparsable_number)" in err
    assert file_names(tmp_path) == ["ACME.csv"]
    bars(tmp_path / "ACME.csv")
    run("convert", "ACME.csv", "--strict", "--to", to, "-o", output, cwd=tmp_path)


def test_strict_rejects_assumptions(tmp_path: Path) -> None:
    (tmp_path / "ACME.csv").write_text(HEADER.replace("time", "date") + "2024-01-02 09:30:00,1,2,1,1,1\n" * 1)
    _, err = run(
        "convert", "ACME.csv", "--interval", "1m", "--strict", "-o", "o.ndjson", cwd=tmp_path, exit_code=4
    )
    assert "--tz" in err
    assert file_names(tmp_path) == ["ACME.csv"]


def test_a_file_without_records_creates_no_output(tmp_path: Path) -> None:
    (tmp_path / "ACME.csv").write_text(HEADER + "2024-01-02T12:00:00Z,-1,2,1,1,1\n" * 3)
    _, err = run("convert", "ACME.csv", "--interval", "1m", "-o", "out.ndjson", cwd=tmp_path, exit_code=4)
    assert "→" in err
    assert file_names(tmp_path) == ["ACME.csv"]


# --- the output appears complete or not at all


@pytest.mark.parametrize("to", ["ndjson", "parquet"])
def test_an_interrupt_leaves_no_partial_file(tmp_path: Path, to: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    source = bars(tmp_path / "ACME.csv", rows=1_000_000)
    source.write_text(source.read_text() + "broken\n")
    with tickerlake("convert", source, "--to", to, "-o", folder / f"out.{to}") as child:
        wait_until(lambda: any(path.stat().st_size > 0 for path in folder.iterdir()), child)
        assert child.poll() is None, "it ended before it could be stopped"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "Traceback" not in err
    assert file_names(folder) == []


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    bars(tmp_path / "ACME.csv")
    for name in ("out.ndjson", "out.ndjson.rejects.ndjson"):
        (tmp_path / name).write_text("mine")
        _, err = run("convert", "ACME.csv", "-o", "out.ndjson", cwd=tmp_path, exit_code=2)
        assert name in err
        assert "--force" in err
        assert (tmp_path / name).read_text() == "mine"
        assert file_names(tmp_path) == ["ACME.csv", name]
        (tmp_path / name).unlink()
    (tmp_path / "out.ndjson").write_text("old")
    run("convert", "ACME.csv", "-o", "out.ndjson", "--force", cwd=tmp_path)
    assert len(records((tmp_path / "out.ndjson").read_text())) == 5


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (("-o", "ACME.ndjson"), "Specify another name for the output."),
        (("-o", "out.ndjson", "--rejects", "ACME.ndjson"), "Specify another name for --rejects."),
        (("--rejects", "ACME.ndjson"), "Specify another name for --rejects."),
    ],
)
def test_the_input_is_never_its_own_output(tmp_path: Path, options: tuple[str, ...], remedy: str) -> None:
    source = bars(tmp_path / "ACME.ndjson")
    before = source.read_bytes()
    _, err = run("convert", "ACME.ndjson", *options, "--force", cwd=tmp_path, exit_code=2)
    assert "ACME.ndjson is one of the input files" in err
    assert remedy in err
    assert source.read_bytes() == before
    assert file_names(tmp_path) == ["ACME.ndjson"]


def test_the_input_by_another_path_is_the_input(tmp_path: Path) -> None:
    source = bars(tmp_path / "ACME.ndjson")
    (tmp_path / "here").symlink_to(tmp_path)
    for option in ("-o", "--rejects"):
        other = ("-o", "out.ndjson") if option == "--rejects" else ()
        run(
            "convert", "ACME.ndjson", option, "here/ACME.ndjson", *other, "--force", cwd=tmp_path, exit_code=2
        )
    assert source.read_text().startswith(HEADER)


def test_a_concurrently_created_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"

    def write_too_late() -> None:
        with output_file(path) as draft:
            draft.write_text("ours")
            path.write_text("theirs")

    with pytest.raises(UsageError, match="already exists"):
        write_too_late()
    assert path.read_text() == "theirs"
    assert file_names(tmp_path) == ["out.ndjson"]


def test_output_and_rejects_must_differ(tmp_path: Path) -> None:
    with_invalid_rows(tmp_path / "ACME.csv")
    run("convert", "ACME.csv", "-o", "x.ndjson", "--rejects", "x.ndjson", cwd=tmp_path, exit_code=2)
    assert file_names(tmp_path) == ["ACME.csv"]


def test_a_missing_output_folder(tmp_path: Path) -> None:
    bars(tmp_path / "ACME.csv")
    _, err = run("convert", "ACME.csv", "-o", "none/out.ndjson", cwd=tmp_path, exit_code=2)
    assert "none/out.ndjson cannot be written" in err


# --- questions and options


@pytest.mark.parametrize(
    ("text", "option", "answer"),
    [
        ("Date,Open,High,Low,Close\n01/02/2012,1,2,1,2\n02/03/2012,1,2,1,2\n", "--date-format", "MM/DD/YYYY"),
        ("Date;Open;High;Low;Close\n2024-01-02;1,500;2,500;1,500;2,500\n", "--decimal", ","),
    ],
)
def test_an_ambiguous_file_names_the_option(tmp_path: Path, text: str, option: str, answer: str) -> None:
    (tmp_path / "ACME.csv").write_text(text)
    _, err = run("convert", "ACME.csv", "-o", "out.ndjson", cwd=tmp_path, exit_code=4)
    assert "ACME.csv" in err
    assert option in err
    assert file_names(tmp_path) == ["ACME.csv"]
    run("convert", "ACME.csv", "-o", "out.ndjson", option, answer, cwd=tmp_path)


@pytest.mark.parametrize(
    ("options", "code", "expected"),
    [
        (("--to", "xml"), 2, "ndjson or parquet"),
        (("--to", "parquet"), 2, "-o records.parquet"),
        (("--json",), 2, "-o records.ndjson"),
        (("--decimal", ";"), 2, "--decimal"),
        (("--price-scale", "99"), 2, "0 to 9"),
        (("--interval", "soon"), 2, "1m"),
        (("--tz", "Mars/Base"), (2, 4), "Mars/Base"),
        (("--delimiter", "ab"), (2, 4), "ab"),
        (("--symbol", "a\\b"), 4, "not a symbol"),
        (("--symbol", "=a"), 4, "begins with ="),
        (("--symbol", ""), 4, "not a symbol"),
        (("--date-format", "QQQ"), (2, 4), "QQQ"),
        (("--columns", "time,open"), (2, 4), "high"),
        (("--interval", "1h"), 4, "--interval"),
    ],
)
def test_an_invalid_option(
    tmp_path: Path, options: tuple[str, ...], code: int | tuple[int, ...], expected: str
) -> None:
    bars(tmp_path / "ACME.csv")
    with tickerlake("convert", "ACME.csv", *options, cwd=tmp_path) as child:
        out, err = child.communicate(timeout=60)
    assert child.returncode in (code if isinstance(code, tuple) else (code,)), err
    assert out == ""
    assert expected in err
    assert "→" in err
    assert "Traceback" not in err
    assert file_names(tmp_path) == ["ACME.csv"]


def test_the_machine_readable_summary(tmp_path: Path) -> None:
    bars(tmp_path / "A.csv")
    bars(tmp_path / "B.csv")
    out, _ = run("convert", "A.csv", "B.csv", "-o", "out.ndjson", "--json", cwd=tmp_path)
    summary = json.loads(out)
    assert (summary["output"], summary["records"], summary["rejects"]) == ("out.ndjson", 10, 0)
    assert [each["source"] for each in summary["files"]] == ["A.csv", "B.csv"]
    assert summary["files"][0]["interval"] == "1m"

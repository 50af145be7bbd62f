"""Results of queries in every format: every type, errors while rows are fetched, and bad outputs."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from support.csv_files import write_daily_csv
from support.lake_builder import LakeTopic, bar
from support.process import run, tickerlake
from tickerlake.cli.commands import app
from tickerlake.errors import TickerlakeError, UsageError
from tickerlake.lake.store.local import LocalStore
from tickerlake.tools.query_output import print_result, write_csv, write_json, write_parquet

VALUES = {
    "interval '1 day'": ("1 day", "1 day"),
    "interval '-1 day'": ("-1 day", "-1 day"),
    "{'a': 1, 'b': 'x'}": ("{'a': 1, 'b': x}", {"a": 1, "b": "x"}),
    "[1, 2, null]": ("[1, 2, NULL]", [1, 2, None]),
    "[1.5, 'nan'::double, 'inf'::double]": ("[1.5, nan, inf]", [1.5, None, None]),
    "['a', '=b']": ("a =b", ["a", "=b"]),
    "[]": ("[]", []),
    "map {'a': 1}": ("{a=1}", {"a": 1}),
    "union_value(num := 2)": ("2", {"num": 2}),
    "'b'::enum('a', 'b')": ("b", "b"),
    "'00000000-0000-0000-0000-000000000001'::uuid": ("00000000-0000-0000-0000-000000000001",) * 2,
    "'\\x00a'::blob": ("\\x00a", "\\x00a"),
    "time '10:00:00.5'": ("10:00:00.5", "10:00:00.5"),
    "timetz '10:00:00+02'": ("10:00:00+02", "10:00:00+02"),
    "date 'infinity'": ("infinity", "infinity"),
    "date '5881580-07-10'": ("5881580-07-10", "5881580-07-10"),
    "timestamp '2024-01-01 10:00:00'": ("2024-01-01T10:00:00Z", "2024-01-01 10:00:00"),
    "timestamp '2024-01-01 10:00:00.5'": ("2024-01-01T10:00:00.500Z", "2024-01-01 10:00:00.5"),
    "timestamptz '2024-01-01 10:00:00.000001+00'": (
        "2024-01-01T10:00:00.000001Z",
        "2024-01-01T10:00:00.000001+00:00",
    ),
    "timestamptz '-infinity'": ("-infinity", "-infinity"),
    "timestamp '290308-12-22 (BC) 00:00:00'": ("-290307-12-22T00:00:00Z", "-290307-12-22 00:00:00"),
    "timestamp_ns '2024-01-01 00:00:00.123456789'": (
        "2024-01-01T00:00:00.123456789Z",
        "2024-01-01 00:00:00.123456789",
    ),
    "170141183460469231731687303715884105727::hugeint": (
        "170141183460469231731687303715884105727",
        170141183460469231731687303715884105727,
    ),
    "18446744073709551615::ubigint": ("18446744073709551615", 18446744073709551615),
    "1.50::decimal(38, 9)": ("1.5", 1.5),
    "0.1::float": ("0.1", 0.1),
    "'nan'::double": ("NaN", None),
    "'-inf'::float": ("-inf", None),
    "true": ("true", True),
    "'=cmd()'": ("'=cmd()", "=cmd()"),
    "'a\\nb \"quoted\"'": ("a\\nb \"quoted\"", "a\\nb \"quoted\""),
    "'101'::bit": ("101", "101"),
    "'{\"a\": [1, null]}'::json": ('{"a": [1, null]}', {"a": [1, None]}),
    "row(1, 'x')": ("(1, x)", [1, "x"]),
    "null": ("", None),
}  # fmt: skip


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


@pytest.mark.parametrize(("sql", "expected"), VALUES.items(), ids=VALUES)
def test_values_of_every_type(
    database: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], sql: str, expected: tuple[str, Any]
) -> None:
    result = database.sql(f"select {sql} as x, 7 as y")
    buffer = io.BytesIO()
    assert write_csv(result, buffer) == 1
    assert list(csv.reader(io.StringIO(buffer.getvalue().decode())))[1:] == [[expected[0], "7"]]
    buffer = io.BytesIO()
    assert write_json(result, buffer) == 1
    # lines hold valid JSON: no constants such as NaN
    document = json.loads(buffer.getvalue(), parse_constant=pytest.fail)
    assert document == {"x": expected[1], "y": 7}
    assert print_result(result) == (1, False)
    assert "7" in capsys.readouterr().out
    if sql == "interval '-1 day'":
        with pytest.raises(UsageError, match="negative intervals"):
            write_parquet(result, tmp_path / "x.parquet")
        return
    assert write_parquet(result, tmp_path / "x.parquet") == 1
    assert database.sql(f"select y from '{tmp_path / 'x.parquet'}'").fetchall() == [(7,)]


def test_all_types_at_once(database: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = database.sql("select * exclude (empty_struct) from test_all_types()")
    buffer = io.BytesIO()
    assert write_csv(result, buffer) == 3
    assert len(list(csv.reader(io.StringIO(buffer.getvalue().decode())))) == 4
    buffer = io.BytesIO()
    assert write_json(result, buffer) == 3
    for line in buffer.getvalue().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert print_result(result) == (3, False)
    assert "\x1b" not in capsys.readouterr().out
    assert write_parquet(result, tmp_path / "x.parquet") == 3
    with pytest.raises(UsageError, match="Empty STRUCT"):
        write_parquet(database.sql("select empty_struct from test_all_types()"), tmp_path / "x.parquet")


def test_columns_of_one_name_and_order(database: Any, tmp_path: Path) -> None:
    result = database.sql(
        'select i as a, -i as a, 3 as "a_1", 4 as "b""c" from range(250_000) t(i) order by i desc'
    )
    buffer = io.BytesIO()
    assert write_csv(result, buffer) == 250_000
    header, first, *_, last = buffer.getvalue().decode().splitlines()
    assert (header, first, last) == ('a,a_1,a_1_1,"b""c"', "249999,-249999,3,4", "0,0,3,4")
    buffer = io.BytesIO()
    write_json(result, buffer)
    assert buffer.getvalue().splitlines()[1] == b'{"a":249998,"a_1":-249998,"a_1_1":3,"b\\"c":4}'
    write_parquet(result, tmp_path / "x.parquet")
    assert pl.read_parquet(tmp_path / "x.parquet").columns == ["a", "a_1", "a_1_1", 'b"c']


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (8, [" a  text", " 1  x", "10  yy"]),
        (7, ["[ 1 ]", "a     1", "text  x", "[ 2 ]", "a     10", "text  yy"]),
    ],
)
def test_a_result_wider_than_the_terminal_is_shown_as_records(
    database: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    expected: list[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    print_result(database.sql("select * from (values (1, 'x'), (10, 'yy')) t(a, text)"))
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == expected


def test_long_values_are_whole_and_cannot_control_the_terminal(
    database: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_result(
        database.sql("select repeat('x', 500) as long, 'a' || chr(27) || '[2J' as text, 'p\nq' as two")
    )
    assert capsys.readouterr().out == f"[ 1 ]\nlong  {'x' * 500}\ntext  a\\x1b[2J\ntwo   p\n      q\n"


def failure(*arguments: object) -> str:
    """Run a command in this process, and return the error that ends it."""
    with pytest.raises(TickerlakeError) as caught:
        app([str(each) for each in arguments], standalone_mode=False)
    assert caught.value.exit_code == 2
    return f"{caught.value.message}\n  → {caught.value.hint}"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake") / "lake"
    LakeTopic(LocalStore(folder), "t").add_segment([bar("A", minute) for minute in range(3)])
    return folder


def test_all_columns_fit_as_records(lake: Path) -> None:
    out, _ = run("query", "from bars order by ts_open", "--lake", lake, "-f", "table")
    assert "\nclose               100.5\n" in out
    assert out.count("[ ") == 3


@pytest.mark.parametrize("fmt", ["table", "csv", "json"])
@pytest.mark.parametrize(
    "sql",
    [
        "select 'x'::int from range(3)",
        "select error('b') as b",
        "select i::utinyint from range(250_000, 250_100) t(i)",
        "select symbol::date from bars",
        "select 1 / a from (select '0x'::int as a)",
        "select unnest([1, 2])::date",
        "select json_extract('{', '$.a')",
        "select strptime('x', '%Y')",
        "select regexp_matches(symbol, '(') from bars",
    ],
)
def test_errors_while_rows_are_fetched(lake: Path, sql: str, fmt: str) -> None:
    assert failure("query", sql, "--lake", lake, "-f", fmt).startswith("The query failed: ")


def test_an_error_while_rows_are_fetched_is_a_sentence(lake: Path) -> None:
    _, err = run("query", "select error('b')", "--lake", lake, exit_code=2)
    assert err == "tickerlake: The query failed: Invalid Input Error: b\n"


def test_a_failed_query_leaves_no_file(lake: Path, tmp_path: Path) -> None:
    for name in ("x.csv", "x.json", "x.ndjson", "x.parquet"):
        run(
            "query",
            "select i::utinyint from range(300_000) t(i)",
            "--lake",
            lake,
            "-o",
            name,
            exit_code=2,
            cwd=tmp_path,
        )
    assert list(tmp_path.iterdir()) == []


def test_no_rows_are_said(lake: Path, tmp_path: Path) -> None:
    for fmt, expected in (("table", "a\n"), ("csv", "a\n"), ("json", "")):
        out, err = run("query", "select 1 as a limit 0", "--lake", lake, "-f", fmt)
        assert (out, err) == (expected, "0 rows\n")
    _, err = run("query", "select 1 as a limit 0", "--lake", lake, "-o", "x.parquet", cwd=tmp_path)
    assert err.startswith("0 rows\nwrote x.parquet")


@pytest.mark.parametrize("name", ["raw/x.csv", "raw/t/../x.parquet", "curated/x.json"])
def test_no_output_among_the_files_of_the_lake(lake: Path, name: str) -> None:
    error = failure("query", "select 1", "--lake", lake, "-o", lake / name, "--force")
    assert "is among the files of the lake" in error
    assert not (lake / name).exists()


def test_standard_output_by_name(lake: Path, tmp_path: Path) -> None:
    assert run("query", "select 1 as a", "--lake", lake, "-o", "-", cwd=tmp_path)[0] == "a\n1\n"
    assert list(tmp_path.iterdir()) == []


def commands(lake: Path, source: Path) -> list[tuple[str, list[Any]]]:
    """The commands that write a file, each with an extension that it knows."""
    return [
        (".csv", ["query", "select 1 as a", "--lake", lake]),
        (".parquet", ["query", "select 1 as a", "--lake", lake]),
        (".ndjson", ["convert", source]),
        (".parquet", ["convert", source]),
        (".csv", ["simulate", "--trades", 20, "--symbols", 1]),
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_daily_csv(tmp_path, 5)


@pytest.mark.parametrize("name", ["x.xlsx", "x", ".csv", "x.csv.zip", "x.", "x.table", "csv"])
def test_unknown_endings_are_refused_alike(
    lake: Path, source: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for known, arguments in commands(lake, source):
        error = failure(*arguments, "-o", name)
        assert error.startswith(f"The name {name} does not specify a format.\n  → Use one of the extensions ")
        assert known in error
    assert [path.name for path in tmp_path.iterdir()] == ["ACME.csv"]


def test_a_name_and_a_format_that_differ(lake: Path, source: Path, tmp_path: Path) -> None:
    for arguments in (
        ("query", "select 1", "--lake", lake, "-f", "json", "-o", "x.csv"),
        ("query", "select 1", "--lake", lake, "-f", "table", "-o", "x.csv"),
        ("convert", source, "--to", "parquet", "-o", "x.ndjson"),
    ):
        _, err = run(*arguments, exit_code=2, cwd=tmp_path)
        assert " says " in err
    run("convert", source, "-o", "x.parquet", cwd=tmp_path)
    assert pl.read_parquet(tmp_path / "x.parquet").height > 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("folder{}", "is a folder."),
        ("missing/x{}", "cannot be written: No such file or directory."),
        ("ACME.csv/x{}", "cannot be written: Not a directory."),
        ("pipe{}", "is not a file."),
        ("loop{}", "cannot be written: Too many levels of symbolic links."),
        ("y" * 300 + "{}", "cannot be written: File name too long."),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_outputs_that_cannot_be_written(
    lake: Path,
    source: Path,
    tmp_path: Path,
    name: str,
    expected: str,
    force: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for extension in (".csv", ".parquet", ".ndjson"):
        (tmp_path / f"folder{extension}").mkdir()
        os.mkfifo(tmp_path / f"pipe{extension}")
        (tmp_path / f"loop{extension}").symlink_to(f"loop{extension}")
    before = sorted(path.name for path in tmp_path.iterdir())
    for extension, arguments in commands(lake, source):
        option = ["--force"] if force else []
        error = failure(*arguments, *option, "-o", name.format(extension))
        assert error.startswith(f"{name.format(extension)} {expected}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "reason"), [("ro", "Read-only file system"), ("size=4k", "No space left")]
)
def test_read_only_and_full_disks(
    lake: Path, source: Path, tmp_path: Path, options: str, reason: str
) -> None:
    folder, large_source = tmp_path / "disk", write_daily_csv(tmp_path, 2_000, "large.csv")
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("only root can mount a disk")
    try:
        for extension, arguments in commands(lake, source):
            large = {
                "query": ["query", "select i, random() from range(100_000) t(i)", *arguments[2:]],
                "convert": ["convert", large_source],
                "simulate": ["simulate", "--trades", 20_000],
            }
            with tickerlake(*large[arguments[0]], "-o", folder / f"x{extension}") as child:
                _, err = child.communicate(timeout=120)
            assert child.returncode in {2, 3}, err
            assert reason in err
            assert "Traceback" not in err
            assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_query_that_is_not_text(lake: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tickerlake.cli.app import main; main()",
            "query",
            "-",
            "--lake",
            str(lake),
        ],
        input=b"select '\xff'",
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "0", "LC_ALL": "en_US.UTF-8", "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"tickerlake: Standard input is not text")


def test_names_that_are_not_utf8(lake: Path, tmp_path: Path) -> None:
    run("query", "select 1 as a", "--lake", lake, "-o", "\udcff.csv", cwd=tmp_path)
    assert (tmp_path / "\udcff.csv").read_text() == "a\n1\n"
    _, err = run("query", "select 1", "--lake", lake, "-o", "\udcff.parquet", exit_code=2, cwd=tmp_path)
    assert "is not UTF-8" in err
    shutil.copytree(lake, tmp_path / "\udcff" / "lake")
    _, err = run("query", "from bars", "--lake", "lake", exit_code=2, cwd=tmp_path / "\udcff")
    assert "is not UTF-8" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["\udcff", "\udcff.csv"]

"""Layouts of vendors with made-up values: the expected records, or the expected question."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

FOLDER = Path(__file__).parents[2] / "data" / "layouts"
CASES: list[dict[str, Any]] = [
    json.loads(line) for line in (FOLDER / "expected.ndjson").read_text("utf-8").splitlines()
]
NINE_DECIMALS = Decimal("1e-9")
TIMES = {"bar": "ts_open_ns", "trade": "ts_event_ns", "quote": "ts_event_ns"}


def parse_ns(text: str) -> int:
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0"))


def open_case(case: dict[str, Any], options: dict[str, str] | None = None) -> CsvSource:
    typed_options: dict[str, Any] = {
        name.removeprefix("--").replace("-", "_"): value for name, value in (options or {}).items()
    }
    return open_csv(FOLDER / case["file"], parse_options(**typed_options), ts_recv_ns=1, digest=False)


def check_case(case: dict[str, Any], expected: dict[str, Any], source: CsvSource) -> None:
    kind = case["kind"]
    tables = list(source.batches())
    records = pl.concat([table.records for table in tables], how="diagonal")
    rejected = {reject.line for table in tables for reject in table.rejects}
    assert source.record_type == f"{kind}.v1"
    assert records.height == expected["rows"]
    assert set(case["rejects"]) <= rejected
    if case["interval"]:
        assert records["interval"].unique().to_list() == [case["interval"]]
    spelled = {alias: symbol for symbol, aliases in case["symbols_ok"].items() for alias in aliases}
    symbols = {spelled.get(symbol, symbol) for symbol in records["symbol"].unique()}
    assert symbols == set(expected["symbols"])
    for column, total in expected.get("sums", {}).items():
        column_sum = records[column].sum() if column in records.columns else 0
        assert (column_sum or 0) == Decimal(str(total)), column
    ordered = records.sort(TIMES[kind], "symbol", "source_line")
    for position, index in (("first", 0), ("last", -1)):
        expected_row = expected.get(position) or {}
        row = ordered.row(index, named=True)
        if "ts" in expected_row and not expected_row.get("ts_or"):
            assert row[TIMES[kind]] == parse_ns(expected_row["ts"]), position
        if "date" in expected_row:
            assert str(row["session_date"]) == expected_row["date"], position
        for name in row.keys() & expected_row.keys() - {"symbol"}:
            assert row[name] == Decimal(expected_row[name]).quantize(NINE_DECIMALS, "ROUND_HALF_EVEN"), (
                f"{position} {name}"
            )


@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_each_layout_is_read(case: dict[str, Any]) -> None:
    hints = case["hints"]
    if case["outcome"] == "refuse":
        with pytest.raises(DataError) as refused:
            open_case(case)
        assert refused.value.hint
        for hint in hints:
            assert hint["option"] in f"{refused.value}"
    elif case["outcome"] == "zone_warning":
        options = {hint["option"]: hint["value"] for hint in hints}
        try:
            plain = open_case(case)
        except DataError as error:
            assert all(option in f"{error}" for option in options)  # noqa: PT017 - both outcomes are correct
        else:
            assert plain.parser.zone or any("--tz" in warning for warning in plain.warnings)
        check_case(case, case, open_case(case, options))
    else:
        check_case(case, case, open_case(case))


def test_the_suggested_options_resolve_ambiguity() -> None:
    asked = [case for case in CASES if case["outcome"] == "refuse" and case["hints"]]
    assert len(asked) >= 5
    for case in asked:
        for hint in case["hints"]:
            if "expect" in hint:
                about = {**case, "interval": None, "rejects": [], "symbols_ok": {}}
                check_case(about, hint["expect"], open_case(case, {hint["option"]: hint["value"]}))

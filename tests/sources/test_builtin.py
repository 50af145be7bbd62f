import csv
import gzip
import json
from decimal import Decimal
from importlib import resources

import polars as pl

from tickerlake.model.json import to_json_lines
from tickerlake.sources import builtin


def test_the_built_in_file_is_complete_and_exact() -> None:
    source = builtin.stocks(ts_recv_ns=1)
    tables = list(source.batches())
    bars = pl.concat(table.records for table in tables)
    assert [reject for table in tables for reject in table.rejects] == []
    file = resources.files("tickerlake") / "data" / "stocks.csv.gz"
    with file.open("rb") as stream, gzip.open(stream, "rt") as text:
        rows = list(csv.DictReader(text))
    assert len(bars) == len(rows) == 12_154
    nine = Decimal("0.000000001")
    for ours, theirs in {
        "close": "Close",
        "volume": "Volume",
        "adj_close": "Adj Close",
        "low": "Low",
    }.items():
        assert bars[ours].sum() == sum(Decimal(row[theirs]).quantize(nine) for row in rows)
    assert source.symbols == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]


def test_the_built_in_file_is_merged_by_date() -> None:
    bars = pl.concat(table.records for table in builtin.stocks(ts_recv_ns=1).batches(batch_rows=5_000))
    assert bars.select("ts_open_ns", "symbol").equals(
        bars.select("ts_open_ns", "symbol").sort("ts_open_ns", "symbol")
    )
    assert set(bars["source"]) == {"builtin:stocks"}
    assert builtin.stocks().fingerprint == builtin.stocks().fingerprint


def test_every_bar_becomes_a_document() -> None:
    # after sorting and filtering, most chunks of the columns are empty
    lines = [
        line for table in builtin.stocks(ts_recv_ns=1).batches() for line in to_json_lines(table.records)
    ]
    assert len(lines) == 12_154
    assert json.loads(lines[0])["symbol"] == "AAPL"

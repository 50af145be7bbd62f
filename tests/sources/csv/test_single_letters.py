"""Columns whose names are single letters, as interfaces of exchanges call them."""

from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.read import CsvSource, open_csv

START_MS = 1_700_000_000_000


def open_rows(folder: Path, header: str, template: str, name: str = "QBTUSD.csv") -> CsvSource:
    """Open rows with {n}, {ms}, {price} and others filled in."""
    rows = [
        template.format(
            n=n,
            id=700 + n,
            ms=START_MS + 60_000 * n,
            end=START_MS + 60_000 * n + 59_999,
            s=START_MS // 1000 + 60 * n,
            price=f"{36500 + 7 * n % 11}.5",
            low=f"{36490 + 7 * n % 11}.5",
            high=f"{36512 + 7 * n % 11}.25",
            close=f"{36500 + 7 * (n + 1) % 11}.5",
            size=f"0.{37 * n % 53 + 10}",
        )
        for n in range(12)
    ]
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return open_csv(path, ts_recv_ns=1, digest=False)


def roles_by_name(source: CsvSource) -> dict[str, str]:
    layout = source.parser.layout
    return {role: layout.names[i] for role, i in layout.roles.items()}


@pytest.mark.parametrize(
    ("header", "template", "expected"),
    [
        (
            "a,p,q,f,l,T,m",
            "{id},{price},{size},{n},{id},{ms},true",
            {"trade_id": "a", "price": "p", "size": "q", "time": "T", "buyer_is_maker": "m"},
        ),
        (
            "e,E,s,a,p,q,f,l,T,m",
            "aggTrade,{ms},QBTUSD,{id},{price},{size},{n},{id},{ms},true",
            {
                "trade_id": "a",
                "symbol": "s",
                "price": "p",
                "size": "q",
                "time": "T",
                "buyer_is_maker": "m",
            },
        ),
        (
            "e,E,s,t,p,q,b,a,T,m",
            "trade,{ms},QBTUSD,{id},{price},{size},{n},{id},{ms},false",
            {
                "trade_id": "t",
                "symbol": "s",
                "price": "p",
                "size": "q",
                "time": "T",
                "buyer_is_maker": "m",
            },
        ),
        (
            "c,p,s,t,v",
            "none,{price},QBTUSD,{ms},{size}",
            {"price": "p", "symbol": "s", "time": "t", "size": "v"},
        ),
    ],
)
def test_trades(tmp_path: Path, header: str, template: str, expected: dict[str, str]) -> None:
    source = open_rows(tmp_path, header, template, "raw1.csv" if "s" in expected.values() else "QBTUSD.csv")
    assert source.record_type == "trade.v1"
    assert roles_by_name(source) == expected
    assert source.symbols == ["QBTUSD"]


@pytest.mark.parametrize(
    ("header", "template", "time", "volume"),
    [
        ("T,o,h,l,c,v", "{ms},{price},{high},{low},{close},{size}", "T", "v"),
        ("o,h,l,c,v,t", "{price},{high},{low},{close},{size},{s}", "t", "v"),
        ("c,h,l,o,t,v", "{close},{high},{low},{price},{s},{size}", "t", "v"),
        (
            "T,L,V,t,o,c,h,l,v,n,x,q",
            "{end},{id},{n},{ms},{price},{close},{high},{low},{size},{id},false,{n}",
            "t",
            "v",
        ),
    ],
)
def test_bars(tmp_path: Path, header: str, template: str, time: str, volume: str) -> None:
    source = open_rows(tmp_path, header, template)
    assert source.record_type == "bar.v1"
    roles = roles_by_name(source)
    assert [roles[role] for role in ("open", "high", "low", "close")] == list("ohlc")
    assert (roles["time"], roles["volume"]) == (time, volume)


def test_symbols_of_grouped_bars(tmp_path: Path) -> None:
    header, template = "T,v,vw,o,c,h,l,t,n", "Q{n}AB,{n}00,{price},{price},{close},{high},{low},{ms},{id}"
    roles = roles_by_name(open_rows(tmp_path, header, template, "grouped_1m.csv"))
    assert (roles["symbol"], roles["time"], roles["vwap"], roles["trade_count"]) == ("T", "t", "vw", "n")


@pytest.mark.parametrize("header", ["u,s,b,B,a,A,T", "A,B,a,b,s,u,T"])
def test_sizes_of_quotes_are_capitals(tmp_path: Path, header: str) -> None:
    cells = {
        "u": "{id}",
        "s": "QBTUSD",
        "b": "{price}",
        "B": "1{size}",
        "a": "{high}",
        "A": "2{size}",
        "T": "{ms}",
    }
    source = open_rows(tmp_path, header, ",".join(cells[each] for each in header.split(",")), "raw1.csv")
    assert source.record_type == "quote.v1"
    roles = roles_by_name(source)
    assert [roles[r] for r in ("bid_price", "bid_size", "ask_price", "ask_size", "symbol")] == list("bBaAs")


def test_a_side_is_no_symbol(tmp_path: Path) -> None:
    source = open_rows(tmp_path, "T,s,S,v,p,i", "{ms},QBTUSD,Buy,{size},{price},x{id}")
    assert (roles_by_name(source)["symbol"], roles_by_name(source)["size"]) == ("s", "v")


@pytest.mark.parametrize(
    "header",
    [
        "日期,开,高,低,收,量",
        "日付,始,高,安,終,出来高",
        "日期,開,高,低,收盤,成交量",
        "날짜,시,고,저,종,거래량",
        "日期,开盘,高,低,收盘,交易量",
    ],
)
def test_single_signs_are_prices_among_others(tmp_path: Path, header: str) -> None:
    rows = [f"2024-01-0{d},10.1,10.{d},10.0,10.2,{d}200" for d in (2, 3, 4, 5)]
    path = tmp_path / "AAA.csv"
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    first = next(iter(open_csv(path).batches())).records.to_dicts()[0]
    values = [str(first[role]).rstrip("0") for role in ("open", "high", "low", "close", "volume")]
    assert values == ["10.1", "10.2", "10.", "10.2", "2200."]


@pytest.mark.parametrize("header", ["日期,高,低,量", "日期,开,高,高,低"])
def test_single_signs_are_no_prices_alone(tmp_path: Path, header: str) -> None:
    path = tmp_path / "AAA.csv"
    cells = ",10.5,10.1,11.2,9.5"[: 5 * header.count(",")]
    path.write_text(header + "\n" + "".join(f"2024-01-0{d}{cells}\n" for d in (2, 3, 4, 5)), "utf-8")
    with pytest.raises(DataError):
        open_csv(path)

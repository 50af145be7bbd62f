"""The decisions about a file are one value: name, value, reason and warning of each."""

import json
from pathlib import Path

from support.process import run
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import open_csv

TEXT = "sep;\nDate;Time;Open;High;Low;Close;Tick Volume;Volume\n" + "".join(
    f"02.01.2024;09:{n}:00;1,5;2,5;1,25;2,25;{n};0\n" for n in range(10, 40)
)


def test_decisions(tmp_path: Path) -> None:
    path = tmp_path / "AAA.csv"
    path.write_text(TEXT, encoding="utf-8-sig")
    source = open_csv(path, Options(tz="Europe/Berlin", date_format="DD.MM.YYYY"))
    decisions = {each.name: each for each in source.decisions}
    assert len(decisions) == len(source.decisions)
    assert all(each.reason for each in source.decisions)
    found = {name: (each.value, each.reason) for name, each in decisions.items()}
    assert found["encoding"] == ("utf-8-sig", "its byte order mark")
    assert found["header lines"] == ([2], "it names most columns")
    assert found["column close"] == ("Close", "its name, Close")
    assert found["column volume"] == ("Tick Volume", "Volume is 0 or empty on every row")
    assert found["decimal separator"][0] == ","
    assert found["date format"] == ("DD.MM.YYYY hh:mm:ss", "--date-format")
    assert found["zone"] == ("Europe/Berlin", "--tz")
    assert found["interval"] == ("1m", "the time between rows")
    assert found["symbols"] == (["AAA"], "file name")
    assert [each.name for each in source.decisions if each.warning] == ["column volume"]
    assert source.warnings == [decisions["column volume"].warning]
    assert str(decisions["zone"]) == "zone: Europe/Berlin (--tz)"


def test_each_warning_is_one_of_a_decision(tmp_path: Path) -> None:
    path = tmp_path / "some prices.csv"
    closes = [500_000 + n * 7 % 5 * 10_000 for n in range(31)]
    path.write_text(
        "".join(
            f"2024-01-02 09:{n + 9}:00,{closes[n - 1]},{max(closes[n - 1 : n + 1]) + 500},"
            f"{min(closes[n - 1 : n + 1]) - 500},{closes[n]},{100 + n * 7 % 13}\n"
            for n in range(1, 31)
        )
    )
    source = open_csv(path)
    names = [each.name for each in source.decisions if each.warning]
    assert names == ["header lines", "price scale", "zone", "symbols"]
    assert sorted(source.warnings) == sorted(each.warning for each in source.decisions if each.warning)


def test_inspect_shows_them(tmp_path: Path) -> None:
    (tmp_path / "AAA.csv").write_text(TEXT)
    out, _ = run("inspect", "AAA.csv", "--json", "--tz", "UTC", "--date-format", "DD.MM.YYYY", cwd=tmp_path)
    (report,) = json.loads(out)["files"]
    decisions = {each["name"]: each for each in report["decisions"]}
    assert set(decisions["zone"]) == {"name", "value", "reason", "warning"}
    assert decisions["zone"]["value"] == report["zone"] == "UTC"
    assert decisions["column open"]["value"] == report["columns"]["open"]
    assert report["column_reasons"]["volume"] == decisions["column volume"]["reason"]

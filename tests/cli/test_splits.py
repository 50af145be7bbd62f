"""``--splits``: files of known splits on the command line."""

from pathlib import Path

import pytest

from support.process import run


@pytest.fixture
def bars(tmp_path: Path) -> list[str]:
    """Return the days of a file of bars that rise twentyfold on the 41st."""
    days = [f"2024-{month:02}-{day:02}" for month in (1, 2) for day in range(1, 27)]
    prices = [400 + n % 3 if n < 40 else 20 * (400 + n % 3) for n in range(len(days))]
    rows = [f"AIG,{day},{p},{p},{p},{p},1000" for day, p in zip(days, prices, strict=True)]
    (tmp_path / "bars.csv").write_text("symbol,date,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    return days


def output(folder: Path, splits: str, code: int = 0) -> str:
    (folder / "splits.csv").write_text(f"symbol,date,ratio\n{splits}\n")
    arguments = ("--data", folder / "bars.csv", "--bars", "1d", "--splits", folder / "splits.csv")
    return "".join(run("rules", "test", "default", *arguments, exit_code=code))


def test_a_known_split_raises_no_alert(tmp_path: Path, bars: list[str]) -> None:
    assert "AIG" not in output(tmp_path, f"AIG,{bars[40]},1:20")


def test_another_day_is_no_split(tmp_path: Path, bars: list[str]) -> None:
    printed = output(tmp_path, f"AIG,{bars[8]},1:20")
    assert "AIG rose 1,9" in printed
    assert "split" not in printed


def test_a_file_of_other_symbols_is_a_warning(tmp_path: Path, bars: list[str]) -> None:
    printed = output(tmp_path, f"AGI,{bars[40]},1:20")
    assert "warning: --splits names none of the symbols of the data, only AGI" in printed


def test_an_invalid_ratio_is_an_error(tmp_path: Path, bars: list[str]) -> None:
    printed = output(tmp_path, f"AIG,{bars[40]},1;20", 2)
    assert "splits.csv, line 2: '1;20' is not a ratio" in printed
    assert "Write new:old shares" in printed

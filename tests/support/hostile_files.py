"""Files that are not what they should be, and how reading them ends."""

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from bench.measure import PeakMemory

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import open_csv

HEADER = "Date,Open,High,Low,Close,Volume\n"
MAX_MB = 500
COMMAND = [sys.executable, "-c", "from tickerlake.cli.app import main; main()", "convert"]


def row(day: int, close: str = "1.5", volume: object = 7) -> str:
    return f"{date(2001, 1, 1) + timedelta(day)},1.5,2,1,{close},{volume}\n"


GOOD = HEADER + "".join(row(day) for day in range(20))


def write(folder: Path, content: bytes | str, name: str = "AAA.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, options: Options | None = None) -> tuple[pl.DataFrame, dict[int, str]]:
    """Return the records, and the reason of each rejected line; every reject has its raw text."""
    tables = list(open_csv(path, options).batches())
    rejects = [reject for table in tables for reject in table.rejects]
    assert all(reject.file == path.name and reject.raw for reject in rejects)
    assert len({reject.line for reject in rejects}) == len(rejects)
    return pl.concat([table.records for table in tables]), {each.line: each.reason for each in rejects}


def check_rejected(path: Path, message: str | None = None) -> DataError:
    """Read a file that must be an error with its name and a remedy."""
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert path.name in caught.value.message
    assert caught.value.hint
    return caught.value


def run_convert(path: Path, output: Path, *options: str, within_s: float = 30) -> tuple[int, str, float]:
    """Convert a file in a child process; return its exit code, its stderr, and its peak memory in MB."""
    arguments = [*COMMAND, str(path), "-o", str(output), *options]
    with (
        subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as child,
        PeakMemory(child.pid) as peak,
    ):
        try:
            _, err = child.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
    return child.returncode, err, peak.mb


def check_rejected_by_child(path: Path, message: str) -> None:
    output = path.with_name("out.ndjson")
    code, err, peak_mb = run_convert(path, output)
    assert code == 4, err
    assert path.name in err
    assert message in err
    assert "→" in err
    assert 0 < peak_mb < MAX_MB
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name]

"""CSV files for tests of `produce`."""

from datetime import date, timedelta
from pathlib import Path

DAILY_HEADER = "Date,Open,High,Low,Close,Adj Close,Volume"


def write_daily_csv(folder: Path, rows: int, name: str = "ACME.csv") -> Path:
    """Write daily bars, and return the file's path."""
    first = date(1950, 1, 2)
    lines = [f"{first + timedelta(days=n)},10.5,12.25,9.75,11,11,{1000 + n}" for n in range(rows)]
    path = folder / name
    path.write_text("\n".join([DAILY_HEADER, *lines]) + "\n")
    return path

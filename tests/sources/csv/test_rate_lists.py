"""Lists of exchange rates: one time, many currencies. They are closes, or refused; never trades."""

from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import open_csv

RATES = [("USD", 1.0813, 1), ("JPY", 162.5, 100), ("GBP", 0.8551, 1), ("SEK", 11.2, 10), ("INR", 89.7, 100)]


def write(folder: Path, header: str, form: str, times: list[str]) -> Path:
    path = folder / "rates.csv"
    rows = [form.format(t=t, c=c, r=rate, n=n) for t in times for c, rate, n in RATES]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("Timestamp,Currency,Price", "{t},{c},{r}"),
        ("Date,Country,Currency,Amount,Code,Rate", "{t},x,money,{n},{c},{r}"),
        ("time,currency,price,quantity", "{t},{c},{r},{n}"),
        ("code;value;size;datetime", "{c};{r};{n};{t}"),
    ],
)
@pytest.mark.parametrize(
    "times", [["2024-03-01 16:00:00"], ["2024-03-01 14:30", "2024-03-04 14:30", "2024-03-05 14:30"]]
)
def test_rates_with_a_time_of_day_are_no_trades(
    tmp_path: Path, header: str, form: str, times: list[str]
) -> None:
    try:
        source = open_csv(write(tmp_path, header, form, times))
    except DataError as error:
        assert error.hint  # noqa: PT017
        return
    assert source.record_type == "bar.v1"


def test_the_message_says_how_to_read_them(tmp_path: Path) -> None:
    path = write(tmp_path, "Timestamp,Currency,Price", "{t},{c},{r}", ["2024-03-01 16:00:00"])
    with pytest.raises(DataError, match="exchange rates") as caught:
        open_csv(path)
    assert "date,symbol,close" in caught.value.hint
    dated = write(tmp_path, "Timestamp,Currency,Price", "{t},{c},{r}", ["2024-03-01", "2024-03-04"])
    source = open_csv(dated, Options(columns=("date", "symbol", "close")))
    rows = [row for batch in source.batches() for row in batch.records.iter_rows(named=True)]
    assert {row["symbol"] for row in rows} == {"USD", "JPY", "GBP", "SEK", "INR"}


def test_trades_of_pairs_and_repeated_rates_of_currencies_stay(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    rows = [f"2024-03-01 16:00:{n:02},{RATES[n % 5][0]}EUR,{RATES[n % 5][1]},{n + 1}" for n in range(30)]
    path.write_text("\n".join(["time,symbol,price,size", *rows]) + "\n")
    assert open_csv(path).record_type == "trade.v1"
    path.write_text("\n".join(["time,symbol,price,size", *(row.replace("EUR", "") for row in rows)]) + "\n")
    assert open_csv(path).record_type == "trade.v1"

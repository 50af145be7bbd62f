"""The simulated market: its documented properties, checked in its trades."""

import math
from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, date, datetime, time
from functools import cache
from statistics import fmean, stdev
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickerlake.errors import UsageError
from tickerlake.model.schema import TRADE, polars_schema
from tickerlake.sources.simulator.draws import apportion, draw_bits, normal_quantiles, trade_sizes
from tickerlake.sources.simulator.events import Label
from tickerlake.sources.simulator.hours import nth_weekday
from tickerlake.sources.simulator.market import Market
from tickerlake.sources.simulator.plan import MarketOptions

NEW_YORK = ZoneInfo("America/New_York")
BUSY_MARKET = MarketOptions(symbols=20, trades=200_000, seed=11, days=10, jumps=2.0, halts=0.2, splits=0.05)


@cache
def simulate(
    options: MarketOptions = BUSY_MARKET, batch_rows: int = 50_000
) -> tuple[pl.DataFrame, list[Label]]:
    batches = list(Market(options).batches(batch_rows=batch_rows))
    return pl.concat(batch.records for batch in batches), [each for batch in batches for each in batch.labels]


def labels_of_kind(kind: str) -> list[Label]:
    return [label for label in simulate()[1] if label.kind == kind]


def prices_around(label: Label) -> tuple[float, float]:
    """Return the symbol's price before and at an event."""
    trades = (
        simulate()[0].filter(pl.col("symbol") == label.symbol).with_columns(pl.col("price").cast(pl.Float64))
    )
    before = trades.filter(pl.col("ts_event_ns") < label.ts_event_ns)["price"][-1]
    return before, trades.filter(pl.col("ts_event_ns") == label.ts_event_ns)["price"][0]


def test_the_seed_determines_the_market() -> None:
    options = MarketOptions(symbols=5, trades=3_000, seed=1)
    trades, labels = simulate(options)
    again = list(Market(options).batches())
    assert pl.concat(batch.records for batch in again).equals(trades)
    assert [label for batch in again for label in batch.labels] == labels
    other, _ = simulate(MarketOptions(symbols=5, trades=3_000, seed=2))
    assert not other["price"].equals(trades["price"])


def test_any_option_makes_another_market() -> None:
    # a run resumes where one with the same fingerprint stopped
    options = MarketOptions(symbols=5, trades=3_000, days=10)
    others: dict[str, Any] = {
        "symbols": 6, "trades": 3_001, "seed": 8, "start": date(2024, 1, 3), "days": 11, "jumps": 0.2,
        "halts": 0.02, "splits": 0.003, "gaps": 0.1, "reversals": 0.1, "market": "XNYS",
    }  # fmt: skip
    assert {*others, "extended"} == {field.name for field in fields(options)}
    markets = [options, *(replace(options, **{name: other}) for name, other in others.items())]
    markets.append(replace(options, market="XNYS", extended=True))
    assert len({Market(market).fingerprint.digest for market in markets}) == len(markets)
    assert Market(options).fingerprint == Market(replace(options)).fingerprint


def test_the_market_is_the_same_on_every_machine() -> None:
    # recorded values: if they change on purpose, increment the version of the market
    trades, labels = simulate(MarketOptions(symbols=5, trades=3_000, seed=1, jumps=2.0))
    assert trades["price"].to_physical().cast(pl.Int64).sum() == 795_365_240_000_000
    assert (trades["ts_event_ns"] % 10**9).sum() == 1_513_316_347_785
    assert trades["size"].cast(pl.Int64).sum() == 546_520
    assert (labels[0].symbol, labels[0].return_, labels[0].sigmas) == ("S000", -0.009804656, 12.4)


def test_new_options_leave_the_identity_of_other_markets() -> None:
    # recorded: a run that an earlier release began is resumed
    assert Market(MarketOptions(trades=120_000)).fingerprint.digest == "eaf75cb7c8dbb87fd0ad794c999883e1"


@settings(max_examples=15)
@given(st.integers(100, 9_000), st.integers(0, 6_000))
def test_batches_have_no_influence(batch_rows: int, skip_rows: int) -> None:
    options = MarketOptions(symbols=7, trades=6_000, seed=3, days=2, jumps=3.0)
    trades, labels = simulate(options)
    market = Market(options)
    batches = list(market.batches(batch_rows=batch_rows))
    assert pl.concat(batch.records for batch in batches).equals(trades)
    assert [label for batch in batches for label in batch.labels] == labels
    assert [batch.records.height for batch in batches[:-1]] == [batch_rows] * (len(batches) - 1)
    assert [batch.rows_done for batch in batches][-1] == 6_000
    rest = [batch.records for batch in market.batches((skip_rows,), batch_rows)]
    assert pl.concat([trades.clear(), *rest]).equals(trades.slice(skip_rows))


def test_parts_report_their_resume_position() -> None:
    options = MarketOptions(symbols=5, trades=100)
    _, batch = Market(options).batches(batch_rows=50)
    assert [part.position for part in batch.split(20)] == [(70,), (90,), (100,)]


def test_labels_come_with_the_trades_that_show_them() -> None:
    until_ns = 0
    for batch in Market(BUSY_MARKET).batches(batch_rows=5_000):
        assert all(until_ns < label.ts_event_ns for label in batch.labels)
        until_ns = batch.event_ns[-1]
        if batch.rows_done < BUSY_MARKET.trades:
            assert all(label.ts_event_ns <= until_ns for label in batch.labels)


@pytest.mark.parametrize(
    ("symbols", "trades", "days"),
    [(1, 1, None), (1, 1, 30), (3, 100, 1), (400, 150, 2), (100, 100_001, None), (2, 250_000, 1)],
)
def test_the_count_is_exact_and_the_columns_are_canonical(
    symbols: int, trades: int, days: int | None
) -> None:
    market = Market(MarketOptions(symbols=symbols, trades=trades, days=days, halts=0.5, jumps=20.0))
    frame = pl.concat(batch.records for batch in market.batches())
    assert frame.schema == polars_schema(TRADE)
    assert frame.height == trades
    assert frame["ts_event_ns"].is_sorted()
    assert market.time_span_ns() == (frame["ts_event_ns"][0], frame["ts_event_ns"][-1])
    assert set(frame["symbol"]) <= set(market.symbols)


def test_ids_and_sequences() -> None:
    trades, _ = simulate()
    assert trades["trade_id"].n_unique() == trades.height
    counted = trades.select(pl.col("sequence"), (pl.int_range(pl.len()).over("symbol") + 1).alias("expected"))
    assert counted["sequence"].equals(counted["expected"], check_dtypes=False)
    assert set(trades["source"]) == {"simulator:seed=11"}
    assert (trades["ts_recv_ns"] > trades["ts_event_ns"]).all()
    assert (trades["instrument_id"] == trades["symbol"] + ".XXXX").all()


def test_sessions_are_weekdays_in_new_york_also_when_clocks_change() -> None:
    # Friday to Tuesday around 10 March and 3 November 2024
    for start, opens in ((date(2024, 3, 8), ["14:30", "13:30"]), (date(2024, 11, 1), ["13:30", "14:30"])):
        trades, _ = simulate(MarketOptions(symbols=3, trades=9_000, start=start, days=3))
        at = [datetime.fromtimestamp(ns // 10**9, UTC) for ns in trades["ts_event_ns"]]
        local = [each.astimezone(NEW_YORK) for each in at]
        assert sorted({each.isoweekday() for each in local}) == [1, 2, 5]
        assert all(time(9, 30) <= each.time() < time(16, 0) for each in local)
        first = {each.date(): each.strftime("%H:%M") for each in reversed(at)}
        assert [first[day] for day in sorted(first)] == [opens[0], opens[1], opens[1]]


def test_days() -> None:
    assert [nth_weekday(date(2024, 1, 6), n) for n in (0, 4, 5)] == [
        date(2024, 1, 8),
        date(2024, 1, 12),
        date(2024, 1, 15),
    ]
    assert [nth_weekday(date(2024, 1, 3), n) for n in (0, 2, 3)] == [
        date(2024, 1, 3),
        date(2024, 1, 5),
        date(2024, 1, 8),
    ]
    assert MarketOptions(symbols=100, trades=1_000_000).day_count == 20
    assert MarketOptions(symbols=100, trades=10).day_count == 1
    assert MarketOptions(symbols=1, trades=1_000_000).day_count == 252
    market = Market(MarketOptions(symbols=2, trades=10, start=date(2024, 1, 6), days=6))
    assert (market.first_day, market.last_day) == (date(2024, 1, 8), date(2024, 1, 15))


def test_jumps_are_visible() -> None:
    jumps = labels_of_kind("jump")
    # 20 symbols on 10 days, two each on average; a few precede a first trade or follow another jump
    assert 330 <= len(jumps) <= 450
    for jump in jumps:
        before, after = prices_around(jump)
        assert jump.return_ is not None
        assert jump.sigmas is not None
        sigma = abs(math.log1p(jump.return_)) / jump.sigmas
        tick = (0.01 if before >= 1 else 0.0001) / before
        assert abs(math.log(after / before) - math.log1p(jump.return_)) < 6 * sigma + 2 * tick
        assert jump.direction == ("up" if jump.return_ > 0 else "down")
        assert jump.sigmas >= 8
    assert {jump.direction for jump in jumps} == {"up", "down"}


def test_a_jump_is_not_hidden_in_the_gap_of_a_night() -> None:
    trades, labels = simulate(
        MarketOptions(symbols=20, trades=2_000, days=10, jumps=5.0, halts=0.0, splits=0.0)
    )
    day = pl.from_epoch("ts_event_ns", "ns").dt.date()
    first = trades.group_by("symbol", day.alias("day")).agg(pl.col("ts_event_ns").min())
    assert len(labels) > 100
    assert not {(label.symbol, label.ts_event_ns) for label in labels} & set(
        first.select("symbol", "ts_event_ns").rows()
    )


def test_without_jumps_nothing_resembles_one() -> None:
    calm = MarketOptions(symbols=20, trades=200_000, seed=11, days=10, jumps=0.0, halts=0.0, splits=0.0)
    trades, labels = simulate(calm)
    assert labels == []
    day = pl.from_epoch("ts_event_ns", "ns").dt.date()
    moves = trades.with_columns(
        pl.col("price").cast(pl.Float64).log().diff().over("symbol", day).alias("move"),
        pl.col("price").cast(pl.Float64),
    ).drop_nulls("move")
    assert moves.filter(pl.col("price") > 50)["move"].abs().max() < 0.02  # type: ignore[operator]


def test_splits_are_visible() -> None:
    splits = labels_of_kind("split")
    assert splits
    for split in splits:
        before, after = prices_around(split)
        assert split.ratio is not None
        new, old = map(int, split.ratio.split(":"))
        # there is an overnight gap between them
        assert math.isclose(after, before * old / new, rel_tol=0.12)
        at = datetime.fromtimestamp(split.ts_event_ns // 10**9, NEW_YORK)
        assert at.hour < 11


def test_a_symbol_that_rarely_trades_splits_once_between_two_trades() -> None:
    rare = MarketOptions(symbols=20, trades=400, days=40, splits=1.0, jumps=0.0, halts=0.0, seed=3)
    trades, labels = simulate(rare)
    shown = 0
    for split in labels:
        own = trades.filter(pl.col("symbol") == split.symbol)
        prices = own.filter(pl.col("ts_event_ns") <= split.ts_event_ns)["price"].cast(pl.Float64)
        if len(prices) > 1:
            assert split.ratio is not None
            new, old = map(int, split.ratio.split(":"))
            assert math.isclose(prices[-1] * new / old, prices[-2], rel_tol=0.2)
            shown += 1
    assert shown > 200


def test_halts_are_silent() -> None:
    halts = labels_of_kind("halt")
    assert len(halts) > 10
    trades, _ = simulate()
    for halt in halts:
        assert halt.ts_end_ns is not None
        minutes = (halt.ts_end_ns - halt.ts_event_ns) / 60e9
        assert minutes in {5, 10, 15, 30}
        own = trades.filter(pl.col("symbol") == halt.symbol)["ts_event_ns"]
        silent = own.is_between(halt.ts_event_ns, halt.ts_end_ns, closed="left")
        assert not silent.any()
        # it trades on the same day before or after
        assert own.is_between(halt.ts_event_ns - 6 * 3600 * 10**9, halt.ts_end_ns + 6 * 3600 * 10**9).any()
    assert "S000" not in {halt.symbol for halt in halts}


def test_volume_and_volatility_are_u_shaped() -> None:
    trades, _ = simulate(MarketOptions(symbols=10, trades=300_000, seed=5, days=10, jumps=0.0))
    minute = (pl.col("ts_event_ns") // 60_000_000_000 % 1440 - 870).alias("minute")
    frame = trades.select(
        "symbol", minute, pl.from_epoch("ts_event_ns", "ns").dt.date().alias("day"), "price"
    )
    counts = Counter(dict(frame.group_by(pl.col("minute") // 30).len().iter_rows()))
    assert sorted(counts) == list(range(13))
    assert counts[0] > 1.8 * counts[6]
    assert counts[12] > 1.8 * counts[6]
    assert counts[3] > counts[6]
    ends = frame.group_by("symbol", "day", "minute").agg(pl.col("price").last().cast(pl.Float64).log())
    moves = ends.sort("day", "minute").with_columns(pl.col("price").diff().over("symbol", "day"))
    sigma = dict(moves.group_by(pl.col("minute") // 30).agg(pl.col("price").std()).iter_rows())
    assert sigma[0] > 1.4 * sigma[6]
    assert sigma[12] > 1.1 * sigma[6]


def test_activity_sizes_and_prices() -> None:
    trades, _ = simulate(MarketOptions(symbols=50, trades=100_000, seed=2))
    counts = trades["symbol"].value_counts().sort("count", descending=True)
    assert counts["symbol"][0] == "S000"
    assert counts["count"][0] > 8 * counts["count"][-1]
    size = trades["size"].cast(pl.Int64)
    assert 0.25 < (size < 100).mean() < 0.35  # type: ignore[operator]
    assert (size.filter(size >= 100) % 100 == 0).all()
    assert size.min() == 1
    assert size.max() == 50_000
    assert size.mean() > 1.5 * size.median()  # type: ignore[operator]
    price = trades["price"].to_physical()
    cents = price.filter(trades["price"] >= 1).cast(pl.Int64)
    assert (cents % 10_000_000 == 0).all()
    pennies = price.filter(trades["price"] < 1).cast(pl.Int64)
    assert len(pennies) > 0
    assert (pennies > 0).all()
    assert (pennies % 100_000 == 0).all()
    assert (pennies % 10_000_000 != 0).any()
    assert set(trades["aggressor_side"]) == {"buy", "sell"}


def test_prices_stay_prices_over_the_years() -> None:
    options = MarketOptions(symbols=5, trades=20_000, seed=4, days=400, jumps=1.0, splits=0.01)
    trades, _ = simulate(options)
    assert (trades["price"] > 0).all()
    assert trades["price"].max() < 1_000_000  # type: ignore[operator]


def test_a_daily_return_has_the_sigma_of_its_symbol() -> None:
    options = MarketOptions(symbols=30, trades=300_000, seed=6, days=60, jumps=0.0, splits=0.0)
    market = Market(options)
    trades, _ = simulate(options)
    day = pl.from_epoch("ts_event_ns", "ns").dt.date().alias("day")
    log = pl.col("price").cast(pl.Float64).log()
    moves = trades.group_by("symbol", day).agg((log.last() - log.first()).alias("move"))
    sigmas = market._instruments.select("symbol", "sigma")
    ratio = moves.group_by("symbol").agg(pl.col("move").std()).join(sigmas, on="symbol")
    mean = (ratio["move"] / ratio["sigma"]).mean()
    assert isinstance(mean, float)
    assert 0.9 < mean < 1.1


@pytest.mark.parametrize(
    "invalid",
    [
        {"symbols": 0},
        {"symbols": 10_001},
        {"trades": 0},
        {"days": 0},
        {"days": 10**9},
        {"jumps": -0.1},
        {"jumps": math.nan},
        {"halts": 1.5},
        {"gaps": 1.5},
        {"reversals": -1.0},
        {"market": "xnys"},
        {"market": "XSHG"},
        {"extended": True},
        {"extended": True, "market": "XTKS"},
        {"start": date(1960, 1, 1)},
        {"start": date(9999, 1, 1)},
    ],
)
def test_impossible_markets(invalid: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        MarketOptions(**invalid)  # type: ignore[arg-type]
    assert caught.value.hint


@given(
    st.integers(0, 10**7), st.lists(st.integers(1, 10**6), min_size=1, max_size=50), st.integers(0, 2**64 - 1)
)
def test_a_total_is_split_exactly_and_fairly(total: int, weights: list[int], drawn: int) -> None:
    parts = apportion(total, weights, drawn)
    assert sum(parts) == total
    weight_sum = sum(weights)
    assert all(
        abs(part - total * weight / weight_sum) < 1.001 for part, weight in zip(parts, weights, strict=True)
    )


def test_draws_are_the_published_generator() -> None:
    # the first outputs of SplitMix64 for the seed 1234567, from its reference implementation in C
    first = draw_bits(1234567, pl.Series([1, 2, 3, 4, 5]))
    assert first.to_list() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_lookup_tables_have_the_documented_statistics() -> None:
    values = normal_quantiles().to_list()
    assert abs(fmean(values)) < 1e-9
    assert math.isclose(stdev(values), 1, rel_tol=1e-3)
    assert trade_sizes().min() == 1
    assert trade_sizes().max() == 50_000


def test_prices_keep_moving_through_a_busy_day() -> None:
    # a day is generated in several blocks: prices must not jump where one begins
    options = MarketOptions(symbols=2, trades=150_000, seed=3, days=1, jumps=0, halts=0, splits=0)
    trades, _ = simulate(options)
    log = pl.col("price").cast(pl.Float64).log()
    steps = trades.select(log.diff().over("symbol").abs().alias("step")).get_column("step")
    assert 0 < max(steps.drop_nulls().to_list()) < 0.008

"""Simulated markets with their calendars: hours, auctions, late prints, gaps, splits and reversals."""

import math
from collections import Counter
from dataclasses import replace
from datetime import date, time
from fractions import Fraction
from functools import cache
from itertools import pairwise

import polars as pl
import pytest

from tickerlake.errors import UsageError
from tickerlake.model.schema import TRADE, polars_schema
from tickerlake.sources.simulator.events import Label
from tickerlake.sources.simulator.market import Market
from tickerlake.sources.simulator.plan import MARKET_REVERSE_SPLITS, MARKET_SPLITS, MarketOptions

# Thanksgiving, the half day after it, and three whole days
NEW_YORK = MarketOptions(
    symbols=8, trades=40_000, start=date(2024, 11, 26), days=5, market="XNYS", extended=True, jumps=0.5,
    gaps=0.3, splits=0.0, reversals=0.5, halts=0.2,
)  # fmt: skip
HONG_KONG = MarketOptions(symbols=6, trades=30_000, start=date(2024, 2, 8), days=3, market="XHKG", halts=0.5)
TOKYO = MarketOptions(symbols=6, trades=20_000, start=date(2024, 11, 1), days=2, market="XTKS")
ZONES = {"XNYS": "America/New_York", "XHKG": "Asia/Hong_Kong", "XTKS": "Asia/Tokyo"}
OPENS, CLOSES = time(9, 30), time(16, 0)


@cache
def simulate(options: MarketOptions) -> tuple[pl.DataFrame, list[Label]]:
    """Return a market's trades with local ``date``, ``time``, ``code`` and ``value``, and its labels."""
    batches = list(Market(options).batches())
    at = (
        pl.from_epoch("ts_event_ns", "ns")
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone(ZONES[options.market])
    )
    trades = pl.concat(batch.records for batch in batches).with_columns(
        date=at.dt.date(),
        time=at.dt.time(),
        code=pl.col("conditions").list.join(""),
        value=pl.col("price").cast(pl.Float64),
    )
    return trades, [label for batch in batches for label in batch.labels]


def of_kind(labels: list[Label], kind: str) -> list[Label]:
    return [label for label in labels if label.kind == kind]


def whole_days(trades: pl.DataFrame) -> pl.DataFrame:
    return trades.filter(pl.col("date") != date(2024, 11, 29))


def test_a_market_has_the_canonical_columns_and_the_exact_count() -> None:
    market = Market(NEW_YORK)
    trades = pl.concat(batch.records for batch in market.batches())
    assert trades.schema == polars_schema(TRADE)
    assert trades.height == NEW_YORK.trades
    assert trades["ts_event_ns"].is_sorted()
    assert market.time_span_ns() == (trades["ts_event_ns"][0], trades["ts_event_ns"][-1])
    assert (trades["instrument_id"] == trades["symbol"] + ".XNYS").all()
    assert (market.first_day, market.last_day) == (date(2024, 11, 26), date(2024, 12, 3))


@pytest.mark.parametrize(("batch_rows", "skip_rows"), [(700, 0), (9_000, 4_321)])
def test_batches_have_no_influence(batch_rows: int, skip_rows: int) -> None:
    options = replace(NEW_YORK, trades=10_000)
    trades, labels = simulate(options)
    batches = list(Market(options).batches((skip_rows,), batch_rows))
    rest = pl.concat(batch.records for batch in batches)
    assert rest.equals(trades.select(rest.columns).slice(skip_rows))
    assert Counter(label.kind for one in batches for label in one.labels) == Counter(
        label.kind for label in labels
    )


def test_the_market_is_the_same_on_every_machine() -> None:
    # recorded values: if they change on purpose, increment the version of the market
    trades, labels = simulate(NEW_YORK)
    assert trades["price"].to_physical().cast(pl.Int64).sum() == 5_198_724_690_000_000
    assert (trades["ts_event_ns"] % 10**9).sum() == 20_058_465_263_638
    assert trades["size"].cast(pl.Int64).sum() == 15_405_938
    assert Counter(label.kind for label in labels) == {
        "session": 5, "opening_auction": 40, "closing_auction": 40, "off_market_print": 70,
        "jump": 29, "reversal": 8, "halt": 9, "gap": 10,
    }  # fmt: skip


def test_holidays_half_days_and_extended_hours() -> None:
    trades, labels = simulate(NEW_YORK)
    days = trades.group_by("date").agg(first=pl.col("time").min(), last=pl.col("time").max()).sort("date")
    assert days["date"].to_list() == [date(2024, 11, 26), date(2024, 11, 27), date(2024, 11, 29),
                                      date(2024, 12, 2), date(2024, 12, 3)]  # fmt: skip
    assert all(time(4, 0) <= first < time(5, 0) for first in days["first"])
    assert [last.hour for last in days["last"]] == [19, 19, 16, 19, 19]
    hours = [((label.ts_end_ns or 0) - label.ts_event_ns) / 3.6e12 for label in of_kind(labels, "session")]
    assert hours == [6.5, 6.5, 3.5, 6.5, 6.5]


def test_extended_hours_are_thin_and_their_prices_wide() -> None:
    trades = whole_days(simulate(NEW_YORK)[0])
    regular = trades.filter(pl.col("time").is_between(OPENS, CLOSES, closed="left"))
    extended = trades.filter(pl.col("code").is_in(["T", "TI"]))
    assert 0.01 < extended.height / trades.height < 0.06
    assert extended.filter(pl.col("time").is_between(OPENS, CLOSES, closed="left")).is_empty()

    # consecutive trades of the same symbol within a minute of each other: the spread, not the walk
    def bounce(frame: pl.DataFrame) -> float:
        steps = frame.sort("symbol", "ts_event_ns").with_columns(
            step=pl.col("value").log().diff().over("symbol", "date").abs(),
            wait=pl.col("ts_event_ns").diff().over("symbol", "date"),
        )
        return float(steps.filter(pl.col("wait") < 60 * 10**9)["step"].median())  # type: ignore[arg-type]

    assert bounce(extended) > 1.3 * bounce(regular)


@pytest.mark.parametrize("options", [NEW_YORK, HONG_KONG, TOKYO])
def test_auctions_open_and_close_the_session(options: MarketOptions) -> None:
    trades, labels = simulate(options)
    sessions = {label.ts_event_ns: label.ts_end_ns or 0 for label in of_kind(labels, "session")}
    delay_ns = {"XHKG": 8 * 60 * 10**9}.get(options.market, 0)
    for kind in ("opening_auction", "closing_auction"):
        prints = of_kind(labels, kind)
        assert len(prints) == options.symbols * len(sessions)
        for label in prints:
            session = max(open_ns for open_ns in sessions if open_ns <= label.ts_event_ns)
            begin = session if kind == "opening_auction" else sessions[session] + delay_ns
            assert begin < label.ts_event_ns < begin + 60 * 10**9
            own = trades.filter(
                pl.col("symbol") == label.symbol,
                pl.col("ts_event_ns") == label.ts_event_ns,
                pl.col("price") == pl.lit(label.price).cast(pl.Decimal(38, 9)),
            )
            assert own.height >= 1
            if kind == "opening_auction":  # the session's first price
                before = trades.filter(
                    pl.col("symbol") == label.symbol,
                    pl.col("ts_event_ns").is_between(session, label.ts_event_ns, closed="left"),
                )
                assert before.is_empty()


def test_auctions_are_large() -> None:
    trades = simulate(NEW_YORK)[0].filter(pl.col("symbol") == "S000")
    volume = trades.group_by("date").agg(pl.col("size").cast(pl.Float64).sum().alias("volume"))
    for code, low, high in (("O", 0.004, 0.05), ("6", 0.02, 0.2)):
        share = trades.filter(pl.col("code") == code).join(volume, on="date")
        assert share.height == 5
        assert (share["size"].cast(pl.Float64) / share["volume"]).is_between(low, high).all()


def test_a_market_without_enough_trades_has_no_auctions() -> None:
    _, labels = simulate(MarketOptions(symbols=8, trades=300, days=5, market="XTKS"))
    assert {label.kind for label in labels} <= {"session", "break", "jump", "halt", "split"}


def test_prints_off_the_market_are_labeled_and_do_not_move_it() -> None:
    trades, labels = simulate(NEW_YORK)
    off = of_kind(labels, "off_market_print")
    flagged = trades.filter(pl.col("code").str.contains("[UZB4]"))
    assert len(off) == flagged.height > 50
    rest = trades.filter(~pl.col("code").str.contains("[UZB4]"))
    for label in off:
        assert label.return_ is not None
        if abs(label.return_) < 0.004:
            continue
        own = rest.filter(pl.col("symbol") == label.symbol)
        before = own.filter(pl.col("ts_event_ns") <= label.ts_event_ns)["value"][-1]
        late = flagged.filter(pl.col("symbol") == label.symbol, pl.col("ts_event_ns") == label.ts_event_ns)[
            "value"
        ][0]
        assert math.isclose(late / before - 1, label.return_, abs_tol=0.004)


def test_odd_lots_have_their_code_and_remain_the_exception() -> None:
    trades, _ = simulate(NEW_YORK)
    continuous = trades.filter(~pl.col("code").is_in(["O", "6"]))
    assert (continuous["code"].str.contains("I") == (continuous["size"] < 100)).all()
    options = MarketOptions(
        symbols=60, trades=90_000, days=10, market="XNAS", splits=0.5, jumps=0, halts=0, seed=5
    )
    split, _ = simulate_splits(options)
    assert split["conditions"].list.contains("I").mean() < 0.4  # type: ignore[operator]


def test_markets_without_conditions_have_no_late_prints() -> None:
    trades, labels = simulate(HONG_KONG)
    assert set(trades["code"]) == {""}
    assert not of_kind(labels, "off_market_print")


@pytest.mark.parametrize(
    ("options", "pause", "breaks"),
    [(HONG_KONG, (time(12, 0), time(13, 0)), 2), (TOKYO, (time(11, 30), time(12, 30)), 2)],
)
def test_nothing_trades_at_lunch(options: MarketOptions, pause: tuple[time, time], breaks: int) -> None:
    trades, labels = simulate(options)
    # 2024-02-09 is a half day in Hong Kong, whose closing auction prints at 12:08
    whole = trades.filter(pl.col("date") != date(2024, 2, 9))
    assert whole.filter(pl.col("time").is_between(*pause, closed="left")).is_empty()
    assert whole.filter(pl.col("time") >= pause[1]).height > 1_000
    assert len(of_kind(labels, "break")) == breaks
    half = trades.filter(pl.col("date") == date(2024, 2, 9))
    assert half.is_empty() or half["time"].max() < time(12, 9)  # type: ignore[operator]


def test_reversals_jump_back_by_the_same_size_within_the_cooldown() -> None:
    options = MarketOptions(
        symbols=4, trades=40_000, days=5, market="XNYS", jumps=0, splits=0, halts=0, reversals=1.0, seed=9
    )
    labels = simulate(options)[1]
    back = of_kind(labels, "reversal")
    assert len(back) > 8
    for label in back:
        there = [
            each
            for each in of_kind(labels, "jump")
            if each.symbol == label.symbol and 0 < label.ts_event_ns - each.ts_event_ns < 15 * 60 * 10**9
        ]
        assert any(
            math.isclose((1 + (each.return_ or 0)) * (1 + (label.return_ or 0)), 1, abs_tol=1e-8)
            and each.direction != label.direction
            for each in there
        )


def test_gaps_are_between_the_close_and_the_open_and_bring_volume() -> None:
    options = MarketOptions(
        symbols=10, trades=60_000, days=6, market="XNYS", extended=True, gaps=0.3, jumps=0, splits=0, halts=0
    )
    trades, labels = simulate(options)
    gaps = of_kind(labels, "gap")
    assert len(gaps) > 8
    regular = trades.filter(
        ~pl.col("code").str.contains("[UZB4T]"), pl.col("time").is_between(OPENS, time(16, 1))
    )
    volume = trades.group_by("symbol", "date").agg(pl.col("size").cast(pl.Float64).sum())
    usual = volume.group_by("symbol").agg(pl.col("size").median().alias("usual"))
    surges = []
    for label in gaps:
        own = regular.filter(pl.col("symbol") == label.symbol)
        after = own.filter(pl.col("ts_event_ns") >= label.ts_event_ns)
        before = own.filter(pl.col("ts_event_ns") < label.ts_event_ns)
        assert after["date"][0] > before["date"][-1]
        assert label.return_ is not None
        assert math.isclose(after["value"][0] / before["value"][-1] - 1, label.return_, abs_tol=0.06)
        assert 0.03 <= abs(label.return_) <= 0.6
        day = volume.filter(pl.col("symbol") == label.symbol, pl.col("date") == after["date"][0])["size"][0]
        surges.append(day / usual.filter(pl.col("symbol") == label.symbol)["usual"][0])
    assert sorted(surges)[len(surges) // 2] > 1.5


def test_splits_have_all_usual_ratios_and_keep_the_money() -> None:
    options = MarketOptions(
        symbols=60, trades=90_000, days=10, market="XNAS", splits=0.5, jumps=0, halts=0, seed=5
    )
    trades, labels = simulate_splits(options)
    splits = of_kind(labels, "split")
    found = Counter(label.ratio for label in splits)
    assert set(found) == {f"{new}:{old}" for new, old in (*MARKET_SPLITS, *MARKET_REVERSE_SPLITS)}
    money = trades.group_by("symbol", "day").agg(
        (pl.col("price").cast(pl.Float64) * pl.col("size").cast(pl.Float64)).sum(),
        shares=pl.col("size").cast(pl.Float64).sum(),
    )
    shares, spent = [], []
    for label in splits:
        assert label.ratio is not None
        ratio = Fraction(label.ratio.replace(":", "/"))
        own = trades.filter(pl.col("symbol") == label.symbol)
        after = own.filter(pl.col("ts_event_ns") >= label.ts_event_ns)
        before = own.filter(pl.col("ts_event_ns") < label.ts_event_ns)
        change = float(after["price"][0]) / float(before["price"][-1])
        # there is an overnight gap as well, and ticks of low prices
        assert math.isclose(change * float(ratio), 1, rel_tol=0.12)
        days = [money.filter(pl.col("symbol") == label.symbol, pl.col("day") == frame["day"][at])
                for frame, at in ((before, -1), (after, 0))]  # fmt: skip
        spent.append(math.log(days[1]["price"][0] / days[0]["price"][0]))
        shares.append(math.log(days[1]["shares"][0] / days[0]["shares"][0]) - math.log(ratio))
    assert abs(sum(spent) / len(spent)) < 0.2
    assert abs(sum(shares) / len(shares)) < 0.2


@cache
def simulate_splits(options: MarketOptions) -> tuple[pl.DataFrame, list[Label]]:
    batches = list(Market(options).batches())
    day = pl.from_epoch("ts_event_ns", "ns").dt.date()
    trades = pl.concat(batch.records for batch in batches).with_columns(day=day)
    return trades, [label for batch in batches for label in batch.labels]


def test_halts_are_in_the_session_and_silent() -> None:
    trades, labels = simulate(NEW_YORK)
    halts = of_kind(labels, "halt")
    assert halts
    sessions = of_kind(labels, "session")
    for halt in halts:
        assert halt.ts_end_ns is not None
        assert any(
            each.ts_event_ns < halt.ts_event_ns and halt.ts_end_ns < (each.ts_end_ns or 0)
            for each in sessions
        )
        own = trades.filter(pl.col("symbol") == halt.symbol)["ts_event_ns"]
        assert not own.is_between(halt.ts_event_ns, halt.ts_end_ns, closed="left").any()


def test_labels_are_in_order_of_time() -> None:
    for options in (NEW_YORK, HONG_KONG, TOKYO):
        labels = simulate(options)[1]
        assert all(before.ts_event_ns <= after.ts_event_ns for before, after in pairwise(labels))


def test_gaps_and_reversals_need_no_market() -> None:
    market = Market(MarketOptions(symbols=5, trades=20_000, days=5, gaps=0.5, reversals=0.5, jumps=0))
    kinds = Counter(label.kind for batch in market.batches() for label in batch.labels)
    assert kinds["gap"] > 3
    assert kinds["reversal"] > 3
    assert not kinds["session"]


def test_a_calendar_that_does_not_reach_that_far() -> None:
    market = Market(MarketOptions(symbols=1, trades=10, days=10, start=date(2249, 1, 1), market="XHKG"))
    with pytest.raises(UsageError) as caught:
        next(market.batches())
    assert caught.value.hint

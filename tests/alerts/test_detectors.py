"""Each detector: when it has its first value, what happens at its threshold, and its directions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.alert_builders import DAY, FIRST_DAY, MINUTE, bars, daily_bars
from tickerlake.alerts.detectors import registry
from tickerlake.alerts.detectors.detector import Detector, Reading
from tickerlake.alerts.detectors.returns import lee_mykland_threshold
from tickerlake.alerts.detectors.time_of_day import (
    EVEN_PARTS,
    PART_COUNT,
    TimeOfDayProfile,
    session_parts,
    volatility_prior,
)
from tickerlake.analytics.bars import Bars, Floats

NO_VALUES: dict[str, Floats] = {}


def make_detector(kind: str, interval: str = "1m", size: int = 1, **parameters: Any) -> Detector:
    detector = registry.detector_class(kind)(parameters, interval)
    detector.table.grow(size)
    if detector.history is not None:
        detector.history.grow(size)
    return detector


def run_detector(
    detector: Detector, series: Sequence[Bars], values: Sequence[Mapping[str, Floats]] | None = None
) -> list[Reading]:
    with np.errstate(all="ignore"):
        return [detector.update(one, values[n] if values else NO_VALUES) for n, one in enumerate(series)]


def values_of(readings: Sequence[Reading]) -> list[float | None]:
    """The values, None for not ready."""
    return [None if math.isnan(one.value[0]) else round(float(one.value[0]), 6) for one in readings]


def fires(readings: Sequence[Reading]) -> list[bool]:
    return [bool(one.fire[0]) for one in readings]


def minute_bars(closes: Sequence[float] | Floats, **fields: Any) -> list[Bars]:
    return [bars([float(price)], minute=number, **fields) for number, price in enumerate(closes)]


# pct_change


def test_pct_change_over_bars() -> None:
    readings = run_detector(
        make_detector("pct_change", window=2, pct=10), minute_bars([100, 50, 110, 45, 99, 100])
    )
    assert values_of(readings) == [None, None, 10.0, -10.0, -10.0, round(100 * (100 / 45 - 1), 6)]
    assert fires(readings) == [False, False, True, True, True, True]
    up = run_detector(
        make_detector("pct_change", window=2, pct=10, direction="up"), minute_bars([100, 50, 110, 45])
    )
    assert fires(up) == [False, False, True, False]
    down = run_detector(
        make_detector("pct_change", window=2, pct=10, direction="down"), minute_bars([100, 50, 110, 45])
    )
    assert fires(down) == [False, False, False, True]


def test_pct_change_over_a_duration_uses_the_last_price_before_it() -> None:
    series = [
        bars([price], minute=minute) for minute, price in ((0, 100), (1, 101), (6, 102), (7, 103), (12, 104))
    ]
    readings = run_detector(make_detector("pct_change", window="5m", pct=1), series)
    # minute 6 ends at 7, and five minutes before that the last price was the one of minute 1
    assert values_of(readings) == [
        0.0,
        1.0,
        round(100 / 101, 6),
        round(200 / 101, 6),
        round(100 * (104 / 103 - 1), 6),
    ]


def test_pct_change_over_a_duration_does_not_span_the_night() -> None:
    series = [bars([100], minute=389), bars([121], day=1, open=[120.0]), bars([126], day=1, minute=1)]
    readings = run_detector(make_detector("pct_change", window="5m", pct=1), series)
    assert values_of(readings)[1:] == [round(100 / 120, 6), 5.0]
    # but a session of 24 hours has no gap before it
    around: dict[str, Any] = {"session_open_ns": 0, "session_close_ns": DAY}
    readings = run_detector(
        make_detector("pct_change", window="5m", pct=1),
        [bars([100], **around), bars([110], minute=9, **around)],
    )
    assert values_of(readings) == [None, 10.0]


def test_pct_change_over_days_of_minute_bars_is_since_a_sessions_close() -> None:
    series = [
        bars([price], day=day, minute=minute)
        for day in range(3)
        for minute, price in ((0, 100 + day), (1, 110 + day))
    ]
    assert values_of(run_detector(make_detector("pct_change", window="1d", pct=1), series)) == [
        None,
        None,
        round(100 * (101 / 110 - 1), 6),
        round(100 * (111 / 110 - 1), 6),
        round(100 * (102 / 111 - 1), 6),
        round(100 * (112 / 111 - 1), 6),
    ]
    two = values_of(run_detector(make_detector("pct_change", window="2d", pct=1), series))
    assert two == [None] * 4 + [round(100 * (102 / 110 - 1), 6), round(100 * (112 / 110 - 1), 6)]


# cross and channel


def test_cross_requires_the_other_side_first() -> None:
    closes = [99, 100, 101, 100, 101, 99, 98, 102]
    both = run_detector(make_detector("cross", level=100.0), minute_bars(closes))
    assert fires(both) == [False, False, True, False, False, True, False, True]
    assert values_of(both)[:3] == [-1.0, 0.0, 1.0]
    up = run_detector(make_detector("cross", level=100.0, direction="up"), minute_bars(closes))
    assert fires(up) == [False, False, True, False, False, False, False, True]
    down = run_detector(make_detector("cross", level=100.0, direction="down"), minute_bars(closes))
    assert fires(down) == [False] * 5 + [True, False, False]
    assert [bool(one.clear[0]) for one in up] == [True, False, False, False, False, True, True, False]


def test_cross_of_an_indicator_waits_for_its_first_value() -> None:
    level = [{"SMA(3)": np.array([value])} for value in (np.nan, 100.0, 102.0, 102.0)]
    readings = run_detector(make_detector("cross", level="SMA(3)"), minute_bars([99, 101, 101, 103]), level)
    assert fires(readings) == [False, False, True, True]
    assert values_of(readings) == [None, 1.0, -1.0, 1.0]


def test_channel_edges_are_inclusive() -> None:
    closes = [100, 110, 110.01, 120, 110, 90, 89.99, 95]
    leave = run_detector(make_detector("channel", upper=110.0, lower=90.0), minute_bars(closes))
    assert fires(leave) == [False, False, True, False, False, False, True, False]
    enter = run_detector(
        make_detector("channel", upper=110.0, lower=90.0, event="enter"), minute_bars(closes)
    )
    assert fires(enter) == [False] * 4 + [True, False, False, True]
    assert [float(one.direction[0]) for one in enter if one.fire[0] and one.direction is not None] == [
        -1.0,
        1.0,
    ]
    up = run_detector(make_detector("channel", upper=110.0, lower=90.0, direction="up"), minute_bars(closes))
    assert fires(up) == [False, False, True] + [False] * 5
    only_lower = run_detector(make_detector("channel", lower=90.0), minute_bars(closes))
    assert fires(only_lower) == [False] * 6 + [True, False]


def test_channel_of_an_indicator_waits_for_its_first_value() -> None:
    edge = [{"EMA(5)": np.array([value])} for value in (np.nan, 100.0, 100.0)]
    assert fires(
        run_detector(make_detector("channel", upper="EMA(5)"), minute_bars([150, 99, 101]), edge)
    ) == [False, False, True]


def test_vwap_deviation() -> None:
    vwap = [{"VWAP": np.array([value])} for value in (np.nan, 100.0, 100.0)]
    readings = run_detector(make_detector("vwap_deviation", pct=1.0), minute_bars([100, 101, 98]), vwap)
    assert values_of(readings) == [None, 1.0, -2.0]
    assert fires(readings) == [False, True, True]
    in_bps = make_detector("vwap_deviation", bps=150.0, direction="down")
    assert (in_bps.unit, in_bps.threshold) == ("bps", 150.0)
    assert fires(run_detector(in_bps, minute_bars([100, 102, 98]), vwap)) == [False, False, True]


# gaps and extremes


def test_gap_open_is_only_at_the_first_bar_of_a_session() -> None:
    series = [
        bars([100], day=0, minute=0),
        bars([100], day=0, minute=1),
        bars([107], day=1, minute=0, open=[110]),
        bars([200], day=1, minute=1),
        bars([190], day=2, minute=0, open=[180]),
    ]
    readings = run_detector(make_detector("gap_open", pct=10), series)
    assert values_of(readings) == [None, None, 10.0, None, -10.0]
    assert fires(readings) == [False, False, True, False, True]
    assert [
        float(one.reference_session[0])
        for one in (readings[2], readings[4])
        if not isinstance(one.reference_session, float)
    ] == [
        FIRST_DAY,
        FIRST_DAY + 1,
    ]
    assert fires(run_detector(make_detector("gap_open", pct=10, direction="down"), series)) == [False] * 4 + [
        True
    ]


@pytest.mark.parametrize("interval", ["1m", "1d"])
def test_new_high_requires_a_full_window_and_exceeding_its_high(interval: str) -> None:
    if interval == "1m":
        series, window = minute_bars([10, 12, 11, 12, 12.5, 11, 11, 11, 12]), 3
    else:
        series = [
            daily_bars([price], day=day) for day, price in enumerate([10, 12, 11, 12, 12.5, 11, 11, 11, 12])
        ]
        window = "3d"  # type: ignore[assignment]
    high = run_detector(make_detector("new_high", interval, window=window), series)
    assert fires(high) == [False] * 4 + [True, False, False, False, True]
    assert values_of(high)[4] == round(100 * (12.5 / 12 - 1), 6)
    low = run_detector(make_detector("new_low", interval, window=window), series)
    assert fires(low) == [False] * 9


def test_new_low_of_minutes_within_days() -> None:
    lows = [[100, 90], [95, 80, 85], [79, 81, 78]]
    series = [bars([p], day=d, minute=m) for d, prices in enumerate(lows) for m, p in enumerate(prices)]
    readings = run_detector(make_detector("new_low", window="2d"), series)
    assert values_of(readings)[:5] == [None] * 5
    # below the low of both days, then above it, then below the low of this day too
    assert fires(readings)[5:] == [True, False, True]
    assert values_of(readings)[7] == round(100 * (78 / 79 - 1), 6)


# volume and range


def test_volume_spike_is_in_multiples_of_the_baseline() -> None:
    detector = make_detector("volume_spike", "1d", times=5.0)
    series = [
        daily_bars([100], day=day, volume=[volume])
        for day, volume in enumerate([100, 100, 100, 500, 499, np.nan, 600])
    ]
    readings = run_detector(detector, series)
    assert values_of(readings)[:4] == [None, 1.0, 1.0, 5.0]
    assert fires(readings)[3]
    assert values_of(readings)[5] is None
    # a volume counts for at most four times the usual
    assert values_of(readings)[4] == round(499 / (100 + 300 / 4), 6)


def test_volume_spike_accounts_for_time_of_day() -> None:
    detector = make_detector("volume_spike", "1m", times=3.0)
    usual = [400.0 if minute % MINUTES_PER_SESSION < 30 else 100.0 for minute in range(MINUTES_PER_SESSION)]
    series = [
        bars([100], day=day, minute=minute, volume=[usual[minute]])
        for day in range(12)
        for minute in range(MINUTES_PER_SESSION)
    ]
    last = np.array(
        [
            value
            for value in values_of(run_detector(detector, series))[-MINUTES_PER_SESSION:]
            if value is not None
        ]
    )
    assert last.max() < 2
    assert 0.5 < last[5:25].mean() < 1.5


MINUTES_PER_SESSION = 390


def test_volume_spike_ignores_small_volumes() -> None:
    detector = make_detector("volume_spike", "1d", times=5.0, least=1000.0)
    series = [
        daily_bars([100], day=day, volume=[volume]) for day, volume in enumerate([100, 100, 100, 999, 1000])
    ]
    assert fires(run_detector(detector, series)) == [False, False, False, False, True]


def test_range_expansion_is_against_the_average_before() -> None:
    atr = [{"ATR(14)": np.array([value])} for value in (np.nan, 2.0, 3.0, 0.0, 1.0)]
    series = [bars([close], minute=n, open=[100]) for n, close in enumerate([101, 101, 106, 94, 101])]
    readings = run_detector(make_detector("range_expansion", k=3.0), series, atr)
    assert values_of(readings) == [None, None, 3.0, -2.0, None]
    assert fires(readings) == [False, False, True, False, False]


# zscore and jump


def random_walk(count: int, sigma: float = 0.001, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    return np.asarray(100 * np.exp(np.cumsum(sigma * rng.standard_normal(count))))


def test_zscore_is_in_sigmas_of_the_returns_before() -> None:
    closes = [100.0]
    for number in range(400):
        closes.append(closes[-1] * math.exp(0.001 * (-1) ** number))
    closes.append(closes[-1] * math.exp(0.005))
    detector = make_detector("zscore", time_of_day=False)
    readings = run_detector(detector, minute_bars(closes[:380] + closes[-2:]))
    assert values_of(readings)[0] is None
    assert values_of(readings)[-2] == pytest.approx(-1.0, abs=1e-3)
    # all returns had one size, which is the sigma; it does not include the return itself
    assert values_of(readings)[-1] == pytest.approx(5.0, abs=2e-3)


def test_one_jump_does_not_blind_zscore() -> None:
    closes = random_walk(300)
    closes[250:] *= 1.2
    closes[260:] *= 1.02
    readings = run_detector(make_detector("zscore", time_of_day=False, threshold=5.0), minute_bars(closes))
    assert fires(readings)[250]
    assert fires(readings)[260]
    # after the jumps, returns are usual again
    assert not any(fires(readings)[261:])


def test_zscore_ignores_overnight_gaps() -> None:
    series = [bars([price], minute=minute) for minute, price in enumerate(random_walk(200))]
    next_day = [bars([130.0], open=[130.0], day=1, minute=0), bars([130.0], day=1, minute=1)]
    readings = run_detector(make_detector("zscore", time_of_day=False), [*series, *next_day])
    assert values_of(readings)[-2] == 0.0
    by_day = [daily_bars([price], day=day) for day, price in enumerate(random_walk(60, 0.01))]
    jump = daily_bars([140.0], open=[140.0], day=60)
    assert fires(run_detector(make_detector("zscore", "1d"), [*by_day, jump]))[-1]


def test_zscore_after_a_gap_scales_sigma() -> None:
    series = minute_bars(random_walk(100))
    close = float(series[-1].close[0])
    soon = bars([close * 1.003], minute=100)
    late = bars([close * 1.003], minute=108)
    at_once, after_nine = (
        run_detector(make_detector("zscore", time_of_day=False), [*series, soon]),
        run_detector(make_detector("zscore", time_of_day=False), [*series, late]),
    )
    assert float(at_once[-1].value[0]) == pytest.approx(3 * float(after_nine[-1].value[0]))


@pytest.mark.parametrize("time_of_day", [True, False])
def test_zscore_treats_one_tick_moves_as_noise(time_of_day: bool) -> None:
    flat = [100.0] * 50 + [100.01, 100.0, 100.01, 100.02]
    series = [bars([price], minute=150 + number) for number, price in enumerate(flat)]
    readings = run_detector(make_detector("zscore", time_of_day=time_of_day), series)
    assert max(abs(value) for value in values_of(readings) if value is not None) <= 2.01
    assert not any(fires(readings))


def test_zscore_learns_the_time_of_day() -> None:
    rng = np.random.default_rng(3)
    series = []
    price = 100.0
    for day in range(25):
        for minute in range(0, 390, 5):
            opened, price = (
                price,
                price * math.exp((0.004 if 120 <= minute < 150 else 0.0005) * rng.standard_normal()),
            )
            series.append(bars([price], open=[opened], day=day, minute=minute, width=5))
    plain = run_detector(make_detector("zscore", "5m", time_of_day=False), series)
    profiled = run_detector(make_detector("zscore", "5m"), series)
    last = slice(10 * 78, None)
    assert sum(fires(plain)[last]) > 15
    assert sum(fires(profiled)[last]) < sum(fires(plain)[last]) / 3


def test_jump_is_the_test_of_lee_and_mykland() -> None:
    closes = random_walk(80)
    changes = np.diff(np.log(closes))
    readings = run_detector(make_detector("jump", window=48, time_of_day=False), minute_bars(closes))
    # at most the last 3 * 16 products: the window moves in blocks
    products = np.abs(changes[1:-1] * changes[:-2])
    candidates = [abs(changes[-1]) / math.sqrt(products[-count:].mean()) for count in range(44, 52)]
    assert min(abs(abs(float(readings[-1].value[0])) - candidate) for candidate in candidates) < 1e-6
    assert values_of(readings)[:29] == [None] * 29


def test_the_threshold_of_lee_and_mykland() -> None:
    # the paper's 1% level: 4.6001 for the standardized statistic
    root = math.sqrt(2 * math.log(390))
    c = math.sqrt(2 / math.pi)
    standardized = (lee_mykland_threshold(390, 0.01) - root / c) * c * root
    assert standardized + (math.log(math.pi) + math.log(math.log(390))) / 2 == pytest.approx(4.6001, abs=1e-4)
    assert lee_mykland_threshold(390, 0.01) == pytest.approx(5.466, abs=1e-3)


def test_jump_finds_jumps() -> None:
    closes = random_walk(400)
    closes[350:] *= 1.012
    readings = run_detector(make_detector("jump", time_of_day=False), minute_bars(closes))
    assert [n for n, fire in enumerate(fires(readings)) if fire] == [350]
    # its threshold follows from alpha, and so does the one at which it clears
    clears = [bool(one.clear[0]) for one in readings]
    assert not clears[350]
    assert sum(clears[351:]) > 40


# halts and limits


def test_halt_fires_when_trading_resumes() -> None:
    series = [bars([100], minute=minute) for minute in [*range(60), 64, *range(65, 70), 75, 76]]
    readings = run_detector(make_detector("halt", minutes=5.0), series)
    assert [float(one.value[0]) for one in readings if one.fire[0]] == [300.0]
    assert fires(readings)[-2]
    # the gap between sessions is not a halt
    busy = [bars([100], minute=minute) for minute in range(60)]
    assert fires(run_detector(make_detector("halt", minutes=5.0), [*busy, bars([100], minute=65)]))[-1]
    assert not fires(run_detector(make_detector("halt", minutes=5.0), [*busy, bars([100], day=1, minute=0)]))[
        -1
    ]


def test_an_instrument_that_seldom_trades_is_not_halted() -> None:
    series = [bars([100], minute=minute) for minute in range(0, 300, 7)]
    assert not any(fires(run_detector(make_detector("halt", minutes=5.0), series)))


def limit_band_readings(
    moves: Mapping[int, float], *, tier: int = 1, day: int = 0, price: float = 100.0, **fields: Any
) -> list[Reading]:
    """Return readings of a session at a price, in which some minutes move by a percentage."""
    series = [bars([price], day=day - 1, minute=389, first_of_session=True)]
    for minute in range(390):
        low = price * (1 + moves.get(minute, 0.0) / 100)
        series.append(
            bars([price], day=day, minute=minute, low=[min(low, price)], high=[max(low, price)], **fields)
        )
    return run_detector(make_detector("limit_band", tier=tier), series)[1:]


@pytest.mark.parametrize(
    ("price", "tier", "minute", "day", "band"),
    [
        (100.0, 1, 100, 0, 5.0),
        (100.0, 2, 100, 0, 10.0),
        (3.0, 1, 100, 0, 20.0),
        (0.5, 1, 100, 0, 30.0),  # 15 cents
        (0.16, 2, 100, 0, 75.0),
        # bands double before 9:45 and from 15:35 on, where the rules of the day say so
        (100.0, 1, 14, -3_000, 10.0),
        (100.0, 1, 15, -3_000, 5.0),
        (100.0, 2, 365, -3_000, 20.0),
        (100.0, 1, 14, 0, 5.0),
        (100.0, 1, 365, 0, 10.0),
        (100.0, 1, 364, 0, 5.0),
        (100.0, 2, 365, 0, 10.0),
        (3.0, 2, 365, 0, 40.0),
    ],
)
def test_limit_bands(price: float, tier: int, minute: int, day: int, band: float) -> None:
    for sign in (-1, 1):
        reached = limit_band_readings({minute: sign * band}, price=price, tier=tier, day=day)
        assert [n for n, fire in enumerate(fires(reached)) if fire] == [minute]
        assert not any(
            fires(limit_band_readings({minute: sign * (band - 0.1)}, price=price, tier=tier, day=day))
        )


def test_there_are_no_limits_before_the_plan() -> None:
    assert not any(fires(limit_band_readings({100: -50.0}, day=-7_000)))


def test_the_reference_price_follows_the_last_five_minutes() -> None:
    # 1% per minute: within the band around the last five minutes, but not around the open
    series = [bars([100], day=-1, minute=389, first_of_session=True), bars([100], minute=0)]
    series += [bars([100 * 0.99**minute], minute=minute) for minute in range(1, 20)]
    readings = run_detector(make_detector("limit_band"), series)
    assert not any(fires(readings))
    references = [float(one.reference[0]) for one in readings if not isinstance(one.reference, float)]
    assert references[-1] == pytest.approx(np.mean([100 * 0.99**n for n in range(14, 19)]), rel=0.011)


def test_the_market_wide_breakers() -> None:
    def at(fall: float, minute: int = 100, day: int = 0) -> tuple[bool, float]:
        series = [bars([5000], day=day - 1, minute=0), bars([5000], day=day, minute=0)]
        one = run_detector(
            make_detector("market_breaker"),
            [*series, bars([5000 * (1 - fall / 100)], day=day, minute=minute)],
        )[-1]
        assert not isinstance(one.threshold, float)
        return bool(one.fire[0]), float(one.threshold[0])

    assert at(6.99) == (False, 7.0)
    assert at(7.0) == (True, 7.0)
    assert at(13.5) == (True, 13.0)
    assert at(20.0) == (True, 20.0)
    # from 15:25 on only the last level halts
    assert at(8.0, minute=354) == (True, 7.0)
    assert at(8.0, minute=355) == (False, 20.0)
    assert at(-9.0) == (False, 7.0)
    fire, threshold = at(30.0, day=-7_000)
    assert not fire
    assert math.isnan(threshold)


# all detectors


@pytest.mark.parametrize(
    "kind", [name for name in registry.kind_names() if name not in {"stale", "data_quality"}]
)
def test_a_preview_changes_nothing_and_equals_an_update(kind: str) -> None:
    required: dict[str, dict[str, Any]] = {
        "pct_change": {"pct": 1.0, "window": "3m"},
        "cross": {"level": 100.0},
        "channel": {"upper": 101.0, "lower": 99.0},
        "volume_spike": {"times": 2.0},
        "gap_open": {"pct": 1.0},
        "vwap_deviation": {"pct": 1.0},
        "condition": {"all": ["day_range > 50", "close crosses 100"], "within": 2},
    }
    detector = make_detector(kind, size=3, **required.get(kind, {}))
    rng = np.random.default_rng(1)
    values = {"VWAP": np.full(3, 100.0), "ATR(14)": np.full(3, 0.2)}
    rows = np.arange(3)
    with np.errstate(all="ignore"):
        for number in range(60):
            day, minute = divmod(number, 30)
            one = bars(list(100 + rng.standard_normal(3)), day=day, minute=minute)
            before = detector.table.gather(rows)
            past = None if detector.history is None else detector.history.gather(rows)
            preview = detector.preview(one, values)
            np.testing.assert_array_equal(before, detector.table.gather(rows))
            if past is not None and detector.history is not None:
                np.testing.assert_array_equal(past, detector.history.gather(rows))
            updated = detector.update(one, values)
            if preview.detail and updated.detail:
                fired = np.flatnonzero(preview.fire).tolist()
                assert list(map(preview.detail, fired)) == list(map(updated.detail, fired))
            for mine, other in zip(preview[:-1], updated[:-1], strict=True):
                np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("zscore", {}),
        ("jump", {"window": 40}),
        ("new_low", {"window": 5}),
        ("pct_change", {"window": "4m", "pct": 2.0}),
    ],
)
def test_a_detector_adjusts_its_history_for_a_split(kind: str, parameters: dict[str, Any]) -> None:
    old, new = make_detector(kind, **parameters), make_detector(kind, **parameters)
    closes = random_walk(120)
    run_detector(old, minute_bars(closes[:80]))
    run_detector(new, minute_bars(closes[:80] / 2))
    old.adjust_for_split(np.array([0]), np.array([0.5]))
    after = [bars([price / 2], minute=80 + number) for number, price in enumerate(closes[80:])]
    for mine, other in zip(run_detector(old, after), run_detector(new, after), strict=True):
        # the smallest tick remains that of the old prices
        assert float(mine.value[0]) == pytest.approx(float(other.value[0]), rel=1e-9, nan_ok=True)


@settings(max_examples=100)
@given(length=st.integers(60, 1440), at=st.integers(0, 1439))
def test_each_time_of_a_session_is_in_one_part(length: int, at: int) -> None:
    at %= length
    one = bars([1.0], minute=at)
    one.session_close_ns[:] = one.session_open_ns + length * MINUTE
    number, until = session_parts(one)
    assert 0 <= number[0] < PART_COUNT
    assert int(one.ts_open_ns[0]) < until[0] <= int(one.session_close_ns[0])
    inside = bars([1.0], minute=at)
    inside.session_close_ns[:] = one.session_close_ns
    inside.ts_open_ns[:] = int(until[0]) - 1_000
    assert session_parts(inside)[0][0] == number[0]


def test_learning_keeps_a_profile_normalized() -> None:
    detector = make_detector("volume_spike", times=5.0)
    series = [
        bars([100], day=day, minute=minute, volume=[1000.0 + 9000.0 * (minute > 300)])
        for day in range(8)
        for minute in range(0, 390, 3)
    ]
    run_detector(detector, series)
    assert detector.history is not None
    factors = detector.history.gather(np.array([0]))[:EVEN_PARTS, 0]
    assert factors.mean() == pytest.approx(1.0)
    assert factors[-4] > 1.5
    assert factors[8] < 0.8


def test_a_profile_is_one_on_average() -> None:
    profile = TimeOfDayProfile(volatility_prior, (1.4, 1.0))
    factors = list(profile.history_fields.values())
    assert len(factors) == PART_COUNT
    assert sum(factors[:EVEN_PARTS]) / EVEN_PARTS == pytest.approx(1.0)
    assert factors[EVEN_PARTS] > factors[0] > factors[EVEN_PARTS // 2]

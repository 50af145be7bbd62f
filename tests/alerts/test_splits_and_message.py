"""Detection of splits, messages of alerts, and detectors of other packages."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import pytest

from alerts.alert_builders import bars, close_bars, daily_bars, make_engine
from alerts.scripted import SCRIPTED
from tickerlake.alerts import message
from tickerlake.alerts.detectors import registry
from tickerlake.alerts.detectors.detector import NAN, Detector, IndicatorValues, Reading
from tickerlake.analytics.bars import Bars
from tickerlake.analytics.state_table import Fields, State
from tickerlake.errors import UsageError
from tickerlake.model.alert import Alert, Unit

GAP_RULES = """
[[rule]]
kind = "gap_open"
pct = 15
critical = 25
[[rule]]
kind = "pct_change"
window = 1
pct = 15
"""


def open_day(
    opened: float, volume: float, *, before: int = 20, usual_volume: float = 1000.0, interval: str = "1d"
) -> list[Alert]:
    """Return the alerts of each rule on its own, of a session with this open, after sessions at 100."""
    rules = [f"[[rule]]{rule}" for rule in GAP_RULES.split("[[rule]]")[1:]]
    return [
        alert for rule in rules for alert in _open_day(rule, opened, volume, before, usual_volume, interval)
    ]


def _open_day(
    rule: str, opened: float, volume: float, before: int, usual_volume: float, interval: str
) -> list[Alert]:
    engine = make_engine(rule, intervals=[interval])
    for day in range(before):
        one = (
            daily_bars([100], day=day, volume=[usual_volume])
            if interval == "1d"
            else bars([100], day=day, volume=[usual_volume])
        )
        close_bars(engine, interval, one)
        if interval == "1m":
            close_bars(engine, interval, bars([100], day=day, minute=1, volume=[50 * usual_volume]))
    make_bar = daily_bars if interval == "1d" else bars
    return close_bars(engine, interval, make_bar([opened], day=before, open=[opened], volume=[volume]))


@pytest.mark.parametrize("interval", ["1d", "1m"])
@pytest.mark.parametrize(
    ("opened", "volume", "cause", "severity"),
    [
        (50.0, 5999.0, "probable_split", "warning"),
        (50.0, 6000.0, "market", "critical"),
        (50.0, 200.0, "probable_split", "warning"),
        (50.0, 199.0, "market", "critical"),
        (51.2, 1000.0, "probable_split", "warning"),
        (51.3, 1000.0, "market", "critical"),
        (33.3, 1000.0, "probable_split", "warning"),
        (66.6, 1000.0, "probable_split", "warning"),
        (80.0, 1000.0, "probable_split", "info"),
        (1000.0, 100.0, "probable_split", "warning"),
        (60.0 + 3.5, 1000.0, "market", "critical"),
        (50.0, np.nan, "unknown", "critical"),
    ],
)
def test_a_split_is_not_a_crash(
    interval: str, opened: float, volume: float, cause: str, severity: str
) -> None:
    gap, change = open_day(opened, volume, interval=interval)
    assert (gap.cause, gap.severity) == (cause, severity)
    # other alerts of the bar have the same cause
    assert change.cause == cause


def test_without_a_baseline_volume_the_cause_is_unknown() -> None:
    gap, _ = open_day(50.0, 1000.0, before=2)
    assert (gap.cause, gap.severity) == ("unknown", "critical")
    assert "may be a 2:1 split" in gap.message


def test_after_a_split_detection_is_unchanged() -> None:
    engine = make_engine(
        GAP_RULES + '[[rule]]\nkind = "new_low"\nwindow = "5d"\ninterval = "1d"\n', intervals=["1d"]
    )
    for day in range(20):
        close_bars(engine, "1d", daily_bars([100 + day % 2], day=day))
    assert {alert.kind for alert in close_bars(engine, "1d", daily_bars([50], day=20, open=[50]))} == {
        "pct_change",
        "new_low",
    }
    # for the new shares this is neither a fall nor a low, and twice the volume is usual
    after = [
        alert
        for day in range(21, 30)
        for alert in close_bars(engine, "1d", daily_bars([50.2], day=day, volume=[2000.0]))
    ]
    assert {alert.state for alert in after} == {"cleared"}
    next_split = close_bars(engine, "1d", daily_bars([25], day=30, open=[25], volume=[5000.0]))
    assert {alert.cause for alert in next_split} == {"probable_split"}


def test_the_first_trades_after_a_split_have_the_cause_too() -> None:
    engine = make_engine(
        GAP_RULES.replace("pct = 15\n[", 'pct = 15\nwhen = "tick"\n[').replace(
            "critical = 25\n", 'critical = 25\nwhen = "tick"\n'
        )
    )
    for day in range(20):
        close_bars(engine, "1m", bars([100], day=day))
    forming = bars([50.0, 50.0], day=20, open=[50.0, 50.0], rows=[0, 0], volume=[10.0, 50_000.0])
    event_ns = forming.ts_open_ns + np.array([1, 2])
    fired = [one.alert for one in engine.on_tick("1m", forming, {}, event_ns, event_ns)]
    gaps = [(alert.severity, alert.cause) for alert in fired if alert.kind == "gap_open"]
    # with more volume it is not a split
    assert gaps == [("warning", "probable_split"), ("critical", "market")]


MESSAGE_BY_RULE = {
    'kind = "pct_change"\npct = 1\nwindow = 1': "AAPL fell 2.0% in 1m: 98.00 from 100.00, volume 1.9 M",
    'kind = "cross"\nlevel = 99': "AAPL crossed below 99.00: 98.00, volume 1.9 M",
    'kind = "channel"\nlower = 99': "AAPL fell through its channel edge at 99.00: 98.00, volume 1.9 M",
    'kind = "new_low"\nwindow = 1': "AAPL made a new 1m low: 98.00 from 100.00, volume 1.9 M",
    'kind = "vwap_deviation"\npct = 1': (
        "AAPL is 2.0% below the session's VWAP: 98.00, VWAP 100.00, volume 1.9 M"
    ),
    'kind = "range_expansion"': (
        "AAPL had 4.0 × its average range in 1m; it fell 2.0%: 98.00 from 100.00, volume 1.9 M"
    ),
    f'kind = "{SCRIPTED}"\nthreshold = 2\nmessage = "{{symbol}} {{direction}} {{value}}, {{volume}}! {{{{"': (
        "AAPL down -2.0 σ, 1.9 M! {"
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", MESSAGE_BY_RULE)
def test_human_readable_messages(rule: str) -> None:
    engine = make_engine(f'[[rule]]\ninterval = "1m"\n{rule}\n')
    values = {"VWAP": np.array([100.0]), "ATR(14)": np.array([0.5])}
    assert close_bars(engine, "1m", bars([100], minute=1), values) == []
    (alert,) = close_bars(engine, "1m", bars([98], minute=2, open=[100], volume=[1.9e6]), values)
    assert alert.message == MESSAGE_BY_RULE[rule]


def test_a_halt_message() -> None:
    engine = make_engine('[[rule]]\nkind = "halt"\n')
    for minute in range(60):
        close_bars(engine, "1m", bars([100], minute=minute))
    (alert,) = close_bars(engine, "1m", bars([97], minute=72, open=[97]))
    assert alert.message == "AAPL resumed trading after 12 min, it fell 3.0%: 97.00 from 100.00, volume 1,000"
    assert (alert.cause, alert.direction, alert.unit) == ("halt", "none", "s")


def test_cleared_alerts_have_their_own_message() -> None:
    engine = make_engine(f'[[rule]]\nid = "mine"\nkind = "{SCRIPTED}"\ninterval = "1m"\nclear_bars = 1\n')
    close_bars(engine, "1m", bars([105], minute=1))
    (alert,) = close_bars(engine, "1m", bars([100.5], minute=2))
    assert alert.message == "AAPL: mine cleared, now 0.5 σ, price 100.50"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1_234.5, "1,234.50"), (28.06, "28.06"), (3.5, "3.5000"), (0.0123, "0.0123")],
)
def test_prices(value: float, text: str) -> None:
    assert message.format_price(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (9_999, "9,999"), (158_000, "158.0 k"), (1.9e6, "1.9 M"), (2.5e9, "2.5 bn")],
)
def test_volumes(value: float, text: str) -> None:
    assert message.format_volume(value) == text


def test_an_invalid_custom_detector_is_rejected() -> None:
    with pytest.raises(UsageError, match="already"):
        registry.register("zscore", registry.detector_class(SCRIPTED))
    with pytest.raises(UsageError, match="name"):
        registry.register("Z score", registry.detector_class(SCRIPTED))
    with pytest.raises(UsageError, match="not a subclass"):
        registry.register("other", int)  # type: ignore[arg-type]


class RoundNumber(Detector):
    """The example in the docstring of `registry`."""

    parameters: ClassVar[Mapping[str, object]] = {"step": 100.0}
    unit: ClassVar[Unit] = "price"
    threshold_parameter = ""

    def fields(self) -> Fields:
        return Fields({"close": NAN})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        before = np.floor(state["close"] / self.arguments["step"])
        value = (np.floor(bars.close / self.arguments["step"]) - before) * self.arguments["step"]
        reference = state["close"].copy()
        state["close"][:] = bars.close
        return Reading(value, np.abs(value) > 0, value == 0, reference=reference)


class FakeEntryPoint(NamedTuple):
    """The entry point of another package's detector."""

    name: str
    value: str = "elsewhere:RoundNumber"

    def load(self) -> type[Detector]:
        if self.name == "broken":
            raise ImportError("no module elsewhere")
        return RoundNumber


def test_another_package_provides_a_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    provided = [FakeEntryPoint("round_number"), FakeEntryPoint("broken")]

    def entry_points(*, group: str, name: str | None = None) -> list[FakeEntryPoint]:
        assert group == "tickerlake.detectors"
        return [entry for entry in provided if name in {None, entry.name}]

    monkeypatch.setattr("tickerlake.alerts.detectors.registry.metadata.entry_points", entry_points)
    engine = make_engine('[[rule]]\nkind = "round_number"\nstep = 50\ninterval = "1m"\n')
    assert [
        a.message
        for n, p in enumerate([99, 101, 120, 130])
        for a in close_bars(engine, "1m", bars([p], minute=n))
    ] == ["AAPL: round_number is 50.00: 101.00 from 99.00, volume 1,000"]
    with pytest.raises(UsageError, match="not a number"):
        make_engine('[[rule]]\nkind = "round_number"\nstep = "x"\n')
    with pytest.raises(UsageError, match="broken cannot be loaded from elsewhere"):
        registry.detector_class("broken")
    with pytest.raises(UsageError, match="no rule kind") as caught:
        registry.detector_class("round_numbr")
    assert caught.value.hint == "Did you mean round_number?"

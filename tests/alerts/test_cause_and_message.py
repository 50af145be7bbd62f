"""What is behind a move, and how it is told."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import pytest

from alerts.alertkit import bars, close, days, engine
from alerts.scripted import SCRIPTED
from tickerlake.alerts import message
from tickerlake.alerts.detectors import kinds
from tickerlake.alerts.detectors.detector import NAN, Detector, Reading, Values
from tickerlake.alerts.duration import human, nanoseconds
from tickerlake.analytics.bars import Bars
from tickerlake.analytics.columnar import Fields, State
from tickerlake.errors import UsageError
from tickerlake.model.alert import Alert, Unit

GAP = """
[[rule]]
kind = "gap_open"
pct = 15
critical = 25
[[rule]]
kind = "pct_change"
window = 1
pct = 15
"""


def split_day(
    opened: float, volume: float, *, before: int = 20, usual: float = 1000.0, interval: str = "1d"
) -> list[Alert]:
    """What is told of a day that opens so, after days at 100."""
    made = engine(GAP, intervals=[interval])
    for day in range(before):
        one = (
            days([100], day=day, volume=[usual]) if interval == "1d" else bars([100], day=day, volume=[usual])
        )
        close(made, interval, one)
        if interval == "1m":
            close(made, interval, bars([100], day=day, minute=1, volume=[50 * usual]))
    make_bar = days if interval == "1d" else bars
    return close(made, interval, make_bar([opened], day=before, open=[opened], volume=[volume]))


@pytest.mark.parametrize("interval", ["1d", "1m"])
@pytest.mark.parametrize(
    ("opened", "volume", "cause", "severity"),
    [
        (50.0, 2999.0, "probable_split", "warning"),
        (50.0, 3000.0, "market", "critical"),
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
    gap, change = split_day(opened, volume, interval=interval)
    assert (gap.cause, gap.severity) == (cause, severity)
    # what else fires on the bar has the same cause
    assert change.cause == cause


def test_without_a_usual_volume_nobody_knows() -> None:
    gap, _ = split_day(50.0, 1000.0, before=2)
    assert (gap.cause, gap.severity) == ("unknown", "critical")
    assert "may be a 2:1 split" in gap.message


def test_after_a_split_all_is_as_before() -> None:
    made = engine(GAP + '[[rule]]\nkind = "new_low"\nwindow = "5d"\ninterval = "1d"\n', intervals=["1d"])
    for day in range(20):
        close(made, "1d", days([100 + day % 2], day=day))
    assert {alert.kind for alert in close(made, "1d", days([50], day=20, open=[50]))} == {
        "gap_open",
        "pct_change",
        "new_low",
    }
    # neither a fall nor a low for the new shares, and twice the volume is usual for them
    after = [
        alert for day in range(21, 30) for alert in close(made, "1d", days([50.2], day=day, volume=[2000.0]))
    ]
    assert {alert.state for alert in after} == {"cleared"}
    again = close(made, "1d", days([25], day=30, open=[25], volume=[5000.0]))
    assert {alert.cause for alert in again} == {"probable_split"}


def test_the_first_trades_after_a_split_have_the_cause_too() -> None:
    made = engine(
        GAP.replace("pct = 15\n[", 'pct = 15\nwhen = "tick"\n[').replace(
            "critical = 25\n", 'critical = 25\nwhen = "tick"\n'
        )
    )
    for day in range(20):
        close(made, "1m", bars([100], day=day))
    forming = bars([50.0, 50.0], day=20, open=[50.0, 50.0], rows=[0, 0], volume=[10.0, 50_000.0])
    event_ns = forming.ts_open_ns + np.array([1, 2])
    found = [one.alert for one in made.on_tick("1m", forming, {}, event_ns, event_ns)]
    gaps = [(alert.severity, alert.cause) for alert in found if alert.kind == "gap_open"]
    # as soon as much is traded it is no split
    assert gaps == [("warning", "probable_split"), ("critical", "market")]


LINES = {
    'kind = "pct_change"\npct = 1\nwindow = 1': "AAPL fell 2.0% in 1m: 98.00 after 100.00, volume 1.9 M",
    'kind = "cross"\nlevel = 99': "AAPL crossed below 99.00: 98.00, volume 1.9 M",
    'kind = "channel"\nlower = 99': "AAPL fell through its channel's edge, 99.00: 98.00, volume 1.9 M",
    'kind = "new_low"\nwindow = 1': "AAPL made a new low of 1m: 98.00 after 100.00, volume 1.9 M",
    'kind = "vwap_deviation"\npct = 1': (
        "AAPL is 2.0% below the session's VWAP: 98.00 against 100.00, volume 1.9 M"
    ),
    'kind = "range_expansion"': (
        "AAPL had a range of 4.0 × its average in 1m; it fell 2.0%: 98.00 after 100.00, volume 1.9 M"
    ),
    f'kind = "{SCRIPTED}"\nthreshold = 2\nmessage = "{{symbol}} {{direction}} {{value}}, {{volume}}! {{{{"': (
        "AAPL down -2.0 σ, 1.9 M! {"
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", LINES)
def test_lines_for_a_person(rule: str) -> None:
    made = engine(f'[[rule]]\ninterval = "1m"\n{rule}\n')
    values = {"VWAP": np.array([100.0]), "ATR(14)": np.array([0.5])}
    assert close(made, "1m", bars([100], minute=1), values) == []
    (alert,) = close(made, "1m", bars([98], minute=2, open=[100], volume=[1.9e6]), values)
    assert alert.message == LINES[rule]


def test_a_halt_in_words() -> None:
    made = engine('[[rule]]\nkind = "halt"\n')
    for minute in range(60):
        close(made, "1m", bars([100], minute=minute))
    (alert,) = close(made, "1m", bars([97], minute=72, open=[97]))
    assert alert.message == "AAPL trades again after 12 min, it fell 3.0%: 97.00 after 100.00, volume 1,000"
    assert (alert.cause, alert.direction, alert.unit) == ("halt", "none", "s")


def test_what_is_over_is_told_as_such() -> None:
    made = engine(f'[[rule]]\nid = "mine"\nkind = "{SCRIPTED}"\ninterval = "1m"\nclear_bars = 1\n')
    close(made, "1m", bars([105], minute=1))
    (alert,) = close(made, "1m", bars([100.5], minute=2))
    assert alert.message == "AAPL: mine is over, 0.5 σ now, price 100.50"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1_234.5, "1,234.50"), (28.06, "28.06"), (3.5, "3.5000"), (0.0123, "0.0123")],
)
def test_prices(value: float, text: str) -> None:
    assert message.price(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (9_999, "9,999"), (158_000, "158.0 k"), (1.9e6, "1.9 M"), (2.5e9, "2.5 bn")],
)
def test_volumes(value: float, text: str) -> None:
    assert message.volume(value) == text


@pytest.mark.parametrize(
    ("text", "nanos", "told"),
    [("45s", 45e9, "45 s"), ("12m", 720e9, "12 min"), ("2h", 7200e9, "2 h"), ("125m", 7500e9, "2 h 5 min")],
)
def test_lengths_of_time(text: str, nanos: float, told: str) -> None:
    assert nanoseconds(text) == nanos
    assert human(nanos) == told


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "0s", "5 minutes", "1.5h", "999999w"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="not a length of time"):
        nanoseconds(text)


def test_a_kind_of_ones_own_is_refused_if_it_is_none() -> None:
    with pytest.raises(UsageError, match="already"):
        kinds.register("zscore", kinds.find(SCRIPTED))
    with pytest.raises(UsageError, match="name"):
        kinds.register("Z score", kinds.find(SCRIPTED))
    with pytest.raises(UsageError, match="no subclass"):
        kinds.register("other", int)  # type: ignore[arg-type]


class RoundNumber(Detector):
    """As in the docstring of `kinds`."""

    parameters: ClassVar[Mapping[str, object]] = {"step": 100.0}
    unit: ClassVar[Unit] = "price"
    limit = ""

    def fields(self) -> Fields:
        return Fields({"close": NAN})

    def step(self, state: State, bars: Bars, values: Values) -> Reading:
        before = np.floor(state["close"] / self.given["step"])
        value = (np.floor(bars.close / self.given["step"]) - before) * self.given["step"]
        reference = state["close"].copy()
        state["close"][:] = bars.close
        return Reading(value, np.abs(value) > 0, value == 0, reference=reference)


class Entry(NamedTuple):
    """What another package says of a detector of its own."""

    name: str
    value: str = "elsewhere:RoundNumber"

    def load(self) -> type[Detector]:
        if self.name == "broken":
            raise ImportError("no module elsewhere")
        return RoundNumber


def test_another_package_brings_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    brought = [Entry("round_number"), Entry("broken")]

    def entry_points(*, group: str, name: str | None = None) -> list[Entry]:
        assert group == "tickerlake.detectors"
        return [entry for entry in brought if name in {None, entry.name}]

    monkeypatch.setattr("tickerlake.alerts.detectors.kinds.metadata.entry_points", entry_points)
    made = engine('[[rule]]\nkind = "round_number"\nstep = 50\ninterval = "1m"\n')
    assert [
        a.message for n, p in enumerate([99, 101, 120, 99]) for a in close(made, "1m", bars([p], minute=n))
    ] == ["AAPL: round_number is 50.00: 101.00 after 99.00, volume 1,000"]
    with pytest.raises(UsageError, match="not a number"):
        engine('[[rule]]\nkind = "round_number"\nstep = "x"\n')
    with pytest.raises(UsageError, match="broken can't be loaded from elsewhere"):
        kinds.find("broken")
    with pytest.raises(UsageError, match="no kind") as caught:
        kinds.find("round_numbr")
    assert caught.value.hint == "Did you mean round_number?"

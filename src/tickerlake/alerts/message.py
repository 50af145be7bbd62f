"""One line that a trader understands: what moved, how far, against what, since when."""

from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from tickerlake.alerts.cause import Split
from tickerlake.alerts.duration import SECOND_NS, human
from tickerlake.model.alert import AlertState, Cause, Direction, Severity, Unit

PLACES: Final = (
    "symbol kind rule severity state direction value threshold baseline unit window "
    "price reference volume cause message"
).split()
"""What stands in braces in a rule's own message."""

_EPOCH: Final = date(1970, 1, 1)
_UNITS: Final[dict[Unit, str]] = {
    "pct": "%",
    "sigma": " σ",
    "x": " ×",
    "bps": " bps",
    "price": "",
    "count": "",
}
_MANY: Final = 3.0


class Facts(NamedTuple):
    """What an alert is about; numbers are NaN where they are not known.

    Parameters
    ----------
    symbol, kind, rule_id
        Of the instrument and of the rule.
    severity, state, direction, cause, unit
        As in the alert.
    value, threshold, baseline, price, reference, volume
        As in the alert.
    window, interval
        Over how long was looked, and in which bars.
    since
        The session of the reference price, in days since 1970-01-01.
    level
        What was crossed, as it is written in the rule; empty for nothing.
    split
        What the move looks like.
    times_usual
        The volume in medians.
    suppressed
        How many alerts were kept back.
    """

    symbol: str
    kind: str
    rule_id: str
    severity: Severity
    state: AlertState
    direction: Direction
    cause: Cause
    unit: Unit
    value: float
    threshold: float
    baseline: float
    price: float
    reference: float
    volume: float
    window: str
    interval: str
    since: float
    level: str
    split: Split | None
    times_usual: float
    suppressed: int


def compose(facts: Facts, template: str | None = None) -> str:
    """Return the line for an alert; ``template`` is the rule's own."""
    usual = _usual_message(facts)
    return usual if template is None else template.format_map(_places(facts, usual))


def price(value: float) -> str:
    """Write a price: two decimals, four of small ones."""
    return f"{value:,.2f}" if abs(value) >= 10 else f"{value:,.4f}"


def volume(value: float) -> str:
    """Write a number of shares: ``1.9 M``."""
    for size, name in ((1e9, "bn"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if name == 'k' else size):,.1f} {name}"
    return f"{value:,.0f}"


def _usual_message(facts: Facts) -> str:
    if facts.state == "cleared":
        return f"{facts.symbol}: {facts.rule_id} is over{_now(facts)}"
    if facts.state == "expired":
        return f"{facts.symbol}: the rule {facts.rule_id} has expired"
    teller = _TELLERS.get(facts.kind, _any)
    return f"{teller(facts)}{_split(facts)}{_suppressed(facts)}"


def _now(facts: Facts) -> str:
    usual = " usual" if facts.unit == "x" else ""
    known = _known(facts.value) and facts.unit != "price"
    told = f", {_amount(facts.value, facts.unit)}{usual} now" if known else ""
    return f"{told}, price {price(facts.price)}" if _known(facts.price) else told


def _move(facts: Facts) -> float:
    """Return the way from the reference price, in percent."""
    return 100.0 * (facts.price / facts.reference - 1.0) if facts.reference else float("nan")


def _moved(facts: Facts) -> str:
    move = _move(facts)
    return f"{'rose' if move > 0 else 'fell'} {_percent(move)}" if _known(move) and move else "did not move"


def _came(facts: Facts) -> str:
    move = _move(facts)
    return f"it {_moved(facts)} to" if _known(move) and move else "the price stayed at"


def _percent(move: float) -> str:
    return f"{abs(move):.2f}%" if abs(move) < 1 else f"{abs(move):,.1f}%"


def _amount(value: float, unit: Unit) -> str:
    if unit == "s":
        return human(value * SECOND_NS)
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "pct":
        return f"{value:,.2f}%" if abs(value) < 1 else f"{value:,.1f}%"
    return f"{value:,.1f}{_UNITS[unit]}" if unit != "price" else price(value)


def _after(facts: Facts) -> str:
    """Write the two prices, the day of the earlier one, and the volume."""
    since = f" ({_EPOCH + timedelta(days=int(facts.since))})" if _known(facts.since) else ""
    return f"{price(facts.price)} after {price(facts.reference)}{since}{_traded(facts)}"


def _traded(facts: Facts) -> str:
    if not _known(facts.volume):
        return ""
    if not _known(facts.times_usual):
        return f", volume {volume(facts.volume)}"
    return f", volume {volume(facts.volume)}, {_times(facts.times_usual)} × usual"


def _times(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _split(facts: Facts) -> str:
    split = facts.split
    if split is None:
        return ""
    kind = "split" if split.new > split.old else "reverse split"
    what = "a crash" if split.new > split.old else "a rally"
    if split.probable:
        return f"; looks like a {split.new}:{split.old} {kind}, not {what}"
    if _known(split.volume_ratio):
        return f"; not a {split.new}:{split.old} {kind}: too much was traded"
    return f"; may be a {split.new}:{split.old} {kind}, what is usually traded is not known"


def _suppressed(facts: Facts) -> str:
    return f" ({facts.suppressed} more since the last alert)" if facts.suppressed else ""


def _change(facts: Facts) -> str:
    return f"{facts.symbol} {_moved(facts)} in {facts.window}: {_after(facts)}"


def _gap(facts: Facts) -> str:
    return f"{facts.symbol} {_moved(facts)} at the open: {_after(facts)}"


def _surprise(facts: Facts) -> str:
    return f"{facts.symbol} {_moved(facts)} in {facts.window}, {abs(facts.value):.1f} σ: {_after(facts)}"


def _cross(facts: Facts) -> str:
    way = "above" if facts.direction == "up" else "below"
    level = price(facts.reference)
    name = level if _is_number(facts.level) else f"{facts.level} = {level}"
    return f"{facts.symbol} crossed {way} {name}: {price(facts.price)}{_traded(facts)}"


def _channel(facts: Facts) -> str:
    way = "rose" if facts.direction == "up" else "fell"
    edge = price(facts.reference)
    return f"{facts.symbol} {way} through its channel's edge, {edge}: {price(facts.price)}{_traded(facts)}"


def _vwap(facts: Facts) -> str:
    way = "above" if facts.value > 0 else "below"
    far = f"{abs(facts.value):,.0f} bps" if facts.unit == "bps" else _percent(facts.value)
    return (
        f"{facts.symbol} is {far} {way} the session's VWAP: {price(facts.price)} against "
        f"{price(facts.reference)}{_traded(facts)}"
    )


def _spike(facts: Facts) -> str:
    usual = f"{_times(facts.value)} × the usual {volume(facts.baseline)}"
    return (
        f"{facts.symbol} traded {volume(facts.volume)} in {facts.window}, {usual}; "
        f"{_came(facts)} {price(facts.price)}"
    )


def _extreme(facts: Facts) -> str:
    word = "high" if facts.kind == "new_high" else "low"
    return f"{facts.symbol} made a new {word} of {facts.window}: {_after(facts)}"


def _range(facts: Facts) -> str:
    return (
        f"{facts.symbol} had a range of {abs(facts.value):.1f} × its average in {facts.window}; "
        f"it {_moved(facts)}: {_after(facts)}"
    )


def _halt(facts: Facts) -> str:
    pause = human(facts.value * SECOND_NS)
    return f"{facts.symbol} trades again after {pause}, it {_moved(facts)}: {_after(facts)}"


def _band(facts: Facts) -> str:
    which = "upper" if facts.value > 0 else "lower"
    return f"{facts.symbol} reached its {which} limit band of {facts.threshold:g}%: {_after(facts)}"


def _breaker(facts: Facts) -> str:
    return (
        f"{facts.symbol} {_moved(facts)}, the market-wide breaker is at {facts.threshold:g}%: {_after(facts)}"
    )


def _stale(facts: Facts) -> str:
    return f"{facts.symbol} sends no data for {human(facts.value * SECOND_NS)}"


def _quality(facts: Facts) -> str:
    return f"{facts.symbol}: {facts.value:,.0f} records were refused within {facts.window}"


def _any(facts: Facts) -> str:
    prices = f": {_after(facts)}" if _known(facts.reference) else f", price {price(facts.price)}"
    return f"{facts.symbol}: {facts.kind} is {_amount(facts.value, facts.unit)}{prices}"


_TELLERS: Final = {
    "pct_change": _change,
    "gap_open": _gap,
    "zscore": _surprise,
    "jump": _surprise,
    "cross": _cross,
    "channel": _channel,
    "vwap_deviation": _vwap,
    "volume_spike": _spike,
    "new_high": _extreme,
    "new_low": _extreme,
    "range_expansion": _range,
    "halt": _halt,
    "limit_band": _band,
    "market_breaker": _breaker,
    "stale": _stale,
    "data_quality": _quality,
}


def _places(facts: Facts, usual: str) -> dict[str, Any]:
    told = facts._asdict()
    return {
        **{
            name: told[name]
            for name in ("symbol", "kind", "severity", "state", "direction", "window", "cause")
        },
        "rule": facts.rule_id,
        "unit": facts.unit,
        "value": _shown(_amount, facts.value, facts.unit),
        "threshold": _shown(_amount, facts.threshold, facts.unit),
        "baseline": f"{facts.baseline:,.4g}" if _known(facts.baseline) else "–",
        "price": price(facts.price) if _known(facts.price) else "–",
        "reference": price(facts.reference) if _known(facts.reference) else "–",
        "volume": volume(facts.volume) if _known(facts.volume) else "–",
        "message": usual,
    }


def _shown(write: Any, value: float, unit: Unit) -> str:
    return str(write(value, unit)) if _known(value) else "–"


def _known(value: float) -> bool:
    return value - value == 0


def _is_number(text: str) -> bool:
    return not text or text[0].isdigit()

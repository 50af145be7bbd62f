"""One line that a trader understands: what moved, how far, against what, since when."""

from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from tickerlake.alerts.splits import SplitCandidate
from tickerlake.model.alert import AlertState, Cause, Direction, Severity, Unit
from tickerlake.model.duration import SECOND_NS, format_duration

TEMPLATE_FIELDS: Final = (
    "symbol kind rule severity state direction value threshold baseline unit window "
    "price reference volume cause message"
).split()
"""What stands in braces in a rule's own message."""

_EPOCH: Final = date(1970, 1, 1)
_UNIT_SUFFIXES: Final[dict[Unit, str]] = {
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
    reference_session: float
    level: str
    split: SplitCandidate | None
    volume_multiple: float
    suppressed_count: int


def format_message(facts: Facts, template: str | None = None) -> str:
    """Return the line for an alert; ``template`` is the rule's own."""
    default_message = _default_message(facts)
    return (
        default_message if template is None else template.format_map(_template_values(facts, default_message))
    )


def format_price(value: float) -> str:
    """Write a price: two decimals, four of small ones."""
    return f"{value:,.2f}" if abs(value) >= 10 else f"{value:,.4f}"


def format_volume(value: float) -> str:
    """Write a number of shares: ``1.9 M``."""
    for size, name in ((1e9, "bn"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if name == 'k' else size):,.1f} {name}"
    return f"{value:,.0f}"


def _default_message(facts: Facts) -> str:
    if facts.state == "cleared":
        return f"{facts.symbol}: {facts.rule_id} is over{_current_clause(facts)}"
    if facts.state == "expired":
        return f"{facts.symbol}: the rule {facts.rule_id} has expired"
    teller = _MESSAGE_BY_KIND.get(facts.kind, _generic_message)
    return f"{teller(facts)}{_split_clause(facts)}{_suppressed_clause(facts)}"


def _current_clause(facts: Facts) -> str:
    usual = " usual" if facts.unit == "x" else ""
    known = _is_finite(facts.value) and facts.unit != "price"
    clause = f", {_format_amount(facts.value, facts.unit)}{usual} now" if known else ""
    return f"{clause}, price {format_price(facts.price)}" if _is_finite(facts.price) else clause


def _move_pct(facts: Facts) -> float:
    """Return the way from the reference price, in percent."""
    return 100.0 * (facts.price / facts.reference - 1.0) if facts.reference else float("nan")


def _move_phrase(facts: Facts) -> str:
    move = _move_pct(facts)
    return (
        f"{'rose' if move > 0 else 'fell'} {_format_percent(move)}"
        if _is_finite(move) and move
        else "did not move"
    )


def _move_to_phrase(facts: Facts) -> str:
    move = _move_pct(facts)
    return f"it {_move_phrase(facts)} to" if _is_finite(move) and move else "the price stayed at"


def _format_percent(move: float) -> str:
    return f"{abs(move):.2f}%" if abs(move) < 1 else f"{abs(move):,.1f}%"


def _format_amount(value: float, unit: Unit) -> str:
    if unit == "s":
        return format_duration(value * SECOND_NS)
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "pct":
        return f"{value:,.2f}%" if abs(value) < 1 else f"{value:,.1f}%"
    return f"{value:,.1f}{_UNIT_SUFFIXES[unit]}" if unit != "price" else format_price(value)


def _price_clause(facts: Facts) -> str:
    """Write the two prices, the day of the earlier one, and the volume."""
    since = (
        f" ({_EPOCH + timedelta(days=int(facts.reference_session))})"
        if _is_finite(facts.reference_session)
        else ""
    )
    return f"{format_price(facts.price)} after {format_price(facts.reference)}{since}{_volume_clause(facts)}"


def _volume_clause(facts: Facts) -> str:
    if not _is_finite(facts.volume):
        return ""
    if not _is_finite(facts.volume_multiple):
        return f", volume {format_volume(facts.volume)}"
    return f", volume {format_volume(facts.volume)}, {_format_multiple(facts.volume_multiple)} × usual"


def _format_multiple(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _split_clause(facts: Facts) -> str:
    split = facts.split
    if split is None:
        return ""
    kind = "split" if split.new_shares > split.old_shares else "reverse split"
    what = "a crash" if split.new_shares > split.old_shares else "a rally"
    if split.is_probable:
        return f"; looks like a {split.new_shares}:{split.old_shares} {kind}, not {what}"
    if _is_finite(split.volume_ratio):
        return f"; not a {split.new_shares}:{split.old_shares} {kind}: too much was traded"
    return f"; may be a {split.new_shares}:{split.old_shares} {kind}, what is usually traded is not known"


def _suppressed_clause(facts: Facts) -> str:
    return f" ({facts.suppressed_count} more since the last alert)" if facts.suppressed_count else ""


def _change_message(facts: Facts) -> str:
    return f"{facts.symbol} {_move_phrase(facts)} in {facts.window}: {_price_clause(facts)}"


def _gap_message(facts: Facts) -> str:
    return f"{facts.symbol} {_move_phrase(facts)} at the open: {_price_clause(facts)}"


def _return_message(facts: Facts) -> str:
    return f"{facts.symbol} {_move_phrase(facts)} in {facts.window}, {abs(facts.value):.1f} σ: {_price_clause(facts)}"


def _cross_message(facts: Facts) -> str:
    way = "above" if facts.direction == "up" else "below"
    level = format_price(facts.reference)
    name = level if _is_number(facts.level) else f"{facts.level} = {level}"
    return f"{facts.symbol} crossed {way} {name}: {format_price(facts.price)}{_volume_clause(facts)}"


def _channel_message(facts: Facts) -> str:
    way = "rose" if facts.direction == "up" else "fell"
    edge = format_price(facts.reference)
    return f"{facts.symbol} {way} through its channel's edge, {edge}: {format_price(facts.price)}{_volume_clause(facts)}"


def _vwap_message(facts: Facts) -> str:
    way = "above" if facts.value > 0 else "below"
    far = f"{abs(facts.value):,.0f} bps" if facts.unit == "bps" else _format_percent(facts.value)
    return (
        f"{facts.symbol} is {far} {way} the session's VWAP: {format_price(facts.price)} against "
        f"{format_price(facts.reference)}{_volume_clause(facts)}"
    )


def _volume_spike_message(facts: Facts) -> str:
    usual = f"{_format_multiple(facts.value)} × the usual {format_volume(facts.baseline)}"
    return (
        f"{facts.symbol} traded {format_volume(facts.volume)} in {facts.window}, {usual}; "
        f"{_move_to_phrase(facts)} {format_price(facts.price)}"
    )


def _extreme_message(facts: Facts) -> str:
    word = "high" if facts.kind == "new_high" else "low"
    return f"{facts.symbol} made a new {word} of {facts.window}: {_price_clause(facts)}"


def _range_message(facts: Facts) -> str:
    return (
        f"{facts.symbol} had a range of {abs(facts.value):.1f} × its average in {facts.window}; "
        f"it {_move_phrase(facts)}: {_price_clause(facts)}"
    )


def _halt_message(facts: Facts) -> str:
    pause = format_duration(facts.value * SECOND_NS)
    return f"{facts.symbol} trades again after {pause}, it {_move_phrase(facts)}: {_price_clause(facts)}"


def _limit_band_message(facts: Facts) -> str:
    which = "upper" if facts.value > 0 else "lower"
    return f"{facts.symbol} reached its {which} limit band of {facts.threshold:g}%: {_price_clause(facts)}"


def _breaker_message(facts: Facts) -> str:
    return f"{facts.symbol} {_move_phrase(facts)}, the market-wide breaker is at {facts.threshold:g}%: {_price_clause(facts)}"


def _stale_message(facts: Facts) -> str:
    return f"{facts.symbol} sends no data for {format_duration(facts.value * SECOND_NS)}"


def _data_quality_message(facts: Facts) -> str:
    return f"{facts.symbol}: {facts.value:,.0f} records were refused within {facts.window}"


def _generic_message(facts: Facts) -> str:
    prices = (
        f": {_price_clause(facts)}" if _is_finite(facts.reference) else f", price {format_price(facts.price)}"
    )
    return f"{facts.symbol}: {facts.kind} is {_format_amount(facts.value, facts.unit)}{prices}"


_MESSAGE_BY_KIND: Final = {
    "pct_change": _change_message,
    "gap_open": _gap_message,
    "zscore": _return_message,
    "jump": _return_message,
    "cross": _cross_message,
    "channel": _channel_message,
    "vwap_deviation": _vwap_message,
    "volume_spike": _volume_spike_message,
    "new_high": _extreme_message,
    "new_low": _extreme_message,
    "range_expansion": _range_message,
    "halt": _halt_message,
    "limit_band": _limit_band_message,
    "market_breaker": _breaker_message,
    "stale": _stale_message,
    "data_quality": _data_quality_message,
}


def _template_values(facts: Facts, default_message: str) -> dict[str, Any]:
    details = facts._asdict()
    return {
        **{
            name: details[name]
            for name in ("symbol", "kind", "severity", "state", "direction", "window", "cause")
        },
        "rule": facts.rule_id,
        "unit": facts.unit,
        "value": _format_or_dash(_format_amount, facts.value, facts.unit),
        "threshold": _format_or_dash(_format_amount, facts.threshold, facts.unit),
        "baseline": f"{facts.baseline:,.4g}" if _is_finite(facts.baseline) else "–",
        "price": format_price(facts.price) if _is_finite(facts.price) else "–",
        "reference": format_price(facts.reference) if _is_finite(facts.reference) else "–",
        "volume": format_volume(facts.volume) if _is_finite(facts.volume) else "–",
        "message": default_message,
    }


def _format_or_dash(formatter: Any, value: float, unit: Unit) -> str:
    return str(formatter(value, unit)) if _is_finite(value) else "–"


def _is_finite(value: float) -> bool:
    return value - value == 0


def _is_number(text: str) -> bool:
    return not text or text[0].isdigit()

"""The one-line messages of alerts: what moved, how far, relative to what, since when."""

from typing import Any, Final, NamedTuple

from tickerlake.alerts.splits import SplitCandidate
from tickerlake.model.alert import AlertState, Cause, Direction, Severity, Unit
from tickerlake.model.dates import from_days
from tickerlake.model.duration import SECOND_NS, format_duration

TEMPLATE_FIELDS: Final = (
    "symbol kind rule severity state direction value threshold baseline unit window "
    "price reference volume cause message"
).split()
"""The fields that a rule's message template can use, in braces."""

_UNIT_SUFFIXES: Final[dict[Unit, str]] = {
    "pct": "%",
    "sigma": " σ",
    "x": " ×",
    "bps": " bps",
    "price": "",
    "count": "",
    "number": "",
}


class Facts(NamedTuple):
    """The content of a message; numbers are NaN if not known.

    Parameters
    ----------
    symbol, kind, rule_id
        The instrument's symbol, and the rule's kind and id.
    severity, state, direction, cause, unit
        As in the alert.
    value, threshold, baseline, price, reference, volume, window
        As in the alert.
    reference_session
        The session of the reference price, in days since 1970-01-01.
    level
        The level that was crossed, as in the rule; empty if the rule has none.
    split
        The split that the move may be.
    volume_multiple
        The volume in medians.
    suppressed_count
        How many alerts were suppressed since the last one.
    detail
        What the detector says of the bar; empty for nothing.
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
    reference_session: float
    level: str
    split: SplitCandidate | None
    volume_multiple: float
    suppressed_count: int
    detail: str = ""


def format_message(facts: Facts, template: str | None = None) -> str:
    """Return the message of an alert, by the rule's template if it has one."""
    message = _default_message(facts)
    return message if template is None else template.format_map(_template_values(facts, message))


def format_price(value: float) -> str:
    """Format a price: four decimals below 10, where a cent is more than 0.1%; otherwise two."""
    return f"{value:,.2f}" if abs(value) >= 10 else f"{value:,.4f}"


def format_volume(value: float) -> str:
    """Format a number of shares: ``1.9 M``."""
    for size, name in ((1e9, "bn"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if name == 'k' else size):,.1f} {name}"
    return f"{value:,.0f}"


def gap_clause(move_pct: float) -> str:
    """Return what a message on a move since the last close adds if the move began with a gap."""
    return f"; {_format_percent(move_pct)} {'up' if move_pct > 0 else 'down'} at the open"


def _default_message(facts: Facts) -> str:
    if facts.state == "cleared":
        return f"{facts.symbol}: {facts.rule_id} cleared{_current_clause(facts)}"
    if facts.state == "expired":
        return f"{facts.symbol}: {facts.rule_id} expired"
    formatter = _MESSAGE_BY_KIND.get(facts.kind, _generic_message)
    return f"{formatter(facts)}{_split_clause(facts)}{_suppressed_clause(facts)}"


def _current_clause(facts: Facts) -> str:
    usual = " usual" if facts.unit == "x" else ""
    has_value = _is_finite(facts.value) and facts.unit != "price"
    clause = f", now {format_amount(facts.value, facts.unit)}{usual}" if has_value else ""
    return f"{clause}, price {format_price(facts.price)}" if _is_finite(facts.price) else clause


def _move_pct(facts: Facts) -> float:
    """Return the move from the reference price, in percent."""
    return 100.0 * (facts.price / facts.reference - 1.0) if facts.reference else float("nan")


def _move_phrase(facts: Facts) -> str:
    move = _move_pct(facts)
    return (
        f"{'rose' if move > 0 else 'fell'} {_format_percent(move)}"
        if _is_finite(move) and move
        else "was unchanged"
    )


def _move_to_phrase(facts: Facts) -> str:
    move = _move_pct(facts)
    if not _is_finite(move):
        return "price"
    return f"it {_move_phrase(facts)} to" if move else "price unchanged at"


def _format_percent(move: float) -> str:
    return f"{abs(move):.2f}%" if abs(move) < 1 else f"{abs(move):,.1f}%"


def format_amount(value: float, unit: Unit) -> str:
    """Format a value with its unit."""
    if unit == "s":
        return format_duration(value * SECOND_NS)
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "pct":
        return f"{value:,.2f}%" if abs(value) < 1 else f"{value:,.1f}%"
    return f"{value:,.1f}{_UNIT_SUFFIXES[unit]}" if unit != "price" else format_price(value)


def _price_clause(facts: Facts) -> str:
    """Return the price, the reference price with its day if known, and the volume."""
    since = f" ({from_days(int(facts.reference_session))})" if _is_finite(facts.reference_session) else ""
    return f"{format_price(facts.price)} from {format_price(facts.reference)}{since}{_volume_clause(facts)}"


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
    name = f"a {split.new_shares}:{split.old_shares} {kind}"
    if split.certainty == "known":
        return f"; prices are those after {name}"
    if split.certainty == "probable":
        return f"; looks like {name}, not {'a crash' if split.new_shares > split.old_shares else 'a rally'}"
    return f"; may be {name}: usual volume not known"


def _suppressed_clause(facts: Facts) -> str:
    return f" ({facts.suppressed_count} more since the last alert)" if facts.suppressed_count else ""


def _change_message(facts: Facts) -> str:
    return f"{facts.symbol} {_move_phrase(facts)} in {facts.window}: {_price_clause(facts)}"


def _gap_message(facts: Facts) -> str:
    return f"{facts.symbol} {_move_phrase(facts)} at the open: {_price_clause(facts)}"


def _return_message(facts: Facts) -> str:
    size = f"{abs(facts.value):.1f} σ"
    return f"{facts.symbol} {_move_phrase(facts)} in {facts.window}, {size}: {_price_clause(facts)}"


def _cross_message(facts: Facts) -> str:
    side = "above" if facts.direction == "up" else "below"
    level = format_price(facts.reference)
    name = level if _is_number(facts.level) else f"{facts.level} = {level}"
    return f"{facts.symbol} crossed {side} {name}: {format_price(facts.price)}{_volume_clause(facts)}"


def _channel_message(facts: Facts) -> str:
    verb = "rose" if facts.direction == "up" else "fell"
    edge = format_price(facts.reference)
    return (
        f"{facts.symbol} {verb} through its channel edge at {edge}: "
        f"{format_price(facts.price)}{_volume_clause(facts)}"
    )


def _vwap_message(facts: Facts) -> str:
    side = "above" if facts.value > 0 else "below"
    distance = f"{abs(facts.value):,.0f} bps" if facts.unit == "bps" else _format_percent(facts.value)
    return (
        f"{facts.symbol} is {distance} {side} the session's VWAP: {format_price(facts.price)}, "
        f"VWAP {format_price(facts.reference)}{_volume_clause(facts)}"
    )


def _volume_spike_message(facts: Facts) -> str:
    multiple = f"{_format_multiple(facts.value)} × the usual {format_volume(facts.baseline)}"
    return (
        f"{facts.symbol} traded {format_volume(facts.volume)} in {facts.window}, {multiple}; "
        f"{_move_to_phrase(facts)} {format_price(facts.price)}"
    )


def _extreme_message(facts: Facts) -> str:
    word = "high" if facts.kind == "new_high" else "low"
    window = facts.window.replace(" bars", "-bar")
    return f"{facts.symbol} made a new {window} {word}: {_price_clause(facts)}"


def _range_message(facts: Facts) -> str:
    return (
        f"{facts.symbol} had {abs(facts.value):.1f} × its average range in {facts.window}; "
        f"it {_move_phrase(facts)}: {_price_clause(facts)}"
    )


def _halt_message(facts: Facts) -> str:
    pause = format_duration(facts.value * SECOND_NS)
    return f"{facts.symbol} resumed trading after {pause}, it {_move_phrase(facts)}: {_price_clause(facts)}"


def _limit_band_message(facts: Facts) -> str:
    side = "upper" if facts.value > 0 else "lower"
    return f"{facts.symbol} reached its {side} limit band of {facts.threshold:g}%: {_price_clause(facts)}"


def _breaker_message(facts: Facts) -> str:
    return (
        f"{facts.symbol} {_move_phrase(facts)}, market-wide circuit breaker at {facts.threshold:g}%: "
        f"{_price_clause(facts)}"
    )


def _stale_message(facts: Facts) -> str:
    return f"{facts.symbol}: no data for {format_duration(facts.value * SECOND_NS)}"


def _data_quality_message(facts: Facts) -> str:
    return f"{facts.symbol}: {facts.value:,.0f} records rejected within {facts.window}"


def _condition_message(facts: Facts) -> str:
    return f"{facts.symbol}: {facts.detail}; price {format_price(facts.price)}{_volume_clause(facts)}"


def _generic_message(facts: Facts) -> str:
    prices = (
        f": {_price_clause(facts)}" if _is_finite(facts.reference) else f", price {format_price(facts.price)}"
    )
    return f"{facts.symbol}: {facts.kind} is {format_amount(facts.value, facts.unit)}{prices}"


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
    "condition": _condition_message,
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
        "value": _format_or_dash(format_amount, facts.value, facts.unit),
        "threshold": _format_or_dash(format_amount, facts.threshold, facts.unit),
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

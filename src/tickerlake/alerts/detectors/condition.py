"""Conditions that a user writes: ``condition``, one comparison or several parts that hold together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np

from tickerlake.alerts.detectors.comparison import (
    DAY_RANGE,
    Comparison,
    operand_values,
    parse_comparison,
)
from tickerlake.alerts.detectors.detector import NAN, Detector, IndicatorValues, Reading
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.alerts.message import format_amount, format_price
from tickerlake.analytics.bars import Bars, Flags, Floats, Ints
from tickerlake.analytics.state_table import Fields, State, StateTable
from tickerlake.errors import UsageError, did_you_mean
from tickerlake.model.alert import Unit

_MAX_PARTS: Final = 8
_MAX_WITHIN: Final = 1_000
_HINT: Final = (
    'Write all = ["RSI(14) < 30", "close > SMA(200)"], or {kind = "volume_spike", times = 5} for a part.'
)


def _validate_comparison(value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"is {value!r}, not a comparison.", 'Write it in quotes: "RSI(14) < 30".')
    return parse_comparison(value).text


def _validate_parts(value: object) -> list[str | dict[str, Any]]:
    if not isinstance(value, list) or not 1 <= len(value) <= _MAX_PARTS:
        raise UsageError(f"is not a list of 1 to {_MAX_PARTS} parts.", _HINT)
    parts: list[str | dict[str, Any]] = []
    for number, part in enumerate(value, 1):
        try:
            parts.append(_validate_kind(part) if isinstance(part, dict) else _validate_comparison(part))
        except UsageError as error:
            raise UsageError(f"Part {number} {error.message}", error.hint) from error
    return parts


def _validate_kind(table: Mapping[str, Any]) -> dict[str, Any]:
    from tickerlake.alerts.detectors import registry

    kind = table.get("kind")
    try:
        cls = registry.detector_class(str(kind))
    except UsageError as error:
        raise UsageError(f"has no known kind: {kind!r}.", error.hint) from error
    if cls.monitors_data or cls.intraday_only or cls is Condition:
        raise UsageError(f"cannot be {kind}.", "Write a rule of its own for it, or a comparison.")
    known = ["kind", *cls.parameters, *(["direction"] if cls.has_direction else [])]
    for key in table:
        if key not in known:
            raise UsageError(f"({kind}) has no key {key}.", did_you_mean(key, known))
    parameters = {name: Parameter.coerce(spec) for name, spec in cls.parameters.items()}
    parameters["direction"] = Parameter.choice("both", ("up", "down", "both"))
    result: dict[str, Any] = {"kind": kind}
    for name, parameter in parameters.items():
        if name in table:
            try:
                result[name] = parameter.validate(table[name])
            except UsageError as error:
                raise UsageError(f"({kind}): {name} {error.message}", error.hint) from error
        elif parameter.required:
            raise UsageError(f"({kind}): {name} is missing.", f"Write {name} = ….")
    for name, message, hint in cls.validate(result):
        raise UsageError(f"({kind}): {name}: {message}", hint)
    return result


class Condition(Detector):
    """A comparison holds, or all parts of a list hold in the same bar, or each within the last bars.

    A part is a comparison or another kind. A comparison of two sizes is a state, which is told once until it
    no longer holds; a crossing and another kind are events.
    """

    parameters: ClassVar[Mapping[str, object]] = {
        "if": Parameter(None, _validate_comparison),
        "all": Parameter(None, _validate_parts),
        "within": Parameter.integer(1, max_value=_MAX_WITHIN),
    }
    unit: ClassVar[Unit] = "number"
    threshold_parameter = ""
    has_direction = False
    has_size = False
    doubles_in = "nothing"
    price_fields = ("day_high", "day_low")

    def __init__(self, arguments: Mapping[str, Any] | None = None, interval: str = "1d") -> None:
        from tickerlake.alerts.detectors import registry

        given = arguments or {}
        texts: Sequence[str | Mapping[str, Any]] = given.get("all") or [given["if"]]
        self._within: int = given.get("within", 1)
        self._parts: list[Comparison | Detector] = []
        for part in texts:
            if isinstance(part, str):
                self._parts.append(parse_comparison(part))
            else:
                rest = {name: value for name, value in part.items() if name != "kind"}
                self._parts.append(registry.detector_class(part["kind"])(rest, interval))
        self._kinds = [part["kind"] if isinstance(part, Mapping) else "" for part in texts]
        self.parts = tuple(part for part in self._parts if isinstance(part, Detector))
        first = self._parts[0]
        self.unit = first.unit if isinstance(first, Detector) else first.left.unit  # type: ignore[misc]
        self.warmup = max([part.warmup for part in self.parts], default=0)  # type: ignore[misc]
        super().__init__(arguments, interval)

    @classmethod
    def validate(cls, arguments: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Require exactly one of ``if`` and ``all``."""
        if (arguments.get("if") is None) == (arguments.get("all") is None):
            return [("if", "either if or all is required.", 'Write if = "RSI(14) < 30".')]
        return []

    def required_indicators(self) -> frozenset[str]:
        """Return the indicators of all parts."""
        names = {one.indicator for part in self._comparisons() for one in part.operands} - {""}
        return frozenset(names).union(*(part.required_indicators() for part in self.parts))

    def fields(self) -> Fields:
        """Return the sides of crossings, the session's range, and when each part last held."""
        initial: dict[str, float] = {}
        for number, part in enumerate(self._parts):
            if isinstance(part, Comparison) and part.is_crossing:
                initial[f"side{number}"] = NAN
            if self._within > 1:
                initial |= {f"ago{number}": np.inf, f"began{number}": NAN}
        if any(one.name == DAY_RANGE for part in self._comparisons() for one in part.operands):
            initial |= {"day_high": NAN, "day_low": NAN, "session": NAN}
        return Fields(initial)

    def tables(self) -> list[StateTable]:
        """Return the state of the condition and of its parts."""
        return [*super().tables(), *(table for part in self.parts for table in part.tables())]

    def adjust_for_split(self, rows: Ints, factor: Floats) -> None:
        """Convert the state to the new shares."""
        self.table.rescale(rows, factor, self.price_fields, self.share_fields)
        for part in self.parts:
            part.adjust_for_split(rows, factor)

    def update(self, bars: Bars, values: IndicatorValues) -> Reading:
        """Measure closed bars, at most one per instrument, and update the state."""
        block = self.table.gather(bars.rows)
        readings = [part.update(bars, values) for part in self.parts]
        reading = self._combine(self.table.fields.view(block), bars, values, readings)
        self.table.scatter(bars.rows, block)
        return reading

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Measure bars as if they closed now."""
        return self._combine(state, bars, values, [part.preview(bars, values) for part in self.parts])

    def _comparisons(self) -> list[Comparison]:
        return [part for part in self._parts if isinstance(part, Comparison)]

    def _combine(self, state: State, bars: Bars, values: IndicatorValues, readings: list[Reading]) -> Reading:
        if "day_high" in state:
            _add_to_range(state, bars)
        nested = iter(readings)
        parts = [
            _read_comparison(part, state, bars, values, state.get(f"side{number}"))
            if isinstance(part, Comparison)
            else next(nested)
            for number, part in enumerate(self._parts)
        ]
        fire, begin_ns = np.ones(len(bars), dtype=bool), np.zeros(len(bars))
        for number, part in enumerate(parts):
            held, began = self._held(state, number, part, bars)
            fire &= held
            begin_ns = np.fmax(begin_ns, began)
        known = ~np.isnan(parts[0].value)
        first = parts[0]
        direction = np.sign(first.value) if first.direction is None else first.direction
        return Reading(
            first.value,
            fire,
            known & ~fire,
            first.threshold,
            first.baseline,
            first.reference,
            direction=direction,
            begin_ns=begin_ns,
            detail=self._description(state, parts),
        )

    def _held(self, state: State, number: int, part: Reading, bars: Bars) -> tuple[Flags, Floats]:
        """Return where a part holds or held within the last bars, and when that began."""
        began = bars.ts_open_ns.astype(np.float64) if part.begin_ns is None else part.begin_ns
        if self._within == 1:
            return part.fire, np.where(part.fire, began, 0.0)
        ago = state[f"ago{number}"]
        ago += 1.0
        np.copyto(ago, 0.0, where=part.fire)
        np.copyto(state[f"began{number}"], began, where=part.fire)
        return ago < self._within, state[f"began{number}"].copy()

    def _description(self, state: State, readings: Sequence[Reading]) -> Callable[[int], str]:
        ago = [state[f"ago{number}"].copy() for number in range(len(readings)) if self._within > 1]

        def describe(number: int, at: int) -> str:
            part, reading = self._parts[number], readings[number]
            name = part.text if isinstance(part, Comparison) else self._kinds[number]
            if ago and (bars := int(ago[number][at])):
                return f"{name} {bars} bar{'' if bars == 1 else 's'} ago"
            if reading.detail is not None:
                return reading.detail(at)
            unit = part.unit if isinstance(part, Detector) else "number"
            return f"{name} {format_amount(float(reading.value[at]), unit)}"

        return lambda at: " and ".join(describe(number, at) for number in range(len(readings)))


def _read_comparison(
    part: Comparison, state: State, bars: Bars, values: IndicatorValues, side: Floats | None
) -> Reading:
    left, right = (operand_values(one, state, bars, values) for one in part.operands)
    fire, direction = part.holds(left, right, side)
    nothing = np.zeros(len(bars))
    return Reading(
        left,
        fire,
        ~fire,
        right,
        reference=right if part.left.unit == "price" else NAN,
        direction=direction,
        begin_ns=None if part.is_crossing else nothing,
        detail=_comparison_text(part, left, right),
    )


def _comparison_text(part: Comparison, left: Floats, right: Floats) -> Callable[[int], str]:
    def text(at: int) -> str:
        shown = f"{part.left.text} {_format_value(float(left[at]), part.left.unit)} {part.operator}"
        value = f" {_format_value(float(right[at]), part.left.unit)}" if part.right.name else ""
        return f"{shown} {part.right.text}{value}"

    return text


def _format_value(value: float, unit: Unit) -> str:
    return format_price(value) if unit in {"price", "number"} else format_amount(value, unit)


def _add_to_range(state: State, bars: Bars) -> None:
    is_new = state["session"] != bars.session
    high, low = (np.where(bars.has_range, price, bars.close) for price in (bars.high, bars.low))
    state["day_high"][:] = np.where(is_new, high, np.fmax(state["day_high"], high))
    state["day_low"][:] = np.where(is_new, low, np.fmin(state["day_low"], low))
    state["session"][:] = bars.session

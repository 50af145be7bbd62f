"""Parameters of detectors: their defaults and validation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from tickerlake.errors import UsageError, did_you_mean
from tickerlake.model.duration import DAY_NS, SECOND_NS, parse_duration_ns

Validator = Callable[[object], Any]

_MAX_DURATION_NS: Final = 10 * 366 * DAY_NS
"""Ten years: more is a typo."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A default, and a validator that returns a value as the detector expects it.

    Parameters
    ----------
    default
        None for no default.
    validate
        Raises `UsageError`, whose message continues a sentence that begins with the parameter's name.
    required
        True if every rule has to set it.
    """

    default: Any
    validate: Validator
    required: bool = False

    @classmethod
    def coerce(cls, default: object) -> "Parameter":
        """Return a parameter; a plain default is wrapped in one that accepts values of its type."""
        if isinstance(default, Parameter):
            return default
        if isinstance(default, bool):
            return Parameter(default, _validate_boolean)
        if isinstance(default, int | float):
            return Parameter(default, lambda value: _validate_number(value, -math.inf, math.inf))
        if isinstance(default, str):
            return Parameter(default, _validate_string)
        raise TypeError(f"{default!r} cannot be the default of a parameter")

    @classmethod
    def number(
        cls,
        default: float | None = None,
        *,
        above: float = 0.0,
        below: float = math.inf,
        required: bool = False,
    ) -> Self:
        """Accept numbers between two exclusive bounds."""
        return cls(default, lambda value: _validate_number(value, above, below), required)

    @classmethod
    def integer(cls, default: int | None = None, *, min_value: int = 1, max_value: int = 10_000) -> Self:
        """Accept integers; the default maximum only catches typos."""
        return cls(default, lambda value: _validate_integer(value, min_value, max_value), default is None)

    @classmethod
    def choice(cls, default: str, allowed: Sequence[str]) -> Self:
        """Accept one of several strings."""
        return cls(default, lambda value: _validate_choice(value, allowed))

    @classmethod
    def boolean(cls, *, default: bool) -> Self:
        """Accept true and false."""
        return cls(default, _validate_boolean)

    @classmethod
    def duration(cls, default: str | None = None) -> Self:
        """Accept durations."""
        return cls(default, _validate_duration, default is None)

    @classmethod
    def window(cls, default: int | str | None = None, *, max_bars: int = 10_000) -> Self:
        """Accept a number of bars or a duration."""
        return cls(default, lambda value: _validate_window(value, max_bars), default is None)

    @classmethod
    def level(cls, *, required: bool = False) -> Self:
        """Accept a price, or an indicator in any spelling; the value is its canonical text."""
        return cls(None, _validate_level, required)


def _validate_number(value: object, above: float, below: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"is {_format_value(value)}, not a number.", "Write it without quotes.")
    if not math.isfinite(value):
        raise UsageError(f"is {value}.", "Use a finite number.")
    if not above < value < below:
        bounds = [f"more than {above:g}"] if above > -math.inf else []
        bounds += [f"less than {below:g}"] if below < math.inf else []
        raise UsageError(f"is {value:g}.", f"It must be {' and '.join(bounds)}.")
    return value


def _validate_integer(value: object, min_value: int, max_value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(
            f"is {_format_value(value)}, not a whole number.", "Write it without quotes or decimal point."
        )
    if not min_value <= value <= max_value:
        raise UsageError(f"is {value:,}.", f"It must be from {min_value:,} to {max_value:,}.")
    return value


def _validate_boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"is {_format_value(value)}.", "Write true or false, without quotes.")
    return value


def _validate_string(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"is {_format_value(value)}, not a string.", "Write it in quotes.")
    return value


def _validate_choice(value: object, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise UsageError(f"is {_format_value(value)}.", did_you_mean(str(value), allowed))
    return str(value)


def _validate_duration(value: object) -> str:
    text = _validate_string(value).strip()
    try:
        is_valid = SECOND_NS <= parse_duration_ns(text) <= _MAX_DURATION_NS
    except ValueError:
        is_valid = False
    if not is_valid:
        raise UsageError(f"is {_format_value(value)}, not a duration.", 'Write "90s", "15m", "4h".')
    return text


def _validate_window(value: object, max_bars: int) -> int | str:
    if isinstance(value, str):
        return _validate_duration(value)
    return _validate_integer(value, 1, max_bars)


def _validate_level(value: object) -> float | str:
    if not isinstance(value, str):
        return _validate_number(value, 0.0, math.inf)
    # only rules that name an indicator load them
    from tickerlake.analytics.indicators.registry import outputs_of, parse

    spec = parse(value)
    if len(outputs := outputs_of(spec)) > 1:
        texts = [output.text for output in outputs]
        raise UsageError(f"is {value}, which has {len(outputs)} outputs.", f"Use one: {', '.join(texts)}.")
    return str(spec.text)


def _format_value(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else "true" if value is True else str(value).lower()

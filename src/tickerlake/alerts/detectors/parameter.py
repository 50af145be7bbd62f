"""What may be written for a parameter of a detector."""

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
    """A default, and a function that checks a value and returns it as the detector wants it.

    Parameters
    ----------
    default
        None where there is none.
    read
        Raises `UsageError` with what is wrong, without the name of the parameter.
    needed
        True if a rule has to give it.
    """

    default: Any
    validate: Validator
    required: bool = False

    @classmethod
    def coerce(cls, default: object) -> "Parameter":
        """Return a parameter as it is, and make one of a plain default: the kind of value is that of it."""
        if isinstance(default, Parameter):
            return default
        if isinstance(default, bool):
            return Parameter(default, _validate_boolean)
        if isinstance(default, int | float):
            return Parameter(default, lambda value: _validate_number(value, -math.inf, math.inf))
        if isinstance(default, str):
            return Parameter(default, _validate_string)
        raise TypeError(f"a parameter can't be {default!r}")

    @classmethod
    def number(
        cls,
        default: float | None = None,
        *,
        above: float = 0.0,
        below: float = math.inf,
        required: bool = False,
    ) -> Self:
        """Take numbers between two bounds, which are not allowed themselves."""
        return cls(default, lambda value: _validate_number(value, above, below), required)

    @classmethod
    def integer(cls, default: int | None = None, *, min_value: int = 1, max_value: int = 10_000) -> Self:
        """Take whole numbers."""
        return cls(default, lambda value: _validate_integer(value, min_value, max_value), default is None)

    @classmethod
    def choice(cls, default: str, allowed: Sequence[str]) -> Self:
        """Take one of some words."""
        return cls(default, lambda value: _validate_choice(value, allowed))

    @classmethod
    def boolean(cls, *, default: bool) -> Self:
        """Take true and false."""
        return cls(default, _validate_boolean)

    @classmethod
    def duration(cls, default: str | None = None) -> Self:
        """Take lengths of time."""
        return cls(default, _validate_duration, default is None)

    @classmethod
    def window(cls, default: int | str | None = None, *, max_bars: int = 10_000) -> Self:
        """Take a number of bars or a length of time."""
        return cls(default, lambda value: _validate_window(value, max_bars), default is None)

    @classmethod
    def level(cls, *, required: bool = False) -> Self:
        """Take a price or an indicator, whose canonical text is returned."""
        return cls(None, _validate_level, required)


def _validate_number(value: object, above: float, below: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"is {_format_value(value)}, not a number.", "Write it without quotes.")
    if not math.isfinite(value):
        raise UsageError(f"is {value}.", "Give a finite number.")
    if not above < value < below:
        bounds = [f"more than {above:g}"] if above > -math.inf else []
        bounds += [f"less than {below:g}"] if below < math.inf else []
        raise UsageError(f"is {value:g}.", f"It has to be {' and '.join(bounds)}.")
    return value


def _validate_integer(value: object, min_value: int, max_value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(
            f"is {_format_value(value)}, not a whole number.", "Write it without quotes and point."
        )
    if not min_value <= value <= max_value:
        raise UsageError(f"is {value:,}.", f"It has to be {min_value:,} to {max_value:,}.")
    return value


def _validate_boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"is {_format_value(value)}.", "Write true or false, without quotes.")
    return value


def _validate_string(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"is {_format_value(value)}, not a text.", "Write it in quotes.")
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
    # the indicators are only loaded by those who use them
    from tickerlake.analytics.indicators.registry import outputs_of, parse

    spec = parse(value)
    if len(found := outputs_of(spec)) > 1:
        texts = [output.text for output in found]
        raise UsageError(f"is {value}, which has {len(found)} results.", f"Name one: {', '.join(texts)}.")
    return str(spec.text)


def _format_value(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else "true" if value is True else str(value).lower()

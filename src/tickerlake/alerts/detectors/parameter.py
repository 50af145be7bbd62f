"""What may be written for a parameter of a detector."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tickerlake.alerts.duration import nanoseconds
from tickerlake.alerts.words import did_you_mean
from tickerlake.errors import UsageError

Read = Callable[[object], Any]


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
    read: Read
    needed: bool = False

    @classmethod
    def of(cls, told: object) -> "Parameter":
        """Return a parameter as it is, and make one of a plain default: the kind of value is that of it."""
        if isinstance(told, Parameter):
            return told
        if isinstance(told, bool):
            return Parameter(told, _truth)
        if isinstance(told, int | float):
            return Parameter(told, lambda value: _number(value, -math.inf, math.inf))
        if isinstance(told, str):
            return Parameter(told, _text)
        raise TypeError(f"a parameter can't be {told!r}")

    @classmethod
    def number(
        cls,
        default: float | None = None,
        *,
        above: float = 0.0,
        below: float = math.inf,
        needed: bool = False,
    ) -> Self:
        """Take numbers between two bounds, which are not allowed themselves."""
        return cls(default, lambda value: _number(value, above, below), needed)

    @classmethod
    def count(cls, default: int | None = None, *, least: int = 1, most: int = 10_000) -> Self:
        """Take whole numbers."""
        return cls(default, lambda value: _count(value, least, most), default is None)

    @classmethod
    def choice(cls, default: str, allowed: Sequence[str]) -> Self:
        """Take one of some words."""
        return cls(default, lambda value: _choice(value, allowed))

    @classmethod
    def truth(cls, *, default: bool) -> Self:
        """Take true and false."""
        return cls(default, _truth)

    @classmethod
    def duration(cls, default: str | None = None) -> Self:
        """Take lengths of time."""
        return cls(default, _duration, default is None)

    @classmethod
    def window(cls, default: int | str | None = None, *, most: int = 10_000) -> Self:
        """Take a number of bars or a length of time."""
        return cls(default, lambda value: _window(value, most), default is None)

    @classmethod
    def level(cls, *, needed: bool = False) -> Self:
        """Take a price or an indicator, whose canonical text is returned."""
        return cls(None, _level, needed)


def _number(value: object, above: float, below: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"is {_shown(value)}, not a number.", "Write it without quotes.")
    if not math.isfinite(value):
        raise UsageError(f"is {value}.", "Give a finite number.")
    if not above < value < below:
        bounds = [f"more than {above:g}"] if above > -math.inf else []
        bounds += [f"less than {below:g}"] if below < math.inf else []
        raise UsageError(f"is {value:g}.", f"It has to be {' and '.join(bounds)}.")
    return value


def _count(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"is {_shown(value)}, not a whole number.", "Write it without quotes and point.")
    if not least <= value <= most:
        raise UsageError(f"is {value:,}.", f"It has to be {least:,} to {most:,}.")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"is {_shown(value)}.", "Write true or false, without quotes.")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"is {_shown(value)}, not a text.", "Write it in quotes.")
    return value


def _choice(value: object, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise UsageError(f"is {_shown(value)}.", did_you_mean(str(value), allowed))
    return str(value)


def _duration(value: object) -> str:
    try:
        nanoseconds(_text(value))
    except ValueError as error:
        raise UsageError(f"is {_shown(value)}, not a length of time.", 'Write "90s", "15m", "4h".') from error
    return str(value).strip()


def _window(value: object, most: int) -> int | str:
    if isinstance(value, str):
        return _duration(value)
    return _count(value, 1, most)


def _level(value: object) -> float | str:
    if not isinstance(value, str):
        return _number(value, 0.0, math.inf)
    # the indicators are only loaded by those who use them
    from tickerlake.analytics.indicators.registry import outputs_of, parse

    spec = parse(value)
    if len(found := outputs_of(spec)) > 1:
        texts = [output.text for output in found]
        raise UsageError(f"is {value}, which has {len(found)} results.", f"Name one: {', '.join(texts)}.")
    return str(spec.text)


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else "true" if value is True else str(value).lower()

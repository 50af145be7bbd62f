"""Indicators by what a user writes: ``RSI``, ``RSI(14)``, ``RSI(timeperiod=14)``, ``MACD(12,26,9).signal``.

Other packages add theirs with an entry point of the group ``tickerlake.indicators``, programs with
``register``.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Final

from tickerlake.analytics.indicators.averages import BBANDS, EMA, MACD, SMA
from tickerlake.analytics.indicators.indicator import Indicator
from tickerlake.analytics.indicators.momentum import ROC, RSI, STOCH
from tickerlake.analytics.indicators.ranges import ADX, ATR
from tickerlake.analytics.indicators.volatility import REALVOL
from tickerlake.analytics.indicators.volumes import OBV, RELVOL, RVWAP, VWAP
from tickerlake.errors import UsageError, did_you_mean

ENTRY_POINT_GROUP: Final = "tickerlake.indicators"
"""The entry-point group in which other packages name their indicators."""

MAX_INT_PARAMETER: Final = 10_000
"""The most that a whole-number parameter may be: windows of that many values are kept for each instrument."""

_BUILT_IN: Final = (ADX, ATR, BBANDS, EMA, MACD, OBV, REALVOL, RELVOL, ROC, RSI, RVWAP, SMA, STOCH, VWAP)
_indicators: dict[str, type[Indicator]] = {cls.__name__: cls for cls in _BUILT_IN}
_SPEC_PATTERN: Final = re.compile(r"\s*(\w+)\s*(?:\((.*)\)\s*)?(?:\.\s*(\w+)\s*)?", re.ASCII | re.DOTALL)
_NUMBER_PATTERN: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NAME_PATTERN: Final = re.compile(r"[A-Z]\w*", re.ASCII)
_SYNTAX_HINT: Final = "Write it as RSI, RSI(14), RSI(timeperiod=14) or MACD(12,26,9).signal."


@dataclass(frozen=True, slots=True)
class IndicatorSpec:
    """An indicator with its parameters, and which of its outputs.

    Parameters
    ----------
    name
        In capitals.
    parameters
        All of them, in the indicator's order.
    output
        Empty for all outputs, and for the only one of an indicator that has one.
    """

    name: str
    parameters: tuple[float, ...]
    output: str = ""

    @property
    def indicator_text(self) -> str:
        """The canonical text without the output: the same for all outputs of one indicator."""
        return (
            f"{self.name}({','.join(map(_format_number, self.parameters))})" if self.parameters else self.name
        )

    @property
    def text(self) -> str:
        """The canonical text: all parameters, whole numbers without a point."""
        return f"{self.indicator_text}.{self.output}" if self.output else self.indicator_text


def parse(text: str) -> IndicatorSpec:
    """Read what a user writes.

    Parameters
    ----------
    text
        Name, in capitals or not; parameters by place or name, defaults for those left out; output.

    Raises
    ------
    UsageError
        If there is no such indicator, parameter or output, or a parameter can't have that value.
    """
    match = _SPEC_PATTERN.fullmatch(text)
    if not match:
        raise UsageError(f"{text!r} is no indicator.", _SYNTAX_HINT)
    name, arguments, output = match[1].upper(), match[2] or "", (match[3] or "").lower()
    cls = _resolve(name)
    values = _parse_arguments(name, cls, arguments)
    if output and output not in cls.outputs:
        raise _unknown_name(f"{name} has no output {output!r}.", output, filter(None, cls.outputs))
    return IndicatorSpec(name, values, output)


def make(spec: IndicatorSpec) -> Indicator:
    """Return a new indicator with a specification's parameters; it computes all outputs."""
    cls = _resolve(spec.name)
    return cls(**dict(zip(cls.parameters, spec.parameters, strict=True)))


def outputs_of(spec: IndicatorSpec) -> tuple[IndicatorSpec, ...]:
    """Return what a specification asks for, one for each output: all of the indicator's if none is named."""
    if spec.output:
        return (spec,)
    return tuple(replace(spec, output=output) for output in _resolve(spec.name).outputs)


def register(name: str, cls: type[Indicator]) -> None:
    """Make an indicator known under a name, for this process.

    Raises
    ------
    UsageError
        If the name is taken by another, or is not a letter followed by letters, digits and underscores.
    """
    name = name.upper()
    if not _NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name!r} can't be the name of an indicator.", "Use letters, digits and underscores."
        )
    if not (isinstance(cls, type) and issubclass(cls, Indicator)):
        raise UsageError(
            f"The indicator {name} is no subclass of Indicator.", "Correct the package it is from."
        )
    if _indicators.setdefault(name, cls) is not cls:
        raise UsageError(f"There is an indicator {name} already.", "Choose another name.")


def available() -> dict[str, type[Indicator]]:
    """Return all indicators by name, those of other packages included, in the order of the alphabet.

    One of another package that can't be loaded is left out here; asking for it says why.
    """
    for name in _entry_points():
        try:
            _resolve(name)
        except UsageError:
            continue
    return dict(sorted(_indicators.items()))


def signature(name: str) -> str:
    """Return how an indicator is written with its defaults and outputs, for help.

    For example ``MACD(fastperiod=12, slowperiod=26, signalperiod=9): macd, signal, hist``.
    """
    outputs = ", ".join(filter(None, _resolve(name.upper()).outputs))
    return _format_call(name.upper()) + (f": {outputs}" if outputs else "")


def _resolve(name: str) -> type[Indicator]:
    if name in _indicators:
        return _indicators[name]
    points = _entry_points()
    if name not in points:
        raise _unknown_name(f"There is no indicator {name}.", name, {*_indicators, *points})
    point = points[name]
    try:
        cls = point.load()
    except Exception as error:
        source = f"the indicator {name} ({point.value})"
        raise UsageError(
            f"Loading {source} failed: {error!r}", "Install it anew, or leave it out."
        ) from error
    register(name, cls)
    return _indicators[name]


def _entry_points() -> dict[str, metadata.EntryPoint]:
    """Return the indicators that other packages name; built-in names stay ours."""
    return {point.name.upper(): point for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}


def _parse_arguments(name: str, cls: type[Indicator], text: str) -> tuple[float, ...]:
    """Return all parameters of an indicator, given those between the parentheses."""
    arguments = text.split(",") if text.strip() else []
    names = list(cls.parameters)
    if len(arguments) > len(names):
        raise UsageError(
            f"{name} is given {len(arguments)} parameters, but has {len(names)}.", _usage_hint(name)
        )
    values: dict[str, float] = {}
    by_name = False
    for position, argument in enumerate(arguments):
        key, equals, number = (part.strip() for part in argument.rpartition("="))
        if by_name and not equals:
            raise UsageError(f"{name}: {number!r} has no name, but follows one that has.", _usage_hint(name))
        by_name = bool(equals)
        key = key.lower() if by_name else names[position]
        if key not in names:
            raise _unknown_name(f"{name} has no parameter {key!r}.", key, names)
        if key in values:
            raise UsageError(f"{name}: {key} is given twice.", _usage_hint(name))
        values[key] = _parse_number(f"{name}: {key}", number, cls.minimums.get(key))
    return tuple(values.get(key, float(default)) for key, default in cls.parameters.items())


def _parse_number(label: str, text: str, minimum: int | None) -> float:
    value = float(text) if _NUMBER_PATTERN.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise UsageError(f"{label} is {text!r}, which is no number.", _SYNTAX_HINT)
    if minimum is not None and not (value.is_integer() and minimum <= value <= MAX_INT_PARAMETER):
        raise UsageError(
            f"{label} can't be {text}.", f"It is a whole number from {minimum} to {MAX_INT_PARAMETER}."
        )
    return value


def _format_number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _format_call(name: str) -> str:
    parameters = ", ".join(
        f"{key}={_format_number(value)}" for key, value in _resolve(name).parameters.items()
    )
    return f"{name}({parameters})" if parameters else name


def _usage_hint(name: str) -> str:
    return f"Write it as {_format_call(name)}."


def _unknown_name(message: str, text: str, names: Iterable[str]) -> UsageError:
    candidates = sorted(names)
    return UsageError(message, did_you_mean(text, candidates, cutoff=0.5) if candidates else "Leave it out.")

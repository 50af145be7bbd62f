import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.analytics.bars import Bars, Floats
from tickerlake.analytics.indicators import registry
from tickerlake.analytics.indicators.averages import MACD
from tickerlake.analytics.indicators.indicator import Indicator
from tickerlake.analytics.indicators.momentum import RSI
from tickerlake.analytics.indicators.registry import (
    IndicatorSpec,
    available,
    make,
    outputs_of,
    parse,
    register,
    signature,
)
from tickerlake.analytics.state_table import Fields, State
from tickerlake.errors import UsageError


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("RSI", "RSI(14)"),
        (" rsi ( 20 ) ", "RSI(20)"),
        ("RSI()", "RSI(14)"),
        ("RSI(timeperiod=14)", "RSI(14)"),
        ("rsi(TimePeriod = 14.0)", "RSI(14)"),
        ("MACD", "MACD(12,26,9)"),
        ("macd(8).HIST", "MACD(8,26,9).hist"),
        ("MACD(12,26,9).signal", "MACD(12,26,9).signal"),
        ("MACD(5, signalperiod=4)", "MACD(5,26,4)"),
        ("BBANDS(5, 2.5).upper", "BBANDS(5,2.5,2).upper"),
        ("BBANDS(nbdevdn=-.5)", "BBANDS(20,2,-0.5)"),
        ("OBV", "OBV"),
        ("obv()", "OBV"),
        ("STOCH(14,3,3).slowd", "STOCH(14,3,3).slowd"),
    ],
)
def test_every_spelling_has_one_canonical_form(written: str, canonical: str) -> None:
    spec = parse(written)
    assert spec.text == canonical
    assert parse(canonical) == spec
    assert spec.indicator_text == canonical.rpartition(".")[0] if spec.output else canonical


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("", "'' is not an indicator.", "Write it as RSI"),
        ("RSI(14", "'RSI(14' is not an indicator.", "Write it as RSI"),
        ("RSI(14))", "RSI: timeperiod is '14)'", "Write it as"),
        ("RIS(14)", "There is no indicator RIS.", "Did you mean RSI?"),
        ("BOLLINGER", "There is no indicator BOLLINGER.", "Expected one of ADX, ATR"),
        ("MACD.singal", "MACD has no output 'singal'.", "Did you mean signal?"),
        ("RSI.value", "RSI has no output 'value'.", "Remove it."),
        ("RSI(timeperoid=3)", "RSI has no parameter 'timeperoid'.", "Did you mean timeperiod?"),
        ("RSI(1,2)", "Too many parameters for RSI: 2, at most 1.", "Write it as RSI(timeperiod=14)."),
        ("OBV(1)", "Too many parameters for OBV: 1, at most 0.", "Write it as OBV."),
        ("MACD(12,fastperiod=3)", "MACD: fastperiod is set twice.", "Write it as MACD(fastperiod=12"),
        ("MACD(slowperiod=3,4)", "MACD: '4' follows a named parameter", "Write it as MACD("),
        ("RSI(1)", "RSI: timeperiod cannot be 1.", "Use a whole number from 2 to 10000."),
        ("SMA(0)", "SMA: timeperiod cannot be 0.", "Use a whole number from 1 to 10000."),
        ("SMA(-5)", "SMA: timeperiod cannot be -5.", "from 1 to"),
        ("SMA(2.5)", "SMA: timeperiod cannot be 2.5.", "whole number"),
        ("SMA(1e9)", "SMA: timeperiod cannot be 1e9.", "to 10000"),
        ("RSI(nan)", "RSI: timeperiod is 'nan', which is not a number.", "Write it as"),
        ("BBANDS(5,1e999)", "BBANDS: nbdevup is '1e999', which is not a number.", "Write it as"),
        ("RSI(1_4)", "RSI: timeperiod is '1_4', which is not a number.", "Write it as"),
        ("RSI(١٤)", "RSI: timeperiod is '١٤', which is not a number.", "Write it as"),
        ("MACD(,26)", "MACD: fastperiod is '', which is not a number.", "Write it as"),
        ("RSI(14) RSI", "'RSI(14) RSI' is not an indicator.", "Write it as"),
    ],
)
def test_invalid_indicators_are_rejected_with_a_remedy(written: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(written)
    assert message in caught.value.message
    assert hint in caught.value.hint


@given(
    st.sampled_from(["BBANDS", "BBANDS.lower"]),
    st.integers(2, 10_000),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_canonical_forms_include_every_parameter(name: str, timeperiod: int, deviations: float) -> None:
    base, _, output = name.partition(".")
    spec = IndicatorSpec(base, (float(timeperiod), deviations, 2.0), output)
    assert parse(spec.text) == spec


@given(st.text(alphabet="RSImacd(),.=0123456789 \n", max_size=20))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    with suppress(UsageError):
        spec = parse(text)
        assert parse(spec.text) == spec


def test_an_indicator_without_an_output_means_all_of_them() -> None:
    assert [spec.text for spec in outputs_of(parse("MACD"))] == [
        "MACD(12,26,9).macd",
        "MACD(12,26,9).signal",
        "MACD(12,26,9).hist",
    ]
    assert outputs_of(parse("MACD.hist")) == (parse("MACD.hist"),)
    assert outputs_of(parse("RSI")) == (parse("RSI"),)


def test_an_indicator_is_made_with_its_parameters() -> None:
    indicator = make(parse("MACD(5,signalperiod=4).hist"))
    assert isinstance(indicator, MACD)
    assert indicator.arguments == {"fastperiod": 5, "slowperiod": 26, "signalperiod": 4}


def test_help_lists_all_with_their_defaults() -> None:
    assert list(available()) == sorted(available())
    assert [signature(name) for name in available()][:3] == [
        "ADX(timeperiod=14)",
        "ATR(timeperiod=14)",
        "BBANDS(timeperiod=20, nbdevup=2, nbdevdn=2): upper, middle, lower",
    ]


@pytest.mark.parametrize("name", available())
def test_every_indicator_follows_the_registry_rules(name: str) -> None:
    cls = available()[name]
    assert set(cls.minimums) <= set(cls.parameters)
    spec = parse(name)
    state = make(spec).table.fields
    assert len(spec.parameters) == len(cls.parameters)
    assert state.height == len(state.initial) < 100
    assert cls.__doc__


class Double(Indicator):
    """Twice the close."""

    def fields(self) -> Fields:
        return Fields({"nothing": 0.0})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        return (2 * bars.close,)


@pytest.fixture(autouse=True)
def _registered_for_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_indicators", dict(registry._indicators))


def test_a_program_registers_an_indicator() -> None:
    register("double", Double)
    register("DOUBLE", Double)
    assert isinstance(make(parse("Double")), Double)
    assert available()["DOUBLE"] is Double
    with pytest.raises(UsageError, match="The indicator RSI already exists"):
        register("RSI", Double)
    with pytest.raises(UsageError, match="not a valid name"):
        register("A(B)", Double)
    with pytest.raises(UsageError, match="not a subclass"):
        register("NUMBER", int)  # type: ignore[arg-type]


def install_package(folder: Path, monkeypatch: pytest.MonkeyPatch, points: str, code: str) -> None:
    (folder / "strange_indicators.py").write_text(code)
    information = folder / "strange-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{registry.ENTRY_POINT_GROUP}]\n{points}\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "strange_indicators", raising=False)


CODE = """
from tickerlake.analytics.state_table import Fields
from tickerlake.analytics.indicators.indicator import Indicator

class Half(Indicator):
    parameters = {"by": 2.0}

    def fields(self):
        return Fields({"nothing": 0.0})

    def step(self, state, bars):
        return (bars.close / self.arguments["by"],)
"""


def test_another_package_provides_an_indicator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = "half = strange_indicators:Half\nrsi = strange_indicators:Half\nlost = strange_indicators:Lost"
    install_package(tmp_path, monkeypatch, points, CODE)
    assert parse("RSI").parameters == (14,)
    assert "strange_indicators" not in sys.modules
    assert parse("half(by=2.5)").text == "HALF(2.5)"
    assert available()["HALF"].__name__ == "Half"
    assert available()["RSI"] is RSI
    with pytest.raises(UsageError, match="Did you mean HALF"):
        parse("HALV")
    with pytest.raises(UsageError, match=r"LOST \(strange_indicators:Lost\) failed"):
        parse("LOST")
    assert "LOST" not in available()


def test_a_broken_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_package(
        tmp_path,
        monkeypatch,
        "half = strange_indicators:Half\nint = builtins:int",
        "raise OSError('no disk')",
    )
    with pytest.raises(UsageError, match=r"HALF \(strange_indicators:Half\) failed: OSError\('no disk'\)"):
        parse("HALF")
    with pytest.raises(UsageError, match="INT is not a subclass of Indicator"):
        parse("INT")


def test_only_requested_packages_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_entry_points(**_: object) -> metadata.EntryPoints:
        raise AssertionError("the entry points were read")

    monkeypatch.setattr(metadata, "entry_points", read_entry_points)
    assert np.isnan(make(parse("SMA(3)")).table.fields.initial).all()

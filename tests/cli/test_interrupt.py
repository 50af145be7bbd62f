"""Where Ctrl-C waits for a moment; tests/fault/test_interrupts.py tests what it does to each command."""

import signal
import subprocess
import sys
from decimal import Decimal, DecimalTuple
from types import FrameType

import pytest

from tickerlake.cli import interrupt


def test_a_decimal_that_polars_takes_apart_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[FrameType] = []

    def make(kind: type[DecimalTuple], fields: tuple[object, ...]) -> DecimalTuple:
        frames.append(sys._getframe(1))
        return tuple.__new__(kind, fields)

    monkeypatch.setitem(DecimalTuple.__new__.__globals__, "_tuple_new", make)
    assert Decimal("1.5").as_tuple() == (0, (1, 5), -1)
    assert interrupt._is_indivisible(frames[0])
    assert not interrupt._is_indivisible(sys._getframe())


def test_the_start_of_a_process_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[FrameType] = []
    start = vars(subprocess)["_fork_exec"]

    def fork(*arguments: object) -> object:
        frames.append(sys._getframe(1))
        return start(*arguments)

    monkeypatch.setattr(subprocess, "_fork_exec", fork)
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        assert not interrupt._is_indivisible(sys._getframe())
    assert child.returncode == 0
    assert interrupt._is_indivisible(frames[0])


def test_the_end_is_reported_once(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    state = interrupt._State()
    state.received, state.raised = signal.SIGINT, True
    monkeypatch.setattr(interrupt, "_state", state)
    interrupt._report_end()
    # a retry interrupts what follows
    interrupt._report_end()
    assert capfd.readouterr().err.count("tickerlake: Interrupted. ") == 1

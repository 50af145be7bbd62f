"""Wrong values end each command with a documented exit code and a sentence, and leave nothing behind."""

from collections import Counter
from pathlib import Path

import pytest

from fuzz.command_fuzz import Runner, describe, draw_calls
from support.command_line import commands


def check(folder: Path, seed: int, count: int) -> None:
    runner, codes, faults = Runner(folder), Counter[int | None](), []
    for call in draw_calls(seed, count):
        ending = runner.run(call)
        codes[ending.code] += 1
        if ending.faults():
            faults.append(describe(call, ending))
    print(f"seed {seed}: {count} calls, exit codes {dict(codes)}, {len(faults)} faults")
    assert not faults, f"seed {seed}: {len(faults)} of {count} calls\n" + "\n\n".join(faults[:10])


def test_every_command_and_option_has_its_turn() -> None:
    names = [each.name for each in commands() if each.name and not hasattr(each.command, "commands")]
    calls = draw_calls(1, 1000)
    for name in names:
        words = name.split()
        assert any(words == call.arguments[: len(words)] for call in calls), name
    assert draw_calls(1, 1000) == calls


@pytest.mark.timeout(600)
def test_wrong_values(tmp_path: Path) -> None:
    check(tmp_path, seed=20_261, count=20)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_many_wrong_values(tmp_path: Path, seed: int) -> None:
    check(tmp_path, seed, count=400)

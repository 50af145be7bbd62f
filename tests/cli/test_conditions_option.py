"""``--conditions``: which trades set prices, and what the summaries count."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from support.process import run
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.sessions import ALWAYS_OPEN
from tickerlake.analytics.types import EngineOptions
from tickerlake.cli.engine_options import print_conditions
from tickerlake.pipeline.track import TrackProgress

RULES = """
[[rule]]
id = "jump"
kind = "pct_change"
interval = "1m"
window = "1m"
pct = 5
"""


@pytest.mark.parametrize("letters", [("@", "I", "W", "ZZ"), ("14", "37", "2", "99")])
@pytest.mark.parametrize("conditions", ["sip", "all"])
def test_a_backtest_leaves_trades_out(tmp_path: Path, letters: tuple[str, ...], conditions: str) -> None:
    regular, odd_lot, average, unknown = letters
    # the last trade of each third minute is at another price
    rows = []
    for n in range(60):
        last = average if n % 2 else odd_lot
        rows += [f'2024-01-16 14:{n:02}:00,QA,{100 + n % 2},100,"{regular},{regular}"']
        rows += [f'2024-01-16 14:{n:02}:50,QA,{120 if n % 3 == 0 else 100},10,"{regular},{last}"']
    rows += [f'2024-01-16 15:00:00,QA,100,100,"{regular},{unknown}"']
    (tmp_path / "trades.csv").write_text("time,symbol,price,size,conditions\n" + "\n".join(rows) + "\n")
    (tmp_path / "rules.toml").write_text(RULES)
    arguments = ("--data", tmp_path / "trades.csv", "--conditions", conditions, "--tz", "UTC")
    printed = "".join(run("rules", "test", tmp_path / "rules.toml", *arguments))
    counted = "left out of prices by sale conditions: 30 average price trade, 30 odd lot trade"
    if conditions == "sip":
        assert counted in printed
        assert f"unknown sale conditions, which forbid nothing: {unknown} (1)" in printed
        assert "QA rose" not in printed
    else:
        assert "sale conditions" not in printed
        assert "QA rose" in printed


def test_the_summary_names_few_codes(capsys: pytest.CaptureFixture[str]) -> None:
    print_conditions(Counter(), Counter())
    assert not capsys.readouterr().err
    print_conditions(Counter({"odd lot trade": 1_204}), Counter({f"X{n}": n for n in range(1, 99)}))
    left_out, unknown = capsys.readouterr().err.splitlines()
    assert "1,204 odd lot trade (--conditions all uses them)" in left_out
    assert unknown.count("(") == 10
    assert "X98 (98)" in unknown


def test_a_worker_retains_few_unknown_codes() -> None:
    progress = TrackProgress()
    nothing = Engine(EngineOptions(), lambda _: ALWAYS_OPEN).close_idle(0, 0, 0)
    for n in range(100):
        progress.add(replace(nothing, unknown_conditions=Counter({f"X{n}": 2, "X0": 1})))
    assert len(progress.unknown_conditions) <= 21
    assert progress.unknown_conditions.total() == 298
    assert progress.unknown_conditions["X0"] == 100

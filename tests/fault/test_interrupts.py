"""Ctrl-C at random moments: every command ends with 130 and one line, and leaves nothing half-written."""

import json
import random
import re
import secrets
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from support import oracle
from support.process import run, tickerlake

SEED: Final = 23
FEW, MANY = 5, 200
SERVICE_S: Final = 2.5
"""From when to when services, which never end, are interrupted: they are ready after about a second."""
TRADES: Final = 40_000
DRAFTS: Final = re.compile(r"\..*\.(tmp|part)")
ENDINGS: Final = re.compile(r"^(tickerlake: Interrupted\. |stopping: )", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """What the commands work on: files, topics and lakes that all tests of a worker share."""

    servers: str
    folder: Path
    name: str

    @property
    def trades(self) -> Path:
        return self.folder / "trades.csv"

    def set_up(self) -> None:
        run("simulate", "--trades", TRADES, "--symbols", 20, "--jumps", 2, "-o", self.trades)
        run("produce", self.trades, "-t", f"{self.name}.trades", "-b", self.servers)
        run("track", "-t", f"{self.name}.trades", "-b", self.servers, *self.state("once"), "--until-end")
        run("sink", "-t", f"{self.name}.trades", "-b", self.servers, "--lake", self.folder / "lake",
            "--until-end")  # fmt: skip

    def copy_of_lake(self) -> Path:
        return Path(shutil.copytree(self.folder / "lake", self.folder / f"copy{secrets.token_hex(4)}"))

    def state(self, group: str) -> tuple[object, ...]:
        return ("--bars", "1m", "--group", f"{self.name}.{group}", "--state", self.folder / group)


@pytest.fixture(scope="module")
def stage(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    stage = Stage(kafka, tmp_path_factory.mktemp("stage"), f"i{secrets.token_hex(6)}")
    stage.set_up()
    return stage


@dataclass(frozen=True)
class Case:
    """A command to interrupt.

    Parameters
    ----------
    arguments
        The command line; it runs in an empty folder.
    is_service
        Whether it never ends by itself.
    check
        Called after each run with its folder and whether it was interrupted.
    check_all
        Called after all runs, with the folder of the last one: the command, run again to its end, makes up
        for all interruptions.
    """

    arguments: Callable[[Stage], tuple[object, ...]]
    is_service: bool = False
    check: Callable[[Stage, Path, bool], None] = lambda _stage, _folder, _interrupted: None
    check_all: Callable[[Stage, Path], None] = lambda _stage, _folder: None


def produced_once(stage: Stage, _folder: Path) -> None:
    topic = f"{stage.name}.again"
    run("produce", stage.trades, "-t", topic, "-b", stage.servers)
    counts = oracle.count_by_field(stage.servers, topic, "trade_id")
    assert (len(counts), set(counts.values())) == (TRADES, {1})


def stored_once(stage: Stage, _folder: Path) -> None:
    lake = stage.folder / "again"
    run("sink", "-t", f"{stage.name}.trades", "-b", stage.servers, "--lake", lake, "--until-end")
    out, _ = run("audit", "--lake", lake, "--deep", "-b", stage.servers, "--json")
    assert sum(partition["records"] for partition in json.loads(out)["partitions"]) == TRADES


def compacted_once(stage: Stage, _folder: Path) -> None:
    lake = max(stage.folder.glob("copy*"), key=lambda path: path.stat().st_mtime_ns)
    run("compact", "--lake", lake)
    out, _ = run("query", "select count(*) as n from trades", "--lake", lake)
    assert out.splitlines() == ["n", str(TRADES)]


def tracked_once(stage: Stage, _folder: Path) -> None:
    run("track", "-t", f"{stage.name}.trades", "-b", stage.servers, *stage.state("again"),
        "--prefix", f"{stage.name}again", "--until-end")  # fmt: skip
    once, again = (_bars(stage, suffix) for suffix in ("", "again"))
    assert set(again.values()) == {1}
    # the clock closes the last bars only of services, which never reach the end
    assert {key[:-1] for key in again} >= {key[:-1] for key in once}


def _bars(stage: Stage, suffix: str) -> Counter[tuple[object, ...]]:
    messages = oracle.read_messages(stage.servers, f"{stage.name}{suffix}.bars")
    bars = [json.loads(message.value() or b"") for message in messages]
    # a bar that the clock has closed is restated by a later trade
    names = ("instrument_id", "ts_open_ns", "revision")
    return Counter(tuple(bar[name] for name in names) for bar in bars)


def is_complete(name: str, lines: int) -> Callable[[Stage, Path, bool], None]:
    def check(_stage: Stage, folder: Path, interrupted: bool) -> None:
        path = folder / name
        if not interrupted or path.exists():
            assert len(path.read_text().splitlines()) == lines

    return check


def no_broker_is_left(_stage: Stage, folder: Path, interrupted: bool) -> None:
    if not interrupted:
        run("broker", "stop", "--data-dir", folder / "broker")
    assert not _processes_of(folder / "broker")


def continues(_stage: Stage, folder: Path) -> None:
    _, err = run("demo", "--no-serve", "--data-dir", "broker", "--broker-port", 0, cwd=folder)
    assert "all 12,154 records are in the lake exactly once" in err


CASES: Final = {
    "inspect": Case(lambda stage: ("inspect", stage.trades)),
    "convert": Case(
        lambda stage: ("convert", stage.trades, "-o", "out.ndjson"), check=is_complete("out.ndjson", TRADES)
    ),
    "simulate": Case(
        lambda _: ("simulate", "--trades", TRADES, "-o", "out.csv"),
        check=is_complete("out.csv", TRADES + 1),
    ),
    "produce": Case(
        lambda stage: ("produce", stage.trades, "-t", f"{stage.name}.again", "-b", stage.servers),
        check_all=produced_once,
    ),
    "sink": Case(
        lambda stage: ("sink", "-t", f"{stage.name}.trades", "-b", stage.servers, "--flush-records", 2_000,
                       "--lake", stage.folder / "again"),
        is_service=True,
        check_all=stored_once,
    ),
    "track": Case(
        lambda stage: ("track", "-t", f"{stage.name}.trades", "-b", stage.servers, *stage.state("again"),
                       "--prefix", f"{stage.name}again"),
        is_service=True,
        check_all=tracked_once,
    ),
    "serve": Case(
        lambda stage: ("serve", "-b", stage.servers, "--lake", stage.folder / "lake", "--prefix", stage.name,
                       "--port", 0),
        is_service=True,
    ),
    "query": Case(
        lambda stage: ("query", "from trades", "--lake", stage.folder / "lake", "-o", "out.csv"),
        check=is_complete("out.csv", TRADES + 1),
    ),
    "compact": Case(lambda stage: ("compact", "--lake", stage.copy_of_lake()), check_all=compacted_once),
    "audit": Case(
        lambda stage: ("audit", "--lake", stage.folder / "lake", "--deep", "-b", stage.servers),
    ),
    "alerts tail": Case(
        lambda stage: ("alerts", "tail", "-t", f"{stage.name}.alerts", "-b", stage.servers), is_service=True
    ),
    "broker start": Case(
        lambda _: ("broker", "start", "--data-dir", "broker", "--port", 0), check=no_broker_is_left
    ),
    "demo": Case(lambda _: ("demo", "--no-serve", "--data-dir", "broker", "--broker-port", 0),
        check=no_broker_is_left, check_all=continues),
}  # fmt: skip


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("moments", [FEW, pytest.param(MANY, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", CASES)
def test_interrupted_at_random_moments(stage: Stage, tmp_path: Path, name: str, moments: int) -> None:
    case, rng = CASES[name], random.Random(f"{SEED} {name}")
    length_s = SERVICE_S if case.is_service else _usual_length_s(name, stage, tmp_path)
    print(f"{name}: seed {SEED}, {moments} moments of {length_s:.1f} s")
    outcomes: Counter[str] = Counter()
    for number in range(moments):
        folder = tmp_path / str(number)
        folder.mkdir()
        delay_s = rng.uniform(0, length_s)
        outcome = _interrupt(case, stage, folder, delay_s)
        outcomes[outcome] += 1
    case.check_all(stage, folder / "work")
    print(dict(outcomes))
    assert outcomes["interrupted"]


def _usual_length_s(name: str, stage: Stage, tmp_path: Path) -> float:
    folder = tmp_path / "whole"
    folder.mkdir()
    started_s = time.monotonic()
    run(*CASES[name].arguments(stage), cwd=folder)
    length_s = time.monotonic() - started_s
    CASES[name].check(stage, folder, False)
    return length_s


def _interrupt(case: Case, stage: Stage, folder: Path, delay_s: float) -> str:
    """Run a command, interrupt it, check how it ended, and return that in a word."""
    temporary, work = folder / "temporary", folder / "work"
    temporary.mkdir()
    work.mkdir()
    with tickerlake(*case.arguments(stage), cwd=work, env={"TMPDIR": str(temporary)}) as child:
        # the delay only chooses the moment: any is as good as another
        time.sleep(delay_s)
        was_ours = _handles_signals(child.pid)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=120)
    code = child.returncode
    if not was_ours and code not in {0, 130}:
        return "Python's own start"
    ended_before = code == 0 and not case.is_service
    assert ended_before or code == 130, f"exit {code} after {delay_s:.4f} s\n{out[-500:]}\n{err}"
    assert "Traceback" not in err + out, err
    assert ended_before or len(ENDINGS.findall(err)) == 1, f"after {delay_s:.4f} s: {err}"
    assert list(temporary.iterdir()) == []
    assert [path for path in work.rglob("*") if DRAFTS.fullmatch(path.name)] == []
    case.check(stage, work, not ended_before)
    return "ended before" if ended_before else "interrupted"


def _handles_signals(pid: int) -> bool:
    """Whether a process catches SIGTERM, which Python itself does not: then it runs our code."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    mask = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
    # a process that has exited, but was not waited for, has no handlers any more
    return "State:\tZ" in status or bool(mask and int(mask[1], 16) >> (signal.SIGTERM - 1) & 1)


def _processes_of(data_dir: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(data_dir / "server.properties") in command and "kafka.Kafka" in command:
            found.append(command[:200])
    return found

"""Calls of the command line with wrong values, drawn from a seed, and how each ends.

Each call runs in a process of its own, forked from one that has imported the commands already. Nothing that
it names exists beyond its folder: no broker answers, and no Java or Google credentials are found.
"""

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.command_line import commands

EXIT_CODES = {0, 2, 3, 4, 130}
"""Those that `tickerlake --help` and docs/reference.md list."""

_NO_BROKER = "127.0.0.1:1"
_RUN_S = 2.5
"""A command that still runs is a service, or waits for Kafka: it is interrupted."""

_END_S = 30.0
_WORDS = [
    *("", " ", "-", "--", "--5", "-1", "0", "1", "+1", "1.5", "1e400", "nan", "NaN", "inf", "-inf"),
    *("9" * 30, "-9223372036854775809", "9223372036854775807", "0x10", "1_000", "١٢٣", "½", "x" * 5000),
    *(
        "é",
        "\u202eevil",
        "日本",
        "😀",
        "\udcff",
        "\t",
        "a\nb",
        "\x1b[31m",
        "\x7f",
        "%00",
        "\\0",
        "$HOME",
        "~",
        "~nobody/x",
    ),
    *(
        "a,b,,",
        ",",
        "=",
        "=x",
        "name=",
        "a=b=c",
        "{",
        "[1",
        "{}",
        '{"a":',
        "[[",
        "'",
        '"',
        "`id`",
        "; ls",
        "a b",
    ),
    *(
        "..",
        "../..",
        "/",
        ".",
        "/dev/null",
        "/dev/full",
        "/dev/zero",
        "/proc/self/mem",
        "/proc/1/environ",
        "/etc/passwd",
    ),
    *("folder", "folder/", "missing", "missing/none.csv", "loop", "loop/x", "pipe", "nowhere", "good.csv/x"),
    *(
        "good.csv",
        "good.parquet",
        "bad.toml",
        "deep.toml",
        "binary",
        "empty",
        "x.xlsx",
        "out.parquet",
        "out.tar",
        ".csv",
    ),
    *(
        "gs://",
        "gs:///",
        "gs:///x",
        "gs://UPPER!",
        "gs://a",
        "s3://b/x",
        "file:///tmp",
        "http://[::1",
        "https://",
    ),
    *(
        "https://me:pw@h/x",
        "ftp://x",
        "127.0.0.1:99999",
        "127.0.0.1:0",
        "host:port",
        ":::",
        "[::1",
        ":9092",
        "a:1,,b:2",
    ),
    *(
        "1d1d",
        "-1s",
        "0s",
        "1e9d",
        "99999999999999d",
        "1",
        "s",
        "1 s",
        "0/s",
        "-1/s",
        "nan/s",
        "infx",
        "0x",
        "maxx",
    ),
    *(
        "2024-13-45",
        "%Y-%",
        "%Q",
        "DD",
        "*",
        "**",
        "**x",
        "[",
        "?",
        "1h,1h",
        "1d,1s",
        "SMA",
        "SMA(",
        "SMA(0)",
        "SMA(1e9)",
    ),
    *(
        "RSI(14),RSI(14)",
        "XXXX",
        "24/7",
        "NOPE/Zone",
        "UTC+99",
        "select",
        "select * from nowhere",
        "drop table x",
        "--json",
    ),
]
_BROKER_LOCK = "start.lock"
"""The embedded broker's folder is made before Java is looked for: another start must not come between."""

_TOML = [
    "",
    "\ufeff",
    "lake = ",
    "lake = 5\n",
    'lake = "a\\u0000b"\n',
    'lake = ""\n',
    "lake = [1]\n",
    "x" * 70_000,
    "[" * 3000,
    "a = " + "[" * 3000,
    "[kafka]\nbootstrap_servers = 5\n",
    "[kafka]\nbootstrap_servers = ''\n",
    "[kafka.properties]\n'plugin.library.paths' = './x'\n",
    "[kafka.properties]\n'client.id' = [1]\n",
    "[kafka.properties]\n'linger.ms' = 'soon'\n",
    "[sink]\nflush_bytes = -1\nflush_age = nan\n",
    "[sink]\nflush_records = 99999999999999999999\n",
    "[sink]\ntopic = 'x'\n",
    "[sink]\ntopic = ['']\n",
    "[produce]\npartitions = 0\nspeed = 'fast'\n",
    "[track]\nbars = ''\ngrace = '-1s'\n",
    "[serve]\nport = 99999999\nallow_host = ['*']\n",
    "[load]\nproject = ''\nwatch = 'now'\n",
    "[serve]\nport = 1e400\n",
    "[[kafka]]\nx = 1\n",
    "kafka = 1979-05-27\n",
    "[kafka]\n[kafka]\n",
]
_VALID = {
    "files": "good.csv",
    "data": "good.csv",
    "rules": "default",
    "preset": "default",
    "sql": "select 1",
    "query": "select 1",
    "topic": "fuzz",
    "bootstrap_servers": _NO_BROKER,
    "project": "project",
    "dataset": "dataset",
    "lake": "lake",
    "state": "lake",
}
_ENVIRONMENT = {
    "TICKERLAKE_CACHE": "/dev/null/cache",
    "TICKERLAKE_KAFKA__BOOTSTRAP_SERVERS": _NO_BROKER,
    "GOOGLE_APPLICATION_CREDENTIALS": "/dev/null/none.json",
    "NO_GCE_CHECK": "true",
    "JAVA_HOME": "/dev/null",
    "COLUMNS": "100",
}


@dataclass(frozen=True)
class Call:
    """A call: its arguments, and the settings file of its folder, if any."""

    arguments: list[str]
    settings: str | None

    def __str__(self) -> str:
        settings = "" if self.settings is None else f" with tickerlake.toml = {self.settings[:200]!r}"
        return f"tickerlake {' '.join(repr(each[:100]) for each in self.arguments)}{settings}"


@dataclass(frozen=True)
class Ending:
    """How a call ended.

    Parameters
    ----------
    code
        The exit code; None if it had to be killed.
    output
        Its stdout and stderr.
    left
        Paths in its folder that were not there before.
    interrupted
        Whether it ran until it was interrupted.
    """

    code: int | None
    output: str
    left: list[str]
    interrupted: bool

    def faults(self) -> list[str]:
        """Return what is wrong with it."""
        faults = []
        if self.code not in EXIT_CODES:
            faults.append(f"exit code {self.code}")
        faults += [
            word for word in ("Traceback", "panicked", "Exception ignored", "Fatal") if word in self.output
        ]
        if self.code and not self.output.strip():
            faults.append("says nothing")
        left = [] if any(Path(path).name == _BROKER_LOCK for path in self.left) else self.left
        if self.code and not self.interrupted and left:
            faults.append(f"leaves {left[:5]} behind")
        return faults


def draw_calls(seed: int, count: int) -> list[Call]:
    """Return calls; every command and option has its turn."""
    rng = random.Random(seed)
    found = [each for each in commands() if each.name and not hasattr(each.command, "commands")]
    turns = [(command, option) for command in found for option in [None, *_options(command.command)]]
    rng.shuffle(turns)
    return [_draw_call(rng, *turns[n % len(turns)]) for n in range(count)]


def _options(command: Any) -> list[Any]:
    return [each for each in command.params if each.param_type_name == "option" and each.name != "help"]


def _draw_call(rng: random.Random, command: Any, option: Any) -> Call:
    words: list[str] = []
    settings = rng.choice(_TOML) if rng.random() < 0.1 else None
    if rng.random() < 0.05:
        words += ["--config", rng.choice(_WORDS)]
    words += command.name.split()
    used = {option.name} if option else set()
    if option:
        words += _draw_option(rng, option)
    if option and rng.random() < 0.3:
        other = rng.choice(_options(command.command))
        words += _draw_option(rng, other) if other.name not in used else []
        used.add(other.name)
    for each in command.command.params:
        is_argument = each.param_type_name == "argument"
        if each.name in used or not (each.required or each.name == "bootstrap_servers" or is_argument):
            continue
        is_hostile = rng.random() < (0.8 if option is None else 0.15)
        value = rng.choice(_WORDS) if is_hostile else _VALID.get(each.name, "x")
        words += [value] if is_argument else [each.opts[0], value]
    if rng.random() < 0.05:
        words.insert(rng.randrange(len(words) + 1), rng.choice(_WORDS))
    return Call(words, settings)


def _draw_option(rng: random.Random, option: Any) -> list[str]:
    name = rng.choice([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return [name if rng.random() < 0.8 else f"{name}={rng.choice(_WORDS)}"]
    value = rng.choice(_WORDS)
    return [f"{name}={value}"] if name.startswith("--") and rng.random() < 0.5 else [name, value]


class Runner:
    """Runs calls, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            ["tickerlake.cli.commands", "polars", "confluent_kafka", "duckdb"]
        )

    def run(self, call: Call) -> Ending:
        """Run a call to its end."""
        work = self._folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        _make_folder(work, call.settings)
        before = _paths(work)
        (self._folder / "output").unlink(missing_ok=True)
        output = self._folder / "output"
        process = self._context.Process(target=_run, args=(call.arguments, str(work), str(output)))
        process.start()
        process.join(_RUN_S)
        interrupted = process.is_alive()
        if interrupted:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGINT)
            process.join(_END_S)
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
        text = output.read_bytes().decode(errors="replace")
        return Ending(code, text, sorted(_paths(work) - before), interrupted)


def _make_folder(folder: Path, settings: str | None) -> None:
    folder.mkdir()
    rows = "".join(f"2024-01-{day:02},1.5,2,1,1.5,100\n" for day in range(1, 29))
    (folder / "good.csv").write_text(f"date,open,high,low,close,volume\n{rows}")
    (folder / "good.parquet").write_bytes(b"PAR1")
    (folder / "bad.toml").write_text("[[rule]\nkind = \n")
    (folder / "deep.toml").write_text("a = " + "[" * 5000)
    (folder / "binary").write_bytes(bytes(range(256)) * 20)
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "nowhere").symlink_to("gone")
    os.mkfifo(folder / "pipe")
    if settings is not None:
        (folder / "tickerlake.toml").write_text(settings)


def _paths(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _run(arguments: list[str], folder: str, output: str) -> None:
    os.setsid()
    for descriptor in (1, 2):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", errors="backslashreplace")  # noqa: SIM115
    os.environ.update(_ENVIRONMENT, HOME=folder, XDG_DATA_HOME=f"{folder}/.data")
    os.chdir(folder)
    sys.argv = ["tickerlake", *arguments]
    from tickerlake.cli.app import main

    main()


def describe(call: Call, ending: Ending) -> str:
    """Return a fault as a text from which it can be repeated."""
    return f"{call}\n  {json.dumps(call.arguments)}\n  {ending.faults()}\n  {ending.output[-1500:]}"

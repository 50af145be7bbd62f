"""Errors of the command line, and its start."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.process import run


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (
            ("sink", "-t", "a", "--lake", "L", "-b", "127.0.0.1:1"),
            3,
            "No Kafka broker answers at 127.0.0.1:1",
        ),
        (("sink", "-t", "a/b", "--lake", "L"), 2, "not a Kafka topic name"),
        (("sink", "-t", "a", "--lake", "L", "--format", "xml"), 2, "no format 'xml'"),
        (("sink", "-t", "a", "--lake", "L", "-X", "novalue"), 2, "has no value"),
        (("audit", "--lake", "nowhere"), 2, "There is no lake at"),
        (("produce", "missing.csv", "-t", "a"), 4, "missing.csv"),
    ],
)
def test_errors_are_one_sentence_and_a_remedy(
    tmp_path: Path, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    _, err = run(*arguments, exit_code=code, cwd=tmp_path)
    assert expected in err
    assert "→" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "expected", "remedy"),
    [
        (("sink",), "Missing option '--topic' / '-t'", "See `tickerlake sink --help`."),
        (("sink", "--topics", "a"), "No such option: --topics", "See `tickerlake sink --help`."),
        (("sink", "--lake"), "'--lake' requires an argument", "See `tickerlake --help`."),
        (("sinks",), "Did you mean 'sink'?", "See `tickerlake --help`."),
        (
            ("alerts", "tail", "-n", "x"),
            "Invalid value for '--last' / '-n'",
            "See `tickerlake alerts tail --help`.",
        ),
        (("rules", "check", "a", "b"), "unexpected extra argument", "See `tickerlake rules check --help`."),
    ],
)
def test_usage_errors_refer_to_the_help(arguments: tuple[str, ...], expected: str, remedy: str) -> None:
    out, err = run(*arguments, exit_code=2)
    assert out == ""
    assert err.startswith("tickerlake: ")
    assert expected in err
    assert err.rstrip().endswith(f"  → {remedy}")


def test_heavy_modules_are_imported_lazily() -> None:
    code = (
        "import sys, tickerlake.cli.app; "
        "print([m for m in ('polars', 'confluent_kafka', 'google.cloud.storage') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The command line as a person meets it."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.process import run


def test_help_lists_the_commands() -> None:
    out, _ = run("--help")
    for verb in ("demo", "produce", "simulate", "sink", "audit", "broker"):
        assert verb in out


@pytest.mark.parametrize("verb", ["demo", "inspect", "produce", "simulate", "sink", "audit", "broker start"])
def test_every_command_has_help(verb: str) -> None:
    out, _ = run(*verb.split(), "--help")
    assert "Usage" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ("sink", "-t", "a", "--lake", "L", "-b", "127.0.0.1:1"),
            3,
            "No Kafka broker answers at 127.0.0.1:1",
        ),
        (("sink", "-t", "a/b", "--lake", "L"), 2, "not a Kafka topic name"),
        (("sink", "-t", "a", "--lake", "L", "--format", "xml"), 2, "no format 'xml'"),
        (("sink", "-t", "a", "--lake", "L", "-X", "novalue"), 2, "has no value"),
        (("audit", "--lake", "nowhere"), 4, "is not a lake"),
        (("produce", "missing.csv", "-t", "a"), 4, "missing.csv"),
    ],
)
def test_errors_are_one_sentence_and_a_remedy(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    _, err = run(*arguments, exit_code=code, cwd=tmp_path)
    assert said in err
    assert "→" in err
    assert "Traceback" not in err


def test_heavy_modules_are_imported_lazily() -> None:
    code = (
        "import sys, tickerlake.cli.app; "
        "print([m for m in ('polars', 'confluent_kafka', 'google.cloud.storage') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The guides say what the program does: names are complete, commands parse, examples run."""

import base64
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from typer.main import get_command

from tickerlake import config
from tickerlake.alerts.detectors import kinds
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.alerts.message import PLACES
from tickerlake.alerts.rules import presets
from tickerlake.alerts.rules.table import _COMMON
from tickerlake.analytics import decode
from tickerlake.analytics.indicators import registry
from tickerlake.cli.app import app
from tickerlake.model import alert
from tickerlake.model.schema import ALERT, fields

DOCS: Final = Path(__file__).parents[2] / "docs"
GUIDES: Final = {name: (DOCS / f"{name}.md").read_text() for name in ("alerts", "tracking", "extending")}
NOTIFY: Final = (DOCS / "notify.md").read_text()
BUILT_IN: Final = sorted(
    name for name, cls in registry.known().items() if cls.__module__.startswith("tickerlake.")
)
KINDS: Final = [name for name in kinds.names() if kinds.find(name).__module__.startswith("tickerlake.")]
TARGETS: Final = {
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T/B/x",
    "OPS_WEBHOOK_SECRET": f"whsec_{base64.b64encode(bytes(32)).decode()}",
    "SMTP_PASSWORD": "x",
}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def row_of(text: str, name: str) -> str:
    """Return the row of a table whose first cell names something."""
    (row,) = (line for line in text.splitlines() if re.match(rf"\| [^|]*`{re.escape(name)}`", line))
    return row


def run(*arguments: object, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1", **variables}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def tickerlake(*arguments: object, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return run("-c", "from tickerlake.cli.app import main; main()", *arguments, folder=folder, **variables)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of the guide, installed as its pyproject.toml says, and its programs."""
    folder = tmp_path_factory.mktemp("mystocks")
    for code in blocks(GUIDES["extending"], "python"):
        (folder / code.splitlines()[0].removeprefix("# ")).write_text(code)
    (project,) = (text for text in blocks(GUIDES["extending"], "toml") if "[project]" in text)
    information = folder / "mystocks-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mystocks\nVersion: 1.0\n")
    lines = []
    for group, points in tomllib.loads(project)["project"]["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_stands_there_with_its_parameters(kind: str) -> None:
    row, cls = row_of(GUIDES["alerts"], kind), kinds.find(kind)
    for name, told in cls.parameters.items():
        default = Parameter.of(told).default
        assert f"`{name}`" in row
        if default is not None:
            shown = f'"{default}"' if isinstance(default, str) else f"{default:g}"
            assert f"`{str(default).lower() if isinstance(default, bool) else shown}`" in row
        if Parameter.of(told).needed:
            assert f"**`{name}`**" in row
    assert cls.unit in row
    assert ("below a day" in row) == (cls.intraday and not cls.widest)
    assert cls.widest in row


@pytest.mark.parametrize("key", _COMMON)
def test_every_key_of_a_rule_stands_there(key: str) -> None:
    assert re.search(
        rf"^\| [^|]*`{key}`", GUIDES["alerts"].partition("## Keys of every rule")[2], re.MULTILINE
    )


def test_what_rules_can_say_is_complete() -> None:
    text = GUIDES["alerts"]
    assert [place for place in PLACES if f"`{{{place}}}`" not in text] == []
    assert [name for name in presets.PRESETS if not row_of(text, name)] == []
    undirected = [kind for kind in KINDS if not kinds.find(kind).directed]
    assert set(
        re.findall(r"`(\w+)`", re.findall(r"looks one way only; not for(.*?)\.", text, re.DOTALL)[0])
    ) == {*undirected}


def test_every_field_of_an_alert_stands_there() -> None:
    text = GUIDES["alerts"].partition("## alert.v1")[2]
    assert [field.name for field in fields(ALERT) if not row_of(text, field.name)] == []
    for words in (alert.Severity, alert.AlertState, alert.Direction, alert.Unit, alert.Cause):
        assert [word for word in get_args(words) if f"`{word}`" not in text] == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_indicator_stands_there_with_its_defaults(name: str) -> None:
    call, _, outputs = registry.signature(name).partition(": ")
    row = row_of(GUIDES["tracking"], call)
    assert [output for output in outputs.split(", ") if output and f"`{output}`" not in row] == []


def test_every_reason_of_a_refusal_stands_there() -> None:
    others = {"TRADES", "BAR", "TRADE"}
    reasons = {
        value
        for name, value in vars(decode).items()
        if isinstance(value, str) and name.isupper() and name[0] != "_" and name not in others
    }
    assert len(reasons) > 10
    assert [reason for reason in reasons if not row_of(GUIDES["tracking"], reason)] == []


def commands() -> list[tuple[str, bool]]:
    """Return the commands of all guides, and whether each is whole."""
    found = []
    for text in [*GUIDES.values(), NOTIFY]:
        found += [(line, True) for line in re.findall(r"^(?:    |\$ )(tickerlake .*)$", text, re.MULTILINE)]
        found += [(line, False) for line in re.findall(r"`(tickerlake [a-z][^`]*)`", text)]
    return found


@pytest.mark.parametrize(("line", "whole"), commands())
def test_every_command_parses(line: str, whole: bool) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= known
    if whole:
        command.make_context(command.name, words)


def rules_files() -> list[str]:
    texts = [text for guide in GUIDES.values() for text in blocks(guide, "toml")]
    return [text for text in [*texts, *blocks(NOTIFY, "toml")] if "[[" in text]


@pytest.mark.parametrize("text", rules_files())
def test_every_rules_file_is_right(text: str, installed: Path, tmp_path: Path) -> None:
    (path := tmp_path / "rules.toml").write_text(text)
    done = tickerlake("rules", "check", path, folder=installed, **TARGETS)
    assert done.returncode == 0, done.stderr


def test_every_setting_of_track_stands_there(tmp_path: Path) -> None:
    (text,) = (text for text in blocks(GUIDES["tracking"], "toml") if "[track]" in text)
    (path := tmp_path / "tickerlake.toml").write_text(text)
    found = config.load({}, path)
    missing = [name for name in found.track.__struct_fields__ if getattr(found.track, name) is None]
    assert missing == ["preset"]
    assert 'preset = "' in text


def test_the_first_rules_tell_what_the_guide_shows(tmp_path: Path) -> None:
    (tmp_path / "my-rules.toml").write_text(blocks(GUIDES["alerts"], "toml")[0])
    (console,) = blocks(GUIDES["alerts"], "console")
    for told in console.removeprefix("$ ").split("\n$ "):
        line, _, expected = told.partition("\n")
        done = tickerlake(*shlex.split(line)[1:], folder=tmp_path)
        # on a terminal both are one
        assert (done.stdout + done.stderr).strip() == expected.strip()
        assert done.returncode == 0


def test_the_split_and_the_crash_are_told_as_shown(tmp_path: Path) -> None:
    from importlib import resources

    (tmp_path / "stocks.csv.gz").write_bytes(
        (resources.files("tickerlake.data") / "stocks.csv.gz").read_bytes()
    )
    arguments = ("rules", "test", "default", "--data", "stocks.csv.gz", "--examples", 100)
    told = tickerlake(*arguments, folder=tmp_path).stdout.splitlines()
    shown = re.findall(r"^    (\d{4}-.*)$", GUIDES["alerts"], re.MULTILINE)
    assert len(shown) == 2
    assert set(shown) <= set(told)


def test_an_installed_package_brings_what_it_names(installed: Path) -> None:
    program = (
        "from tickerlake.cli.track import engine_options\n"
        "print(engine_options('1m', 'DONCHIAN(55),RSI', '0s', '1m', '30s', '5m', 'g').indicators)\n"
    )
    done = run("-c", program, folder=installed)
    assert done.stdout == "('DONCHIAN(55)', 'RSI(14)')\n", done.stderr
    (installed / "wrong.toml").write_text('[[rule]]\nkind = "streak"\nbras = 3\n')
    done = tickerlake("rules", "check", "wrong.toml", folder=installed)
    assert done.returncode == 2
    assert "Did you mean bars?" in done.stderr


def test_a_program_registers_its_own(installed: Path) -> None:
    done = run("my_program.py", folder=installed)
    assert done.stdout == "DONCHIAN(timeperiod=20): upper, lower\n", done.stderr


def test_the_test_of_the_guide_passes(installed: Path) -> None:
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mystocks.py", folder=installed)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", GUIDES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", GUIDES[name]):
        file, _, anchor = target.partition("#")
        text = (DOCS / (file or f"{name}.md")).read_text()
        headings = [title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
        assert not anchor or anchor in headings

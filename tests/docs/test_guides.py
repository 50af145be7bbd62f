"""The guides match the program: every name is documented, every example runs."""

import base64
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final, get_args

import pytest

from tickerlake import config
from tickerlake.alerts.detectors import registry as detectors
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.alerts.message import TEMPLATE_FIELDS
from tickerlake.alerts.rules import presets
from tickerlake.alerts.rules.rule_table import COMMON_KEYS
from tickerlake.analytics.indicators import registry as indicators
from tickerlake.model import alert
from tickerlake.model.schema import ALERT, fields

DOCS: Final = Path(__file__).parents[2] / "docs"
GUIDES: Final = {name: (DOCS / f"{name}.md").read_text() for name in ("alerts", "tracking", "extending")}
NOTIFY: Final = (DOCS / "notify.md").read_text()
BUILT_IN_INDICATORS: Final = sorted(
    name for name, cls in indicators.available().items() if cls.__module__.startswith("tickerlake.")
)
DETECTOR_KINDS: Final = [
    name
    for name in detectors.kind_names()
    if detectors.detector_class(name).__module__.startswith("tickerlake.")
]
TARGET_SECRETS: Final = {
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T/B/x",
    "OPS_WEBHOOK_SECRET": f"whsec_{base64.b64encode(bytes(32)).decode()}",
    "SMTP_PASSWORD": "x",
}


def code_blocks(markdown: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)


def table_row(markdown: str, name: str) -> str:
    """Return the table row whose first cell contains a name."""
    (row,) = (line for line in markdown.splitlines() if re.match(rf"\| [^|]*`{re.escape(name)}`", line))
    return row


def run(*arguments: object, folder: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    child_env = {**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1", **env}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=child_env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_tickerlake(*arguments: object, folder: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return run("-c", "from tickerlake.cli.app import main; main()", *arguments, folder=folder, **env)


@pytest.fixture(scope="module")
def installed_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the guide's package, its entry points, and its programs."""
    folder = tmp_path_factory.mktemp("mystocks")
    for code in code_blocks(GUIDES["extending"], "python"):
        (folder / code.splitlines()[0].removeprefix("# ")).write_text(code)
    (project,) = (text for text in code_blocks(GUIDES["extending"], "toml") if "[project]" in text)
    dist_info = folder / "mystocks-1.0.dist-info"
    dist_info.mkdir()
    (dist_info / "METADATA").write_text("Metadata-Version: 2.1\nName: mystocks\nVersion: 1.0\n")
    lines = []
    for group, points in tomllib.loads(project)["project"]["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (dist_info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("kind", DETECTOR_KINDS)
def test_every_detector_is_documented_with_its_parameters(kind: str) -> None:
    kinds = GUIDES["alerts"].partition("## Kinds")[2]
    row, cls = table_row(kinds, kind), detectors.detector_class(kind)
    for name, declaration in cls.parameters.items():
        default = Parameter.coerce(declaration).default
        assert f"`{name}`" in row
        if default is not None:
            shown = f'"{default}"' if isinstance(default, str) else f"{default:g}"
            assert f"`{str(default).lower() if isinstance(default, bool) else shown}`" in row
        if Parameter.coerce(declaration).required:
            assert f"**`{name}`**" in row
    assert cls.unit in row
    assert ("| intraday |" in row) == (cls.intraday_only and not cls.max_interval)
    assert cls.max_interval in row


@pytest.mark.parametrize("key", COMMON_KEYS)
def test_every_rule_key_is_documented(key: str) -> None:
    assert re.search(
        rf"^\| [^|]*`{key}`", GUIDES["alerts"].partition("## Keys of every rule")[2], re.MULTILINE
    )


def test_placeholders_presets_and_directions_are_documented() -> None:
    guide = GUIDES["alerts"]
    assert [name for name in TEMPLATE_FIELDS if f"`{{{name}}}`" not in guide] == []
    assert [name for name in presets.PRESETS if not table_row(guide, name)] == []
    undirected = [kind for kind in DETECTOR_KINDS if not detectors.detector_class(kind).has_direction]
    assert set(
        re.findall(
            r"`(\w+)`", re.findall(r"restricts a rule to one direction; not for(.*?)\.", guide, re.DOTALL)[0]
        )
    ) == {*undirected}


def test_every_alert_field_is_documented() -> None:
    section = GUIDES["alerts"].partition("## alert.v1")[2]
    assert [field.name for field in fields(ALERT) if not table_row(section, field.name)] == []
    for values in (alert.Severity, alert.AlertState, alert.Direction, alert.Unit, alert.Cause):
        assert [word for word in get_args(values) if f"`{word}`" not in section] == []


@pytest.mark.parametrize("name", BUILT_IN_INDICATORS)
def test_every_indicator_is_documented_with_its_defaults(name: str) -> None:
    call, _, outputs = indicators.signature(name).partition(": ")
    row = table_row(GUIDES["tracking"], call)
    assert [output for output in outputs.split(", ") if output and f"`{output}`" not in row] == []


def rules_files() -> list[str]:
    texts = [text for guide in GUIDES.values() for text in code_blocks(guide, "toml")]
    return [text for text in [*texts, *code_blocks(NOTIFY, "toml")] if "[[" in text]


@pytest.mark.parametrize("text", rules_files())
def test_every_rules_file_is_valid(text: str, installed_package: Path, tmp_path: Path) -> None:
    (path := tmp_path / "rules.toml").write_text(text)
    result = run_tickerlake("rules", "check", path, folder=installed_package, **TARGET_SECRETS)
    assert result.returncode == 0, result.stderr


def test_every_track_setting_is_documented(tmp_path: Path) -> None:
    (text,) = (text for text in code_blocks(GUIDES["tracking"], "toml") if "[track]" in text)
    (path := tmp_path / "tickerlake.toml").write_text(text)
    settings = config.load_settings({}, path)
    missing = [name for name in settings.track.__struct_fields__ if getattr(settings.track, name) is None]
    assert missing == ["preset"]
    assert 'preset = "' in text


def test_the_first_rules_print_what_the_guide_shows(tmp_path: Path) -> None:
    (tmp_path / "my-rules.toml").write_text(code_blocks(GUIDES["alerts"], "toml")[0])
    (console,) = code_blocks(GUIDES["alerts"], "console")
    for session in console.removeprefix("$ ").split("\n$ "):
        line, _, expected = session.partition("\n")
        result = run_tickerlake(*shlex.split(line)[1:], folder=tmp_path)
        # a terminal shows both
        assert (result.stdout + result.stderr).strip() == expected.strip()
        assert result.returncode == 0


def test_the_split_and_the_crash_are_reported_as_shown(tmp_path: Path) -> None:
    from importlib import resources

    (tmp_path / "stocks.csv.gz").write_bytes(
        (resources.files("tickerlake.data") / "stocks.csv.gz").read_bytes()
    )
    arguments = ("rules", "test", "default", "--data", "stocks.csv.gz", "--examples", 100)
    printed = run_tickerlake(*arguments, folder=tmp_path).stdout.splitlines()
    shown = re.findall(r"^    (\d{4}-.*)$", GUIDES["alerts"], re.MULTILINE)
    assert len(shown) == 2
    assert set(shown) <= set(printed)


def test_an_installed_package_provides_its_entry_points(installed_package: Path) -> None:
    program = (
        "from tickerlake.cli.engine_options import engine_options\n"
        "print(engine_options('1m', 'DONCHIAN(55),RSI', '0s', '1m', '30s', '5m', 'g').indicators)\n"
    )
    result = run("-c", program, folder=installed_package)
    assert result.stdout == "('DONCHIAN(55)', 'RSI(14)')\n", result.stderr
    (installed_package / "wrong.toml").write_text('[[rule]]\nkind = "streak"\nbras = 3\n')
    result = run_tickerlake("rules", "check", "wrong.toml", folder=installed_package)
    assert result.returncode == 2
    assert "Did you mean bars?" in result.stderr


def test_a_program_registers_an_indicator(installed_package: Path) -> None:
    result = run("my_program.py", folder=installed_package)
    assert result.stdout == "DONCHIAN(timeperiod=20): upper, lower\n", result.stderr


def test_the_test_of_the_guide_passes(installed_package: Path) -> None:
    result = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mystocks.py", folder=installed_package)
    assert result.returncode == 0, result.stdout

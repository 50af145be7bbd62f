"""Help pages: readable at 80 columns, complete, and fast."""

import re
import subprocess
import sys

import pytest

from support.command_line import ROOT, Command, calls, check_call, commands
from support.process import run, tickerlake
from tickerlake.cli.help import MAX_WIDTH, OTHER, PANELS, grouped_params, parse_docstring, render_help

COMMANDS = {each.name or "root": each for each in commands()}
HEAVY_MODULES = ("polars", "duckdb", "pyarrow", "confluent_kafka", "numpy", "rich", "google.cloud.storage")


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> Command:
    return COMMANDS[request.param]


def page(command: Command, monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    return render_help(command.command, command.context)


def test_pages_fit_80_columns(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(command, monkeypatch)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert text == "\n".join(line.rstrip() for line in text.split("\n"))
    assert "\x1b" not in text


def test_names_and_defaults_are_never_cut(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    words = page(command, monkeypatch).replace("\n", " ").split()
    for param in command.command.get_params(command.context):
        assert {*param.opts, *param.secondary_opts} <= {word.rstrip(",") for word in words} or (
            param.param_type_name == "argument" and any(word.startswith(param.metavar) for word in words)
        )
        if param.envvar:
            assert f"{param.envvar}]" in words
        if isinstance(param.default, str):
            assert f"[default: {param.default}]".replace(" ", "") in "".join(words)


def test_every_parameter_is_described_and_grouped(command: Command) -> None:
    params = command.command.get_params(command.context)
    assert [param.name for param in params if not (param.help or "").endswith((".", "or ,"))] == []
    assert set(grouped_params(command.command, command.context)) <= set(PANELS)
    takes_values = [param for param in params if not getattr(param, "is_flag", False)]
    assert [param.name for param in takes_values if not re.fullmatch(r"[A-Z][\w./:=]*", param.metavar)] == []
    if not hasattr(command.command, "commands"):
        others = grouped_params(command.command, command.context)[OTHER]
        assert {param.name for param in others} <= {"help", "memory", "fresh"}


def test_examples_are_valid(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = parse_docstring(command.command.help or "").sections.get("Examples", [])
    text = page(command, monkeypatch)
    assert [line for line in examples if f"  {line}" not in text.splitlines()] == []
    for line in "\n".join(examples).replace("\\\n", " ").splitlines():
        for words in calls(line):
            check_call(words)


def test_all_commands_but_trivial_ones_have_examples() -> None:
    without = [
        each.name
        for each in COMMANDS.values()
        if not hasattr(each.command, "commands")
        and "Examples" not in parse_docstring(each.command.help or "").sections
    ]
    assert without == ["broker stop", "broker status"]


def test_wide_terminals_get_wider_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = page(COMMANDS["track"], monkeypatch, 120).splitlines()
    assert 80 < max(map(len, lines)) <= MAX_WIDTH


def test_the_root_lists_every_command_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = page(COMMANDS["root"], monkeypatch).splitlines()
    for name, command in ROOT.commands.items():
        (line,) = (line for line in lines if re.match(rf"  {name}  ", line))
        assert line.endswith(parse_docstring(command.help).summary.removesuffix("."))
    for code in (0, 2, 3, 4, 130):
        assert any(re.match(rf"  {code} ", line) for line in lines)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_printed_without_color_to_a_pipe(option: str) -> None:
    out, err = run("rules", "check", option)
    assert out.startswith("Check a rules file")
    assert "Usage: tickerlake rules check [OPTIONS] RULES" in out
    assert "\x1b" not in out
    assert err == ""


@pytest.mark.parametrize("group", [(), ("rules",), ("alerts",), ("broker",)])
def test_a_group_without_a_command_shows_its_help(group: tuple[str, ...]) -> None:
    out, err = run(*group, exit_code=2)
    assert out == ""
    assert f"Usage: {' '.join(['tickerlake', *group])} [OPTIONS] COMMAND" in err


def test_help_imports_no_heavy_module() -> None:
    code = (
        "import sys\n"
        "from tickerlake.cli.app import main\n"
        "try: main()\n"
        f"except SystemExit: print([m for m in {HEAVY_MODULES} if m in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert child.stdout.splitlines()[-1] == "[]"


def test_completion_scripts_are_printed() -> None:
    env = {"_TICKERLAKE_COMPLETE": "source_bash"}
    with tickerlake(env=env) as child:
        out, _ = child.communicate(timeout=60)
    assert "complete -o default -F _tickerlake_completion tickerlake" in out


def test_options_and_values_are_completed() -> None:
    def complete(line: str) -> list[str]:
        env = {
            "_TICKERLAKE_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        with tickerlake(env=env) as child:
            out, _ = child.communicate(timeout=60)
        return out.split()

    assert complete("tickerlake si") == ["simulate", "sink"]
    assert complete("tickerlake sink --for") == ["--format"]
    assert complete("tickerlake sink --format p") == ["parquet"]

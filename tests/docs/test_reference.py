"""The reference is complete: every command, parameter, setting and variable."""

from pathlib import Path

import msgspec
import pytest

from support.command_line import Command, commands
from tickerlake import config
from tickerlake.cli.help import param_names

PAGE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text()
COMMANDS = {each.name: each for each in commands() if not hasattr(each.command, "commands")}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_is_documented_with_its_parameters(command: Command) -> None:
    assert f"](#tickerlake-{command.name.replace(' ', '-')})" in PAGE
    section = PAGE.partition(f"## tickerlake {command.name}\n")[2].partition("\n## ")[0]
    for param in command.command.params:
        (row,) = (line for line in section.splitlines() if line.startswith(f"| `{param_names(param)}` |"))
        assert param.help in row
        assert not param.envvar or f"`{param.envvar}`" in row
        assert not param.required or "| required |" in row
    for line in (command.command.help or "").partition("Examples\n--------\n")[2].splitlines():
        assert line in section.splitlines()


def test_every_setting_is_documented() -> None:
    owners: dict[str, type[msgspec.Struct]] = {"": config.Settings, **config.SECTIONS}
    for section, owner in owners.items():
        for key in set(owner.__struct_fields__) - {"properties", config.CALENDAR, *config.SECTIONS}:
            name = f"{section}.{key}" if section else key
            variable = config.ENV_PREFIX + name.replace(".", "__").upper()
            assert f"| `{name}` | `{variable}` | `" in PAGE


def test_settings_of_several_commands_name_them_all() -> None:
    for setting, option in (("lake", "--lake"), ("kafka.bootstrap_servers", "--bootstrap-servers")):
        (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{setting}` |"))
        for name, command in COMMANDS.items():
            with_variable = [
                param for param in command.command.params if option in param.opts and param.envvar
            ]
            assert not with_variable or f"`{name} {option}`" in row


def test_every_variable_and_exit_code_is_documented() -> None:
    for variable in config.NON_SETTINGS:
        assert f"| `{variable}` |" in PAGE
    for code in (0, 2, 3, 4, 130):
        assert f"\n| {code} | " in PAGE

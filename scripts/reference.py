"""Write ``docs/reference.md`` from the command line itself: ``make reference``."""

import sys
from pathlib import Path
from typing import Any

import msgspec
from typer.main import get_command

from tickerlake.cli.app import app
from tickerlake.config import ENV_PREFIX, SECTIONS, Settings

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"
_HEADER = """# Reference

Written by `make reference` from the command line itself; `tickerlake VERB --help` says the same.

Exit codes: 0 done · 2 usage, configuration or set-up · 3 gave up on something that may work later ·
4 data refused or audit failed · 130 interrupted (run the same command again to continue). With `--json` the
result is on stdout as one JSON document; progress and messages are always on stderr.
"""
_SETTINGS = """
## Settings

Flags go over the environment, the environment over `tickerlake.toml`, the file over the defaults. The file is
`tickerlake.toml` in the working folder, or the one that `--config` or `TICKERLAKE_CONFIG` names. An unknown
key is an error. Any librdkafka property stands under `[kafka.properties]`, or in a variable with `_` for each
dot:
`TICKERLAKE_KAFKA__PROPERTIES__SASL_PASSWORD`. Keep passwords in the environment, not in the file.

```toml
lake = "gs://my-bucket/lake"

[kafka]
bootstrap_servers = "kafka-1:9093,kafka-2:9093"

[kafka.properties]
"sasl.mechanisms" = "SCRAM-SHA-512"
"sasl.username" = "tickerlake"

[sink]
topic = ["stocks.bars"]
format = "parquet"
```

| key | variable | flag of |
|---|---|---|
"""


def render_page() -> str:
    """Return the whole page."""
    lines = [_HEADER]
    root: Any = get_command(app)
    for name, command in sorted(root.commands.items()):
        for subcommand, each in sorted(getattr(command, "commands", {"": command}).items()):
            lines += _command_section(f"{name} {subcommand}".strip(), each)
    lines.append(_SETTINGS.rstrip("\n"))
    lines += _settings_rows(root)
    return "\n".join(lines) + "\n"


def _command_section(name: str, command: Any) -> list[str]:
    arguments = " ".join(p.name.upper() + "…" for p in command.params if p.param_type_name == "argument")
    title = f"tickerlake {name} {arguments}".strip()
    lines = [
        f"\n## `{title}`\n",
        " ".join(command.help.split()),
        "",
        "| option | | default |",
        "|---|---|---|",
    ]
    for param in command.params:
        if param.param_type_name != "option" or "--help" in param.opts:
            continue
        # a long option first, as it is read
        names = sorted([*param.opts, *param.secondary_opts], key=lambda name: not name.startswith("--"))
        flags = ", ".join(f"`{name}`" for name in names)
        default = "required" if param.required else _format_default(param.default)
        lines.append(f"| {flags} | {param.help} | {default} |")
    return lines


def _format_default(default: Any) -> str:
    return "" if default is None or default is False or default == [] else f"`{default}`"


def _settings_rows(root: Any) -> list[str]:
    lines = [_setting_row("", "lake", root)]
    for section, owner in SECTIONS.items():
        lines += [_setting_row(section, key, root) for key in owner.__struct_fields__ if key != "properties"]
    assert set(SECTIONS) < {field.name for field in msgspec.structs.fields(Settings)}
    return lines


def _setting_row(section: str, key: str, root: Any) -> str:
    commands = [section] if section in root.commands else ["produce", "sink", "track", "audit"]
    flags = [
        f"`{verb} {param.opts[0]}`"
        for verb in commands
        for param in root.commands[verb].params
        # audit compares with Kafka only if it is told to
        if param.name.rstrip("_") == key and (verb, key) != ("audit", "bootstrap_servers")
    ]
    assert flags, f"{section}.{key} is the setting of no flag"
    dotted = f"{section}.{key}" if section else key
    return f"| `{dotted}` | `{ENV_PREFIX}{dotted.replace('.', '__').upper()}` | {', '.join(flags)} |"


def main() -> None:
    """Write the page, or with ``--check`` say whether it is up to date."""
    if "--check" in sys.argv:
        sys.exit(
            0 if PAGE.read_text() == render_page() else "docs/reference.md is out of date: make reference"
        )
    PAGE.write_text(render_page())


if __name__ == "__main__":
    main()

"""Help pages: plain text in two columns, made for 80 characters, colored on a terminal.

A page is built from the command's docstring and from its parameters, which ``rich_help_panel`` groups. It
does not use Rich, whose import would double the start-up time.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

MAX_WIDTH: Final = 100
"""Longer lines are hard to read, however wide the terminal is."""

_MIN_WIDTH: Final = 40
_MAX_NAMES_WIDTH: Final = 26
"""Width of the first column: at 80 columns it leaves 50 for the second, about eight words."""

ARGUMENTS: Final = "Arguments"
INPUT: Final = "Input"
MARKET: Final = "Market"
KAFKA: Final = "Kafka"
LAKE: Final = "Lake"
BIGQUERY: Final = "BigQuery"
BARS: Final = "Bars and indicators"
RULES: Final = "Rules"
SERVER: Final = "Server"
TIMING: Final = "Timing"
OUTPUT: Final = "Output"
OTHER: Final = "Other"
PANELS: Final = (
    ARGUMENTS,
    INPUT,
    MARKET,
    KAFKA,
    LAKE,
    BIGQUERY,
    BARS,
    RULES,
    SERVER,
    TIMING,
    OUTPUT,
    OTHER,
)
"""The groups of parameters, in the order in which every page shows them."""


class CommandText(NamedTuple):
    """A docstring: its first line, its paragraphs, and its underlined sections as titles and lines."""

    summary: str
    paragraphs: list[str]
    sections: dict[str, list[str]]


def parse_docstring(text: str) -> CommandText:
    """Split the docstring of a command; lines of a paragraph are joined, lines of a section are kept."""
    head, *rest = re.split(r"^(\S.*)\n-+\n", text.strip() + "\n", flags=re.MULTILINE)
    summary, *paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", head.strip()))
    bodies = (body.strip("\n").split("\n") for body in rest[1::2])
    return CommandText(summary, paragraphs, dict(zip(rest[::2], bodies, strict=True)))


def grouped_params(command: Any, context: typer.Context) -> dict[str, list[Any]]:
    """Return the visible parameters of a command by the group that shows them."""
    groups: dict[str, list[Any]] = {name: [] for name in PANELS}
    for param in command.get_params(context):
        if not param.hidden:
            panel = ARGUMENTS if param.param_type_name == "argument" else param.rich_help_panel or OTHER
            groups[panel].append(param)
    return {name: params for name, params in groups.items() if params}


def param_names(param: Any) -> str:
    """Return how a parameter is written: ``-t, --topic TOPIC``, ``--create, --no-create`` or ``FILES...``."""
    metavar = param.metavar or param.name.upper()
    if param.param_type_name == "argument":
        return f"{metavar}..." if param.nargs != 1 else metavar
    names = ", ".join(sorted([*param.opts, *param.secondary_opts], key=lambda name: name.startswith("--")))
    return names if param.is_flag else f"{names} {metavar}"


def param_default(param: Any, context: typer.Context) -> str:
    """Return the default as the command line takes it, empty if there is none worth showing."""
    if isinstance(param.show_default, str):
        return param.show_default
    value = param.get_default(context, call=False)
    if value is None or value in (False, [], ()):
        return param.secondary_opts[0] if value is False and getattr(param, "secondary_opts", None) else ""
    if value is True:
        return str(param.opts[0]) if param.secondary_opts else ""
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def usage(command: Any, context: typer.Context) -> list[str]:
    """Return what follows the command in its usage line: required options are named."""
    pieces = ["[OPTIONS]"]
    for param in command.get_params(context):
        if param.param_type_name == "argument":
            pieces.append(param_names(param) if param.required else f"[{param_names(param)}]")
        elif param.required:
            pieces.append(f"{max(param.opts, key=len)} {param.metavar or param.name.upper()}")
    return [*pieces, "COMMAND"] if isinstance(command, TyperGroup) else pieces


def _units(param: Any, context: typer.Context) -> Iterator[str]:
    """Yield the words of a parameter's description, and its notes, which are broken only if need be."""
    yield from (param.help or "").split()
    default = param_default(param, context)
    if param.required and not default:
        yield "[required]"
    elif default:
        yield f"[default: {default}]"
    if param.envvar:
        yield f"[env: {param.envvar}]"


def _fill(units: Iterable[str], width: int) -> list[str]:
    """Fill lines with words; one that is longer than a line is broken after spaces and commas."""
    lines: list[str] = []
    for unit in units:
        if lines and len(lines[-1]) + 1 + len(unit) <= width:
            lines[-1] += f" {unit}"
            continue
        lines.append("")
        for piece in [unit] if len(unit) <= width else re.findall(r"[^ ,]*[ ,]?", unit):
            if len(lines[-1]) + len(piece.rstrip()) > width:
                lines[-1] = lines[-1].rstrip()
                lines.append("")
            lines[-1] += piece
    return lines


class _Page:
    """Lines of text, with terminal colors where they help."""

    def __init__(self) -> None:
        columns = shutil.get_terminal_size().columns
        self.width = min(max(columns, _MIN_WIDTH), MAX_WIDTH)
        self.lines: list[str] = []
        self._colored = not os.environ.get("NO_COLOR")

    def _style(self, text: str, **style: Any) -> str:
        return typer.style(text, **style) if self._colored and text else text

    def paragraph(self, text: str) -> None:
        self.lines += [*_fill(text.split(), self.width), ""]

    def usage(self, path: str, pieces: list[str]) -> None:
        prefix = f"Usage: {path} "
        head, *rest = _fill(pieces, self.width - len(prefix))
        self.lines += [f"{self._style('Usage:', bold=True)} {path} {head}"]
        self.lines += [*(f"{'':{len(prefix)}}{line}" for line in rest), ""]

    def verbatim(self, title: str, lines: Iterable[str]) -> None:
        self.lines += [self._style(f"{title}:", bold=True), *(f"  {line}".rstrip() for line in lines), ""]

    def table(self, title: str, rows: Iterable[tuple[str, list[str]]], names_width: int) -> None:
        """Add a table of names and words; a name that is too long has a line of its own."""
        self.lines.append(self._style(f"{title}:", bold=True))
        for name, units in rows:
            text = _fill(units, self.width - names_width - 4)
            shown = self._style(name.strip(), fg=typer.colors.CYAN)
            indent = " " * (2 + len(name) - len(name.lstrip()))
            if len(name) > names_width:
                self.lines.append(indent + shown)
            else:
                first = text.pop(0) if text else ""
                self.lines.append(f"{indent}{shown}{'':{names_width - len(name) + 2}}{first}".rstrip())
            self.lines += [f"{'':{names_width + 4}}{line}" for line in text]
        self.lines.append("")


def _aligned(param: Any) -> str:
    """Return a parameter's names, long options below each other whether they have a short one or not."""
    names = param_names(param)
    return f"    {names}" if names.startswith("--") else names


def _add_tables(page: _Page, tables: dict[str, list[tuple[str, list[str]]]]) -> None:
    widths = [len(name) for rows in tables.values() for name, _ in rows]
    names_width = max((width for width in widths if width <= _MAX_NAMES_WIDTH), default=_MAX_NAMES_WIDTH)
    for title, rows in tables.items():
        page.table(title, rows, names_width)


def render_help(command: Any, context: typer.Context) -> str:
    """Return the help page of a command or of a group of commands."""
    page, text = _Page(), parse_docstring(command.help or "")
    page.paragraph(text.summary)
    page.usage(context.command_path, usage(command, context))
    for paragraph in text.paragraphs:
        page.paragraph(paragraph)
    if isinstance(command, TyperGroup):
        commands: dict[str, list[tuple[str, list[str]]]] = {}
        for name, each in command.commands.items():
            panel = getattr(each, "rich_help_panel", None) or "Commands"
            words = parse_docstring(each.help or "").summary.removesuffix(".").split()
            commands.setdefault(panel, []).append((name, words))
        _add_tables(page, commands)
    options = {
        "Options" if isinstance(command, TyperGroup) else title: [
            (_aligned(param), list(_units(param, context))) for param in params
        ]
        for title, params in grouped_params(command, context).items()
    }
    _add_tables(page, options)
    for title, lines in text.sections.items():
        page.verbatim(title, lines)
    return "\n".join(page.lines)


class HelpCommand(TyperCommand):
    """A command with a help page of :func:`render_help`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(render_help(self, ctx))


class HelpGroup(TyperGroup):
    """A group of commands with a help page of :func:`render_help`, which it shows if no command is given."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(render_help(self, ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options in front of the command; without any argument print the page and exit with 2."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

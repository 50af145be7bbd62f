"""The command line as data: its commands and their parameters, and whether a line of a guide parses."""

import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

import typer
from typer.main import get_command

from tickerlake.cli.commands import app

ROOT: Any = get_command(app)


class Command(NamedTuple):
    """A command or a group of commands, named as it is typed: ``rules test``; the root's name is empty."""

    name: str
    command: Any
    context: typer.Context


def commands() -> list[Command]:
    """Return the root, all groups, and all commands."""
    root = typer.Context(ROOT, info_name="tickerlake", **ROOT.context_settings)
    return [Command("", ROOT, root), *_subcommands("", ROOT, root)]


def _subcommands(path: str, group: Any, parent: typer.Context) -> Iterator[Command]:
    for name, command in group.commands.items():
        context = typer.Context(command, info_name=name, parent=parent)
        yield Command(f"{path} {name}".strip(), command, context)
        yield from (
            _subcommands(f"{path} {name}".strip(), command, context) if hasattr(command, "commands") else ()
        )


def calls(line: str) -> list[list[str]]:
    """Return the arguments of each call of tickerlake in a line of shell, for which a comment may follow."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for token in lexer:
        if set(token) <= set("|&;<>"):
            found.append([])
        else:
            found[-1].append(token)
    return [words[1:] for words in found if words[:1] == ["tickerlake"]]


def check_call(words: list[str], *, is_complete: bool = True) -> None:
    """Assert that arguments name a command and its options; complete ones are parsed."""
    command, rest = ROOT, list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, words
        command = command.commands[rest.pop(0)]
    known = {"-h", "--help"}.union(*({*param.opts, *param.secondary_opts} for param in command.params))
    assert {word for word in rest if word.startswith("-") and word != "-"} <= known, words
    if is_complete and not hasattr(command, "commands"):
        command.make_context(command.name, rest)

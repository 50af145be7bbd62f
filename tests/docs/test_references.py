"""What pages refer to exists: paths, links, commands, options."""

import re
from pathlib import Path
from typing import Final

import pytest

from support.command_line import ROOT, calls, check_call

PROJECT: Final = Path(__file__).parents[2]
PAGES: Final = {
    str(path.relative_to(PROJECT)): path.read_text()
    for path in [
        *(PROJECT / f"{name}.md" for name in ("README", "TOUR", "CONTRIBUTING")),
        *sorted((PROJECT / "docs").glob("*.md")),
    ]
}
_PATH: Final = re.compile(r"(?<![\w/.-])(?:src|tests|docs|scripts|bench|deploy|web)/[\w./*-]*\w/?")


def split_page(page: str) -> tuple[str, str]:
    """Return the prose of a page, and its code, continued lines joined."""
    parts: tuple[list[str], list[str]] = ([], [])
    is_fenced = False
    for line in page.splitlines():
        is_fence = line.startswith("```")
        is_fenced ^= is_fence
        if not is_fence:
            parts[is_fenced or line.startswith("    ")].append(line)
    return "\n".join(parts[0]), "\n".join(parts[1]).replace("\\\n", " ")


def mentioned_commands() -> list[tuple[str, str, bool]]:
    """Return page, command, and whether it is complete, of all pages."""
    mentioned = []
    for name, page in PAGES.items():
        prose, code = split_page(page)
        lines = (line.strip().removeprefix("$ ") for line in code.splitlines())
        mentioned += [
            (name, line, True) for line in lines if re.match(r"(?:[\w. /-]+\| )?tickerlake [a-z]", line)
        ]
        inline = re.findall(r"`(tickerlake [a-z][^`]*)`", prose)
        mentioned += [(name, " ".join(line.split()), False) for line in inline]
    return mentioned


@pytest.mark.parametrize(("page", "line", "is_complete"), mentioned_commands())
def test_every_command_parses(page: str, line: str, is_complete: bool) -> None:
    arguments = calls(line)
    assert arguments, page
    for words in arguments:
        check_call(words, is_complete=is_complete)


@pytest.mark.parametrize("page", PAGES)
def test_every_option_exists(page: str) -> None:
    known = {"--help"}
    groups = [ROOT]
    for command in groups:
        groups += getattr(command, "commands", {}).values()
        known.update(*({*param.opts, *param.secondary_opts} for param in command.params))
    mentioned = re.findall(r"`(--[a-z][a-z-]*)[^`]*`", PAGES[page])
    assert sorted({*mentioned} - known) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page: str) -> None:
    paths = {*_PATH.findall(PAGES[page])}
    missing = [path for path in paths if not any(PROJECT.glob(path.rstrip("/")))]
    assert sorted(missing) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_resolves(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = (PROJECT / page).parent / file if file else PROJECT / page
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
            assert anchor in slugs, target


def test_every_module_that_heads_a_paragraph_of_the_tour_exists() -> None:
    package = PROJECT / "src" / "tickerlake"
    modules = re.findall(r"\*\*`([a-z_/]+)`", PAGES["TOUR.md"])
    assert len(modules) > 10
    missing = [
        name for name in modules if not ((package / name).is_dir() or (package / f"{name}.py").is_file())
    ]
    assert missing == []

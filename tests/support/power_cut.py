"""Power cuts: what a disk may hold after one, for each moment of a recorded run.

A process runs with `power_cut.c` preloaded, which logs its operations on files. `Disk` replays such a log and
knows what has been synced. After a cut, data that were not synced may be lost, torn or there, and so may each
change of a folder that was not synced, whatever the others; a real file system loses no more than that.
"""

import os
import platform
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Literal

import pytest

_SOURCE = Path(__file__).with_suffix(".c")
Operation = tuple[list[str], bytes]
"""The words of a line of the log, and the data behind it."""
Loss = Literal["unsynced", "data", "nothing", "random"]
"""What a cut loses: all that is unsynced; only data, so that names of empty files stay; nothing; anything."""


def compile_recorder(folder: Path) -> Path:
    """Compile the library; skip the test if this machine cannot."""
    compiler = shutil.which("cc")
    if compiler is None or platform.system() != "Linux":
        pytest.skip("recording operations on files needs Linux and a C compiler (cc)")
    library = folder / "power_cut.so"
    flags = ("-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl", "-lpthread")
    subprocess.run([compiler, *map(str, flags)], check=True)
    return library


def record(library: Path, folder: Path, module: str, *arguments: object) -> tuple[list[Operation], Path]:
    """Run a module of the tests with ``DISK NOTES ARGUMENTS``; return its operations and its disk.

    ``DISK`` is an empty folder whose operations are recorded; each write to the file ``NOTES`` becomes an
    operation ``note``.
    """
    disk, notes, log = folder / "disk", folder / "notes", folder / "log"
    disk.mkdir(parents=True)
    environment = {
        "LD_PRELOAD": str(library),
        "POWER_CUT_ROOT": str(disk),
        "POWER_CUT_NOTES": str(notes),
        "POWER_CUT_LOG": str(log),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", module, str(disk), str(notes), *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(_read_log(log.read_bytes(), str(disk))), disk


def omit_syncs(is_omitted: Callable[[Path], bool]) -> None:
    """Do nothing when this process syncs a file or a folder that is omitted."""
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        if not is_omitted(Path(f"/proc/self/fd/{descriptor}").readlink()):
            fsync(descriptor)

    os.fsync = sync  # type: ignore[assignment]


def _read_log(log: bytes, root: str) -> Iterator[Operation]:
    at = 0
    while at < len(log):
        end = log.index(b"\n", at)
        words = re.sub(rf" {re.escape(root)}(?=[/ ]|$)", " ", log[at:end].decode()).split(" ")
        size = int(words[-1]) if words[0] in {"write", "note"} else 0
        at = end + 1 + size
        yield words, log[end + 1 : at]


@dataclass(eq=False)
class _Node:
    """A file or a folder: what it is now, and what of it is synced."""

    is_folder: bool
    data: bytearray = field(default_factory=bytearray)
    synced_data: bytes = b""
    entries: dict[str, "_Node"] = field(default_factory=dict)
    synced_entries: dict[str, "_Node"] = field(default_factory=dict)
    unsynced: list[dict[str, "_Node | None"]] = field(default_factory=list)

    def change(self, changes: Mapping[str, "_Node | None"]) -> None:
        """Add or remove (None) names, at once."""
        _apply(self.entries, changes)
        self.unsynced.append(dict(changes))

    def sync(self) -> None:
        self.synced_data = bytes(self.data)
        self.synced_entries = dict(self.entries)
        self.unsynced.clear()


def _apply(entries: dict[str, _Node], changes: Mapping[str, _Node | None]) -> None:
    for name, node in changes.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


class Disk:
    """A disk to which recorded operations are applied."""

    def __init__(self) -> None:
        self._root = _Node(is_folder=True)
        self._nodes: dict[str, _Node] = {}

    def apply(self, operation: Operation) -> None:
        """Apply one operation of a log; notes change nothing."""
        (kind, *words), data = operation
        match kind:
            case "create" | "mkdir":
                node = self._nodes[words[0]] = _Node(is_folder=kind == "mkdir")
                self._change(words[1], node)
            case "link":
                self._change(words[1], self._nodes[words[0]])
            case "unlink":
                self._change(words[0], None)
            case "rename":
                self._rename(*words)
            case "write":
                content, start = self._nodes[words[0]].data, int(words[1])
                content.extend(bytes(max(0, start - len(content))))
                content[start : start + len(data)] = data
            case "truncate":
                content, length = self._nodes[words[0]].data, int(words[1])
                content.extend(bytes(max(0, length - len(content))))
                del content[length:]
            case "sync":
                # the root was there before, so that its number is unknown
                self._nodes.get(words[0], self._root).sync()
            case _:
                assert kind == "note", operation

    def _change(self, path: str, node: _Node | None) -> None:
        folder, name = self._folder_of(path)
        folder.change({name: node})

    def _rename(self, source: str, target: str) -> None:
        (old_folder, old_name), (new_folder, new_name) = self._folder_of(source), self._folder_of(target)
        node = old_folder.entries[old_name]
        if old_folder is new_folder:
            old_folder.change({old_name: None, new_name: node})
        else:
            new_folder.change({new_name: node})
            old_folder.change({old_name: None})

    def _folder_of(self, path: str) -> tuple[_Node, str]:
        *folders, name = path.strip("/").split("/")
        node = self._root
        for each in folders:
            node = node.entries[each]
        return node, name

    def cut(self, loss: Loss, seed: int = 0) -> dict[str, bytes | None]:
        """Return what is there after a power cut: the content of each file, None for folders, by path."""
        chance = random.Random(seed)
        found: dict[str, bytes | None] = {}
        contents: dict[_Node, bytes] = {}

        def keeps() -> bool:
            return loss in {"nothing", "data"} or (loss == "random" and chance.random() < 0.5)

        def content(node: _Node) -> bytes:
            data, synced = bytes(node.data), node.synced_data
            if data == synced or loss in {"unsynced", "data"}:
                return synced
            if loss == "nothing":
                return data
            # what was synced stays, unless it is overwritten
            pairs = zip(data, synced, strict=False)
            unchanged = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            torn = data[: chance.randint(unchanged, len(data))]
            rest = chance.choice((b"", bytes(len(data) - len(torn)), synced[len(torn) :]))
            return chance.choice((data, synced, torn + rest))

        def visit(folder: _Node, prefix: str) -> None:
            entries = dict(folder.synced_entries)
            for changes in folder.unsynced:
                if keeps():
                    _apply(entries, changes)
            for name, node in sorted(entries.items()):
                found[prefix + name] = None
                if node.is_folder:
                    visit(node, f"{prefix}{name}/")
                else:
                    if node not in contents:
                        contents[node] = content(node)
                    found[prefix + name] = contents[node]

        visit(self._root, "")
        return found


def write_files(found: Mapping[str, bytes | None], folder: Path) -> None:
    """Write files and folders as `Disk.cut` returned them."""
    folder.mkdir(parents=True)
    for path, data in found.items():
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)


def read_files(folder: Path) -> dict[str, bytes | None]:
    """Return what `write_files` would write."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def replay(operations: Sequence[Operation]) -> Iterator[tuple[Disk, Operation]]:
    """Yield the disk after each operation."""
    disk = Disk()
    for operation in operations:
        disk.apply(operation)
        yield disk, operation

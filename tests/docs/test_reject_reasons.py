"""The guides list exactly the reasons for which each stage rejects input."""

import re
from pathlib import Path
from typing import Final

import pytest

from tickerlake.model import quality
from tickerlake.model.reject import RejectReason

ROOT: Final = Path(__file__).parents[2]
STAGES: Final = {"files": "sources/csv", "tracking": "analytics"}
"""Guide → package whose modules reject the input that the guide describes."""


def documented_reasons(guide: str) -> set[str]:
    """Return the names in the first column of the table headed ``reason``."""
    text = (ROOT / "docs" / f"{guide}.md").read_text()
    table = re.search(r"^\| reason \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table
    return {name for row in table[1].splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def reasons_in_code(package: str) -> set[str]:
    """Return the reasons that the modules of a package use."""
    sources = (ROOT / "src/tickerlake" / package).rglob("*.py")
    names = {
        name for path in sources for name in re.findall(r"\bRejectReason\.([A-Z_]+)\b", path.read_text())
    }
    return {RejectReason[name].value for name in names}


@pytest.mark.parametrize("guide", STAGES)
def test_a_guide_lists_exactly_the_reasons_of_its_stage(guide: str) -> None:
    reasons = reasons_in_code(STAGES[guide])
    assert len(reasons) > 10
    assert documented_reasons(guide) == reasons


def test_every_reason_belongs_to_a_stage() -> None:
    assert set.union(*map(reasons_in_code, STAGES.values())) == {reason.value for reason in RejectReason}


def test_the_guide_to_files_names_every_quality_flag() -> None:
    text = (ROOT / "docs/files.md").read_text()
    flags = [value for name, value in vars(quality).items() if name.isupper()]
    assert flags
    assert [flag for flag in flags if f"`{flag}`" not in text] == []

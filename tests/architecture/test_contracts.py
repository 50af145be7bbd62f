"""The import contracts of pyproject.toml cover every module, including new ones."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]


def check_contracts(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a copy of the source tree."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=tree,
        env={"PYTHONPATH": str(tree / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("static", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_tree_keeps_its_contracts(tree: Path) -> None:
    result = check_contracts(tree)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "code", "broken"),
    [
        ("orphan.py", "", "The data flows one way"),
        ("dashboard/orphan.py", "", "The dashboard: state does not depend on its readers"),
        ("warehouse/orphan.py", "import confluent_kafka", "Only kafka imports the Kafka client"),
        ("config_orphan/__init__.py", "", "The data flows one way"),
        (
            "lake/orphan.py",
            "from google.cloud import storage",
            "Only lake.store and warehouse.bigquery import Google's clients",
        ),
        ("lake/orphan.py", "import tickerlake.cli.app", "The data flows one way"),
    ],
)
def test_a_module_outside_the_contracts_is_reported(tree: Path, module: str, code: str, broken: str) -> None:
    path = tree / "src" / "tickerlake" / module
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'"""Added without a contract."""\n{code}\n')
    result = check_contracts(tree)
    assert result.returncode == 1, result.stdout
    assert [line.split(" BROKEN")[0] for line in result.stdout.splitlines() if " BROKEN" in line] == [broken]

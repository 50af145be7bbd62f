"""Write ``deploy/grafana/tickerlake.json``, the dashboard for Grafana, from the panels defined below."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DASHBOARD_FILE = Path(__file__).parent.parent / "deploy" / "grafana" / "tickerlake.json"
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24
_INSTANCE_FILTER = 'job=~"$job",instance=~"$instance"'
_TOPIC_FILTER = f'{_INSTANCE_FILTER},topic=~"$topic"'
_GROUP_FILTER = f'{_TOPIC_FILTER},group=~"$group"'
_READ = "tickerlake_consumer_committed_records_total"
_NEWEST = "tickerlake_lake_newest_record_timestamp_seconds"
_REJECTS = "tickerlake_lake_rejects_total"
_LOST = "tickerlake_lake_lost_records_total"
_LAST_RECORD = "tickerlake_dashboard_last_record_timestamp_seconds"
_YES_NO_MAPPING = [
    {
        "type": "value",
        "options": {
            "0": {"text": "no", "color": "red", "index": 0},
            "1": {"text": "yes", "color": "green", "index": 1},
        },
    }
]

Panel = dict[str, Any]
Query = tuple[str, str]
"""An expression, and the legend format of its series."""


def thresholds(*levels: tuple[float | None, str]) -> dict[str, Any]:
    """Return thresholds: the color from each value on."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in levels]}


def stat(title: str, expr: str, unit: str = "short", threshold_levels: Any = None, **defaults: Any) -> Panel:
    """Return a panel with a single value."""
    return {
        "type": "stat",
        "title": title,
        "targets": _targets([(expr, "")], instant=True),
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "thresholds": threshold_levels or thresholds((None, "blue")),
                **defaults,
            },
            "overrides": [],
        },
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "none",
            "textMode": "auto",
        },
    }


def timeseries(
    title: str, *queries: Query, unit: str = "short", threshold_levels: Any = None, description: str = ""
) -> Panel:
    """Return a panel of values over time."""
    custom = {"fillOpacity": 8, "lineWidth": 1, "showPoints": "never", "spanNulls": False}
    if threshold_levels:
        custom["thresholdsStyle"] = {"mode": "line"}
    return {
        "type": "timeseries",
        "title": title,
        "description": description,
        "targets": _targets(queries),
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "min": 0,
                "custom": custom,
                "thresholds": threshold_levels or thresholds((None, "green")),
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def audit_table() -> Panel:
    """Return a table with the last audit of each topic."""
    columns = {
        "A": ("passed", f"tickerlake_audit_ok{{{_TOPIC_FILTER}}}"),
        "B": ("findings", f"tickerlake_audit_findings{{{_TOPIC_FILTER}}}"),
        "C": ("age", f"time() - tickerlake_audit_timestamp_seconds{{{_TOPIC_FILTER}}}"),
    }
    targets = _targets([(expr, "") for _, expr in columns.values()], instant=True, format="table")
    hidden = dict.fromkeys(("Time", "__name__", "job", "instance"), True)
    return {
        "type": "table",
        "title": "Last audits",
        "targets": targets,
        "transformations": [
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": hidden,
                    "renameByName": {f"Value #{ref}": name for ref, (name, _) in columns.items()},
                },
            },
        ],
        "fieldConfig": {
            "defaults": {"thresholds": thresholds((None, "blue"))},
            "overrides": [
                _override(
                    "passed", mappings=_YES_NO_MAPPING, **{"custom.cellOptions": {"type": "color-text"}}
                ),
                _override("age", unit="s"),
            ],
        },
        "options": {"showHeader": True},
    }


def _override(field: str, **properties: Any) -> dict[str, Any]:
    return {
        "matcher": {"id": "byName", "options": field},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }


def _targets(queries: Sequence[Query], **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "refId": chr(ord("A") + number),
            "datasource": _DATASOURCE,
            "expr": expr,
            "legendFormat": legend,
            **more,
        }
        for number, (expr, legend) in enumerate(queries)
    ]


def dashboard_rows() -> dict[str, list[tuple[int, int, list[Panel]]]]:
    """Return all panels: by the title of a row, lines of panels with their width and height."""
    delay_levels = thresholds((None, "green"), (60, "orange"), (300, "red"))
    error_levels = thresholds((None, "green"), (1, "red"))
    warning_levels = thresholds((None, "green"), (1, "orange"))

    def per_topic(name: str) -> Query:
        return f"sum by (topic) (rate({name}{{{_TOPIC_FILTER}}}[$__rate_interval]))", "{{topic}}"

    def of_topic(name: str) -> Query:
        return f"max by (topic) ({name}{{{_TOPIC_FILTER}}})", "{{topic}}"

    def of_server(name: str) -> str:
        return f"sum(rate(tickerlake_dashboard_{name}{{{_INSTANCE_FILTER}}}[$__rate_interval]))"

    return {
        "Overview": [
            (
                3,
                4,
                [
                    stat(
                        "Kafka up",
                        f"min(tickerlake_kafka_up{{{_INSTANCE_FILTER}}})",
                        mappings=_YES_NO_MAPPING,
                    ),
                    stat(
                        "Lake up",
                        f"min(tickerlake_lake_up{{{_INSTANCE_FILTER}}})",
                        mappings=_YES_NO_MAPPING,
                    ),
                    stat(
                        "Lake lag",
                        f"max(tickerlake_lake_behind_seconds{{{_TOPIC_FILTER}}})",
                        "s",
                        delay_levels,
                    ),
                    stat("Consumer lag", f"sum(tickerlake_consumer_lag_records{{{_GROUP_FILTER}}})"),
                    stat(
                        "Rejects",
                        f"sum(tickerlake_lake_rejects_total{{{_TOPIC_FILTER}}})",
                        threshold_levels=warning_levels,
                    ),
                    stat(
                        "Lost records",
                        f"sum(tickerlake_lake_lost_records_total{{{_TOPIC_FILTER}}})",
                        threshold_levels=error_levels,
                    ),
                    stat(
                        "Audits passed",
                        f"min(tickerlake_audit_ok{{{_TOPIC_FILTER}}})",
                        mappings=_YES_NO_MAPPING,
                    ),
                    stat(
                        "Cost to date",
                        f"max(tickerlake_lake_cost_dollars{{{_INSTANCE_FILTER}}})",
                        "currencyUSD",
                    ),
                ],
            )
        ],
        "Kafka": [
            (
                8,
                8,
                [
                    timeseries("Records written", per_topic("tickerlake_topic_records_total"), unit="cps"),
                    timeseries(
                        "Records read by consumer groups",
                        (
                            f"sum by (group, topic) (rate({_READ}{{{_GROUP_FILTER}}}[$__rate_interval]))",
                            "{{group}} {{topic}}",
                        ),
                        unit="cps",
                    ),
                    timeseries("Retained records", of_topic("tickerlake_topic_retained_records")),
                ],
            ),
            (
                12,
                8,
                [
                    timeseries(
                        "Consumer lag by group",
                        (
                            f"sum by (group, topic) (tickerlake_consumer_lag_records{{{_GROUP_FILTER}}})",
                            "{{group}} {{topic}}",
                        ),
                        description="Offsets not committed yet; 0 if only transaction markers follow.",
                    ),
                    timeseries(
                        "Consumer lag by partition (top 10)",
                        (
                            f"topk(10, tickerlake_consumer_lag_records{{{_GROUP_FILTER}}})",
                            "{{group}} {{topic}}/{{partition}}",
                        ),
                    ),
                ],
            ),
        ],
        "Lake": [
            (
                8,
                8,
                [
                    timeseries(
                        "Lake lag by topic",
                        of_topic("tickerlake_lake_behind_seconds"),
                        unit="s",
                        threshold_levels=delay_levels,
                        description="Age of the oldest record that is not stored yet.",
                    ),
                    timeseries("Records not stored yet", of_topic("tickerlake_lake_behind_records")),
                    timeseries("Records stored", per_topic("tickerlake_lake_records_total"), unit="cps"),
                ],
            ),
            (
                8,
                8,
                [
                    timeseries(
                        "Rejected and lost records",
                        (
                            f"sum by (topic) (increase({_REJECTS}{{{_TOPIC_FILTER}}}[1h]))",
                            "rejects {{topic}}",
                        ),
                        (
                            f"sum by (topic) (increase({_LOST}{{{_TOPIC_FILTER}}}[1h]))",
                            "lost {{topic}}",
                        ),
                        description="During the last hour.",
                    ),
                    timeseries("Segments", of_topic("tickerlake_lake_segments")),
                    timeseries("Size", of_topic("tickerlake_lake_size_bytes"), unit="bytes"),
                ],
            ),
            (
                8,
                8,
                [
                    timeseries(
                        "Age of the newest stored record",
                        (
                            f"time() - max by (topic) ({_NEWEST}{{{_TOPIC_FILTER}}} > 0)",
                            "{{topic}}",
                        ),
                        unit="s",
                    ),
                    timeseries(
                        "Cost at list prices",
                        (
                            f"max(tickerlake_lake_cost_dollars{{{_INSTANCE_FILTER}}})",
                            "objects created to date",
                        ),
                        (
                            f"max(tickerlake_lake_storage_dollars_per_month{{{_INSTANCE_FILTER}}})",
                            "storage per month",
                        ),
                        unit="currencyUSD",
                    ),
                    timeseries(
                        "Objects, and topics with a broken chain or being counted",
                        (f"max(tickerlake_lake_objects{{{_INSTANCE_FILTER}}})", "objects"),
                        (
                            f"sum(tickerlake_lake_chain_broken{{{_TOPIC_FILTER}}})",
                            "topics with a broken chain",
                        ),
                        (f"sum(tickerlake_lake_counting{{{_TOPIC_FILTER}}})", "topics being counted"),
                    ),
                ],
            ),
        ],
        "Audits": [(24, 8, [audit_table()])],
        "Dashboard": [
            (
                8,
                8,
                [
                    timeseries(
                        "Clients",
                        (f"sum(tickerlake_dashboard_clients{{{_INSTANCE_FILTER}}})", "connected"),
                        (
                            f"sum(increase(tickerlake_dashboard_clients_dropped_total{{{_INSTANCE_FILTER}}}[5m]))",
                            "dropped (5 min)",
                        ),
                        (
                            f"sum(increase(tickerlake_dashboard_clients_refused_total{{{_INSTANCE_FILTER}}}[5m]))",
                            "refused (5 min)",
                        ),
                    ),
                    timeseries("Bytes sent", (of_server("sent_bytes_total"), "bytes"), unit="Bps"),
                    timeseries(
                        "Frames sent and records read",
                        (of_server("frames_sent_total"), "frames sent"),
                        (of_server("records_read_total"), "records read"),
                        (of_server("records_skipped_total"), "records skipped"),
                        unit="cps",
                    ),
                ],
            ),
            (
                4,
                4,
                [
                    stat(
                        "Time since last record",
                        f"time() - max({_LAST_RECORD}{{{_INSTANCE_FILTER}}} > 0)",
                        "s",
                    ),
                    stat(
                        "Time since last poll",
                        f"time() - min(tickerlake_dashboard_poll_timestamp_seconds{{{_INSTANCE_FILTER}}})",
                        "s",
                        delay_levels,
                    ),
                    stat(
                        "History loaded",
                        f"min(tickerlake_dashboard_loading_ratio{{{_INSTANCE_FILTER}}})",
                        "percentunit",
                    ),
                    stat("Instruments", f"max(tickerlake_dashboard_instruments{{{_INSTANCE_FILTER}}})"),
                    stat(
                        "Series omitted",
                        f"max(tickerlake_dashboard_series_omitted{{{_INSTANCE_FILTER}}})",
                        threshold_levels=warning_levels,
                    ),
                    {
                        **stat("Version", f"max by (version) (tickerlake_build_info{{{_INSTANCE_FILTER}}})"),
                        "options": {
                            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                            "colorMode": "none",
                            "graphMode": "none",
                            "textMode": "name",
                        },
                    },
                ],
            ),
        ],
    }


def template_variables() -> list[dict[str, Any]]:
    """Return the template variables, shown above the panels."""
    labels = {
        "job": "label_values(tickerlake_build_info, job)",
        "instance": 'label_values(tickerlake_build_info{job=~"$job"}, instance)',
        "topic": f"label_values(tickerlake_topic_retained_records{{{_INSTANCE_FILTER}}}, topic)",
        "group": f"label_values(tickerlake_consumer_lag_records{{{_TOPIC_FILTER}}}, group)",
    }
    return [
        {"name": "datasource", "label": "data source", "type": "datasource", "query": "prometheus"},
        *(
            {
                "name": name,
                "type": "query",
                "datasource": _DATASOURCE,
                "query": {"query": query, "refId": name},
                "definition": query,
                "refresh": 2,
                "sort": 1,
                "multi": True,
                "includeAll": True,
                "allValue": ".*",
                "current": {"text": ["All"], "value": ["$__all"]},
            }
            for name, query in labels.items()
        ),
    ]


def laid_out_panels() -> list[Panel]:
    """Return the panels with their positions, each under the title of its row."""
    panels: list[Panel] = []
    top = 0
    for title, content in dashboard_rows().items():
        panels.append({"type": "row", "title": title, "collapsed": False, "panels": []})
        panels[-1] |= {"id": len(panels), "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1}}
        top += 1
        for width, height, panel_line in content:
            for column, panel in enumerate(panel_line):
                grid_position = {"x": column * width, "y": top, "w": width, "h": height}
                panels.append(
                    {"id": len(panels) + 1, "datasource": _DATASOURCE, **panel, "gridPos": grid_position}
                )
            top += height
    return panels


def dashboard_json() -> str:
    """Return the dashboard as JSON."""
    dashboard = {
        "uid": "tickerlake",
        "title": "tickerlake",
        "description": "Kafka topics and consumer groups, the lake, audits, and the dashboard server.",
        "tags": ["tickerlake", "kafka"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": template_variables()},
        "annotations": {"list": []},
        "panels": laid_out_panels(),
    }
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file; with ``--check``, exit with an error if it is out of date."""
    if "--check" in sys.argv:
        sys.exit(
            0
            if DASHBOARD_FILE.read_text() == dashboard_json()
            else f"{DASHBOARD_FILE.name} is out of date: run python scripts/deploy.py"
        )
    DASHBOARD_FILE.parent.mkdir(parents=True, exist_ok=True)
    DASHBOARD_FILE.write_text(dashboard_json())


if __name__ == "__main__":
    main()

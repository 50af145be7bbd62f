"""Write ``deploy/grafana/tickerlake.json``, the dashboard for Grafana, from the panels below."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "deploy" / "grafana" / "tickerlake.json"
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24
_MINE = 'job=~"$job",instance=~"$instance"'
_TOPIC = f'{_MINE},topic=~"$topic"'
_GROUP = f'{_TOPIC},group=~"$group"'
_COMMITTED = "tickerlake_consumer_committed_records_total"
_NEWEST = "tickerlake_lake_newest_record_timestamp_seconds"
_GOOD_BAD = [
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
"""An expression and the legend of its series."""


def steps(*levels: tuple[float | None, str]) -> dict[str, Any]:
    """Return thresholds: from each value on, a colour."""
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in levels]}


def stat(title: str, expr: str, unit: str = "short", levels: Any = None, **defaults: Any) -> Panel:
    """Return one figure."""
    return {
        "type": "stat",
        "title": title,
        "targets": _targets([(expr, "")], instant=True),
        "fieldConfig": {
            "defaults": {"unit": unit, "thresholds": levels or steps((None, "blue")), **defaults},
            "overrides": [],
        },
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "none",
            "textMode": "auto",
        },
    }


def lines(title: str, *queries: Query, unit: str = "short", levels: Any = None, about: str = "") -> Panel:
    """Return figures over time."""
    custom = {"fillOpacity": 8, "lineWidth": 1, "showPoints": "never", "spanNulls": False}
    if levels:
        custom["thresholdsStyle"] = {"mode": "line"}
    return {
        "type": "timeseries",
        "title": title,
        "description": about,
        "targets": _targets(queries),
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "min": 0,
                "custom": custom,
                "thresholds": levels or steps((None, "green")),
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def audits() -> Panel:
    """Return a table of each topic's last audit."""
    columns = {
        "A": ("passed", f"tickerlake_audit_ok{{{_TOPIC}}}"),
        "B": ("findings", f"tickerlake_audit_findings{{{_TOPIC}}}"),
        "C": ("age", f"time() - tickerlake_audit_timestamp_seconds{{{_TOPIC}}}"),
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
            "defaults": {"thresholds": steps((None, "blue"))},
            "overrides": [
                _override("passed", mappings=_GOOD_BAD, **{"custom.cellOptions": {"type": "color-text"}}),
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
        {"refId": chr(ord("A") + at), "datasource": _DATASOURCE, "expr": expr, "legendFormat": legend, **more}
        for at, (expr, legend) in enumerate(queries)
    ]


def rows() -> dict[str, list[tuple[int, int, list[Panel]]]]:
    """Return all panels: by title of the row, lines of panels with their width and height."""
    late = steps((None, "green"), (60, "orange"), (300, "red"))
    none_good = steps((None, "green"), (1, "red"))
    some_bad = steps((None, "green"), (1, "orange"))

    def per_topic(name: str) -> Query:
        return f"sum by (topic) (rate({name}{{{_TOPIC}}}[$__rate_interval]))", "{{topic}}"

    def of_topic(name: str) -> Query:
        return f"max by (topic) ({name}{{{_TOPIC}}})", "{{topic}}"

    def of_server(name: str) -> str:
        return f"sum(rate(tickerlake_dashboard_{name}{{{_MINE}}}[$__rate_interval]))"

    return {
        "At a glance": [
            (
                3,
                4,
                [
                    stat("Kafka answers", f"min(tickerlake_kafka_up{{{_MINE}}})", mappings=_GOOD_BAD),
                    stat("Lake answers", f"min(tickerlake_lake_up{{{_MINE}}})", mappings=_GOOD_BAD),
                    stat("Lake behind", f"max(tickerlake_lake_behind_seconds{{{_TOPIC}}})", "s", late),
                    stat("Lag", f"sum(tickerlake_consumer_lag_records{{{_GROUP}}})"),
                    stat("Rejects", f"sum(tickerlake_lake_rejects_total{{{_TOPIC}}})", levels=some_bad),
                    stat("Lost", f"sum(tickerlake_lake_lost_records_total{{{_TOPIC}}})", levels=none_good),
                    stat("Audits passed", f"min(tickerlake_audit_ok{{{_TOPIC}}})", mappings=_GOOD_BAD),
                    stat("Cost so far", f"max(tickerlake_lake_cost_dollars{{{_MINE}}})", "currencyUSD"),
                ],
            )
        ],
        "Kafka": [
            (
                8,
                8,
                [
                    lines("Records in", per_topic("tickerlake_topic_records_total"), unit="cps"),
                    lines(
                        "Records read by groups",
                        (
                            f"sum by (group, topic) (rate({_COMMITTED}{{{_GROUP}}}[$__rate_interval]))",
                            "{{group}} {{topic}}",
                        ),
                        unit="cps",
                    ),
                    lines("Records retained", of_topic("tickerlake_topic_retained_records")),
                ],
            ),
            (
                12,
                8,
                [
                    lines(
                        "Lag of groups",
                        (
                            f"sum by (group, topic) (tickerlake_consumer_lag_records{{{_GROUP}}})",
                            "{{group}} {{topic}}",
                        ),
                        about="Offsets not committed yet; 0 where only ends of transactions follow.",
                    ),
                    lines(
                        "Partitions with the most lag",
                        (
                            f"topk(10, tickerlake_consumer_lag_records{{{_GROUP}}})",
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
                    lines(
                        "Behind Kafka",
                        of_topic("tickerlake_lake_behind_seconds"),
                        unit="s",
                        levels=late,
                        about="Age of the first record that is not stored yet.",
                    ),
                    lines("Records not stored yet", of_topic("tickerlake_lake_behind_records")),
                    lines("Records stored", per_topic("tickerlake_lake_records_total"), unit="cps"),
                ],
            ),
            (
                8,
                8,
                [
                    lines(
                        "Rejects and losses",
                        (
                            f"sum by (topic) (increase(tickerlake_lake_rejects_total{{{_TOPIC}}}[1h]))",
                            "rejects {{topic}}",
                        ),
                        (
                            f"sum by (topic) (increase(tickerlake_lake_lost_records_total{{{_TOPIC}}}[1h]))",
                            "lost {{topic}}",
                        ),
                        about="Within the last hour.",
                    ),
                    lines("Segments", of_topic("tickerlake_lake_segments")),
                    lines("Bytes", of_topic("tickerlake_lake_size_bytes"), unit="bytes"),
                ],
            ),
            (
                8,
                8,
                [
                    lines(
                        "Age of the newest stored record",
                        (
                            f"time() - max by (topic) ({_NEWEST}{{{_TOPIC}}} > 0)",
                            "{{topic}}",
                        ),
                        unit="s",
                    ),
                    lines(
                        "Cost by list prices",
                        (f"max(tickerlake_lake_cost_dollars{{{_MINE}}})", "objects created so far"),
                        (f"max(tickerlake_lake_storage_dollars_per_month{{{_MINE}}})", "storage a month"),
                        unit="currencyUSD",
                    ),
                    lines(
                        "Objects, and topics at fault or being counted",
                        (f"max(tickerlake_lake_objects{{{_MINE}}})", "objects"),
                        (f"sum(tickerlake_lake_faulty{{{_TOPIC}}})", "topics at fault"),
                        (f"sum(tickerlake_lake_counting{{{_TOPIC}}})", "topics being counted"),
                    ),
                ],
            ),
        ],
        "Audits": [(24, 8, [audits()])],
        "Dashboard": [
            (
                8,
                8,
                [
                    lines(
                        "Pages",
                        (f"sum(tickerlake_dashboard_clients{{{_MINE}}})", "connected"),
                        (
                            f"sum(increase(tickerlake_dashboard_clients_dropped_total{{{_MINE}}}[5m]))",
                            "dropped in 5 minutes",
                        ),
                        (
                            f"sum(increase(tickerlake_dashboard_clients_refused_total{{{_MINE}}}[5m]))",
                            "refused in 5 minutes",
                        ),
                    ),
                    lines("Bytes sent", (of_server("sent_bytes_total"), "bytes"), unit="Bps"),
                    lines(
                        "Frames sent, records read",
                        (of_server("frames_sent_total"), "frames"),
                        (of_server("records_read_total"), "records"),
                        (of_server("records_skipped_total"), "records that are not sound"),
                        unit="cps",
                    ),
                ],
            ),
            (
                4,
                4,
                [
                    stat(
                        "Last record read",
                        f"time() - max(tickerlake_dashboard_last_record_timestamp_seconds{{{_MINE}}} > 0)",
                        "s",
                    ),
                    stat(
                        "Last look",
                        f"time() - min(tickerlake_dashboard_look_timestamp_seconds{{{_MINE}}})",
                        "s",
                        late,
                    ),
                    stat(
                        "History read", f"min(tickerlake_dashboard_loading_ratio{{{_MINE}}})", "percentunit"
                    ),
                    stat("Instruments", f"max(tickerlake_dashboard_instruments{{{_MINE}}})"),
                    stat(
                        "Series left out",
                        f"max(tickerlake_dashboard_series_left_out{{{_MINE}}})",
                        levels=some_bad,
                    ),
                    {
                        **stat("Version", f"max by (version) (tickerlake_build_info{{{_MINE}}})"),
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


def variables() -> list[dict[str, Any]]:
    """Return what can be chosen above the panels."""
    labels = {
        "job": "label_values(tickerlake_build_info, job)",
        "instance": 'label_values(tickerlake_build_info{job=~"$job"}, instance)',
        "topic": f"label_values(tickerlake_topic_retained_records{{{_MINE}}}, topic)",
        "group": f"label_values(tickerlake_consumer_lag_records{{{_TOPIC}}}, group)",
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


def placed() -> list[Panel]:
    """Return the panels with their places, each under the title of its row."""
    panels: list[Panel] = []
    top = 0
    for title, content in rows().items():
        panels.append({"type": "row", "title": title, "collapsed": False, "panels": []})
        panels[-1] |= {"id": len(panels), "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1}}
        top += 1
        for width, height, line in content:
            for at, panel in enumerate(line):
                place = {"x": at * width, "y": top, "w": width, "h": height}
                panels.append({"id": len(panels) + 1, "datasource": _DATASOURCE, **panel, "gridPos": place})
            top += height
    return panels


def page() -> str:
    """Return the whole dashboard as JSON."""
    dashboard = {
        "uid": "tickerlake",
        "title": "tickerlake",
        "description": "Kafka's topics and groups, the lake, audits and the dashboard's own server.",
        "tags": ["tickerlake", "kafka"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": variables()},
        "annotations": {"list": []},
        "panels": placed(),
    }
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file, or with ``--check`` say whether it is up to date."""
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page() else f"{PAGE.name} is out of date: python scripts/deploy.py")
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())


if __name__ == "__main__":
    main()

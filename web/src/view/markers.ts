import type { SeriesMarker, Time, UTCTimestamp } from "lightweight-charts";
import { type AlertStore, severityRank } from "../data/alerts.ts";
import { indexAtOrBefore } from "../data/bars.ts";
import type { Alert } from "../data/protocol.ts";
import { type Colors, withOpacity } from "./theme.ts";

/** One marker per bar and direction, with the highest severity of its alerts. */
export function alertMarkers(alerts: readonly Alert[], times: readonly number[], colors: Colors, store: AlertStore, shown: Alert | null): SeriesMarker<Time>[] {
  const groups = new Map<string, { ms: number; alerts: Alert[] }>();
  for (const alert of alerts) {
    if (alert.state !== "fired") continue;
    const at = indexAtOrBefore(times, alert.event_ms - 1);
    if (at < 0) continue;
    const ms = times[at]!;
    const key = `${ms} ${alert.direction}`;
    const group = groups.get(key) ?? { ms, alerts: [] };
    group.alerts.push(alert);
    groups.set(key, group);
  }
  return [...groups.values()].sort((a, b) => a.ms - b.ms).map(({ ms, alerts }) => createMarker(ms, alerts, colors, store, shown));
}

function createMarker(ms: number, alerts: Alert[], colors: Colors, store: AlertStore, shown: Alert | null): SeriesMarker<Time> {
  const mostSevere = alerts.reduce((highest, each) => (severityRank(each.severity) > severityRank(highest.severity) ? each : highest));
  const { direction, severity } = mostSevere;
  const color = colors[severity];
  const current = shown !== null && alerts.some(({ alert_id }) => alert_id === shown.alert_id);
  const label = `${severity === "critical" ? "!" : ""}${alerts.length > 1 ? alerts.length : ""}`;
  return {
    time: (ms / 1000) as UTCTimestamp,
    position: direction === "up" ? "belowBar" : "aboveBar",
    shape: direction === "up" ? "arrowUp" : direction === "down" ? "arrowDown" : "circle",
    color: !current && alerts.every((each) => store.isAcknowledged(each)) ? withOpacity(color, 0.45) : color,
    id: mostSevere.alert_id,
    size: current ? 2 : severity === "critical" ? 1.3 : severity === "warning" ? 1 : 0.7,
    ...(current ? { text: shown.rule_id } : label ? { text: label } : {}),
  };
}

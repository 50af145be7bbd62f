import type { SeriesMarker, Time, UTCTimestamp } from "lightweight-charts";
import { type AlertBook, grave } from "./alerts.ts";
import { atOrBefore } from "./bars.ts";
import type { Alert } from "./protocol.ts";
import { type Colors, faded } from "./theme.ts";

/** One marker for the alerts of a bar and a direction, as grave as the gravest. */
export function atBars(alerts: readonly Alert[], times: readonly number[], colors: Colors, book: AlertBook, shown: Alert | null): SeriesMarker<Time>[] {
  const groups = new Map<string, { ms: number; alerts: Alert[] }>();
  for (const alert of alerts) {
    if (alert.state !== "fired") continue;
    const at = atOrBefore(times, alert.event_ms - 1);
    if (at < 0) continue;
    const ms = times[at]!;
    const key = `${ms} ${alert.direction}`;
    const group = groups.get(key) ?? { ms, alerts: [] };
    group.alerts.push(alert);
    groups.set(key, group);
  }
  return [...groups.values()].sort((a, b) => a.ms - b.ms).map(({ ms, alerts }) => marker(ms, alerts, colors, book, shown));
}

function marker(ms: number, alerts: Alert[], colors: Colors, book: AlertBook, shown: Alert | null): SeriesMarker<Time> {
  const gravest = alerts.reduce((most, each) => (grave(each.severity) > grave(most.severity) ? each : most));
  const { direction, severity } = gravest;
  const color = colors[severity];
  const current = shown !== null && alerts.some(({ alert_id }) => alert_id === shown.alert_id);
  const words = `${severity === "critical" ? "!" : ""}${alerts.length > 1 ? alerts.length : ""}`;
  return {
    time: (ms / 1000) as UTCTimestamp,
    position: direction === "up" ? "belowBar" : "aboveBar",
    shape: direction === "up" ? "arrowUp" : direction === "down" ? "arrowDown" : "circle",
    color: !current && alerts.every((each) => book.isSeen(each)) ? faded(color, 0.45) : color,
    id: gravest.alert_id,
    size: current ? 2 : severity === "critical" ? 1.3 : severity === "warning" ? 1 : 0.7,
    ...(current ? { text: shown.rule_id } : words ? { text: words } : {}),
  };
}

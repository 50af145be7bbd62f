// Alerts in words and figures.

import { compact, known, price, quantity, span } from "./format.ts";
import { lengthMs } from "./interval.ts";
import type { Alert } from "./protocol.ts";
import { date, dayMonth, full, short, time } from "./zone.ts";

const CAUSES: Record<string, string> = {
  market: "the market",
  probable_split: "probably a split",
  halt: "a halt",
  data_quality: "bad data",
  unknown: "not known",
};

export const sign = (direction: string): string => (direction === "up" ? "▲" : direction === "down" ? "▼" : "·");

/** The sentence, without the symbol that stands beside it. */
export function sentence({ message, symbol }: Alert): string {
  if (!message.startsWith(symbol)) return message;
  return message.slice(symbol.length).replace(/^[:,]?\s+/, "") || message;
}

/** The interval of the bars in which it was seen; empty if it is not known. */
export function intervalOf({ dedup_key }: Alert): string {
  const last = dedup_key.slice(dedup_key.lastIndexOf(" ") + 1);
  return Number.isFinite(lengthMs(last)) ? last : "";
}

/** When it happened; of bars of days only the date. */
export function when(alert: Alert, zone: string): string {
  if (alert.event_ms % 86_400_000 === 0 && intervalOf(alert) === "1d") return date(alert.event_ms - 1, "UTC");
  return `${full(alert.event_ms, zone, true)} ${short(alert.event_ms, zone)}`;
}

/** The same, as short as it is clear now. */
export function moment(alert: Alert, zone: string, nowMs: number): string {
  const daily = intervalOf(alert) === "1d";
  const ms = daily ? alert.event_ms - 1 : alert.event_ms;
  const [on, today] = [date(ms, zone), date(nowMs, zone)];
  if (on.slice(0, 4) !== today.slice(0, 4)) return on;
  if (on !== today || daily) return daily ? dayMonth(ms, zone) : `${dayMonth(ms, zone)} ${time(ms, zone, false)}`;
  return time(ms, zone);
}

/** All that is known of an alert, as name and figure. */
export function figures(alert: Alert, zone: string): [name: string, figure: string][] {
  const { unit } = alert;
  const told: [string, string | null][] = [
    ["Value", known(alert.value) ? quantity(alert.value, unit) : null],
    ["Threshold", known(alert.threshold) ? quantity(alert.threshold, unit) : null],
    ["Baseline", known(alert.baseline) ? baseline(alert.kind, alert.baseline, unit) : null],
    ["÷ threshold", known(alert.score) ? `${alert.score.toFixed(2)} ×` : null],
    ["Price", known(alert.price) ? price(alert.price) : null],
    ["Reference price", known(alert.reference_price) ? price(alert.reference_price) : null],
    ["Volume", known(alert.volume) ? compact(alert.volume) : null],
    ["Window", alert.window ?? null],
    ["Bars", intervalOf(alert) || null],
    ["Rule", alert.rule_id],
    ["Kind", alert.kind],
    ["Cause", CAUSES[alert.cause] ?? alert.cause],
    ["Direction", alert.direction],
    ["State", alert.state],
    ["Detected", `${full(alert.detected_ms, zone, true)} ${short(alert.detected_ms, zone)}`],
    ["Latency", known(alert.latency_ms) ? (alert.latency_ms < 1000 ? `${alert.latency_ms.toFixed(0)} ms` : span(alert.latency_ms / 1000)) : null],
    ["Kept back before", alert.suppressed_count ? String(alert.suppressed_count) : null],
  ];
  return told.filter((each): each is [string, string] => each[1] !== null);
}

/** In its own unit: of zscore and jump one sigma in percent, of volume_spike shares. */
function baseline(kind: string, value: number, unit: string): string {
  if (kind === "zscore" || kind === "jump") return `${quantity(value, "pct")} (1 σ)`;
  if (kind === "volume_spike") return compact(value);
  return unit === "price" || unit === "pct" ? quantity(value, unit) : quantity(value, "");
}

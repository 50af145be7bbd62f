// Texts of alerts.

import { intervalMs } from "../data/interval.ts";
import type { Alert } from "../data/protocol.ts";
import { formatCompact, formatDuration, formatPrice, formatQuantity, isKnown } from "./format.ts";
import { formatDate, formatDateTime, formatDayMonth, formatTime, zoneAbbreviation } from "./timezone.ts";

const CAUSES: Record<string, string> = {
  market: "market move",
  probable_split: "probable split",
  halt: "trading halt",
  data_quality: "data quality",
  unknown: "unknown",
};

export const directionArrow = (direction: string): string => (direction === "up" ? "▲" : direction === "down" ? "▼" : "·");

/** The message without the symbol, which is shown next to it. */
export function messageWithoutSymbol({ message, symbol }: Alert): string {
  if (!message.startsWith(symbol)) return message;
  return message.slice(symbol.length).replace(/^[:,]?\s+/, "") || message;
}

/** The interval of the bars that the alert is about; empty if unknown. */
export function alertInterval({ dedup_key }: Alert): string {
  const last = dedup_key.slice(dedup_key.lastIndexOf(" ") + 1);
  return Number.isFinite(intervalMs(last)) ? last : "";
}

/** The event time; only the date for daily bars. */
export function formatAlertTime(alert: Alert, zone: string): string {
  if (alert.event_ms % 86_400_000 === 0 && alertInterval(alert) === "1d") return formatDate(alert.event_ms - 1, "UTC");
  return `${formatDateTime(alert.event_ms, zone, true)} ${zoneAbbreviation(alert.event_ms, zone)}`;
}

/** The event time, as short as is clear at present. */
export function formatAlertTimeShort(alert: Alert, zone: string, nowMs: number): string {
  const daily = alertInterval(alert) === "1d";
  const ms = daily ? alert.event_ms - 1 : alert.event_ms;
  const [on, today] = [formatDate(ms, zone), formatDate(nowMs, zone)];
  if (on.slice(0, 4) !== today.slice(0, 4)) return on;
  if (on !== today || daily) return daily ? formatDayMonth(ms, zone) : `${formatDayMonth(ms, zone)} ${formatTime(ms, zone, false)}`;
  return formatTime(ms, zone);
}

/** All known values of an alert, with their names. */
export function alertFacts(alert: Alert, zone: string): [name: string, value: string][] {
  const { unit } = alert;
  const facts: [string, string | null][] = [
    ["Value", isKnown(alert.value) ? formatQuantity(alert.value, unit) : null],
    ["Threshold", isKnown(alert.threshold) ? formatQuantity(alert.threshold, unit) : null],
    ["Baseline", isKnown(alert.baseline) ? formatBaseline(alert.kind, alert.baseline, unit) : null],
    ["Ratio to threshold", isKnown(alert.score) ? `${alert.score.toFixed(2)} ×` : null],
    ["Price", isKnown(alert.price) ? formatPrice(alert.price) : null],
    ["Reference price", isKnown(alert.reference_price) ? formatPrice(alert.reference_price) : null],
    ["Volume", isKnown(alert.volume) ? formatCompact(alert.volume) : null],
    ["Window", alert.window ?? null],
    ["Bars", alertInterval(alert) || null],
    ["Rule", alert.rule_id],
    ["Rule kind", alert.kind],
    ["Cause", CAUSES[alert.cause] ?? alert.cause],
    ["Direction", alert.direction],
    ["State", alert.state],
    ["Detected", `${formatDateTime(alert.detected_ms, zone, true)} ${zoneAbbreviation(alert.detected_ms, zone)}`],
    ["Latency", isKnown(alert.latency_ms) ? (alert.latency_ms < 1000 ? `${alert.latency_ms.toFixed(0)} ms` : formatDuration(alert.latency_ms / 1000)) : null],
    ["Suppressed before", alert.suppressed_count ? String(alert.suppressed_count) : null],
  ];
  return facts.filter((each): each is [string, string] => each[1] !== null);
}

/** The baseline in its unit: for zscore and jump one sigma in percent, for volume_spike shares. */
function formatBaseline(kind: string, value: number, unit: string): string {
  if (kind === "zscore" || kind === "jump") return `${formatQuantity(value, "pct")} (1 σ)`;
  if (kind === "volume_spike") return formatCompact(value);
  return unit === "price" || unit === "pct" ? formatQuantity(value, unit) : formatQuantity(value, "");
}

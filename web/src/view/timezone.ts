// Wall-clock times of a time zone. Intl is called once per quarter of an hour, in which no zone changes its offset.

import { market } from "../data/market.ts";
import { clock } from "../data/preferences.ts";

const QUARTER_HOUR_MS = 900_000;
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
export const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export const LOCAL_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** The time zone in which the times of an instrument are shown. */
export const displayZone = (id: number): string => (clock.value === "local" ? LOCAL_ZONE : market.zone[id] || "UTC");

interface Zone {
  parts: Intl.DateTimeFormat;
  name: Intl.DateTimeFormat;
  offsets: Map<number, number>;
}

const zones = new Map<string, Zone>();

function zoneFormatters(name: string): Zone {
  let formatters = zones.get(name);
  if (!formatters) {
    formatters = { parts: formatter(name, { hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric", era: "short" }), name: formatter(name, { timeZoneName: "short" }), offsets: new Map() };
    zones.set(name, formatters);
  }
  return formatters;
}

function formatter(name: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat("en-US", { ...options, timeZone: name || "UTC" });
  } catch {
    return new Intl.DateTimeFormat("en-US", { ...options, timeZone: "UTC" }); // a zone unknown to this browser
  }
}

/** Milliseconds to add to a time so that its UTC fields are the zone's wall clock. */
export function zoneOffsetMs(ms: number, name: string): number {
  if (name === "" || name === "UTC" || !Number.isFinite(ms)) return 0;
  const { parts, offsets } = zoneFormatters(name);
  const quarter = Math.floor(ms / QUARTER_HOUR_MS);
  let offsetMs = offsets.get(quarter);
  if (offsetMs === undefined) {
    const at = quarter * QUARTER_HOUR_MS;
    const field: Record<string, number> = {};
    for (const { type, value } of parts.formatToParts(at)) field[type] = Number(value);
    const wallMs = Date.UTC(field.year ?? 0, (field.month ?? 1) - 1, field.day, field.hour, field.minute, field.second);
    offsetMs = wallMs - at;
    if (offsets.size > 50_000) offsets.clear();
    offsets.set(quarter, offsetMs);
  }
  return offsetMs;
}

const padTwo = (n: number): string => (n < 10 ? `0${n}` : String(n));

/** The Date whose UTC fields are the zone's wall clock. */
export const wallClock = (ms: number, name: string): Date => new Date(ms + zoneOffsetMs(ms, name));

export function formatDate(ms: number, name: string): string {
  const d = wallClock(ms, name);
  return `${d.getUTCFullYear()}-${padTwo(d.getUTCMonth() + 1)}-${padTwo(d.getUTCDate())}`;
}

export function formatTime(ms: number, name: string, seconds = true): string {
  const d = wallClock(ms, name);
  return `${padTwo(d.getUTCHours())}:${padTwo(d.getUTCMinutes())}${seconds ? `:${padTwo(d.getUTCSeconds())}` : ""}`;
}

/** `Tue 2 Jan 2024 09:31` */
export function formatDateTime(ms: number, name: string, seconds = false): string {
  return `${formatDay(ms, name)} ${formatTime(ms, name, seconds)}`;
}

export function formatDay(ms: number, name: string): string {
  const d = wallClock(ms, name);
  return `${DAYS[d.getUTCDay()]} ${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]} ${d.getUTCFullYear()}`;
}

/** `2 Jan` */
export function formatDayMonth(ms: number, name: string): string {
  const d = wallClock(ms, name);
  return `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}`;
}

/** `EST`, `GMT+1` */
export function zoneAbbreviation(ms: number, name: string): string {
  return zoneFormatters(name).name.formatToParts(ms).find((part) => part.type === "timeZoneName")?.value ?? "UTC";
}

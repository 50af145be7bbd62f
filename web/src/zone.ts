// Wall-clock times of a zone. Intl is asked once for each quarter of an hour, in which no zone changes its offset.

const QUARTER = 900_000;
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
export const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export const MINE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

interface Zone {
  parts: Intl.DateTimeFormat;
  name: Intl.DateTimeFormat;
  offsets: Map<number, number>;
}

const zones = new Map<string, Zone>();

function zone(name: string): Zone {
  let found = zones.get(name);
  if (!found) {
    found = { parts: formatter(name, { hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric", era: "short" }), name: formatter(name, { timeZoneName: "short" }), offsets: new Map() };
    zones.set(name, found);
  }
  return found;
}

function formatter(name: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat("en-US", { ...options, timeZone: name || "UTC" });
  } catch {
    return new Intl.DateTimeFormat("en-US", { ...options, timeZone: "UTC" }); // a zone that this browser does not know
  }
}

/** Milliseconds to add to an instant so that its UTC fields read as the zone's wall clock. */
export function offset(ms: number, name: string): number {
  if (name === "" || name === "UTC" || !Number.isFinite(ms)) return 0;
  const { parts, offsets } = zone(name);
  const quarter = Math.floor(ms / QUARTER);
  let known = offsets.get(quarter);
  if (known === undefined) {
    const at = quarter * QUARTER;
    const field: Record<string, number> = {};
    for (const { type, value } of parts.formatToParts(at)) field[type] = Number(value);
    const wall = Date.UTC(field.year ?? 0, (field.month ?? 1) - 1, field.day, field.hour, field.minute, field.second);
    known = wall - at;
    if (offsets.size > 50_000) offsets.clear();
    offsets.set(quarter, known);
  }
  return known;
}

const two = (n: number): string => (n < 10 ? `0${n}` : String(n));

/** The Date whose UTC fields are the zone's wall clock. */
export const wall = (ms: number, name: string): Date => new Date(ms + offset(ms, name));

export function date(ms: number, name: string): string {
  const d = wall(ms, name);
  return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`;
}

export function time(ms: number, name: string, seconds = true): string {
  const d = wall(ms, name);
  return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}${seconds ? `:${two(d.getUTCSeconds())}` : ""}`;
}

/** `Tue 2 Jan 2024 09:31` */
export function full(ms: number, name: string, seconds = false): string {
  return `${day(ms, name)} ${time(ms, name, seconds)}`;
}

export function day(ms: number, name: string): string {
  const d = wall(ms, name);
  return `${DAYS[d.getUTCDay()]} ${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]} ${d.getUTCFullYear()}`;
}

/** `2 Jan` */
export function dayMonth(ms: number, name: string): string {
  const d = wall(ms, name);
  return `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}`;
}

/** `EST`, `GMT+1` */
export function short(ms: number, name: string): string {
  return zone(name).name.formatToParts(ms).find((part) => part.type === "timeZoneName")?.value ?? "UTC";
}

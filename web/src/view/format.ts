// Human-readable numbers. Called thousands of times per second, so without Intl.

const UNKNOWN = "–";
const MINUS = "−";

export const isKnown = (x: number | null | undefined): x is number => x !== null && x !== undefined && Number.isFinite(x);

export function decimalPlaces(x: number): number {
  const size = Math.abs(x);
  return size >= 10 || size === 0 ? 2 : size >= 0.01 ? 4 : 6;
}

export function formatPrice(x: number | null | undefined, places?: number): string {
  return isKnown(x) ? formatNumber(x, places ?? decimalPlaces(x)) : UNKNOWN;
}

export function formatNumber(x: number, places = 0): string {
  const text = Math.abs(x).toFixed(places);
  const sign = x < 0 && Number(text) !== 0 ? MINUS : "";
  const dot = places ? text.length - places - 1 : text.length;
  if (dot <= 3) return sign + text;
  let integer = "";
  for (let end = dot; end > 0; end -= 3) {
    integer = text.slice(Math.max(0, end - 3), end) + (integer && `,${integer}`);
  }
  return sign + integer + text.slice(dot);
}

export function formatSigned(x: number, places: number): string {
  if (!isKnown(x)) return UNKNOWN;
  const text = formatNumber(x, places);
  return x > 0 && Number(x.toFixed(places)) !== 0 ? `+${text}` : text;
}

export const formatPercent = (x: number, places = 2): string => (isKnown(x) ? `${formatSigned(x, places)}%` : UNKNOWN);

export const changeArrow = (x: number): string => (x > 0 ? "▲" : x < 0 ? "▼" : "");

const SCALES: readonly (readonly [number, string])[] = [
  [1e12, " tn"],
  [1e9, " bn"],
  [1e6, " M"],
  [1e4, " k"],
];

/** `1.2 M`; unabbreviated below ten thousand. */
export function formatCompact(x: number | null | undefined): string {
  if (!isKnown(x)) return UNKNOWN;
  for (const [scale, name] of SCALES) {
    if (Math.abs(x) >= scale) return formatNumber(x / (scale === 1e4 ? 1e3 : scale), 1) + name;
  }
  return formatNumber(x, Number.isInteger(x) || Math.abs(x) >= 100 ? 0 : 2);
}

export function formatMultiple(x: number): string {
  return isKnown(x) ? `${x.toFixed(x >= 9.95 ? 0 : x >= 0.095 ? 1 : 2)}×` : UNKNOWN;
}

export function formatRate(x: number): string {
  return isKnown(x) ? formatNumber(x, x !== 0 && x < 10 ? 1 : 0) : UNKNOWN;
}

export function formatBytes(x: number): string {
  const names = ["B", "kB", "MB", "GB", "TB", "PB"];
  let at = 0;
  for (; x >= 1000 && at < names.length - 1; at++) x /= 1000;
  return `${x.toFixed(at && x < 100 ? 1 : 0)} ${names[at]}`;
}

/** A duration in its largest fitting unit: `45 s`, `2 min`, `3 h`. */
export function formatDuration(seconds: number): string {
  if (!isKnown(seconds)) return UNKNOWN;
  const s = Math.max(0, seconds);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172_800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} days`;
}

const UNITS: Record<string, string> = { pct: " %", sigma: " σ", bps: " bps", x: " ×", s: " s" };

/** An indicator value, short enough for an axis. */
export function formatIndicator(x: number): string {
  if (!isKnown(x)) return UNKNOWN;
  const size = Math.abs(x);
  return size >= 1e6 ? formatCompact(x) : formatNumber(x, size >= 10_000 ? 0 : size >= 10 ? 2 : 4);
}

/** A value with its unit: `−3.1 %`, `6.2 ×`. */
export function formatQuantity(x: number | null | undefined, unit: string): string {
  if (!isKnown(x)) return UNKNOWN;
  if (unit === "price") return formatPrice(x);
  const places = Number.isInteger(x) ? 0 : Math.abs(x) >= 100 ? 1 : Math.abs(x) >= 1 ? 2 : 4;
  return formatNumber(x, places) + (UNITS[unit] ?? "");
}

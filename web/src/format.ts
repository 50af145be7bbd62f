// Numbers as people read them. These run thousands of times a second: no Intl in here.

const UNKNOWN = "–";
const MINUS = "−";

export const known = (x: number | null | undefined): x is number => x !== null && x !== undefined && Number.isFinite(x);

export function decimals(x: number): number {
  const size = Math.abs(x);
  return size >= 10 || size === 0 ? 2 : size >= 0.01 ? 4 : 6;
}

export function price(x: number | null | undefined, places?: number): string {
  return known(x) ? grouped(x, places ?? decimals(x)) : UNKNOWN;
}

export function grouped(x: number, places = 0): string {
  const text = Math.abs(x).toFixed(places);
  const sign = x < 0 && Number(text) !== 0 ? MINUS : "";
  const dot = places ? text.length - places - 1 : text.length;
  if (dot <= 3) return sign + text;
  let whole = "";
  for (let end = dot; end > 0; end -= 3) {
    whole = text.slice(Math.max(0, end - 3), end) + (whole && `,${whole}`);
  }
  return sign + whole + text.slice(dot);
}

export function signed(x: number, places: number): string {
  if (!known(x)) return UNKNOWN;
  const text = grouped(x, places);
  return x > 0 && Number(x.toFixed(places)) !== 0 ? `+${text}` : text;
}

export const percent = (x: number, places = 2): string => (known(x) ? `${signed(x, places)}%` : UNKNOWN);

export const arrow = (x: number): string => (x > 0 ? "▲" : x < 0 ? "▼" : "");

const SIZES: readonly (readonly [number, string])[] = [
  [1e12, " tn"],
  [1e9, " bn"],
  [1e6, " M"],
  [1e4, " k"],
];

/** 1.2 M; whole numbers below ten thousand. */
export function compact(x: number | null | undefined): string {
  if (!known(x)) return UNKNOWN;
  for (const [least, name] of SIZES) {
    if (Math.abs(x) >= least) return grouped(x / (least === 1e4 ? 1e3 : least), 1) + name;
  }
  return grouped(x, Number.isInteger(x) || Math.abs(x) >= 100 ? 0 : 2);
}

export function times(x: number): string {
  return known(x) ? `${x.toFixed(x >= 9.95 ? 0 : x >= 0.095 ? 1 : 2)}×` : UNKNOWN;
}

export function rate(x: number): string {
  return known(x) ? grouped(x, x !== 0 && x < 10 ? 1 : 0) : UNKNOWN;
}

export function bytes(x: number): string {
  const names = ["B", "kB", "MB", "GB", "TB", "PB"];
  let at = 0;
  for (; x >= 1000 && at < names.length - 1; at++) x /= 1000;
  return `${x.toFixed(at && x < 100 ? 1 : 0)} ${names[at]}`;
}

/** A length of time in its largest fitting unit: `45 s`, `2 min`, `3 h`. */
export function span(seconds: number): string {
  if (!known(seconds)) return UNKNOWN;
  const s = Math.max(0, seconds);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172_800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} days`;
}

const UNITS: Record<string, string> = { pct: " %", sigma: " σ", bps: " bps", x: " ×", s: " s" };

/** A value of an indicator, short enough for an axis. */
export function figure(x: number): string {
  if (!known(x)) return UNKNOWN;
  const size = Math.abs(x);
  return size >= 1e6 ? compact(x) : grouped(x, size >= 10_000 ? 0 : size >= 10 ? 2 : 4);
}

/** A measured value in its unit: `−3.1 %`, `6.2 ×`. */
export function quantity(x: number | null | undefined, unit: string): string {
  if (!known(x)) return UNKNOWN;
  if (unit === "price") return price(x);
  const places = Number.isInteger(x) ? 0 : Math.abs(x) >= 100 ? 1 : Math.abs(x) >= 1 ? 2 : 4;
  return grouped(x, places) + (UNITS[unit] ?? "");
}

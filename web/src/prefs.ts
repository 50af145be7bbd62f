import { Signal } from "./signal.ts";

const PREFIX = "tickerlake.";

/** A choice of the reader's, kept in this browser. */
export function pref<T>(key: string, fallback: T): Signal<T> {
  const signal = new Signal<T>(read(key, fallback));
  signal.on((value) => write(key, value));
  return signal;
}

function read<T>(key: string, fallback: T): T {
  try {
    const text = localStorage.getItem(PREFIX + key);
    const value: unknown = text === null ? fallback : JSON.parse(text);
    const fits = typeof value === typeof fallback && Array.isArray(value) === Array.isArray(fallback) && value !== null;
    return fits ? (value as T) : fallback;
  } catch {
    return fallback; // storage is switched off, or holds what another version wrote
  }
}

function write(key: string, value: unknown): void {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // full or switched off: the choice lasts as long as the page
  }
}

export const theme = pref<"system" | "dark" | "light">("theme", "system");
export const palette = pref<"blue" | "green">("palette", "blue");
export const clock = pref<"exchange" | "mine">("clock", "exchange");
export const interval = pref("interval", "");
export const indicators = pref<string[]>("indicators", ["SMA(20)"]);
export const logScale = pref("log", false);
export const favourites = pref<string[]>("favourites", []);
export const acknowledged = pref<string[]>("acknowledged", []);
export const notify = pref<"off" | "critical" | "warning">("notify", "off");
export const sorting = pref("sort", { column: "symbol", descending: false });

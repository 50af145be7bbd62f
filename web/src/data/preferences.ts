import { Signal } from "./signal.ts";

const PREFIX = "tickerlake.";

/** A preference of the user, stored in this browser. */
export function preference<T>(key: string, fallback: T): Signal<T> {
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
    return fallback; // storage is disabled, or holds a value of another version
  }
}

function write(key: string, value: unknown): void {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // full or disabled: the preference lasts as long as the page
  }
}

export const theme = preference<"system" | "dark" | "light">("theme", "system");
export const palette = preference<"blue" | "green">("palette", "blue");
export const clock = preference<"exchange" | "local">("clock", "exchange");
export const preferredInterval = preference("interval", "");
export const indicators = preference<string[]>("indicators", ["SMA(20)"]);
export const logScale = preference("log", false);
export const favorites = preference<string[]>("favorites", []);
export const acknowledged = preference<string[]>("acknowledged", []);
export const notificationLevel = preference<"off" | "critical" | "warning">("notify", "off");
export const sorting = preference("sort", { column: "symbol", descending: false });

const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Length of an interval in ms; NaN if the name is invalid. */
export function intervalMs(name: string): number {
  const match = /^(\d+)([smhdw])$/.exec(name);
  return match ? Number(match[1]) * (SECONDS[match[2] ?? ""] ?? NaN) * 1000 : NaN;
}

/** Whether bars are labeled by date, independent of the time zone. */
export const isDaily = (name: string): boolean => intervalMs(name) >= 86_400_000;

/** The interval that is nearest in length. */
export function nearestInterval(target: string, intervals: readonly string[]): string | undefined {
  const distance = (name: string) => Math.abs(Math.log(intervalMs(name) / intervalMs(target))) || 0;
  return [...intervals].sort((a, b) => distance(a) - distance(b))[0];
}

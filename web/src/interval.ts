const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Length in ms; NaN for a name that is no interval. */
export function lengthMs(name: string): number {
  const match = /^(\d+)([smhdw])$/.exec(name);
  return match ? Number(match[1]) * (SECONDS[match[2] ?? ""] ?? NaN) * 1000 : NaN;
}

/** Whether bars are named by dates, which no zone moves. */
export const daily = (name: string): boolean => lengthMs(name) >= 86_400_000;

/** The one of some intervals that is nearest in length. */
export function nearest(wanted: string, given: readonly string[]): string | undefined {
  const away = (name: string) => Math.abs(Math.log(lengthMs(name) / lengthMs(wanted))) || 0;
  return [...given].sort((a, b) => away(a) - away(b))[0];
}

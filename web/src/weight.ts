// Weights of the marks of a time scale, as the chart library gives them: a year's change most, a second's least.

export const SECOND = 10;
const [YEAR, MONTH, DAY] = [70, 60, 50];
const WITHIN_DAY: readonly (readonly [ms: number, weight: number])[] = [
  [43_200_000, 33],
  [21_600_000, 32],
  [10_800_000, 31],
  [3_600_000, 30],
  [1_800_000, 22],
  [300_000, 21],
  [60_000, 20],
];

/** How much a mark weighs between two wall clocks, which the UTC fields tell. */
export function weight(before: Date, now: Date): number {
  if (before.getUTCFullYear() !== now.getUTCFullYear()) return YEAR;
  if (before.getUTCMonth() !== now.getUTCMonth()) return MONTH;
  if (before.getUTCDate() !== now.getUTCDate()) return DAY;
  const crossed = WITHIN_DAY.find(([ms]) => Math.floor(before.getTime() / ms) !== Math.floor(now.getTime() / ms));
  return crossed?.[1] ?? SECOND;
}

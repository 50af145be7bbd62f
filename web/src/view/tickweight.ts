// Weights of tick marks, as in the chart library: highest for a new year, lowest for a new second.

export const SECOND_WEIGHT = 10;
const [YEAR, MONTH, DAY] = [70, 60, 50];
const INTRADAY_WEIGHTS: readonly (readonly [ms: number, weight: number])[] = [
  [43_200_000, 33],
  [21_600_000, 32],
  [10_800_000, 31],
  [3_600_000, 30],
  [1_800_000, 22],
  [300_000, 21],
  [60_000, 20],
];

/** The weight of a mark between two wall-clock times, which are the UTC fields of the dates. */
export function tickMarkWeight(before: Date, after: Date): number {
  if (before.getUTCFullYear() !== after.getUTCFullYear()) return YEAR;
  if (before.getUTCMonth() !== after.getUTCMonth()) return MONTH;
  if (before.getUTCDate() !== after.getUTCDate()) return DAY;
  const crossed = INTRADAY_WEIGHTS.find(([ms]) => Math.floor(before.getTime() / ms) !== Math.floor(after.getTime() / ms));
  return crossed?.[1] ?? SECOND_WEIGHT;
}

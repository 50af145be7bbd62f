// Indicator names: `MACD(12,26,9).hist` is the output `hist` of `MACD(12,26,9)`.

export interface IndicatorGroup {
  base: string;
  results: { name: string; part: string }[];
}

const PRICE_INDICATORS = new Set(["SMA", "EMA", "BBANDS", "VWAP", "RVWAP"]);

export function splitName(name: string): [base: string, part: string] {
  const close = name.lastIndexOf(")");
  const dot = name.indexOf(".", close < 0 ? 0 : close);
  return dot < 0 ? [name, ""] : [name.slice(0, dot), name.slice(dot + 1)];
}

export function groupIndicators(names: readonly string[]): IndicatorGroup[] {
  const groups = new Map<string, IndicatorGroup>();
  for (const name of names) {
    const [base, part] = splitName(name);
    const group = groups.get(base) ?? { base, results: [] };
    group.results.push({ name, part });
    groups.set(base, group);
  }
  return [...groups.values()];
}

/** Whether an indicator is drawn on the price chart: it is a price itself. */
export const isOverlay = (base: string): boolean => PRICE_INDICATORS.has((/^[A-Za-z_]+/.exec(base)?.[0] ?? "").toUpperCase());

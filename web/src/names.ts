// Names of indicators: `MACD(12,26,9).hist` is the result `hist` of `MACD(12,26,9)`.

export interface Group {
  base: string;
  results: { name: string; part: string }[];
}

const LIKE_PRICES = new Set(["SMA", "EMA", "BBANDS", "VWAP", "RVWAP"]);

export function split(name: string): [base: string, part: string] {
  const close = name.lastIndexOf(")");
  const dot = name.indexOf(".", close < 0 ? 0 : close);
  return dot < 0 ? [name, ""] : [name.slice(0, dot), name.slice(dot + 1)];
}

export function grouped(names: readonly string[]): Group[] {
  const groups = new Map<string, Group>();
  for (const name of names) {
    const [base, part] = split(name);
    const group = groups.get(base) ?? { base, results: [] };
    group.results.push({ name, part });
    groups.set(base, group);
  }
  return [...groups.values()];
}

/** Whether an indicator is drawn over the candles: it is a price. */
export const overlays = (base: string): boolean => LIKE_PRICES.has((/^[A-Za-z_]+/.exec(base)?.[0] ?? "").toUpperCase());

// Bars of one chart in columns, ascending by their opening times.

import type { BarRow, BarsPage } from "./protocol.ts";

/** Index of the last element not above a value in an ascending list; -1 if all are. */
export function atOrBefore(times: readonly number[], ms: number): number {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle]! <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export class Bars {
  time: number[] = [];
  open: number[] = [];
  high: number[] = [];
  low: number[] = [];
  close: number[] = [];
  volume: (number | null)[] = [];

  get length(): number {
    return this.time.length;
  }

  get lastMs(): number {
    return this.time[this.length - 1] ?? NaN;
  }

  row(at: number): BarRow {
    return [this.time[at]!, this.open[at]!, this.high[at]!, this.low[at]!, this.close[at]!, this.volume[at] ?? null];
  }

  /** Put a bar in its place. Says whether it is the last one. */
  put(row: BarRow): boolean {
    const at = atOrBefore(this.time, row[0]);
    const known = this.time[at] === row[0];
    const place = known ? at : at + 1;
    const gone = known ? 1 : 0;
    this.time.splice(place, gone, row[0]);
    this.open.splice(place, gone, row[1]);
    this.high.splice(place, gone, row[2]);
    this.low.splice(place, gone, row[3]);
    this.close.splice(place, gone, row[4]);
    this.volume.splice(place, gone, row[5]);
    return place === this.length - 1;
  }

  /** Take over a page; where both have a bar, the page's. */
  merge(page: BarsPage): void {
    if (!page.time.length) return;
    const from = atOrBefore(this.time, page.time[0]! - 1) + 1;
    const to = atOrBefore(this.time, page.time[page.time.length - 1]!) + 1;
    const join = <T>(mine: T[], theirs: T[]): T[] => [...mine.slice(0, from), ...theirs, ...mine.slice(to)];
    this.time = join(this.time, page.time);
    this.open = join(this.open, page.open);
    this.high = join(this.high, page.high);
    this.low = join(this.low, page.low);
    this.close = join(this.close, page.close);
    this.volume = join(this.volume, page.volume);
  }
}

/** Values of indicators by the opening time of their bar. */
export class Values {
  readonly byName = new Map<string, Map<number, number>>();

  merge(page: { time: number[]; values: Record<string, (number | null)[]> }): void {
    for (const [name, column] of Object.entries(page.values)) {
      const mine = this.#of(name);
      column.forEach((value, at) => {
        if (value !== null) mine.set(page.time[at]!, value);
      });
    }
  }

  put(ms: number, values: Record<string, number | null>): void {
    for (const [name, value] of Object.entries(values)) if (value !== null) this.#of(name).set(ms, value);
  }

  at(name: string, ms: number): number {
    return this.byName.get(name)?.get(ms) ?? NaN;
  }

  #of(name: string): Map<number, number> {
    let found = this.byName.get(name);
    if (!found) this.byName.set(name, (found = new Map()));
    return found;
  }
}

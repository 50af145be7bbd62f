// Bars of a chart as columns, ascending by opening time.

import type { BarRow, BarsPage } from "./protocol.ts";

/** Index of the last element of an ascending list that is not above a value; -1 if all are. */
export function indexAtOrBefore(times: readonly number[], ms: number): number {
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
  open: (number | null)[] = [];
  high: (number | null)[] = [];
  low: (number | null)[] = [];
  close: number[] = [];
  volume: (number | null)[] = [];

  get length(): number {
    return this.time.length;
  }

  get lastMs(): number {
    return this.time[this.length - 1] ?? NaN;
  }

  /** Whether no bar has more than a close. */
  get hasOnlyCloses(): boolean {
    return this.length > 0 && this.open.every((each) => each === null);
  }

  row(at: number): BarRow {
    return [this.time[at]!, this.open[at] ?? null, this.high[at] ?? null, this.low[at] ?? null, this.close[at]!, this.volume[at] ?? null];
  }

  /** Insert or replace a bar. Returns whether it is the last one. */
  upsert(row: BarRow): boolean {
    const at = indexAtOrBefore(this.time, row[0]);
    const exists = this.time[at] === row[0];
    const index = exists ? at : at + 1;
    const deleteCount = exists ? 1 : 0;
    this.time.splice(index, deleteCount, row[0]);
    this.open.splice(index, deleteCount, row[1]);
    this.high.splice(index, deleteCount, row[2]);
    this.low.splice(index, deleteCount, row[3]);
    this.close.splice(index, deleteCount, row[4]);
    this.volume.splice(index, deleteCount, row[5]);
    return index === this.length - 1;
  }

  /** Merge a page; its bars replace existing ones. */
  merge(page: BarsPage): void {
    if (!page.time.length) return;
    const from = indexAtOrBefore(this.time, page.time[0]! - 1) + 1;
    const to = indexAtOrBefore(this.time, page.time[page.time.length - 1]!) + 1;
    const join = <T>(current: T[], loaded: T[]): T[] => [...current.slice(0, from), ...loaded, ...current.slice(to)];
    this.time = join(this.time, page.time);
    this.open = join(this.open, page.open);
    this.high = join(this.high, page.high);
    this.low = join(this.low, page.low);
    this.close = join(this.close, page.close);
    this.volume = join(this.volume, page.volume);
  }
}

/** Indicator values by the opening time of their bar. */
export class IndicatorValues {
  readonly byName = new Map<string, Map<number, number>>();

  merge(page: { time: number[]; values: Record<string, (number | null)[]> }): void {
    for (const [name, column] of Object.entries(page.values)) {
      const byTime = this.#column(name);
      column.forEach((value, at) => {
        if (value !== null) byTime.set(page.time[at]!, value);
      });
    }
  }

  set(ms: number, values: Record<string, number | null>): void {
    for (const [name, value] of Object.entries(values)) if (value !== null) this.#column(name).set(ms, value);
  }

  #column(name: string): Map<number, number> {
    let column = this.byName.get(name);
    if (!column) this.byName.set(name, (column = new Map()));
    return column;
  }
}

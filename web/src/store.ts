// The latest values of all instruments, in arrays indexed by their numbers.

import { COLUMNS, type Column, type Rows, type Sparklines } from "./frames.ts";
import type { Instruments } from "./protocol.ts";
import { Signal } from "./signal.ts";

export class Market {
  readonly columns = Object.fromEntries(COLUMNS.map((name) => [name, new Float64Array(0)])) as Record<Column, Float64Array>;
  /** Grows whenever a row changes; whoever paints a row compares. */
  stamp = new Uint32Array(0);
  instrument: string[] = [];
  symbol: string[] = [];
  zone: string[] = [];
  /** Place of each symbol in the order of the alphabet. */
  rank = new Int32Array(0);
  readonly sparklines = new Map<number, Float32Array>();
  frameMs = 0;
  readonly #byInstrument = new Map<string, number>();

  get size(): number {
    return this.instrument.length;
  }

  reset(): void {
    this.#grow(0);
    this.instrument = [];
    this.symbol = [];
    this.zone = [];
    this.#byInstrument.clear();
    this.sparklines.clear();
    this.frameMs = 0;
    this.#rank();
  }

  name(message: Instruments): void {
    message.instrument.forEach((name, at) => {
      const id = message.from + at;
      this.instrument[id] = name;
      this.symbol[id] = message.symbol[at] ?? name;
      this.zone[id] = message.zone[at] ?? "";
      this.#byInstrument.set(name, id);
    });
    if (this.size > this.stamp.length) this.#grow(Math.max(this.size, 2 * this.stamp.length));
    this.#rank();
  }

  apply(rows: Rows): void {
    const { ids, columns } = rows;
    const n = ids.length;
    for (const name of COLUMNS) {
      const from = columns[name];
      const to = this.columns[name];
      for (let at = 0; at < n; at++) to[ids[at]!] = from[at]!;
    }
    for (let at = 0; at < n; at++) this.stamp[ids[at]!]!++;
    this.frameMs = rows.nowMs;
  }

  draw(lines: Sparklines): void {
    lines.ids.forEach((id, at) => {
      // a copy, so that a row does not keep the whole frame
      this.sparklines.set(id, lines.closes.slice(at * lines.points, (at + 1) * lines.points));
    });
  }

  /** The number of an instrument id (`AAPL.XNAS`) or else of a symbol (`AAPL`); -1 if there is none. */
  find(text: string): number {
    const exact = this.#byInstrument.get(text) ?? this.symbol.indexOf(text);
    if (exact >= 0) return exact;
    const folded = text.toUpperCase();
    return this.symbol.findIndex((symbol) => symbol.toUpperCase() === folded);
  }

  last(id: number): number {
    return this.columns.last[id] ?? NaN;
  }

  change(id: number): number {
    return this.columns.last[id]! - this.columns.previous[id]!;
  }

  percent(id: number): number {
    const previous = this.columns.previous[id]!;
    return previous > 0 ? (this.columns.last[id]! / previous - 1) * 100 : NaN;
  }

  /** Where the last price lies between the session's low (0) and high (1). */
  place(id: number): number {
    const low = this.columns.low[id]!;
    const high = this.columns.high[id]!;
    return high > low ? Math.min(1, Math.max(0, (this.columns.last[id]! - low) / (high - low))) : NaN;
  }

  relative(id: number): number {
    const average = this.columns.average[id]!;
    return average > 0 ? this.columns.volume[id]! / average : NaN;
  }

  #grow(capacity: number): void {
    for (const name of COLUMNS) {
      const wider = new Float64Array(capacity).fill(NaN);
      if (capacity) wider.set(this.columns[name]);
      this.columns[name] = wider;
    }
    const stamps = new Uint32Array(capacity);
    if (capacity) stamps.set(this.stamp);
    this.stamp = stamps;
  }

  #rank(): void {
    const { compare } = new Intl.Collator("en", { numeric: true });
    const order = Array.from(this.symbol.keys()).sort((a, b) => compare(this.symbol[a]!, this.symbol[b]!));
    this.rank = new Int32Array(this.stamp.length);
    order.forEach((id, place) => {
      this.rank[id] = place;
    });
  }
}

export const market = new Market();
/** Told when instruments have come or gone. */
export const listed = new Signal(market);
/** Told when values have changed. */
export const moved = new Signal(market);
/** Told when sparklines have come. */
export const sketched = new Signal(market);

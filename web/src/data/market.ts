// The latest values of all instruments, in arrays indexed by id.

import { type Column, COLUMNS, type RowsFrame, type SparklinesFrame } from "./frames.ts";
import type { Instruments } from "./protocol.ts";
import { Signal } from "./signal.ts";

export class Market {
  readonly columns = Object.fromEntries(COLUMNS.map((name) => [name, new Float64Array(0)])) as Record<Column, Float64Array>;
  /** Incremented whenever a row changes, so that only changed rows are painted. */
  versions = new Uint32Array(0);
  instrument: string[] = [];
  symbol: string[] = [];
  zone: string[] = [];
  /** Rank of each symbol in alphabetical order. */
  alphabeticalRank = new Int32Array(0);
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
    this.#updateRank();
  }

  addInstruments(message: Instruments): void {
    message.instrument.forEach((name, at) => {
      const id = message.from + at;
      this.instrument[id] = name;
      this.symbol[id] = message.symbol[at] ?? name;
      this.zone[id] = message.zone[at] ?? "";
      this.#byInstrument.set(name, id);
    });
    if (this.size > this.versions.length) this.#grow(Math.max(this.size, 2 * this.versions.length));
    this.#updateRank();
  }

  applyRows(rows: RowsFrame): void {
    const { ids, columns } = rows;
    const n = ids.length;
    for (const name of COLUMNS) {
      const from = columns[name];
      const to = this.columns[name];
      for (let at = 0; at < n; at++) to[ids[at]!] = from[at]!;
    }
    for (let at = 0; at < n; at++) this.versions[ids[at]!]!++;
    this.frameMs = rows.nowMs;
  }

  applySparklines(lines: SparklinesFrame): void {
    lines.ids.forEach((id, at) => {
      // a copy, so that the frame can be freed
      this.sparklines.set(id, lines.closes.slice(at * lines.points, (at + 1) * lines.points));
    });
  }

  /** The id of an instrument (`AAPL.XNAS`) or else of a symbol (`AAPL`); -1 if there is none. */
  find(text: string): number {
    const exact = this.#byInstrument.get(text) ?? this.symbol.indexOf(text);
    if (exact >= 0) return exact;
    const upper = text.toUpperCase();
    return this.symbol.findIndex((symbol) => symbol.toUpperCase() === upper);
  }

  last(id: number): number {
    return this.columns.last[id] ?? NaN;
  }

  change(id: number): number {
    return this.columns.last[id]! - this.columns.previous[id]!;
  }

  percentChange(id: number): number {
    const previous = this.columns.previous[id]!;
    return previous > 0 ? (this.columns.last[id]! / previous - 1) * 100 : NaN;
  }

  /** Position of the last price between the session's low (0) and high (1). */
  rangePosition(id: number): number {
    const low = this.columns.low[id]!;
    const high = this.columns.high[id]!;
    return high > low ? Math.min(1, Math.max(0, (this.columns.last[id]! - low) / (high - low))) : NaN;
  }

  relativeVolume(id: number): number {
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
    if (capacity) stamps.set(this.versions);
    this.versions = stamps;
  }

  #updateRank(): void {
    const { compare } = new Intl.Collator("en", { numeric: true });
    const order = Array.from(this.symbol.keys()).sort((a, b) => compare(this.symbol[a]!, this.symbol[b]!));
    this.alphabeticalRank = new Int32Array(this.versions.length);
    order.forEach((id, rank) => {
      this.alphabeticalRank[id] = rank;
    });
  }
}

export const market = new Market();
/** Emits when instruments are added or removed. */
export const instrumentsChanged = new Signal(market);
/** Emits when values have changed. */
export const valuesChanged = new Signal(market);
/** Emits when sparklines have changed. */
export const sparklinesChanged = new Signal(market);

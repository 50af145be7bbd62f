// What a chart is fed with: pages of history to the left and right, and what comes live.

import * as api from "./api.ts";
import { Bars, Values } from "./bars.ts";
import { lengthMs } from "./interval.ts";
import type { BarsPage, IndicatorsPage } from "./protocol.ts";

const PAGE = 1000;
// what is loaded beyond a moment that was asked for
const BEYOND = 300;

export class Feed {
  bars = new Bars();
  values = new Values();
  /** Older bars may exist. */
  more = false;
  /** Newer bars exist that are not loaded: live bars do not follow on these. */
  detached = false;
  #busy = false;
  readonly #stop = new AbortController();

  constructor(
    readonly instrument: string,
    readonly interval: string,
    /** The time up to which there are data. */
    readonly latestMs: () => number,
  ) {}

  abandon(): void {
    this.#stop.abort();
  }

  /** Load the newest bars, or those around a moment. */
  async begin(aroundMs?: number): Promise<void> {
    const end = aroundMs === undefined ? undefined : aroundMs + BEYOND * lengthMs(this.interval);
    const past = end !== undefined && end < this.latestMs();
    const page = await this.#page(past ? end : undefined);
    this.detached = past;
    this.more = page.more;
    if (past && page.time.length === 0) await this.begin();
  }

  /** Load the bars before the first. Says whether there were any. */
  async older(): Promise<boolean> {
    if (this.#busy || !this.more || !this.bars.length) return false;
    return this.#alone(async () => {
      const page = await this.#page(this.bars.time[0]);
      this.more = page.more && page.time.length > 0;
      return page.time.length > 0;
    });
  }

  /** Load what follows the last bar, until the newest. */
  async newer(): Promise<boolean> {
    if (this.#busy || !this.detached) return false;
    return this.#alone(async () => {
      const last = this.bars.lastMs;
      // nights and holidays have no bars: look further ahead until there are some
      for (let reach = (PAGE / 2) * lengthMs(this.interval); ; reach *= 4) {
        const end = last + reach;
        const reached = end >= this.latestMs();
        const page = await this.#page(reached ? undefined : end, true);
        if (reached) this.detached = false;
        if (reached || (page.time.at(-1) ?? 0) > last) return true;
      }
    });
  }

  /** Load what came while nobody listened; begins anew if that was too much. */
  async refresh(): Promise<void> {
    if (this.detached) return;
    const last = this.bars.lastMs;
    const page = await this.#fetch(undefined);
    if (page.bars.time.length && page.bars.time[0]! > last) {
      this.bars = new Bars();
      this.values = new Values();
      this.more = page.bars.more;
    }
    this.#merge(page);
  }

  async #alone(load: () => Promise<boolean>): Promise<boolean> {
    this.#busy = true;
    try {
      return await load();
    } finally {
      this.#busy = false;
    }
  }

  async #page(end: number | undefined, following = false): Promise<BarsPage> {
    const page = await this.#fetch(end);
    // a gap would be drawn as if nothing was in it
    if (following && page.bars.time.length && page.bars.time[0]! > this.bars.lastMs) {
      this.bars = new Bars();
      this.values = new Values();
      this.more = page.bars.more;
    }
    this.#merge(page);
    return page.bars;
  }

  async #fetch(end: number | undefined): Promise<{ bars: BarsPage; values: IndicatorsPage }> {
    const of = { instrument: this.instrument, interval: this.interval, end, limit: PAGE };
    const [bars, values] = await Promise.all([
      api.bars(of, this.#stop.signal),
      // a chart without its indicators is better than none
      api.indicatorValues(of, this.#stop.signal).catch(() => ({ time: [], values: {} })),
    ]);
    return { bars, values };
  }

  #merge(page: { bars: BarsPage; values: IndicatorsPage }): void {
    this.bars.merge(page.bars);
    this.values.merge(page.values);
  }
}

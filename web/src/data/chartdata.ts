// The data of a chart: pages of history in both directions, and live updates.

import * as api from "./api.ts";
import { Bars, IndicatorValues } from "./bars.ts";
import { intervalMs } from "./interval.ts";
import type { BarsPage, IndicatorsPage } from "./protocol.ts";

const PAGE_BARS = 1000;
// loaded beyond a requested time, so that the alert there is not at the edge
const LOOKAHEAD_BARS = 300;

export class ChartData {
  bars = new Bars();
  values = new IndicatorValues();
  /** Whether older bars may exist. */
  hasOlder = false;
  /** Whether newer bars exist that are not loaded: live bars then do not follow the last one. */
  isDetached = false;
  #isLoading = false;
  readonly #abort = new AbortController();

  constructor(
    readonly instrument: string,
    readonly interval: string,
    /** The time of the latest data. */
    readonly latestMs: () => number,
  ) {}

  cancel(): void {
    this.#abort.abort();
  }

  /** Load the latest bars, or those around a time. */
  async load(aroundMs?: number): Promise<void> {
    const end = aroundMs === undefined ? undefined : aroundMs + LOOKAHEAD_BARS * intervalMs(this.interval);
    const past = end !== undefined && end < this.latestMs();
    const page = await this.#loadPage(past ? end : undefined);
    this.isDetached = past;
    this.hasOlder = page.more;
    if (past && page.time.length === 0) await this.load();
  }

  /** Load the bars before the first. Returns whether there were any. */
  async loadOlder(): Promise<boolean> {
    if (this.#isLoading || !this.hasOlder || !this.bars.length) return false;
    return this.#exclusively(async () => {
      const page = await this.#loadPage(this.bars.time[0]);
      this.hasOlder = page.more && page.time.length > 0;
      return page.time.length > 0;
    });
  }

  /** Load the bars after the last. Returns whether it loaded any. */
  async loadNewer(): Promise<boolean> {
    if (this.#isLoading || !this.isDetached) return false;
    return this.#exclusively(async () => {
      const last = this.bars.lastMs;
      // nights and holidays have no bars: look further ahead until there are some
      for (let spanMs = (PAGE_BARS / 2) * intervalMs(this.interval); ; spanMs *= 4) {
        const end = last + spanMs;
        const reachesLatest = end >= this.latestMs();
        const page = await this.#loadPage(reachesLatest ? undefined : end, true);
        if (reachesLatest) this.isDetached = false;
        if (reachesLatest || (page.time.at(-1) ?? 0) > last) return true;
      }
    });
  }

  /** Load what was missed while disconnected; starts over if it is more than a page. */
  async refresh(): Promise<void> {
    if (this.isDetached) return;
    const last = this.bars.lastMs;
    const page = await this.#fetch(undefined);
    if (page.bars.time.length && page.bars.time[0]! > last) {
      this.bars = new Bars();
      this.values = new IndicatorValues();
      this.hasOlder = page.bars.more;
    }
    this.#merge(page);
  }

  async #exclusively(load: () => Promise<boolean>): Promise<boolean> {
    this.#isLoading = true;
    try {
      return await load();
    } finally {
      this.#isLoading = false;
    }
  }

  async #loadPage(end: number | undefined, following = false): Promise<BarsPage> {
    const page = await this.#fetch(end);
    // the chart would join the bars on both sides of a gap
    if (following && page.bars.time.length && page.bars.time[0]! > this.bars.lastMs) {
      this.bars = new Bars();
      this.values = new IndicatorValues();
      this.hasOlder = page.bars.more;
    }
    this.#merge(page);
    return page.bars;
  }

  async #fetch(end: number | undefined): Promise<{ bars: BarsPage; values: IndicatorsPage }> {
    const query = { instrument: this.instrument, interval: this.interval, end, limit: PAGE_BARS };
    const [bars, values] = await Promise.all([
      api.fetchBars(query, this.#abort.signal),
      // a chart without indicators is better than none
      api.fetchIndicators(query, this.#abort.signal).catch(() => ({ time: [], values: {} })),
    ]);
    return { bars, values };
  }

  #merge(page: { bars: BarsPage; values: IndicatorsPage }): void {
    this.bars.merge(page.bars);
    this.values.merge(page.values);
  }
}

// The chart of the chosen instrument: decides what is loaded and shown, and lets Plot draw it.

import type { MouseEventParams, Time } from "lightweight-charts";
import type { AlertBook } from "./alerts.ts";
import { intervalsOf, Refused } from "./api.ts";
import { atOrBefore } from "./bars.ts";
import { $, text } from "./dom.ts";
import { Feed } from "./feed.ts";
import { daily, nearest } from "./interval.ts";
import { Legend } from "./legend.ts";
import { atBars } from "./markers.ts";
import { paint, paintBefore, seldom } from "./paint.ts";
import { Plot } from "./plot.ts";
import { clock, indicators, interval as wanted, logScale } from "./prefs.ts";
import type { Alert, LiveBar, LiveValues, Request } from "./protocol.ts";
import { Signal } from "./signal.ts";
import { chosen, evidence, hello, serverNow } from "./state.ts";
import { market } from "./store.ts";
import { colors } from "./theme.ts";
import { MINE } from "./zone.ts";

const SHOWN = 130;
const BAR_PX = 6;
// a few bars are not drawn as wide as a screen
const LEAST = 40;
// each time the whole pane is drawn
const LIVE_MS = 200;
const EDGE = 40;

/** The zone in which times of an instrument are shown. */
export const zoneOf = (id: number): string => (clock.value === "mine" ? MINE : market.zone[id] || "UTC");

export class ChartPanel {
  /** The interval that is shown; it is not the wanted one where an instrument lacks that. */
  readonly interval = new Signal("");
  readonly picked = new Signal<Alert | null>(null);
  feed: Feed | null = null;
  readonly #plot: Plot;
  readonly #legend: Legend;
  readonly #alerts: AlertBook;
  readonly #send: (request: Request) => void;
  readonly #note = $("chart-note");
  readonly #now = $<HTMLButtonElement>("chart-now");
  #live: (LiveBar | LiveValues)[] = [];
  #ready = false;
  #turn = 0;
  #alertsBackTo = Infinity;
  readonly #flush = seldom(LIVE_MS, () => this.#applyLive(), paintBefore);
  readonly #paintMarks = () => this.#marks();

  constructor(alerts: AlertBook, send: (request: Request) => void) {
    this.#alerts = alerts;
    this.#send = send;
    this.#plot = new Plot($("plot"), colors.value);
    this.#legend = new Legend(this.#plot, $("legend"), $("panes"));
    const scale = this.#plot.chart.timeScale();
    scale.subscribeVisibleLogicalRangeChange((range) => range && void this.#panned(range.from, range.to));
    this.#plot.chart.subscribeCrosshairMove(({ time }) => this.#legend.point(time === undefined ? null : (time as number) * 1000));
    this.#plot.chart.subscribeClick((event) => this.#clicked(event));
    this.#now.addEventListener("click", () => void this.goToNow());
    colors.on((now) => {
      this.#plot.paint(now);
      this.#redraw();
    });
    clock.on(() => this.#redraw());
    indicators.on(() => this.#indicators());
    logScale.watch((on) => this.#plot.log(on));
    alerts.changed.on(() => paint(this.#paintMarks));
    hello.on(() => {
      if (this.feed?.bars.length) this.#indicators();
      else if (chosen.value >= 0) void this.show(chosen.value);
    });
    evidence.on((alert) => {
      if (!alert) this.#legend.point(null);
      paint(this.#paintMarks);
    });
  }

  /** Show an instrument, at its newest bar or around a moment. */
  async show(id: number, options: { at?: number; interval?: string; fallback?: readonly string[] } = {}): Promise<void> {
    const instrument = market.instrument[id];
    if (instrument === undefined) return;
    const name = this.#choose(options);
    const turn = ++this.#turn;
    this.feed?.abandon();
    const feed = new Feed(instrument, name, () => market.columns.time[id] || serverNow());
    this.#ready = false;
    this.#live = [];
    this.#send({ t: "chart", id, interval: name });
    this.interval.set(name);
    this.#say("Loading …", true);
    try {
      // an instrument without this interval is refused as unknown
      await feed.begin(options.at).catch((error: unknown) => {
        if (options.fallback || !(error instanceof Refused) || error.status !== 404) throw error;
      });
      if (turn !== this.#turn) return;
      if (!feed.bars.length && !options.fallback && (await this.#elsewhere(id, instrument, name, options.at, turn))) return;
      if (turn !== this.#turn) return;
      this.#take(feed, id, options);
    } catch (error) {
      if (turn === this.#turn) this.#fail(error, id, options);
    }
  }

  /** Subscribe anew and load what was missed. */
  async resume(): Promise<void> {
    const feed = this.feed;
    if (!feed || chosen.value < 0) return;
    this.#send({ t: "chart", id: chosen.value, interval: this.interval.value });
    try {
      await feed.refresh();
      if (feed === this.feed) this.#redraw();
    } catch {
      // the connection went again; its return calls this again
    }
  }

  clear(): void {
    this.#turn++;
    this.feed?.abandon();
    this.feed = null;
    this.#ready = false;
    this.interval.set("");
  }

  live(message: LiveBar | LiveValues): void {
    if (message.id !== chosen.value || message.interval !== this.interval.value) return;
    this.#live.push(message);
    if (this.#ready) this.#flush();
  }

  async goToNow(): Promise<void> {
    if (this.feed?.detached) await this.show(chosen.value, { interval: this.interval.value });
    else this.#plot.chart.timeScale().scrollToRealTime();
  }

  /** Zoom by a factor around the middle, or move by a share of the width. */
  zoom(factor: number, shift = 0): void {
    const scale = this.#plot.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range) return;
    const [half, middle] = [(range.to - range.from) / 2, (range.to + range.from) / 2];
    const moved = middle + shift * half * 2;
    scale.setVisibleLogicalRange({ from: moved - half * factor, to: moved + half * factor });
  }

  #choose(options: { interval?: string; fallback?: readonly string[] }): string {
    const all = options.fallback ?? hello.value?.intervals ?? [];
    const name = options.interval ?? wanted.value;
    if (all.includes(name)) return name;
    return (name && nearest(name, all)) || (all.includes("5m") ? "5m" : (all[0] ?? "1d"));
  }

  async #elsewhere(id: number, instrument: string, lacking: string, at: number | undefined, turn: number): Promise<boolean> {
    const others = (await intervalsOf(instrument)).filter((each) => each !== lacking);
    if (turn !== this.#turn) return true;
    const other = nearest(lacking, others);
    if (!other) return false;
    await this.show(id, { ...(at === undefined ? {} : { at }), interval: other, fallback: [other] });
    // nobody misses what nobody chose
    if (this.feed?.interval === other && wanted.value) this.#say(`No bars of ${lacking}: these are of ${other}`, false);
    return true;
  }

  #take(feed: Feed, id: number, { at }: { at?: number }): void {
    this.feed = feed;
    this.#ready = true;
    this.#alertsBackTo = Infinity;
    this.#plot.write(zoneOf(id), daily(feed.interval), feed.bars.close.at(-1) ?? 1);
    this.#indicators();
    this.#say(feed.bars.length ? "" : "No bars yet. They appear here as they come.", false);
    this.#applyLive();
    this.#place(at);
    void this.#olderAlerts();
  }

  #place(at: number | undefined): void {
    const scale = this.#plot.chart.timeScale();
    const n = this.feed?.bars.length ?? 0;
    const shown = Math.min(SHOWN, Math.max(30, scale.width() / BAR_PX), Math.max(n, LEAST));
    if (at === undefined || !n) {
      scale.setVisibleLogicalRange({ from: n - shown, to: n + 4 });
      this.#legend.point(null);
      this.#plot.chart.priceScale("right").applyOptions({ autoScale: true });
      return;
    }
    // an alert tells of the bar that ended at its time
    const index = Math.max(0, atOrBefore(this.feed!.bars.time, at - 1));
    const to = Math.min(index + shown / 2, n + 4);
    scale.setVisibleLogicalRange({ from: to - shown, to });
    this.#legend.point(this.feed!.bars.time[index]!);
  }

  #fail(error: unknown, id: number, options: { at?: number; interval?: string }): void {
    if (error instanceof DOMException && error.name === "AbortError") return;
    this.#say(error instanceof Refused ? error.message : "The bars could not be loaded.", false, () => void this.show(id, options));
  }

  #say(words: string, loading: boolean, retry?: () => void): void {
    text($("chart-note-text"), words);
    this.#note.hidden = !words;
    this.#note.dataset.loading = String(loading);
    const button = $<HTMLButtonElement>("chart-retry");
    button.hidden = !retry;
    button.onclick = retry ?? null;
  }

  #indicators(): void {
    const feed = this.feed;
    if (!feed) return;
    this.#plot.indicators(indicators.value, hello.value?.indicators ?? [], feed.bars, feed.values);
    this.#redraw();
  }

  #redraw(): void {
    const feed = this.feed;
    if (!feed) return;
    this.#plot.write(zoneOf(chosen.value), daily(feed.interval), feed.bars.close.at(-1) ?? 1);
    this.#plot.set(feed.bars, feed.values);
    this.#legend.of(feed);
    this.#marks();
    this.#now.hidden = !this.#isAway();
  }

  #applyLive(): void {
    const feed = this.feed;
    if (!feed || !this.#ready) return;
    for (const message of this.#live.splice(0)) {
      if (feed.detached) continue;
      if (message.t === "bar") this.#plot.put(message.bar, feed.bars.put(message.bar));
      else this.#values(feed, message);
    }
    this.#legend.refresh();
    if (feed.bars.length && !this.#note.hidden && this.#note.dataset.loading === "true") this.#say("", false);
  }

  #values(feed: Feed, { ms, values }: LiveValues): void {
    feed.values.put(ms, values);
    for (const each of this.#plot.drawn) {
      const value = values[each.name];
      // a point cannot be drawn beyond the last bar
      if (value !== undefined && value !== null && ms <= feed.bars.lastMs) this.#plot.line(each, ms, value, false);
    }
  }

  async #panned(from: number, to: number): Promise<void> {
    const feed = this.feed;
    this.#now.hidden = !this.#isAway();
    if (!feed || !this.#ready) return;
    try {
      const came = (from < EDGE && (await feed.older())) || (to > feed.bars.length - EDGE && (await feed.newer()));
      if (!came || feed !== this.feed) return;
      this.#redraw();
      await this.#olderAlerts();
    } catch {
      // panning on asks again
    }
  }

  #isAway(): boolean {
    const range = this.#plot.chart.timeScale().getVisibleLogicalRange();
    const feed = this.feed;
    return !!feed?.bars.length && (feed.detached || (!!range && range.to < feed.bars.length - 2));
  }

  /** Load alerts as far back as the bars go, so that each has its mark. */
  async #olderAlerts(): Promise<void> {
    const feed = this.feed;
    const first = feed?.bars.time[0];
    if (!feed || first === undefined) return;
    for (let pages = 0; pages < 10 && this.#alertsBackTo > first; pages++) {
      const end = Number.isFinite(this.#alertsBackTo) ? this.#alertsBackTo : feed.detached ? feed.bars.lastMs : undefined;
      const more = await this.#alerts.older({ instrument: feed.instrument, ...(end === undefined ? {} : { end }) }).catch(() => false);
      if (feed !== this.feed) return;
      const oldest = Math.min(...this.#alerts.of(chosen.value).map(({ event_ms }) => event_ms));
      this.#alertsBackTo = more && oldest < this.#alertsBackTo ? oldest : -Infinity;
    }
  }

  #marks(): void {
    const feed = this.feed;
    if (!feed) return;
    const alert = evidence.value?.id === chosen.value ? evidence.value : null;
    this.#plot.mark(atBars(this.#alerts.of(chosen.value), feed.bars.time, colors.value, this.#alerts, alert));
    this.#plot.compare(alert?.reference_price ?? null);
  }

  #clicked({ hoveredInfo }: MouseEventParams<Time>): void {
    const id = hoveredInfo?.objectId;
    const alert = typeof id === "string" ? this.#alerts.all.find(({ alert_id }) => alert_id === id) : undefined;
    if (alert) {
      this.picked.set(alert);
      this.picked.set(null);
    }
  }
}

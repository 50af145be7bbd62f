// The chart of the selected instrument: decides what to load and show; Plot draws it.

import type { MouseEventParams, Time } from "lightweight-charts";
import type { AlertStore } from "../data/alerts.ts";
import { ApiError, fetchIntervals } from "../data/api.ts";
import { indexAtOrBefore } from "../data/bars.ts";
import { ChartData } from "../data/chartdata.ts";
import { isDaily, nearestInterval } from "../data/interval.ts";
import { market } from "../data/market.ts";
import { clock, indicators, logScale, preferredInterval } from "../data/preferences.ts";
import type { Alert, ClientRequest, LiveBar, LiveValues } from "../data/protocol.ts";
import { Signal } from "../data/signal.ts";
import { selectedAlert, selectedId, serverInfo, serverNowMs } from "../data/state.ts";
import { $, setText } from "../view/dom.ts";
import { alertMarkers } from "../view/markers.ts";
import { scheduleBeforePaint, schedulePaint, throttled } from "../view/paint.ts";
import { Plot } from "../view/plot.ts";
import { colors } from "../view/theme.ts";
import { displayZone } from "../view/timezone.ts";
import { Legend } from "./legend.ts";

const DEFAULT_BARS = 130;
const BAR_PX = 6;
// fewer bars would be drawn unreadably wide
const MIN_BARS = 40;
// every update draws the whole pane
const LIVE_UPDATE_MS = 200;
const PREFETCH_BARS = 40;

export class ChartPanel {
  /** The interval shown; not the preferred one if the instrument does not have that. */
  readonly interval = new Signal("");
  readonly pickedAlert = new Signal<Alert | null>(null);
  data: ChartData | null = null;
  readonly #plot: Plot;
  readonly #legend: Legend;
  readonly #alerts: AlertStore;
  readonly #send: (request: ClientRequest) => void;
  readonly #note = $("chart-note");
  readonly #newestButton = $<HTMLButtonElement>("chart-now");
  #pendingLive: (LiveBar | LiveValues)[] = [];
  #isReady = false;
  #loadId = 0;
  #alertsLoadedToMs = Infinity;
  readonly #flush = throttled(LIVE_UPDATE_MS, () => this.#applyLive(), scheduleBeforePaint);
  readonly #paintMarkers = () => this.#renderMarkers();

  constructor(alerts: AlertStore, send: (request: ClientRequest) => void) {
    this.#alerts = alerts;
    this.#send = send;
    this.#plot = new Plot($("plot"), colors.value);
    this.#legend = new Legend(this.#plot, $("legend"), $("panes"));
    const scale = this.#plot.chart.timeScale();
    scale.subscribeVisibleLogicalRangeChange((range) => range && void this.#onPan(range.from, range.to));
    this.#plot.chart.subscribeCrosshairMove(({ time }) => this.#legend.showAt(time === undefined ? null : (time as number) * 1000));
    this.#plot.chart.subscribeClick((event) => this.#onClick(event));
    this.#newestButton.addEventListener("click", () => void this.goToNewest());
    colors.on((now) => {
      this.#plot.applyColors(now);
      this.#redraw();
    });
    clock.on(() => this.#redraw());
    indicators.on(() => this.#renderIndicators());
    logScale.watch((on) => this.#plot.setLogScale(on));
    alerts.changed.on(() => schedulePaint(this.#paintMarkers));
    serverInfo.on(() => {
      if (this.data?.bars.length) this.#renderIndicators();
      else if (selectedId.value >= 0) void this.show(selectedId.value);
    });
    selectedAlert.on((alert) => {
      if (!alert) this.#legend.showAt(null);
      schedulePaint(this.#paintMarkers);
    });
  }

  /** Show an instrument, at its latest bar or around a time. */
  async show(id: number, options: { at?: number; interval?: string; fallback?: readonly string[] } = {}): Promise<void> {
    const instrument = market.instrument[id];
    if (instrument === undefined) return;
    const name = this.#chooseInterval(options);
    const loadId = ++this.#loadId;
    this.data?.cancel();
    const data = new ChartData(instrument, name, () => market.columns.time[id] || serverNowMs());
    this.#isReady = false;
    this.#pendingLive = [];
    this.#send({ t: "chart", id, interval: name });
    this.interval.set(name);
    this.#showNote("Loading …", true);
    try {
      // the server responds 404 if the instrument does not have this interval
      await data.load(options.at).catch((error: unknown) => {
        if (options.fallback || !(error instanceof ApiError) || error.status !== 404) throw error;
      });
      if (loadId !== this.#loadId) return;
      if (!data.bars.length && !options.fallback && (await this.#showOtherInterval(id, instrument, name, options.at, loadId))) return;
      if (loadId !== this.#loadId) return;
      this.#attach(data, id, options);
    } catch (error) {
      if (loadId === this.#loadId) this.#showError(error, id, options);
    }
  }

  /** Subscribe again and load what was missed. */
  async resume(): Promise<void> {
    const data = this.data;
    if (!data || selectedId.value < 0) return;
    this.#send({ t: "chart", id: selectedId.value, interval: this.interval.value });
    try {
      await data.refresh();
      if (data === this.data) this.#redraw();
    } catch {
      // the connection was lost again; reconnecting calls this again
    }
  }

  clear(): void {
    this.#loadId++;
    this.data?.cancel();
    this.data = null;
    this.#isReady = false;
    this.interval.set("");
  }

  addLive(message: LiveBar | LiveValues): void {
    if (message.id !== selectedId.value || message.interval !== this.interval.value) return;
    this.#pendingLive.push(message);
    if (this.#isReady) this.#flush();
  }

  async goToNewest(): Promise<void> {
    if (this.data?.isDetached) await this.show(selectedId.value, { interval: this.interval.value });
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

  #chooseInterval(options: { interval?: string; fallback?: readonly string[] }): string {
    const all = options.fallback ?? serverInfo.value?.intervals ?? [];
    const name = options.interval ?? preferredInterval.value;
    if (all.includes(name)) return name;
    return (name && nearestInterval(name, all)) || (all.includes("5m") ? "5m" : (all[0] ?? "1d"));
  }

  async #showOtherInterval(id: number, instrument: string, missing: string, at: number | undefined, loadId: number): Promise<boolean> {
    const others = (await fetchIntervals(instrument)).filter((each) => each !== missing);
    if (loadId !== this.#loadId) return true;
    const other = nearestInterval(missing, others);
    if (!other) return false;
    await this.show(id, { ...(at === undefined ? {} : { at }), interval: other, fallback: [other] });
    // a default interval that is missing needs no message
    if (this.data?.interval === other && preferredInterval.value) this.#showNote(`No ${missing} bars; showing ${other} instead`, false);
    return true;
  }

  #attach(data: ChartData, id: number, { at }: { at?: number }): void {
    this.data = data;
    this.#isReady = true;
    this.#alertsLoadedToMs = Infinity;
    this.#plot.setFormat(displayZone(id), isDaily(data.interval), data.bars.close.at(-1) ?? 1);
    this.#renderIndicators();
    this.#showNote(data.bars.length ? "" : "No bars yet. They appear here as they arrive.", false);
    this.#applyLive();
    this.#scrollTo(at);
    void this.#loadOlderAlerts();
  }

  #scrollTo(at: number | undefined): void {
    const scale = this.#plot.chart.timeScale();
    const n = this.data?.bars.length ?? 0;
    const shown = Math.min(DEFAULT_BARS, Math.max(30, scale.width() / BAR_PX), Math.max(n, MIN_BARS));
    if (at === undefined || !n) {
      scale.setVisibleLogicalRange({ from: n - shown, to: n + 4 });
      this.#legend.showAt(null);
      this.#plot.chart.priceScale("right").applyOptions({ autoScale: true });
      return;
    }
    // an alert is about the bar that ends at its time
    const index = Math.max(0, indexAtOrBefore(this.data!.bars.time, at - 1));
    const to = Math.min(index + shown / 2, n + 4);
    scale.setVisibleLogicalRange({ from: to - shown, to });
    this.#legend.showAt(this.data!.bars.time[index]!);
  }

  #showError(error: unknown, id: number, options: { at?: number; interval?: string }): void {
    if (error instanceof DOMException && error.name === "AbortError") return;
    this.#showNote(error instanceof ApiError ? error.message : "Could not load the bars.", false, () => void this.show(id, options));
  }

  #showNote(text: string, loading: boolean, retry?: () => void): void {
    setText($("chart-note-text"), text);
    this.#note.hidden = !text;
    this.#note.dataset.loading = String(loading);
    const button = $<HTMLButtonElement>("chart-retry");
    button.hidden = !retry;
    button.onclick = retry ?? null;
  }

  #renderIndicators(): void {
    const data = this.data;
    if (!data) return;
    this.#plot.setIndicators(indicators.value, serverInfo.value?.indicators ?? [], data.bars, data.values);
    this.#redraw();
  }

  #redraw(): void {
    const data = this.data;
    if (!data) return;
    this.#plot.setFormat(displayZone(selectedId.value), isDaily(data.interval), data.bars.close.at(-1) ?? 1);
    this.#plot.setData(data.bars, data.values);
    this.#legend.setData(data);
    this.#renderMarkers();
    this.#newestButton.hidden = !this.#isScrolledBack();
  }

  #applyLive(): void {
    const data = this.data;
    if (!data || !this.#isReady) return;
    for (const message of this.#pendingLive.splice(0)) {
      if (data.isDetached) continue;
      if (message.t === "bar") this.#plot.updateBar(message.bar, data.bars.upsert(message.bar));
      else this.#applyValues(data, message);
    }
    this.#legend.refresh();
    if (data.bars.length && !this.#note.hidden && this.#note.dataset.loading === "true") this.#showNote("", false);
  }

  #applyValues(data: ChartData, { ms, values }: LiveValues): void {
    data.values.set(ms, values);
    for (const each of this.#plot.indicatorSeries) {
      const value = values[each.name];
      // a point cannot be drawn beyond the last bar
      if (value !== undefined && value !== null && ms <= data.bars.lastMs) this.#plot.updateIndicator(each, ms, value, false);
    }
  }

  async #onPan(from: number, to: number): Promise<void> {
    const data = this.data;
    this.#newestButton.hidden = !this.#isScrolledBack();
    if (!data || !this.#isReady) return;
    try {
      const loaded = (from < PREFETCH_BARS && (await data.loadOlder())) || (to > data.bars.length - PREFETCH_BARS && (await data.loadNewer()));
      if (!loaded || data !== this.data) return;
      this.#redraw();
      await this.#loadOlderAlerts();
    } catch {
      // further panning retries
    }
  }

  #isScrolledBack(): boolean {
    const range = this.#plot.chart.timeScale().getVisibleLogicalRange();
    const data = this.data;
    return !!data?.bars.length && (data.isDetached || (!!range && range.to < data.bars.length - 2));
  }

  /** Load alerts as far back as the bars go, so that all have markers. */
  async #loadOlderAlerts(): Promise<void> {
    const data = this.data;
    const first = data?.bars.time[0];
    if (!data || first === undefined) return;
    for (let pages = 0; pages < 10 && this.#alertsLoadedToMs > first; pages++) {
      const end = Number.isFinite(this.#alertsLoadedToMs) ? this.#alertsLoadedToMs : data.isDetached ? data.bars.lastMs : undefined;
      const more = await this.#alerts.loadOlder({ instrument: data.instrument, ...(end === undefined ? {} : { end }) }).catch(() => false);
      if (data !== this.data) return;
      const oldest = Math.min(...this.#alerts.forInstrument(selectedId.value).map(({ event_ms }) => event_ms));
      this.#alertsLoadedToMs = more && oldest < this.#alertsLoadedToMs ? oldest : -Infinity;
    }
  }

  #renderMarkers(): void {
    const data = this.data;
    if (!data) return;
    const alert = selectedAlert.value?.id === selectedId.value ? selectedAlert.value : null;
    this.#plot.setMarkers(alertMarkers(this.#alerts.forInstrument(selectedId.value), data.bars.time, colors.value, this.#alerts, alert));
    this.#plot.setReferencePrice(alert?.reference_price ?? null);
  }

  #onClick({ hoveredInfo }: MouseEventParams<Time>): void {
    const id = hoveredInfo?.objectId;
    const alert = typeof id === "string" ? this.#alerts.all.find(({ alert_id }) => alert_id === id) : undefined;
    if (alert) {
      this.pickedAlert.set(alert);
      this.pickedAlert.set(null);
    }
  }
}

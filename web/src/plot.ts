// The drawn chart: series and panes of the chart library, and nothing of where data come from.

import {
  type CandlestickData,
  CandlestickSeries,
  createChartEx,
  createSeriesMarkers,
  CrosshairMode,
  HistogramSeries,
  type IChartApiBase,
  type IPriceLine,
  type ISeriesApi,
  type ISeriesMarkersPluginApi,
  LineSeries,
  LineStyle,
  PriceScaleMode,
  type SeriesMarker,
  type SeriesType,
  TickMarkType,
  type Time,
  type UTCTimestamp,
} from "lightweight-charts";
import type { Bars, Values } from "./bars.ts";
import { compact, decimals, figure, known, price } from "./format.ts";
import { grouped, overlays } from "./names.ts";
import type { BarRow } from "./protocol.ts";
import { type ZonedScale, zonedScale } from "./scale.ts";
import { type Colors, faded } from "./theme.ts";
import * as zone from "./zone.ts";

const LINES = ["#e0b040", "#b18cff", "#4cc3c8", "#f078b4", "#8fbf5a", "#7aa2f7"] as const;
const LINES_LIGHT = ["#966500", "#6d3fd1", "#00757c", "#b0287a", "#4a7a12", "#2f5fd0"] as const;

export interface Drawn {
  name: string;
  base: string;
  part: string;
  color: string;
  pane: number;
  series: ISeriesApi<SeriesType, Time>;
}

const seconds = (ms: number) => (ms / 1000) as UTCTimestamp;

export class Plot {
  readonly chart: IChartApiBase<Time>;
  drawn: Drawn[] = [];
  readonly #candles: ISeriesApi<"Candlestick", Time>;
  readonly #volume: ISeriesApi<"Histogram", Time>;
  readonly #markers: ISeriesMarkersPluginApi<Time>;
  readonly #scale: ZonedScale = zonedScale();
  #colors: Colors;
  #daily = false;
  #reference: IPriceLine | null = null;

  constructor(parent: HTMLElement, colors: Colors) {
    this.#colors = colors;
    this.chart = createChartEx<Time, ZonedScale>(parent, this.#scale, {
      autoSize: true,
      // the library's own logo brings a <style>, which our policy forbids; index.html has the link
      layout: { attributionLogo: false, fontSize: 11 },
      crosshair: { mode: CrosshairMode.Normal },
      rightPriceScale: { scaleMargins: { top: 0.12, bottom: 0.22 }, borderVisible: false },
      timeScale: { borderVisible: false, rightOffset: 6, minBarSpacing: 0.4, barSpacing: 8, ...{ tickMarkFormatter: this.#tick.bind(this) } },
      localization: { timeFormatter: (time: Time) => this.#when(time) },
    });
    this.#volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "custom", formatter: compact, minMove: 1 },
      priceLineVisible: false,
      lastValueVisible: false,
    });
    this.#volume.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.#candles = this.chart.addSeries(CandlestickSeries, {});
    this.#markers = createSeriesMarkers(this.#candles, []);
    this.paint(colors);
  }

  paint(colors: Colors): void {
    this.#colors = colors;
    this.chart.applyOptions({
      layout: { background: { color: colors.panel }, textColor: colors.dim, fontFamily: getComputedStyle(document.body).fontFamily, panes: { separatorColor: colors.line, separatorHoverColor: faded(colors.accent, 0.3) } },
      grid: { vertLines: { color: faded(colors.line, 0.5) }, horzLines: { color: faded(colors.line, 0.5) } },
      crosshair: { vertLine: { color: colors.dim, labelBackgroundColor: colors.accent }, horzLine: { color: colors.dim, labelBackgroundColor: colors.accent } },
    });
    this.#candles.applyOptions({ upColor: colors.up, downColor: colors.down, borderVisible: false, wickUpColor: colors.up, wickDownColor: colors.down });
    this.#colorLines();
  }

  /** How times and prices are written. Call `set` afterwards. */
  write(zoneName: string, daily: boolean, about: number): void {
    this.#scale.zone = daily ? "UTC" : zoneName;
    this.#daily = daily;
    const places = decimals(about);
    this.#candles.applyOptions({ priceFormat: { type: "custom", minMove: 10 ** -places, formatter: (x: number) => price(x, places) } });
    this.chart.applyOptions({ timeScale: { timeVisible: !daily } });
  }

  set(bars: Bars, values: Values): void {
    this.#candles.setData(Array.from(bars.time, (_, at) => candle(bars.row(at))));
    this.#volume.setData(Array.from(bars.time, (_, at) => this.#column(bars.row(at))));
    for (const each of this.drawn) this.#line(each, bars, values);
  }

  put(row: BarRow, isLast: boolean): void {
    this.#candles.update(candle(row), !isLast);
    this.#volume.update(this.#column(row), !isLast);
  }

  /** Draw these indicators, each result a series; panes below for those that are no prices. */
  indicators(bases: readonly string[], names: readonly string[], bars: Bars, values: Values): void {
    for (const { series } of this.drawn) this.chart.removeSeries(series);
    this.drawn = [];
    let pane = 0;
    for (const { base, results } of grouped(names).filter(({ base }) => bases.includes(base))) {
      const at = overlays(base) ? 0 : ++pane;
      for (const { name, part } of results) this.drawn.push(this.#add(name, base, part, at));
    }
    this.chart.panes().forEach((each, at) => each.setStretchFactor(at ? 1 : 3.2));
    this.#colorLines();
    for (const each of this.drawn) this.#line(each, bars, values);
  }

  #add(name: string, base: string, part: string, pane: number): Drawn {
    const plain = { priceLineVisible: false, lastValueVisible: pane > 0 && !part, crosshairMarkerVisible: false } as const;
    const format = { priceFormat: { type: "custom", formatter: figure, minMove: 1e-4 } } as const;
    const series =
      part === "hist"
        ? this.chart.addSeries(HistogramSeries, { ...plain, ...(pane ? format : {}) }, pane)
        : this.chart.addSeries(LineSeries, { ...plain, ...(pane ? format : {}), lineWidth: 1 }, pane);
    if (pane) series.priceScale().applyOptions({ scaleMargins: { top: 0.2, bottom: 0.1 } });
    return { name, base, part, pane, series: series as ISeriesApi<SeriesType, Time>, color: "" };
  }

  #colorLines(): void {
    const lines = document.documentElement.dataset.theme === "light" ? LINES_LIGHT : LINES;
    const bases = [...new Set(this.drawn.map(({ base }) => base))];
    const inPane = new Map<string, number>();
    for (const each of this.drawn) {
      const nth = inPane.get(each.base) ?? 0;
      inPane.set(each.base, nth + 1);
      const band = each.pane === 0;
      each.color = each.part === "hist" ? this.#colors.dim : lines[(bases.indexOf(each.base) + (band ? 0 : nth)) % lines.length]!;
      if (each.part === "hist") continue;
      each.series.applyOptions({ color: each.color, lineStyle: each.part === "middle" ? LineStyle.Dotted : LineStyle.Solid } as never);
    }
  }

  line(each: Drawn, ms: number, value: number, isLast: boolean): void {
    each.series.update(this.#point(each, ms, value), !isLast);
  }

  mark(markers: SeriesMarker<Time>[]): void {
    this.#markers.setMarkers(markers);
  }

  /** Draw a line at the price that an alert's is compared with. */
  compare(reference: number | null): void {
    if (this.#reference) this.#candles.removePriceLine(this.#reference);
    this.#reference = null;
    if (reference === null) return;
    this.#reference = this.#candles.createPriceLine({ price: reference, color: this.#colors.dim, lineStyle: LineStyle.Dashed, lineWidth: 1, title: "reference", axisLabelVisible: true });
  }

  log(on: boolean): void {
    this.chart.priceScale("right").applyOptions({ mode: on ? PriceScaleMode.Logarithmic : PriceScaleMode.Normal });
  }

  #line(each: Drawn, bars: Bars, values: Values): void {
    const data = values.byName.get(each.name);
    each.series.setData(
      data ? bars.time.map((ms) => (data.has(ms) ? this.#point(each, ms, data.get(ms)!) : { time: seconds(ms) })) : [],
    );
  }

  #point(each: Drawn, ms: number, value: number) {
    const color = each.part === "hist" ? { color: faded(value >= 0 ? this.#colors.up : this.#colors.down, 0.7) } : {};
    return { time: seconds(ms), value, ...color };
  }

  #column([ms, open, , , close, volume]: BarRow) {
    if (!known(volume)) return { time: seconds(ms) };
    return { time: seconds(ms), value: volume, color: faded(close >= open ? this.#colors.up : this.#colors.down, 0.35) };
  }

  #when(time: Time): string {
    const ms = (time as number) * 1000;
    return this.#daily ? zone.day(ms, "UTC") : zone.full(ms, this.#scale.zone);
  }

  #tick(time: Time, type: TickMarkType): string {
    const ms = (time as number) * 1000;
    const date = zone.wall(ms, this.#scale.zone);
    switch (type) {
      case TickMarkType.Year:
        return String(date.getUTCFullYear());
      case TickMarkType.Month:
        return zone.MONTHS[date.getUTCMonth()]!;
      case TickMarkType.DayOfMonth:
        return String(date.getUTCDate());
      default:
        return zone.time(ms, this.#scale.zone, type === TickMarkType.TimeWithSeconds);
    }
  }
}

const candle = ([ms, open, high, low, close]: BarRow): CandlestickData<Time> => ({ time: seconds(ms), open, high, low, close });


// The drawn chart: series and panes of the chart library, independent of where the data come from.

import {
  type CandlestickData,
  CandlestickSeries,
  createChartEx,
  createSeriesMarkers,
  CrosshairMode,
  HistogramSeries,
  type IChartApiBase,
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
  type WhitespaceData,
} from "lightweight-charts";
import type { Bars, IndicatorValues } from "../data/bars.ts";
import { formatCompact, decimalPlaces, formatIndicator, isKnown, formatPrice } from "./format.ts";
import { groupIndicators, isOverlay } from "../data/indicators.ts";
import type { BarRow } from "../data/protocol.ts";
import { type ZonedScale, createZonedScale } from "./timescale.ts";
import { type Colors, withOpacity } from "./theme.ts";
import * as zone from "./timezone.ts";

const DARK_LINE_COLORS = ["#e0b040", "#b18cff", "#4cc3c8", "#f078b4", "#8fbf5a", "#7aa2f7"] as const;
const LIGHT_LINE_COLORS = ["#966500", "#6d3fd1", "#00757c", "#b0287a", "#4a7a12", "#2f5fd0"] as const;

export interface IndicatorSeries {
  name: string;
  base: string;
  part: string;
  color: string;
  pane: number;
  series: ISeriesApi<SeriesType, Time>;
}

const chartTime = (ms: number) => (ms / 1000) as UTCTimestamp;

export class Plot {
  readonly chart: IChartApiBase<Time>;
  indicatorSeries: IndicatorSeries[] = [];
  readonly #candles: ISeriesApi<"Candlestick", Time>;
  /** Bars of which only the close is known. */
  readonly #closes: ISeriesApi<"Line", Time>;
  readonly #volume: ISeriesApi<"Histogram", Time>;
  readonly #markers: ISeriesMarkersPluginApi<Time>;
  readonly #closeMarkers: ISeriesMarkersPluginApi<Time>;
  readonly #scale: ZonedScale = createZonedScale();
  #colors: Colors;
  #daily = false;
  #hasOnlyCloses = false;
  #removeReference = () => {};

  constructor(parent: HTMLElement, colors: Colors) {
    this.#colors = colors;
    this.chart = createChartEx<Time, ZonedScale>(parent, this.#scale, {
      autoSize: true,
      // the library's logo adds a <style>, which our policy forbids; index.html has the link
      layout: { attributionLogo: false, fontSize: 11 },
      crosshair: { mode: CrosshairMode.Normal },
      rightPriceScale: { scaleMargins: { top: 0.12, bottom: 0.22 }, borderVisible: false },
      timeScale: { borderVisible: false, rightOffset: 6, minBarSpacing: 0.4, barSpacing: 8, ...{ tickMarkFormatter: this.#formatTickMark.bind(this) } },
      localization: { timeFormatter: (time: Time) => this.#formatTime(time) },
    });
    this.#volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "custom", formatter: formatCompact, minMove: 1 },
      priceLineVisible: false,
      lastValueVisible: false,
    });
    this.#volume.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.#candles = this.chart.addSeries(CandlestickSeries, {});
    this.#closes = this.chart.addSeries(LineSeries, { lineWidth: 2 });
    this.#markers = createSeriesMarkers(this.#candles, []);
    this.#closeMarkers = createSeriesMarkers(this.#closes, []);
    this.applyColors(colors);
  }

  applyColors(colors: Colors): void {
    this.#colors = colors;
    this.chart.applyOptions({
      layout: { background: { color: colors.panel }, textColor: colors.dim, fontFamily: getComputedStyle(document.body).fontFamily, panes: { separatorColor: colors.line, separatorHoverColor: withOpacity(colors.accent, 0.3) } },
      grid: { vertLines: { color: withOpacity(colors.line, 0.5) }, horzLines: { color: withOpacity(colors.line, 0.5) } },
      crosshair: { vertLine: { color: colors.dim, labelBackgroundColor: colors.accent }, horzLine: { color: colors.dim, labelBackgroundColor: colors.accent } },
    });
    this.#closes.applyOptions({ color: colors.accent });
    this.#candles.applyOptions({ upColor: colors.up, downColor: colors.down, borderVisible: false, wickUpColor: colors.up, wickDownColor: colors.down });
    this.#colorLines();
  }

  /** Set the format of times and prices. Call `setData` afterwards. */
  setFormat(zoneName: string, daily: boolean, typicalPrice: number): void {
    this.#scale.zone = daily ? "UTC" : zoneName;
    this.#daily = daily;
    const places = decimalPlaces(typicalPrice);
    for (const series of [this.#candles, this.#closes]) series.applyOptions({ priceFormat: { type: "custom", minMove: 10 ** -places, formatter: (x: number) => formatPrice(x, places) } });
    this.chart.applyOptions({ timeScale: { timeVisible: !daily } });
  }

  setData(bars: Bars, values: IndicatorValues): void {
    this.#hasOnlyCloses = bars.hasOnlyCloses;
    this.#candles.setData(Array.from(bars.time, (_, at) => candle(bars.row(at))));
    this.#closes.setData(bars.open.includes(null) ? Array.from(bars.time, (_, at) => closePoint(bars.row(at))) : []);
    this.#volume.setData(Array.from(bars.time, (_, at) => this.#volumePoint(bars.row(at))));
    for (const each of this.indicatorSeries) this.#setSeriesData(each, bars, values);
  }

  updateBar(row: BarRow, isLast: boolean): void {
    this.#candles.update(candle(row), !isLast);
    if (row[1] === null) this.#closes.update(closePoint(row), !isLast);
    this.#volume.update(this.#volumePoint(row), !isLast);
  }

  /** Draw indicators, one series per output; those that are not prices get separate panes. */
  setIndicators(bases: readonly string[], names: readonly string[], bars: Bars, values: IndicatorValues): void {
    for (const { series } of this.indicatorSeries) this.chart.removeSeries(series);
    this.indicatorSeries = [];
    let pane = 0;
    for (const { base, results } of groupIndicators(names).filter(({ base }) => bases.includes(base))) {
      const at = isOverlay(base) ? 0 : ++pane;
      for (const { name, part } of results) this.indicatorSeries.push(this.#addSeries(name, base, part, at));
    }
    this.chart.panes().forEach((each, at) => each.setStretchFactor(at ? 1 : 3.2));
    this.#colorLines();
    for (const each of this.indicatorSeries) this.#setSeriesData(each, bars, values);
  }

  #addSeries(name: string, base: string, part: string, pane: number): IndicatorSeries {
    const plain = { priceLineVisible: false, lastValueVisible: pane > 0 && !part, crosshairMarkerVisible: false } as const;
    const format = { priceFormat: { type: "custom", formatter: formatIndicator, minMove: 1e-4 } } as const;
    const series =
      part === "hist"
        ? this.chart.addSeries(HistogramSeries, { ...plain, ...(pane ? format : {}) }, pane)
        : this.chart.addSeries(LineSeries, { ...plain, ...(pane ? format : {}), lineWidth: 1 }, pane);
    if (pane) series.priceScale().applyOptions({ scaleMargins: { top: 0.2, bottom: 0.1 } });
    return { name, base, part, pane, series: series as ISeriesApi<SeriesType, Time>, color: "" };
  }

  #colorLines(): void {
    const lines = document.documentElement.dataset.theme === "light" ? LIGHT_LINE_COLORS : DARK_LINE_COLORS;
    const bases = [...new Set(this.indicatorSeries.map(({ base }) => base))];
    const inPane = new Map<string, number>();
    for (const each of this.indicatorSeries) {
      const nth = inPane.get(each.base) ?? 0;
      inPane.set(each.base, nth + 1);
      const band = each.pane === 0;
      each.color = each.part === "hist" ? this.#colors.dim : lines[(bases.indexOf(each.base) + (band ? 0 : nth)) % lines.length]!;
      if (each.part === "hist") continue;
      each.series.applyOptions({ color: each.color, lineStyle: each.part === "middle" ? LineStyle.Dotted : LineStyle.Solid } as never);
    }
  }

  updateIndicator(each: IndicatorSeries, ms: number, value: number, isLast: boolean): void {
    each.series.update(this.#indicatorPoint(each, ms, value), !isLast);
  }

  setMarkers(markers: SeriesMarker<Time>[]): void {
    this.#markers.setMarkers(this.#hasOnlyCloses ? [] : markers);
    this.#closeMarkers.setMarkers(this.#hasOnlyCloses ? markers : []);
  }

  /** Draw a line at the reference price of an alert. */
  setReferencePrice(reference: number | null): void {
    this.#removeReference();
    this.#removeReference = () => {};
    if (reference === null) return;
    const series: ISeriesApi<"Candlestick" | "Line", Time> = this.#hasOnlyCloses ? this.#closes : this.#candles;
    const line = series.createPriceLine({ price: reference, color: this.#colors.dim, lineStyle: LineStyle.Dashed, lineWidth: 1, title: "reference", axisLabelVisible: true });
    this.#removeReference = () => series.removePriceLine(line);
  }

  setLogScale(on: boolean): void {
    this.chart.priceScale("right").applyOptions({ mode: on ? PriceScaleMode.Logarithmic : PriceScaleMode.Normal });
  }

  #setSeriesData(each: IndicatorSeries, bars: Bars, values: IndicatorValues): void {
    const data = values.byName.get(each.name);
    each.series.setData(
      data ? bars.time.map((ms) => (data.has(ms) ? this.#indicatorPoint(each, ms, data.get(ms)!) : { time: chartTime(ms) })) : [],
    );
  }

  #indicatorPoint(each: IndicatorSeries, ms: number, value: number) {
    const color = each.part === "hist" ? { color: withOpacity(value >= 0 ? this.#colors.up : this.#colors.down, 0.7) } : {};
    return { time: chartTime(ms), value, ...color };
  }

  #volumePoint([ms, open, , , close, volume]: BarRow) {
    if (!isKnown(volume)) return { time: chartTime(ms) };
    return { time: chartTime(ms), value: volume, color: withOpacity(close >= (open ?? close) ? this.#colors.up : this.#colors.down, 0.35) };
  }

  #formatTime(time: Time): string {
    const ms = (time as number) * 1000;
    return this.#daily ? zone.formatDay(ms, "UTC") : zone.formatDateTime(ms, this.#scale.zone);
  }

  #formatTickMark(time: Time, type: TickMarkType): string {
    const ms = (time as number) * 1000;
    const date = zone.wallClock(ms, this.#scale.zone);
    switch (type) {
      case TickMarkType.Year:
        return String(date.getUTCFullYear());
      case TickMarkType.Month:
        return zone.MONTHS[date.getUTCMonth()]!;
      case TickMarkType.DayOfMonth:
        return String(date.getUTCDate());
      default:
        return zone.formatTime(ms, this.#scale.zone, type === TickMarkType.TimeWithSeconds);
    }
  }
}

const candle = ([ms, open, high, low, close]: BarRow): CandlestickData<Time> | WhitespaceData<Time> =>
  open === null || high === null || low === null ? { time: chartTime(ms) } : { time: chartTime(ms), open, high, low, close };

const closePoint = ([ms, open, , , close]: BarRow) => (open === null ? { time: chartTime(ms), value: close } : { time: chartTime(ms) });


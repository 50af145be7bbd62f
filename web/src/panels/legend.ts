// The values at the top left of the chart and of each pane: of the bar under the crosshair, or else the last bar.

import { indexAtOrBefore } from "../data/bars.ts";
import type { ChartData } from "../data/chartdata.ts";
import { indicators } from "../data/preferences.ts";
import { h, icon, setText } from "../view/dom.ts";
import { changeArrow, decimalPlaces, formatCompact, formatIndicator, formatPercent, formatPrice, formatSigned } from "../view/format.ts";
import { schedulePaint } from "../view/paint.ts";
import type { IndicatorSeries, Plot } from "../view/plot.ts";

interface LegendLine {
  element: HTMLElement;
  pane: number;
  outputs: { series: IndicatorSeries; node: HTMLElement }[];
}

export class Legend {
  readonly #plot: Plot;
  readonly #main: HTMLElement;
  readonly #panes: HTMLElement;
  readonly #barValues = h("div", { class: "figures", "data-testid": "legend" });
  readonly #barNodes: Record<string, HTMLElement> = {};
  #lines: LegendLine[] = [];
  #series: readonly IndicatorSeries[] = [];
  #data: ChartData | null = null;
  #atMs: number | null = null;
  readonly #paint = () => this.#render();

  constructor(plot: Plot, main: HTMLElement, panes: HTMLElement) {
    this.#plot = plot;
    this.#main = main;
    this.#panes = panes;
    for (const name of ["O", "H", "L", "C", "Vol", ""]) {
      const node = h("b");
      this.#barNodes[name] = node;
      this.#barValues.append(h("span", {}, name, node));
    }
    main.append(this.#barValues);
    new ResizeObserver(() => schedulePaint(this.#paint)).observe(main.parentElement!);
  }

  setData(data: ChartData): void {
    this.#data = data;
    if (this.#series !== this.#plot.indicatorSeries) this.#build(this.#plot.indicatorSeries);
    this.refresh();
  }

  /** Show the bar at a time; null for the last bar. */
  showAt(ms: number | null): void {
    this.#atMs = ms;
    this.refresh();
  }

  refresh(): void {
    schedulePaint(this.#paint);
  }

  #build(series: readonly IndicatorSeries[]): void {
    this.#series = series;
    for (const { element } of this.#lines) element.remove();
    this.#lines = [...new Set(series.map(({ base }) => base))].map((base) => {
      const parts = series.filter((each) => each.base === base);
      const outputs = parts.map((part) => ({ series: part, node: h("b", { title: part.part || base }) }));
      const drop = h("button", { type: "button", class: "drop", "aria-label": `Remove ${base}`, title: `Remove ${base}` }, icon("close"));
      drop.addEventListener("click", () => indicators.set(indicators.value.filter((each) => each !== base)));
      const pane = parts[0]!.pane;
      const element = h("div", { class: "line" }, h("span", { class: "name" }, base), ...outputs.map(({ node }) => node), drop);
      (pane ? this.#panes : this.#main).append(element);
      return { element, pane, outputs };
    });
  }

  #render(): void {
    const bars = this.#data?.bars;
    const last = (bars?.length ?? 0) - 1;
    const index = this.#atMs === null ? last : indexAtOrBefore(bars?.time ?? [], this.#atMs);
    this.#barValues.hidden = index < 0;
    if (!bars || index < 0) return;
    const [ms, open, high, low, close, volume] = bars.row(index);
    const before = index ? bars.close[index - 1]! : (open ?? NaN);
    const places = decimalPlaces(close);
    const change = close - before;
    const write = (name: string, value: string) => setText(this.#barNodes[name]!, value);
    write("O", formatPrice(open, places));
    write("H", formatPrice(high, places));
    write("L", formatPrice(low, places));
    write("C", formatPrice(close, places));
    write("Vol", formatCompact(volume));
    write("", `${changeArrow(change)} ${formatSigned(change, places)} (${formatPercent((close / before - 1) * 100)})`);
    this.#barValues.dataset.direction = change > 0 ? "up" : change < 0 ? "down" : "flat";
    this.#renderIndicators(ms, index === last);
    this.#positionLines();
  }

  #renderIndicators(ms: number, isLast: boolean): void {
    for (const { series, node } of this.#lines.flatMap(({ outputs }) => outputs)) {
      const { byName } = this.#data!.values;
      let value = byName.get(series.name)?.get(ms);
      // the forming bar has no indicators yet: show those of the previous bar
      if (value === undefined && isLast) value = byName.get(series.name)?.get(this.#data!.bars.time.at(-2) ?? NaN);
      setText(node, formatIndicator(value ?? NaN));
      node.style.color = series.color;
    }
  }

  /** Move each line to the top of its pane. */
  #positionLines(): void {
    const panes = this.#plot.chart.panes();
    const tops = panes.map((_, at) => panes.slice(0, at).reduce((sum, pane) => sum + pane.getHeight() + 1, 0));
    for (const { element, pane } of this.#lines) if (pane) element.style.transform = `translateY(${(tops[pane] ?? 0) + 4}px)`;
  }
}

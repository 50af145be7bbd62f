// The figures at the top left of the chart and of each pane: of the bar under the crosshair, or else of the last.

import { atOrBefore } from "./bars.ts";
import { h, icon, text } from "./dom.ts";
import type { Feed } from "./feed.ts";
import { arrow, compact, decimals, figure, percent, price, signed } from "./format.ts";
import { paint } from "./paint.ts";
import type { Drawn, Plot } from "./plot.ts";
import { indicators } from "./prefs.ts";

interface Line {
  element: HTMLElement;
  pane: number;
  values: { drawn: Drawn; node: HTMLElement }[];
}

export class Legend {
  readonly #plot: Plot;
  readonly #main: HTMLElement;
  readonly #panes: HTMLElement;
  readonly #figures = h("div", { class: "figures", "data-testid": "legend" });
  readonly #nodes: Record<string, HTMLElement> = {};
  #lines: Line[] = [];
  #of: readonly Drawn[] = [];
  #feed: Feed | null = null;
  #at: number | null = null;
  readonly #paint = () => this.#show();

  constructor(plot: Plot, main: HTMLElement, panes: HTMLElement) {
    this.#plot = plot;
    this.#main = main;
    this.#panes = panes;
    for (const name of ["O", "H", "L", "C", "Vol", ""]) {
      const node = h("b");
      this.#nodes[name] = node;
      this.#figures.append(h("span", {}, name, node));
    }
    main.append(this.#figures);
    new ResizeObserver(() => paint(this.#paint)).observe(main.parentElement!);
  }

  of(feed: Feed): void {
    this.#feed = feed;
    if (this.#of !== this.#plot.drawn) this.#build(this.#plot.drawn);
    this.refresh();
  }

  /** Show the bar of a time; null for the last. */
  point(ms: number | null): void {
    this.#at = ms;
    this.refresh();
  }

  refresh(): void {
    paint(this.#paint);
  }

  #build(drawn: readonly Drawn[]): void {
    this.#of = drawn;
    for (const { element } of this.#lines) element.remove();
    this.#lines = [...new Set(drawn.map(({ base }) => base))].map((base) => {
      const parts = drawn.filter((each) => each.base === base);
      const values = parts.map((each) => ({ drawn: each, node: h("b", { title: each.part || base }) }));
      const drop = h("button", { type: "button", class: "drop", "aria-label": `Remove ${base}`, title: `Remove ${base}` }, icon("close"));
      drop.addEventListener("click", () => indicators.set(indicators.value.filter((each) => each !== base)));
      const pane = parts[0]!.pane;
      const element = h("div", { class: "line" }, h("span", { class: "name" }, base), ...values.map(({ node }) => node), drop);
      (pane ? this.#panes : this.#main).append(element);
      return { element, pane, values };
    });
  }

  #show(): void {
    const bars = this.#feed?.bars;
    const last = (bars?.length ?? 0) - 1;
    const index = this.#at === null ? last : atOrBefore(bars?.time ?? [], this.#at);
    this.#figures.hidden = index < 0;
    if (!bars || index < 0) return;
    const [ms, open, high, low, close, volume] = bars.row(index);
    const before = index ? bars.close[index - 1]! : open;
    const places = decimals(close);
    const change = close - before;
    const write = (name: string, value: string) => text(this.#nodes[name]!, value);
    write("O", price(open, places));
    write("H", price(high, places));
    write("L", price(low, places));
    write("C", price(close, places));
    write("Vol", compact(volume));
    write("", `${arrow(change)} ${signed(change, places)} (${percent((close / before - 1) * 100)})`);
    this.#figures.dataset.way = change > 0 ? "up" : change < 0 ? "down" : "flat";
    this.#values(ms, index === last);
    this.#seat();
  }

  #values(ms: number, isLast: boolean): void {
    for (const { drawn, node } of this.#lines.flatMap(({ values }) => values)) {
      const { byName } = this.#feed!.values;
      let value = byName.get(drawn.name)?.get(ms);
      // the bar that is forming has no indicators yet: show those of the one before
      if (value === undefined && isLast) value = byName.get(drawn.name)?.get(this.#feed!.bars.time.at(-2) ?? NaN);
      text(node, figure(value ?? NaN));
      node.style.color = drawn.color;
    }
  }

  /** Put the lines of panes at the top of their panes. */
  #seat(): void {
    const panes = this.#plot.chart.panes();
    const tops = panes.map((_, at) => panes.slice(0, at).reduce((sum, pane) => sum + pane.getHeight() + 1, 0));
    for (const { element, pane } of this.#lines) if (pane) element.style.transform = `translateY(${(tops[pane] ?? 0) + 4}px)`;
  }
}

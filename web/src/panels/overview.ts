import type { AlertStore } from "../data/alerts.ts";
import { market, valuesChanged } from "../data/market.ts";
import { filterIds, sortIds } from "../data/sorting.ts";
import { selectedId, view } from "../data/state.ts";
import { $, h, icon, setText } from "../view/dom.ts";
import { changeArrow, formatMultiple, formatNumber, formatPercent, formatPrice } from "../view/format.ts";
import { throttled } from "../view/paint.ts";
import { colors } from "../view/theme.ts";
import { HeatMap } from "./heatmap.ts";

const RANKING_ROWS = 7;

/** A short table whose rows are reused. */
class Ranking {
  readonly #rows: { row: HTMLElement; id: number; cells: HTMLElement[] }[] = [];

  constructor(
    parent: HTMLElement,
    readonly extra: (id: number) => string,
  ) {
    for (let index = 0; index < RANKING_ROWS; index++) {
      const cells = ["symbol", "last", "percent", "extra"].map((name) => h("td", { class: name }));
      const open = h("button", { type: "button" });
      cells[0]!.append(open);
      const row = h("tr", { hidden: true }, ...cells);
      const entry = { row, id: -1, cells: [open, ...cells.slice(1)] };
      row.addEventListener("click", () => {
        selectedId.set(entry.id);
        view.set("chart");
      });
      parent.append(row);
      this.#rows.push(entry);
    }
  }

  fill(ids: ArrayLike<number>): void {
    this.#rows.forEach((entry, index) => {
      const id = ids[index];
      entry.row.hidden = id === undefined;
      if (id === undefined) return;
      entry.id = id;
      const change = market.percentChange(id);
      entry.row.dataset.direction = change > 0 ? "up" : change < 0 ? "down" : "flat";
      const texts = [market.symbol[id]!, formatPrice(market.last(id)), `${changeArrow(change)} ${formatPercent(change)}`, this.extra(id)];
      entry.cells.forEach((cell, at) => setText(cell, texts[at]!));
    });
  }
}

export class Overview {
  readonly #heatMap = new HeatMap();
  readonly #gainers = new Ranking($("gainers"), (id) => formatMultiple(market.relativeVolume(id)));
  readonly #losers = new Ranking($("losers"), (id) => formatMultiple(market.relativeVolume(id)));
  readonly #active = new Ranking($("active"), (id) => formatMultiple(market.relativeVolume(id)));
  readonly #alerts: AlertStore;
  readonly #renderSoon = throttled(1000, () => this.#render());

  constructor(alerts: AlertStore) {
    this.#alerts = alerts;
    $("overview-alerts").prepend(icon("warning"));
    valuesChanged.on(() => view.value === "overview" && this.#renderSoon());
    view.on((now) => now === "overview" && this.#render());
    colors.on(() => this.#render());
    new ResizeObserver(() => this.#render()).observe($("heat").parentElement!);
  }

  #render(): void {
    if (view.value !== "overview") return;
    const priced = filterIds(market.size, (id) => Number.isFinite(market.percentChange(id)));
    sortIds(priced, (id) => market.percentChange(id), true, market.alphabeticalRank);
    const ups = priced.filter((id) => market.change(id) > 0);
    const downs = priced.filter((id) => market.change(id) < 0);
    this.#gainers.fill(ups);
    this.#losers.fill(downs.slice(-RANKING_ROWS).reverse());
    const traded = filterIds(market.size, (id) => market.relativeVolume(id) > 0);
    this.#active.fill(sortIds(traded, (id) => market.relativeVolume(id), true, market.alphabeticalRank));
    this.#renderBreadth(ups.length, downs.length, priced.length, priced[priced.length >> 1]);
    this.#heatMap.paint();
  }

  #renderBreadth(up: number, down: number, all: number, middle: number | undefined): void {
    const share = (n: number) => `${all ? ((100 * n) / all).toFixed(0) : 0}%`;
    setText($("breadth-up"), `▲ ${formatNumber(up)} up · ${share(up)}`);
    setText($("breadth-flat"), `${formatNumber(all - up - down)} unchanged`);
    setText($("breadth-down"), `▼ ${formatNumber(down)} down · ${share(down)}`);
    $("breadth-bar-up").style.flexGrow = String(up);
    $("breadth-bar-flat").style.flexGrow = String(all - up - down);
    $("breadth-bar-down").style.flexGrow = String(down);
    const median = middle === undefined ? NaN : market.percentChange(middle);
    setText($("overview-median"), `${changeArrow(median)} ${formatPercent(median)}`);
    $("overview-median").dataset.direction = median > 0 ? "up" : median < 0 ? "down" : "flat";
    const atHigh = filterIds(market.size, (id) => market.rangePosition(id) === 1).length;
    const atLow = filterIds(market.size, (id) => market.rangePosition(id) === 0).length;
    setText($("overview-edges"), `${formatNumber(atHigh)} / ${formatNumber(atLow)}`);
    const unread = filterIds(market.size, (id) => this.#alerts.unread(id).count > 0).length;
    setText($("overview-alerted"), formatNumber(unread));
  }
}

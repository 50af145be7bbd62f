import type { AlertBook } from "./alerts.ts";
import { $, h, icon, text } from "./dom.ts";
import { arrow, grouped, percent, price, times } from "./format.ts";
import { HeatMap } from "./heatmap.ts";
import { arrange, pick } from "./order.ts";
import { seldom } from "./paint.ts";
import { chosen, view } from "./state.ts";
import { market, moved } from "./store.ts";
import { colors } from "./theme.ts";

const PLACES = 7;

/** A short table that is filled again and again. */
class Ranking {
  readonly #rows: { row: HTMLElement; id: number; cells: HTMLElement[] }[] = [];

  constructor(
    parent: HTMLElement,
    readonly extra: (id: number) => string,
  ) {
    for (let place = 0; place < PLACES; place++) {
      const cells = ["symbol", "last", "percent", "extra"].map((name) => h("td", { class: name }));
      const open = h("button", { type: "button" });
      cells[0]!.append(open);
      const row = h("tr", { hidden: true }, ...cells);
      const entry = { row, id: -1, cells: [open, ...cells.slice(1)] };
      row.addEventListener("click", () => {
        chosen.set(entry.id);
        view.set("chart");
      });
      parent.append(row);
      this.#rows.push(entry);
    }
  }

  fill(ids: ArrayLike<number>): void {
    this.#rows.forEach((entry, place) => {
      const id = ids[place];
      entry.row.hidden = id === undefined;
      if (id === undefined) return;
      entry.id = id;
      const change = market.percent(id);
      entry.row.dataset.way = change > 0 ? "up" : change < 0 ? "down" : "flat";
      const texts = [market.symbol[id]!, price(market.last(id)), `${arrow(change)} ${percent(change)}`, this.extra(id)];
      entry.cells.forEach((cell, at) => text(cell, texts[at]!));
    });
  }
}

export class Overview {
  readonly #heat = new HeatMap();
  readonly #gainers = new Ranking($("gainers"), (id) => times(market.relative(id)));
  readonly #losers = new Ranking($("losers"), (id) => times(market.relative(id)));
  readonly #active = new Ranking($("active"), (id) => times(market.relative(id)));
  readonly #book: AlertBook;
  readonly #again = seldom(1000, () => this.#show());

  constructor(book: AlertBook) {
    this.#book = book;
    $("overview-alerts").prepend(icon("warning"));
    moved.on(() => view.value === "overview" && this.#again());
    view.on((now) => now === "overview" && this.#show());
    colors.on(() => this.#show());
    new ResizeObserver(() => this.#show()).observe($("heat").parentElement!);
  }

  #show(): void {
    if (view.value !== "overview") return;
    const priced = pick(market.size, (id) => Number.isFinite(market.percent(id)));
    arrange(priced, (id) => market.percent(id), true, market.rank);
    const ups = priced.filter((id) => market.change(id) > 0);
    const downs = priced.filter((id) => market.change(id) < 0);
    this.#gainers.fill(ups);
    this.#losers.fill(downs.slice(-PLACES).reverse());
    const busy = pick(market.size, (id) => market.relative(id) > 0);
    this.#active.fill(arrange(busy, (id) => market.relative(id), true, market.rank));
    this.#breadth(ups.length, downs.length, priced.length, priced[priced.length >> 1]);
    this.#heat.paint();
  }

  #breadth(up: number, down: number, all: number, middle: number | undefined): void {
    const share = (n: number) => `${all ? ((100 * n) / all).toFixed(0) : 0}%`;
    text($("breadth-up"), `▲ ${grouped(up)} up · ${share(up)}`);
    text($("breadth-flat"), `${grouped(all - up - down)} unchanged`);
    text($("breadth-down"), `▼ ${grouped(down)} down · ${share(down)}`);
    $("breadth-bar-up").style.flexGrow = String(up);
    $("breadth-bar-flat").style.flexGrow = String(all - up - down);
    $("breadth-bar-down").style.flexGrow = String(down);
    const median = middle === undefined ? NaN : market.percent(middle);
    text($("overview-median"), `${arrow(median)} ${percent(median)}`);
    $("overview-median").dataset.way = median > 0 ? "up" : median < 0 ? "down" : "flat";
    const edge = pick(market.size, (id) => market.place(id) === 1).length;
    const floor = pick(market.size, (id) => market.place(id) === 0).length;
    text($("overview-edges"), `${grouped(edge)} / ${grouped(floor)}`);
    const unread = pick(market.size, (id) => this.#book.unread(id).count > 0).length;
    text($("overview-alerted"), grouped(unread));
  }
}

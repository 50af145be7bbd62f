import type { AlertBook } from "./alerts.ts";
import { headings } from "./columns.ts";
import { $, h, text } from "./dom.ts";
import { grouped } from "./format.ts";
import { answers, arrange, pick, same } from "./order.ts";
import { paint, seldom } from "./paint.ts";
import { favourites, sorting } from "./prefs.ts";
import { Row } from "./row.ts";
import { Signal } from "./signal.ts";
import { chosen, view } from "./state.ts";
import { listed, market, moved, sketched } from "./store.ts";

const FILTERS = { all: "All", gainers: "Gainers", losers: "Losers", alerts: "Alerts", favourites: "Favourites" } as const;
type Filter = keyof typeof FILTERS;

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const narrow = matchMedia("(max-width: 820px)");
// rows stay where they are while the pointer aims at one
const AIM_MS = 1200;

export class WatchList {
  /** Numbers of the rows on screen. */
  readonly onScreen = new Signal<number[]>([]);
  readonly #alerts: AlertBook;
  readonly #grid = $("watch-grid");
  readonly #body = $("watch-body");
  readonly #space = $("watch-space");
  readonly #search = $<HTMLInputElement>("search");
  readonly #rows: Row[] = [];
  readonly #favourites = new Set(favourites.value);
  #order: Int32Array = new Int32Array(0);
  #filter: Filter = "all";
  #cursor = -1;
  #aimedMs = -AIM_MS;
  #seen = "";
  readonly #paint = () => this.#paintRows();
  readonly #resort = seldom(1000, () => this.#arrange(false));

  constructor(alerts: AlertBook) {
    this.#alerts = alerts;
    this.#head();
    this.#filters();
    this.#body.addEventListener("scroll", () => requestAnimationFrame(this.#paint), { passive: true });
    this.#body.addEventListener("click", (event) => this.#click(event));
    this.#body.addEventListener("pointermove", () => (this.#aimedMs = performance.now()), { passive: true });
    this.#grid.addEventListener("keydown", (event) => this.#key(event));
    this.#search.addEventListener("input", () => this.#searched());
    this.#search.addEventListener("keydown", (event) => this.#searchKey(event));
    new ResizeObserver(() => this.#paint()).observe(this.#body);
    narrow.addEventListener("change", () => this.#relay());
    listed.on(() => this.#arrange(true));
    moved.on(() => {
      paint(this.#paint);
      this.#resort();
    });
    alerts.changed.on(() => this.#arrange(false));
    for (const signal of [sketched, chosen, view]) (signal as Signal<unknown>).on(() => paint(this.#paint));
  }

  focusSearch(): void {
    this.#search.focus();
    this.#search.select();
  }

  /** Step to the next or last row, open it. */
  step(by: number): void {
    if (!this.#order.length) return;
    const here = this.#cursor >= 0 ? this.#order.indexOf(this.#cursor) : this.#order.indexOf(chosen.value);
    const next = Math.min(this.#order.length - 1, Math.max(0, here < 0 ? 0 : here + by));
    this.#cursor = this.#order[next]!;
    this.#reveal(next);
    this.#paintRows();
  }

  openCursor(): void {
    if (this.#cursor >= 0) this.#open(this.#cursor);
  }

  toggleFavourite(id: number): void {
    const name = market.instrument[id];
    if (name === undefined) return;
    if (!this.#favourites.delete(name)) this.#favourites.add(name);
    favourites.set([...this.#favourites]);
    this.#arrange(true);
  }

  isFavourite(id: number): boolean {
    return this.#favourites.has(market.instrument[id] ?? "");
  }

  #head(): void {
    const head = $("watch-head");
    const all = headings((id) => this.#alerts.unread(id).count, (id) => this.isFavourite(id));
    for (const { key, title, explained, by } of all) {
      const label = by ? h("button", { type: "button", tabindex: -1, title: explained, "aria-label": explained }, title) : title;
      const cell = h("div", { role: "columnheader", class: key, "data-key": key, title: explained }, label);
      if (by) cell.addEventListener("click", () => this.#sortBy(key));
      head.append(cell);
    }
    sorting.watch(({ column, descending }) => {
      for (const cell of head.children) {
        const mine = cell instanceof HTMLElement && cell.dataset.key === column;
        cell.setAttribute("aria-sort", mine ? (descending ? "descending" : "ascending") : "none");
      }
      this.#arrange(true);
    });
  }

  #sortBy(column: string): void {
    const now = sorting.value;
    sorting.set({ column, descending: now.column === column ? !now.descending : column !== "symbol" });
    this.#body.scrollTop = 0;
  }

  #filters(): void {
    const bar = $("watch-filters");
    for (const [key, title] of Object.entries(FILTERS)) {
      const button = h("button", { type: "button", "aria-pressed": String(key === "all"), "data-filter": key }, title);
      button.addEventListener("click", () => {
        this.#filter = key as Filter;
        for (const other of bar.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
        this.#body.scrollTop = 0;
        this.#arrange(true);
      });
      bar.append(button);
    }
  }

  #wanted(query: string): (id: number) => boolean {
    const kept: Record<Filter, (id: number) => boolean> = {
      all: () => true,
      gainers: (id) => market.change(id) > 0,
      losers: (id) => market.change(id) < 0,
      alerts: (id) => this.#alerts.unread(id).count > 0,
      favourites: (id) => this.isFavourite(id),
    };
    const filter = kept[this.#filter];
    if (!query) return filter;
    return (id) => answers(market.symbol[id]!, market.instrument[id]!, query) > 0 && filter(id);
  }

  #arrange(now: boolean): void {
    if (!now && performance.now() - this.#aimedMs < AIM_MS) {
      this.#resort();
      return;
    }
    const query = this.#search.value.trim().toUpperCase();
    const { column, descending } = sorting.value;
    const ids = pick(market.size, this.#wanted(query));
    const heading = headings((id) => this.#alerts.unread(id).count, (id) => this.isFavourite(id)).find(({ key }) => key === column);
    if (query) arrange(ids, (id) => answers(market.symbol[id]!, market.instrument[id]!, query), true, market.rank);
    else arrange(ids, heading?.by ?? ((id) => market.rank[id]!), descending, market.rank);
    if (!same(ids, this.#order)) {
      this.#order = ids;
      this.#relay();
    }
    paint(this.#paint);
  }

  #relay(): void {
    const n = this.#order.length;
    this.#space.style.height = `${n * this.#height}px`;
    this.#grid.setAttribute("aria-rowcount", String(n + 1));
    text($("watch-count"), n === market.size ? grouped(n) : `${grouped(n)} of ${grouped(market.size)}`);
    const empty = $("watch-empty");
    empty.hidden = n > 0;
    text(empty, this.#emptyWords());
    for (const row of this.#rows) row.index = -1;
    paint(this.#paint);
  }

  #emptyWords(): string {
    if (!market.size) return "No instruments yet. They appear with the first record.";
    if (this.#search.value) return `No symbol with “${this.#search.value.trim()}”${this.#filter === "all" ? "" : " in this filter"}.`;
    return this.#filter === "favourites" ? "No favourites yet. The star before a symbol, or F, makes one." : "None at the moment.";
  }

  get #height(): number {
    return narrow.matches ? 44 : 26;
  }

  #paintRows(): void {
    const tall = this.#body.clientHeight;
    if (!tall) return; // not on screen
    const height = this.#height;
    const first = Math.max(0, Math.floor(this.#body.scrollTop / height));
    const n = Math.max(0, Math.min(this.#order.length - first, Math.ceil(tall / height) + 1));
    while (this.#rows.length < n) {
      const row = new Row(this.#rows.length);
      this.#rows.push(row);
      this.#space.append(row.element);
    }
    const nowMs = performance.now();
    const slots = this.#rows.length;
    const used = new Set<Row>();
    let flashing = false;
    for (let index = first; index < first + n; index++) {
      const row = this.#rows[index % slots]!;
      const id = this.#order[index]!;
      const { count, severity } = this.#alerts.unread(id);
      const marks = { favourite: this.isFavourite(id), alerts: count, severity, selected: id === chosen.value };
      row.show(id, index, index * height, marks, nowMs, calm.matches);
      row.element.hidden = false;
      row.element.classList.toggle("cursor", id === this.#cursor);
      if (id === this.#cursor) this.#grid.setAttribute("aria-activedescendant", row.element.id);
      used.add(row);
      flashing ||= row.flashing;
    }
    for (const row of this.#rows) if (!used.has(row)) row.element.hidden = true;
    if (flashing) paint(this.#paint);
    this.#tellSeen(first, n);
  }

  #tellSeen(first: number, n: number): void {
    const ids = [...this.#order.subarray(first, first + n)];
    const key = ids.join();
    if (key === this.#seen) return;
    this.#seen = key;
    this.onScreen.set(ids);
  }

  #click(event: MouseEvent): void {
    const target = event.target as Element;
    const row = this.#rows.find(({ element }) => element.contains(target));
    if (!row) return;
    this.#cursor = row.id;
    if (target.closest(".star")) this.toggleFavourite(row.id);
    else this.#open(row.id);
  }

  #open(id: number): void {
    chosen.set(id);
    if (view.value !== "chart") view.set("chart");
    paint(this.#paint);
  }

  #key(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.#body.clientHeight / this.#height) - 1);
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
    const by = steps[event.key];
    if (by !== undefined) this.step(by);
    else if (event.key === "Enter" || event.key === " ") this.openCursor();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #searched(): void {
    if (narrow.matches) view.set("watch");
    this.#cursor = -1;
    this.#body.scrollTop = 0;
    this.#arrange(true);
  }

  #searchKey(event: KeyboardEvent): void {
    if (event.key === "Escape") {
      this.#search.value = "";
      this.#search.blur();
      this.#searched();
    } else if (event.key === "Enter") {
      const id = this.#cursor >= 0 ? this.#cursor : this.#order[0];
      if (id !== undefined) this.#open(id);
      this.#search.blur();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      this.step(this.#cursor < 0 ? 0 : event.key === "ArrowDown" ? 1 : -1);
    }
    event.stopPropagation();
  }

  #reveal(index: number): void {
    const height = this.#height;
    const top = index * height;
    if (top < this.#body.scrollTop) this.#body.scrollTop = top;
    else if (top + height > this.#body.scrollTop + this.#body.clientHeight) this.#body.scrollTop = top + height - this.#body.clientHeight;
  }
}

import type { AlertStore } from "../data/alerts.ts";
import { instrumentsChanged, market, sparklinesChanged, valuesChanged } from "../data/market.ts";
import { favorites, sorting } from "../data/preferences.ts";
import { Signal } from "../data/signal.ts";
import { equalIds, filterIds, matchScore, sortIds } from "../data/sorting.ts";
import { selectedId, view } from "../data/state.ts";
import { $, h, setText } from "../view/dom.ts";
import { formatNumber } from "../view/format.ts";
import { schedulePaint, throttled } from "../view/paint.ts";
import { watchColumns } from "./watchcolumns.ts";
import { WatchRow } from "./watchrow.ts";

const FILTERS = { all: "All", gainers: "Gainers", losers: "Losers", alerts: "Alerts", favorites: "Favorites" } as const;
type Filter = keyof typeof FILTERS;

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
const narrow = matchMedia("(max-width: 820px)");
// rows are not reordered while the pointer moves over them
const HOVER_HOLD_MS = 1200;

export class WatchList {
  /** Ids of the rows on screen. */
  readonly visibleIds = new Signal<number[]>([]);
  readonly #alerts: AlertStore;
  readonly #grid = $("watch-grid");
  readonly #body = $("watch-body");
  readonly #spacer = $("watch-space");
  readonly #search = $<HTMLInputElement>("search");
  readonly #rows: WatchRow[] = [];
  readonly #favorites = new Set(favorites.value);
  #ids: Int32Array = new Int32Array(0);
  #filter: Filter = "all";
  #cursorId = -1;
  #lastPointerMs = -HOVER_HOLD_MS;
  #visibleKey = "";
  readonly #paint = () => this.#paintRows();
  readonly #resort = throttled(1000, () => this.#sort(false));

  constructor(alerts: AlertStore) {
    this.#alerts = alerts;
    this.#buildHead();
    this.#buildFilters();
    this.#body.addEventListener("scroll", () => requestAnimationFrame(this.#paint), { passive: true });
    this.#body.addEventListener("click", (event) => this.#onClick(event));
    this.#body.addEventListener("pointermove", () => (this.#lastPointerMs = performance.now()), { passive: true });
    this.#grid.addEventListener("keydown", (event) => this.#onKey(event));
    this.#search.addEventListener("input", () => this.#onSearch());
    this.#search.addEventListener("keydown", (event) => this.#onSearchKey(event));
    new ResizeObserver(() => this.#paint()).observe(this.#body);
    narrow.addEventListener("change", () => this.#relayout());
    instrumentsChanged.on(() => this.#sort(true));
    valuesChanged.on(() => {
      schedulePaint(this.#paint);
      this.#resort();
    });
    alerts.changed.on(() => this.#sort(false));
    for (const signal of [sparklinesChanged, selectedId, view]) (signal as Signal<unknown>).on(() => schedulePaint(this.#paint));
  }

  focusSearch(): void {
    this.#search.focus();
    this.#search.select();
  }

  /** Move the cursor by a number of rows. */
  moveCursor(by: number): void {
    if (!this.#ids.length) return;
    const current = this.#cursorId >= 0 ? this.#ids.indexOf(this.#cursorId) : this.#ids.indexOf(selectedId.value);
    const next = Math.min(this.#ids.length - 1, Math.max(0, current < 0 ? 0 : current + by));
    this.#cursorId = this.#ids[next]!;
    this.#scrollIntoView(next);
    this.#paintRows();
  }

  openCursor(): void {
    if (this.#cursorId >= 0) this.#open(this.#cursorId);
  }

  toggleFavorite(id: number): void {
    const name = market.instrument[id];
    if (name === undefined) return;
    if (!this.#favorites.delete(name)) this.#favorites.add(name);
    favorites.set([...this.#favorites]);
    this.#sort(true);
  }

  isFavorite(id: number): boolean {
    return this.#favorites.has(market.instrument[id] ?? "");
  }

  #buildHead(): void {
    const head = $("watch-head");
    const all = watchColumns((id) => this.#alerts.unread(id).count, (id) => this.isFavorite(id));
    for (const { key, title, description: explained, sortKey: by } of all) {
      const label = by ? h("button", { type: "button", tabindex: -1, title: explained, "aria-label": explained }, title) : title;
      const cell = h("div", { role: "columnheader", class: key, "data-key": key, title: explained }, label);
      if (by) cell.addEventListener("click", () => this.#sortBy(key));
      head.append(cell);
    }
    sorting.watch(({ column, descending }) => {
      for (const cell of head.children) {
        const isSorted = cell instanceof HTMLElement && cell.dataset.key === column;
        cell.setAttribute("aria-sort", isSorted ? (descending ? "descending" : "ascending") : "none");
      }
      this.#sort(true);
    });
  }

  #sortBy(column: string): void {
    const current = sorting.value;
    sorting.set({ column, descending: current.column === column ? !current.descending : column !== "symbol" });
    this.#body.scrollTop = 0;
  }

  #buildFilters(): void {
    const bar = $("watch-filters");
    for (const [key, title] of Object.entries(FILTERS)) {
      const button = h("button", { type: "button", "aria-pressed": String(key === "all"), "data-filter": key }, title);
      button.addEventListener("click", () => {
        this.#filter = key as Filter;
        for (const other of bar.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
        this.#body.scrollTop = 0;
        this.#sort(true);
      });
      bar.append(button);
    }
  }

  #matcher(query: string): (id: number) => boolean {
    const filters: Record<Filter, (id: number) => boolean> = {
      all: () => true,
      gainers: (id) => market.change(id) > 0,
      losers: (id) => market.change(id) < 0,
      alerts: (id) => this.#alerts.unread(id).count > 0,
      favorites: (id) => this.isFavorite(id),
    };
    const filter = filters[this.#filter];
    if (!query) return filter;
    return (id) => matchScore(market.symbol[id]!, market.instrument[id]!, query) > 0 && filter(id);
  }

  #sort(immediately: boolean): void {
    if (!immediately && performance.now() - this.#lastPointerMs < HOVER_HOLD_MS) {
      this.#resort();
      return;
    }
    const query = this.#search.value.trim().toUpperCase();
    const { column, descending } = sorting.value;
    const ids = filterIds(market.size, this.#matcher(query));
    const heading = watchColumns((id) => this.#alerts.unread(id).count, (id) => this.isFavorite(id)).find(({ key }) => key === column);
    if (query) sortIds(ids, (id) => matchScore(market.symbol[id]!, market.instrument[id]!, query), true, market.alphabeticalRank);
    else sortIds(ids, heading?.sortKey ?? ((id) => market.alphabeticalRank[id]!), descending, market.alphabeticalRank);
    if (!equalIds(ids, this.#ids)) {
      this.#ids = ids;
      this.#relayout();
    }
    schedulePaint(this.#paint);
  }

  #relayout(): void {
    const n = this.#ids.length;
    this.#spacer.style.height = `${n * this.#rowHeight}px`;
    this.#grid.setAttribute("aria-rowcount", String(n + 1));
    setText($("watch-count"), n === market.size ? formatNumber(n) : `${formatNumber(n)} of ${formatNumber(market.size)}`);
    const empty = $("watch-empty");
    empty.hidden = n > 0;
    setText(empty, this.#emptyText());
    for (const row of this.#rows) row.index = -1;
    schedulePaint(this.#paint);
  }

  #emptyText(): string {
    if (!market.size) return "No instruments yet. They appear when the first record arrives.";
    if (this.#search.value) return `No symbol matches “${this.#search.value.trim()}”${this.#filter === "all" ? "" : " in this filter"}.`;
    return this.#filter === "favorites" ? "No favorites yet. Click the star next to a symbol, or press F." : "No matching symbols.";
  }

  get #rowHeight(): number {
    return narrow.matches ? 44 : 26;
  }

  #paintRows(): void {
    const viewHeight = this.#body.clientHeight;
    if (!viewHeight) return; // not on screen
    const height = this.#rowHeight;
    const first = Math.max(0, Math.floor(this.#body.scrollTop / height));
    const n = Math.max(0, Math.min(this.#ids.length - first, Math.ceil(viewHeight / height) + 1));
    while (this.#rows.length < n) {
      const row = new WatchRow(this.#rows.length);
      this.#rows.push(row);
      this.#spacer.append(row.element);
    }
    const nowMs = performance.now();
    const slots = this.#rows.length;
    const used = new Set<WatchRow>();
    let flashing = false;
    for (let index = first; index < first + n; index++) {
      const row = this.#rows[index % slots]!;
      const id = this.#ids[index]!;
      const { count, severity } = this.#alerts.unread(id);
      const marks = { isFavorite: this.isFavorite(id), alerts: count, severity, selected: id === selectedId.value };
      row.update(id, index, index * height, marks, nowMs, reducedMotion.matches);
      row.element.hidden = false;
      row.element.classList.toggle("cursor", id === this.#cursorId);
      if (id === this.#cursorId) this.#grid.setAttribute("aria-activedescendant", row.element.id);
      used.add(row);
      flashing ||= row.isFlashing;
    }
    for (const row of this.#rows) if (!used.has(row)) row.element.hidden = true;
    if (flashing) schedulePaint(this.#paint);
    this.#publishVisible(first, n);
  }

  #publishVisible(first: number, n: number): void {
    const ids = [...this.#ids.subarray(first, first + n)];
    const key = ids.join();
    if (key === this.#visibleKey) return;
    this.#visibleKey = key;
    this.visibleIds.set(ids);
  }

  #onClick(event: MouseEvent): void {
    const target = event.target as Element;
    const row = this.#rows.find(({ element }) => element.contains(target));
    if (!row) return;
    this.#cursorId = row.id;
    if (target.closest(".star")) this.toggleFavorite(row.id);
    else this.#open(row.id);
  }

  #open(id: number): void {
    selectedId.set(id);
    if (view.value !== "chart") view.set("chart");
    schedulePaint(this.#paint);
  }

  #onKey(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.#body.clientHeight / this.#rowHeight) - 1);
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
    const by = steps[event.key];
    if (by !== undefined) this.moveCursor(by);
    else if (event.key === "Enter" || event.key === " ") this.openCursor();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #onSearch(): void {
    if (narrow.matches) view.set("watch");
    this.#cursorId = -1;
    this.#body.scrollTop = 0;
    this.#sort(true);
  }

  #onSearchKey(event: KeyboardEvent): void {
    if (event.key === "Escape") {
      this.#search.value = "";
      this.#search.blur();
      this.#onSearch();
    } else if (event.key === "Enter") {
      const id = this.#cursorId >= 0 ? this.#cursorId : this.#ids[0];
      if (id !== undefined) this.#open(id);
      this.#search.blur();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      this.moveCursor(this.#cursorId < 0 ? 0 : event.key === "ArrowDown" ? 1 : -1);
    }
    event.stopPropagation();
  }

  #scrollIntoView(index: number): void {
    const height = this.#rowHeight;
    const top = index * height;
    if (top < this.#body.scrollTop) this.#body.scrollTop = top;
    else if (top + height > this.#body.scrollTop + this.#body.clientHeight) this.#body.scrollTop = top + height - this.#body.clientHeight;
  }
}

// The head of the chart: instrument, price, intervals and indicators.

import { groupIndicators, isOverlay } from "../data/indicators.ts";
import { isDaily } from "../data/interval.ts";
import { instrumentsChanged, market, valuesChanged } from "../data/market.ts";
import { clock, indicators, logScale, preferredInterval } from "../data/preferences.ts";
import { selectedId, serverInfo } from "../data/state.ts";
import { $, h, setText } from "../view/dom.ts";
import { changeArrow, decimalPlaces, formatCompact, formatMultiple, formatPercent, formatPrice, formatSigned } from "../view/format.ts";
import { schedulePaint } from "../view/paint.ts";
import { displayZone, formatDate, formatTime, zoneAbbreviation } from "../view/timezone.ts";
import type { ChartPanel } from "./chart.ts";
import type { WatchList } from "./watchlist.ts";

export class ChartHeader {
  readonly #chart: ChartPanel;
  readonly #watch: WatchList;
  readonly #head = $("chart-head");
  readonly #star = $<HTMLButtonElement>("chart-star");
  readonly #intervals = $("intervals");
  #version = -1;
  #id = -1;
  readonly #paint = () => this.#render();

  constructor(chart: ChartPanel, watch: WatchList) {
    this.#chart = chart;
    this.#watch = watch;
    this.#star.addEventListener("click", () => {
      watch.toggleFavorite(selectedId.value);
      this.#render(true);
    });
    const log = $("log");
    log.addEventListener("click", () => logScale.set(!logScale.value));
    logScale.watch((on) => log.setAttribute("aria-pressed", String(on)));
    serverInfo.on(() => {
      this.#buildIntervals();
      this.#buildIndicators();
    });
    indicators.on(() => this.#buildIndicators());
    chart.interval.on(() => this.#buildIntervals());
    const repaint = () => schedulePaint(this.#paint);
    valuesChanged.on(repaint);
    selectedId.on(repaint);
    instrumentsChanged.on(() => this.#render(true));
    clock.on(() => this.#render(true));
    closeOnOutsideClick($<HTMLDetailsElement>("indicators"));
  }

  /** Select the nth interval. */
  selectInterval(n: number): void {
    const name = serverInfo.value?.intervals[n];
    if (name) this.#chooseInterval(name);
  }

  #chooseInterval(name: string): void {
    preferredInterval.set(name);
    void this.#chart.show(selectedId.value, { interval: name });
  }

  #buildIntervals(): void {
    const names = serverInfo.value?.intervals ?? [];
    this.#intervals.replaceChildren(
      ...names.map((name, at) => {
        const pressed = name === this.#chart.interval.value;
        const hint = at < 9 ? `${name} (${at + 1})` : name;
        return h("button", { type: "button", "aria-pressed": String(pressed), title: hint, "data-interval": name, click: () => this.#chooseInterval(name) }, name);
      }),
    );
  }

  #buildIndicators(): void {
    const menu = $("indicator-menu");
    const groups = groupIndicators(serverInfo.value?.indicators ?? []);
    const section = (title: string, overlay: boolean) => {
      const matching = groups.filter(({ base }) => isOverlay(base) === overlay);
      return matching.length ? [h("p", {}, title), ...matching.map(({ base, results }) => this.#indicatorCheckbox(base, results.map(({ part }) => part)))] : [];
    };
    // rebuilding removes the focus from the checkbox that was just changed
    const focused = (document.activeElement as HTMLElement | null)?.dataset.base;
    menu.replaceChildren(...section("On the price chart", true), ...section("In separate panes", false));
    if (!groups.length) menu.append(h("p", {}, "No indicators yet"));
    if (focused) menu.querySelector<HTMLElement>(`[data-base="${CSS.escape(focused)}"]`)?.focus();
    setText($("indicator-count"), indicators.value.length ? String(indicators.value.length) : "");
  }

  #indicatorCheckbox(base: string, parts: string[]): HTMLElement {
    const box = h("input", { type: "checkbox", checked: indicators.value.includes(base), "data-base": base });
    box.addEventListener("change", () => {
      const others = indicators.value.filter((each) => each !== base);
      indicators.set(box.checked ? [...others, base] : others);
    });
    return h("label", {}, box, h("span", {}, base), h("small", {}, parts.filter(Boolean).join(" · ")));
  }

  #render(force = false): void {
    const id = selectedId.value;
    const hasInstrument = id >= 0 && id < market.size;
    this.#head.hidden = !hasInstrument;
    if (!hasInstrument || (!force && id === this.#id && market.versions[id] === this.#version)) return;
    if (id !== this.#id || force) this.#renderInstrument(id);
    this.#id = id;
    this.#version = market.versions[id]!;
    const { last, open, high, low, previous, volume, time: at } = market.columns;
    const lastPrice = last[id]!;
    const places = decimalPlaces(lastPrice);
    const [change, share] = [market.change(id), market.percentChange(id)];
    setText($("chart-price"), formatPrice(lastPrice));
    setText($("chart-change"), `${changeArrow(change)} ${formatSigned(change, places)} (${formatPercent(share)})`);
    this.#head.dataset.direction = change > 0 ? "up" : change < 0 ? "down" : "flat";
    setText($("stat-open"), formatPrice(open[id], places));
    setText($("stat-high"), formatPrice(high[id], places));
    setText($("stat-low"), formatPrice(low[id], places));
    setText($("stat-previous"), formatPrice(previous[id], places));
    setText($("stat-volume"), formatCompact(volume[id]));
    setText($("stat-relative"), formatMultiple(market.relativeVolume(id)));
    this.#renderTime(at[id]!, id);
  }

  #renderInstrument(id: number): void {
    setText($("chart-symbol"), market.symbol[id]!);
    $("chart-symbol").title = market.instrument[id]!;
    setText($("chart-instrument"), market.instrument[id]!.slice(market.instrument[id]!.lastIndexOf(".") + 1));
    const on = this.#watch.isFavorite(id);
    this.#star.setAttribute("aria-pressed", String(on));
    this.#star.title = on ? "Remove from favorites (F)" : "Add to favorites (F)";
  }

  #renderTime(ms: number, id: number): void {
    const zone = displayZone(id);
    const only = isDaily(this.#chart.interval.value) && ms % 86_400_000 === 0;
    setText($("stat-time"), !(ms > 0) ? "–" : only ? formatDate(ms, "UTC") : `${formatDate(ms, zone)} ${formatTime(ms, zone)} ${zoneAbbreviation(ms, zone)}`);
  }
}

/** Close a menu on a click outside it or on Escape. */
export function closeOnOutsideClick(menu: HTMLDetailsElement): void {
  document.addEventListener("pointerdown", (event) => {
    if (menu.open && !menu.contains(event.target as Node)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary")?.focus();
    event.stopPropagation();
  });
}


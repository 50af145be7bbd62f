// Above the chart: whose it is, the price, and what can be switched.

import type { ChartPanel } from "./chart.ts";
import { zoneOf } from "./chart.ts";
import { $, h, text } from "./dom.ts";
import { arrow, compact, decimals, percent, price, signed, times } from "./format.ts";
import { daily } from "./interval.ts";
import { grouped, overlays } from "./names.ts";
import { paint } from "./paint.ts";
import { clock, indicators, interval as wanted, logScale } from "./prefs.ts";
import { chosen, hello } from "./state.ts";
import { listed, market, moved } from "./store.ts";
import type { WatchList } from "./watchlist.ts";
import { date, short, time } from "./zone.ts";

export class Header {
  readonly #chart: ChartPanel;
  readonly #watch: WatchList;
  readonly #head = $("chart-head");
  readonly #star = $<HTMLButtonElement>("chart-star");
  readonly #intervals = $("intervals");
  #stamp = -1;
  #of = -1;
  readonly #paint = () => this.#show();

  constructor(chart: ChartPanel, watch: WatchList) {
    this.#chart = chart;
    this.#watch = watch;
    this.#star.addEventListener("click", () => {
      watch.toggleFavourite(chosen.value);
      this.#show(true);
    });
    const log = $("log");
    log.addEventListener("click", () => logScale.set(!logScale.value));
    logScale.watch((on) => log.setAttribute("aria-pressed", String(on)));
    hello.on(() => {
      this.#buildIntervals();
      this.#buildIndicators();
    });
    indicators.on(() => this.#buildIndicators());
    chart.interval.on(() => this.#buildIntervals());
    const again = () => paint(this.#paint);
    moved.on(again);
    chosen.on(again);
    listed.on(() => this.#show(true));
    clock.on(() => this.#show(true));
    closeOutside($<HTMLDetailsElement>("indicators"));
  }

  /** Show bars of the nth interval. */
  nth(n: number): void {
    const name = hello.value?.intervals[n];
    if (name) this.#choose(name);
  }

  #choose(name: string): void {
    wanted.set(name);
    void this.#chart.show(chosen.value, { interval: name });
  }

  #buildIntervals(): void {
    const names = hello.value?.intervals ?? [];
    this.#intervals.replaceChildren(
      ...names.map((name, at) => {
        const pressed = name === this.#chart.interval.value;
        const hint = at < 9 ? `${name} (${at + 1})` : name;
        return h("button", { type: "button", "aria-pressed": String(pressed), title: hint, "data-interval": name, click: () => this.#choose(name) }, name);
      }),
    );
  }

  #buildIndicators(): void {
    const menu = $("indicator-menu");
    const groups = grouped(hello.value?.indicators ?? []);
    const section = (title: string, over: boolean) => {
      const mine = groups.filter(({ base }) => overlays(base) === over);
      return mine.length ? [h("p", {}, title), ...mine.map(({ base, results }) => this.#choice(base, results.map(({ part }) => part)))] : [];
    };
    // rebuilding would take the focus away from the box that was just ticked
    const focused = (document.activeElement as HTMLElement | null)?.dataset.base;
    menu.replaceChildren(...section("Over the price", true), ...section("Below", false));
    if (!groups.length) menu.append(h("p", {}, "The stream has no indicators yet"));
    if (focused) menu.querySelector<HTMLElement>(`[data-base="${CSS.escape(focused)}"]`)?.focus();
    text($("indicator-count"), indicators.value.length ? String(indicators.value.length) : "");
  }

  #choice(base: string, parts: string[]): HTMLElement {
    const box = h("input", { type: "checkbox", checked: indicators.value.includes(base), "data-base": base });
    box.addEventListener("change", () => {
      const others = indicators.value.filter((each) => each !== base);
      indicators.set(box.checked ? [...others, base] : others);
    });
    return h("label", {}, box, h("span", {}, base), h("small", {}, parts.filter(Boolean).join(" · ")));
  }

  #show(anew = false): void {
    const id = chosen.value;
    const is = id >= 0 && id < market.size;
    this.#head.hidden = !is;
    if (!is || (!anew && id === this.#of && market.stamp[id] === this.#stamp)) return;
    if (id !== this.#of || anew) this.#names(id);
    this.#of = id;
    this.#stamp = market.stamp[id]!;
    const { last, open, high, low, previous, volume, time: at } = market.columns;
    const now = last[id]!;
    const places = decimals(now);
    const [change, share] = [market.change(id), market.percent(id)];
    text($("chart-price"), price(now));
    text($("chart-change"), `${arrow(change)} ${signed(change, places)} (${percent(share)})`);
    this.#head.dataset.way = change > 0 ? "up" : change < 0 ? "down" : "flat";
    text($("stat-open"), price(open[id], places));
    text($("stat-high"), price(high[id], places));
    text($("stat-low"), price(low[id], places));
    text($("stat-previous"), price(previous[id], places));
    text($("stat-volume"), compact(volume[id]));
    text($("stat-relative"), times(market.relative(id)));
    this.#time(at[id]!, id);
  }

  #names(id: number): void {
    text($("chart-symbol"), market.symbol[id]!);
    $("chart-symbol").title = market.instrument[id]!;
    text($("chart-instrument"), market.instrument[id]!.slice(market.instrument[id]!.lastIndexOf(".") + 1));
    const on = this.#watch.isFavourite(id);
    this.#star.setAttribute("aria-pressed", String(on));
    this.#star.title = on ? "No longer a favourite (F)" : "Make it a favourite (F)";
  }

  #time(ms: number, id: number): void {
    const zone = zoneOf(id);
    const only = daily(this.#chart.interval.value) && ms % 86_400_000 === 0;
    text($("stat-time"), !(ms > 0) ? "–" : only ? date(ms, "UTC") : `${date(ms, zone)} ${time(ms, zone)} ${short(ms, zone)}`);
  }
}

/** Close a menu at a click beside it or at Escape. */
export function closeOutside(menu: HTMLDetailsElement): void {
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


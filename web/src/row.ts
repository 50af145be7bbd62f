// A row of the watch list. It is used again and again for other instruments, and touches only what has changed.

import { h, icon, polyline, text } from "./dom.ts";
import { arrow, compact, decimals, percent, price, signed, times } from "./format.ts";
import type { Severity } from "./protocol.ts";
import { market } from "./store.ts";

// the track less the mark
const RANGE_PX = 53;
const [SPARK_WIDTH, SPARK_HEIGHT] = [58, 20];
const FLASH_MS = 350;

export interface Marks {
  favourite: boolean;
  alerts: number;
  severity: Severity | null;
  selected: boolean;
}

const cell = (name: string, ...children: (Node | string)[]) => h("div", { role: "gridcell", class: name }, ...children);

export class Row {
  id = -1;
  index = -1;
  readonly element: HTMLElement;
  readonly #star = cell("star", icon("star"));
  readonly #symbol = cell("symbol");
  readonly #badge = cell("badge");
  readonly #last = cell("last");
  readonly #change = cell("change");
  readonly #percent = cell("percent");
  readonly #track = h("span", { class: "track" });
  readonly #range = cell("range", this.#track);
  readonly #volume = cell("volume");
  readonly #relative = cell("relative");
  readonly #spark = polyline(SPARK_WIDTH, SPARK_HEIGHT);
  #stamp = -1;
  #price = NaN;
  #flashMs = 0;
  #place = -1;
  #line: Float32Array | undefined;
  #marks = "";

  constructor(slot: number) {
    const trend = cell("trend", this.#spark);
    this.element = h(
      "div",
      { role: "row", class: "row", id: `row-${slot}`, "data-testid": "row" },
      ...[this.#star, this.#symbol, this.#badge, this.#last, this.#change, this.#percent],
      ...[this.#range, this.#volume, this.#relative, trend],
    );
  }

  show(id: number, index: number, top: number, marks: Marks, nowMs: number, calm: boolean): void {
    if (index !== this.index) {
      this.index = index;
      this.element.style.transform = `translateY(${top}px)`;
      this.element.setAttribute("aria-rowindex", String(index + 2));
    }
    if (id !== this.id) this.#become(id);
    if (market.stamp[id] !== this.#stamp) this.#values(id, nowMs, calm);
    else if (this.#flashMs && nowMs - this.#flashMs > FLASH_MS) this.#still();
    this.#badges(marks);
    this.#sketch(market.sparklines.get(id));
  }

  get flashing(): boolean {
    return this.#flashMs > 0;
  }

  #become(id: number): void {
    this.id = id;
    const symbol = market.symbol[id] ?? "";
    text(this.#symbol, symbol);
    this.#symbol.title = market.instrument[id] ?? symbol;
    this.element.dataset.id = market.instrument[id];
    this.#stamp = -1;
    this.#price = NaN;
    this.#still();
  }

  #values(id: number, nowMs: number, calm: boolean): void {
    this.#stamp = market.stamp[id]!;
    const { last, low, high, volume } = market.columns;
    const now = last[id]!;
    const change = market.change(id);
    const share = market.percent(id);
    if (now !== this.#price) {
      if (!calm && this.#price === this.#price) this.#flash(now > this.#price, nowMs);
      this.#price = now;
      text(this.#last, price(now));
      text(this.#change, signed(change, decimals(now)));
      text(this.#percent, `${arrow(share)} ${percent(share)}`);
      this.element.dataset.way = change > 0 ? "up" : change < 0 ? "down" : "flat";
    }
    const place = market.place(id);
    const pixel = place === place ? Math.round(place * RANGE_PX) : -1;
    if (pixel !== this.#place) {
      this.#place = pixel;
      // a position of a background is painted, where a transform would make layers anew
      this.#track.style.backgroundPositionX = `${pixel < 0 ? -9 : pixel}px, 0`;
      this.#range.setAttribute("aria-label", pixel < 0 ? "no range yet" : `${price(low[id])} to ${price(high[id])}`);
    }
    text(this.#volume, compact(volume[id]));
    const relative = market.relative(id);
    text(this.#relative, times(relative));
    this.#relative.classList.toggle("much", relative >= 2);
  }

  #flash(up: boolean, nowMs: number): void {
    this.#flashMs = nowMs;
    this.#last.className = up ? "last rose" : "last fell";
  }

  #still(): void {
    if (this.#last.className !== "last") this.#last.className = "last";
    this.#flashMs = 0;
  }

  #badges(marks: Marks): void {
    const key = `${marks.favourite}${marks.alerts}${marks.severity}${marks.selected}`;
    if (key === this.#marks) return;
    this.#marks = key;
    this.#star.setAttribute("aria-label", marks.favourite ? "favourite" : "not a favourite");
    this.element.classList.toggle("favourite", marks.favourite);
    this.element.setAttribute("aria-selected", String(marks.selected));
    text(this.#badge, marks.alerts ? (marks.alerts > 99 ? "99+" : String(marks.alerts)) : "");
    this.#badge.dataset.severity = marks.severity ?? "";
    this.#badge.setAttribute("aria-label", marks.alerts ? `${marks.alerts} new alerts, ${marks.severity}` : "no new alerts");
  }

  #sketch(line: Float32Array | undefined): void {
    if (line === this.#line) return;
    this.#line = line;
    const drawn = line && sketch(line);
    this.#spark.dataset.way = drawn?.up ? "up" : "down";
    this.#spark.firstElementChild!.setAttribute("points", drawn?.points ?? "");
  }
}

/** Points of closes, oldest first; NaN stands for what was before the first. */
function sketch(line: Float32Array): { points: string; up: boolean } | null {
  let [least, most, first] = [Infinity, -Infinity, -1];
  for (let at = 0; at < line.length; at++) {
    const y = line[at]!;
    if (y !== y) continue;
    if (first < 0) first = at;
    if (y < least) least = y;
    if (y > most) most = y;
  }
  const last = line.length - 1;
  if (first < 0 || first === last) return null;
  const points: string[] = [];
  for (let at = first; at <= last; at++) {
    const y = line[at]!;
    if (y !== y) continue;
    const share = most > least ? (y - least) / (most - least) : 0.5;
    points.push(`${((at / last) * SPARK_WIDTH).toFixed(1)},${(SPARK_HEIGHT - 2 - share * (SPARK_HEIGHT - 4)).toFixed(1)}`);
  }
  return { points: points.join(" "), up: line[last]! >= line[first]! };
}

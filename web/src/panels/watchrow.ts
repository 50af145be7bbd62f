// A row of the watch list. It is reused for other instruments, and updates only what has changed.

import { market } from "../data/market.ts";
import type { Severity } from "../data/protocol.ts";
import { createPolyline, h, icon, setText } from "../view/dom.ts";
import { changeArrow, decimalPlaces, formatCompact, formatMultiple, formatPercent, formatPrice, formatSigned } from "../view/format.ts";

// the width of the track without the mark
const RANGE_TRACK_PX = 53;
const [SPARK_WIDTH, SPARK_HEIGHT] = [58, 20];
const FLASH_MS = 350;

export interface RowMarks {
  isFavorite: boolean;
  alerts: number;
  severity: Severity | null;
  selected: boolean;
}

const createCell = (name: string, ...children: (Node | string)[]) => h("div", { role: "gridcell", class: name }, ...children);

export class WatchRow {
  id = -1;
  index = -1;
  readonly element: HTMLElement;
  readonly #star = createCell("star", icon("star"));
  readonly #symbol = createCell("symbol");
  readonly #badge = createCell("badge");
  readonly #last = createCell("last");
  readonly #change = createCell("change");
  readonly #percent = createCell("percent");
  readonly #track = h("span", { class: "track" });
  readonly #range = createCell("range", this.#track);
  readonly #volume = createCell("volume");
  readonly #relative = createCell("relative");
  readonly #spark = createPolyline(SPARK_WIDTH, SPARK_HEIGHT);
  #version = -1;
  #price = NaN;
  #flashMs = 0;
  #rangePx = -1;
  #sparkline: Float32Array | undefined;
  #marks = "";

  constructor(slot: number) {
    const trend = createCell("trend", this.#spark);
    this.element = h(
      "div",
      { role: "row", class: "row", id: `row-${slot}`, "data-testid": "row" },
      ...[this.#star, this.#symbol, this.#badge, this.#last, this.#change, this.#percent],
      ...[this.#range, this.#volume, this.#relative, trend],
    );
  }

  update(id: number, index: number, top: number, marks: RowMarks, nowMs: number, reducedMotion: boolean): void {
    if (index !== this.index) {
      this.index = index;
      this.element.style.transform = `translateY(${top}px)`;
      this.element.setAttribute("aria-rowindex", String(index + 2));
    }
    if (id !== this.id) this.#setInstrument(id);
    if (market.versions[id] !== this.#version) this.#renderValues(id, nowMs, reducedMotion);
    else if (this.#flashMs && nowMs - this.#flashMs > FLASH_MS) this.#clearFlash();
    this.#renderMarks(marks);
    this.#renderSparkline(market.sparklines.get(id));
  }

  get isFlashing(): boolean {
    return this.#flashMs > 0;
  }

  #setInstrument(id: number): void {
    this.id = id;
    const symbol = market.symbol[id] ?? "";
    setText(this.#symbol, symbol);
    this.#symbol.title = market.instrument[id] ?? symbol;
    this.element.dataset.id = market.instrument[id];
    this.#version = -1;
    this.#price = NaN;
    this.#clearFlash();
  }

  #renderValues(id: number, nowMs: number, calm: boolean): void {
    this.#version = market.versions[id]!;
    const { last, low, high, volume } = market.columns;
    const lastPrice = last[id]!;
    const change = market.change(id);
    const share = market.percentChange(id);
    if (lastPrice !== this.#price) {
      if (!calm && this.#price === this.#price) this.#flash(lastPrice > this.#price, nowMs);
      this.#price = lastPrice;
      setText(this.#last, formatPrice(lastPrice));
      setText(this.#change, formatSigned(change, decimalPlaces(lastPrice)));
      setText(this.#percent, `${changeArrow(share)} ${formatPercent(share)}`);
      this.element.dataset.direction = change > 0 ? "up" : change < 0 ? "down" : "flat";
    }
    const position = market.rangePosition(id);
    const pixel = position === position ? Math.round(position * RANGE_TRACK_PX) : -1;
    if (pixel !== this.#rangePx) {
      this.#rangePx = pixel;
      // a background position is only painted, a transform would recreate layers
      this.#track.style.backgroundPositionX = `${pixel < 0 ? -9 : pixel}px, 0`;
      this.#range.setAttribute("aria-label", pixel < 0 ? "no range yet" : `${formatPrice(low[id])} to ${formatPrice(high[id])}`);
    }
    setText(this.#volume, formatCompact(volume[id]));
    const relative = market.relativeVolume(id);
    setText(this.#relative, formatMultiple(relative));
    this.#relative.classList.toggle("much", relative >= 2);
  }

  #flash(up: boolean, nowMs: number): void {
    this.#flashMs = nowMs;
    this.#last.className = up ? "last rose" : "last fell";
  }

  #clearFlash(): void {
    if (this.#last.className !== "last") this.#last.className = "last";
    this.#flashMs = 0;
  }

  #renderMarks(marks: RowMarks): void {
    const key = `${marks.isFavorite}${marks.alerts}${marks.severity}${marks.selected}`;
    if (key === this.#marks) return;
    this.#marks = key;
    this.#star.setAttribute("aria-label", marks.isFavorite ? "favorite" : "not a favorite");
    this.element.classList.toggle("favorite", marks.isFavorite);
    this.element.setAttribute("aria-selected", String(marks.selected));
    setText(this.#badge, marks.alerts ? (marks.alerts > 99 ? "99+" : String(marks.alerts)) : "");
    this.#badge.dataset.severity = marks.severity ?? "";
    this.#badge.setAttribute("aria-label", marks.alerts ? `${marks.alerts} new alerts, highest severity: ${marks.severity}` : "no new alerts");
  }

  #renderSparkline(line: Float32Array | undefined): void {
    if (line === this.#sparkline) return;
    this.#sparkline = line;
    const sparkline = line && sparklinePoints(line);
    this.#spark.dataset.direction = sparkline?.up ? "up" : "down";
    this.#spark.firstElementChild!.setAttribute("points", sparkline?.points ?? "");
  }
}

/** Points of a sparkline from closes, oldest first, padded with NaN at the front. */
function sparklinePoints(line: Float32Array): { points: string; up: boolean } | null {
  let [min, max, first] = [Infinity, -Infinity, -1];
  for (let at = 0; at < line.length; at++) {
    const y = line[at]!;
    if (y !== y) continue;
    if (first < 0) first = at;
    if (y < min) min = y;
    if (y > max) max = y;
  }
  const last = line.length - 1;
  if (first < 0 || first === last) return null;
  const points: string[] = [];
  for (let at = first; at <= last; at++) {
    const y = line[at]!;
    if (y !== y) continue;
    const share = max > min ? (y - min) / (max - min) : 0.5;
    points.push(`${((at / last) * SPARK_WIDTH).toFixed(1)},${(SPARK_HEIGHT - 2 - share * (SPARK_HEIGHT - 4)).toFixed(1)}`);
  }
  return { points: points.join(" "), up: line[last]! >= line[first]! };
}

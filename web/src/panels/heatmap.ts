// All instruments as tiles, colored by their change. The arrow keys move between tiles, Enter opens one.

import { market } from "../data/market.ts";
import { selectedId, view } from "../data/state.ts";
import { $, prepareCanvas, setText } from "../view/dom.ts";
import { changeArrow, formatCompact, formatPercent, formatPrice } from "../view/format.ts";
import { colors, mixColors } from "../view/theme.ts";
import { squarify, type Tile } from "../view/treemap.ts";

const MAX_TILES = 2000;
const FULL_COLOR_PERCENT = 3;
const RELAYOUT_MS = 10_000;

interface InstrumentTile extends Tile {
  id: number;
}

export class HeatMap {
  readonly #canvas = $<HTMLCanvasElement>("heat");
  readonly #tip = $("heat-tip");
  readonly #liveText = $("heat-words");
  readonly #size = $<HTMLSelectElement>("heat-size");
  #tiles: InstrumentTile[] = [];
  #layoutMs = -Infinity;
  #key = "";
  #focusId = -1;

  constructor() {
    this.#canvas.addEventListener("pointermove", (event) => this.#showTip(this.#tileAt(event)));
    this.#canvas.addEventListener("pointerleave", () => this.#showTip(undefined));
    this.#canvas.addEventListener("click", (event) => this.#open(this.#tileAt(event)));
    this.#canvas.addEventListener("keydown", (event) => this.#onKey(event));
    this.#canvas.addEventListener("blur", () => this.#showTip(undefined));
    this.#size.addEventListener("change", () => {
      this.#layoutMs = -Infinity;
      this.paint();
    });
  }

  paint(): void {
    const { clientWidth: width, clientHeight: height } = this.#canvas.parentElement!;
    if (!width || !height) return;
    this.#layout(width, height);
    const context = prepareCanvas(this.#canvas, width, height);
    if (!context) return;
    const palette = colors.value;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const family = getComputedStyle(this.#canvas).fontFamily;
    for (const tile of this.#tiles) this.#drawTile(context, tile, family);
    const focused = this.#tiles.find(({ id }) => id === this.#focusId);
    if (focused) {
      context.strokeStyle = palette.text;
      context.lineWidth = 2;
      context.strokeRect(focused.x + 1, focused.y + 1, focused.w - 2, focused.h - 2);
    }
  }

  #layout(width: number, height: number): void {
    const key = `${width} ${height} ${market.size} ${this.#size.value}`;
    const now = performance.now();
    if (key === this.#key && now - this.#layoutMs < RELAYOUT_MS) return;
    this.#key = key;
    this.#layoutMs = now;
    const { last, volume } = market.columns;
    const equal = this.#size.value === "equal";
    const all = Array.from({ length: market.size }, (_, id) => ({ id, weight: equal ? 1 : last[id]! * volume[id]! }));
    const weighted = all.filter(({ id, weight }) => weight > 0 && market.percentChange(id) === market.percentChange(id));
    weighted.sort(equal ? (a, b) => market.percentChange(b.id) - market.percentChange(a.id) : (a, b) => b.weight - a.weight);
    const shown = weighted.slice(0, MAX_TILES);
    this.#tiles = squarify(shown.map(({ weight }) => weight), width, height).map((tile) => ({ ...tile, id: shown[tile.index]!.id }));
    setText($("heat-note"), weighted.length > shown.length ? `top ${MAX_TILES} by turnover` : "");
  }

  #drawTile(context: CanvasRenderingContext2D, { id, x, y, w, h }: InstrumentTile, family: string): void {
    const { up, down, flat, bg } = colors.value;
    const change = market.percentChange(id);
    const share = Math.min(1, Math.abs(change) / FULL_COLOR_PERCENT) || 0;
    const dark = document.documentElement.dataset.theme !== "light";
    const color = mixColors(flat, change >= 0 ? up : down, 0.12 + 0.6 * share * (dark ? 1 : 1.2));
    const gap = w > 6 && h > 6 ? 1 : 0.25;
    context.fillStyle = share === share && change === change ? color : bg;
    context.fillRect(x, y, w - gap, h - gap);
    if (w < 34 || h < 16) return;
    const size = Math.max(9, Math.min(20, Math.min(w / 5, h / 3)));
    context.fillStyle = dark ? "#fff" : "#10151c";
    context.font = `600 ${size}px ${family}`;
    const two = h > size * 2.6;
    context.fillText(fitText(context, market.symbol[id]!, w - 6), x + w / 2, y + h / 2 - (two ? size * 0.6 : 0));
    if (!two) return;
    context.font = `${Math.max(9, size * 0.78)}px ${family}`;
    context.fillText(fitText(context, formatPercent(change), w - 4), x + w / 2, y + h / 2 + size * 0.65);
  }

  #tileAt({ offsetX, offsetY }: MouseEvent): InstrumentTile | undefined {
    return this.#tiles.find(({ x, y, w, h }) => offsetX >= x && offsetX < x + w && offsetY >= y && offsetY < y + h);
  }

  #showTip(tile: InstrumentTile | undefined): void {
    this.#tip.hidden = !tile;
    if (!tile) return;
    const { id } = tile;
    const change = market.percentChange(id);
    setText(this.#tip, `${market.symbol[id]}  ${changeArrow(change)} ${formatPercent(change)}  ${formatPrice(market.last(id))}  vol ${formatCompact(market.columns.volume[id])}`);
    const wide = this.#canvas.parentElement!.clientWidth;
    const left = Math.min(Math.max(0, tile.x + tile.w / 2 - 110), Math.max(0, wide - 240));
    this.#tip.style.transform = `translate(${left}px, ${tile.y > 34 ? tile.y - 30 : tile.y + tile.h + 4}px)`;
  }

  #open(tile: InstrumentTile | undefined): void {
    if (!tile) return;
    selectedId.set(tile.id);
    view.set("chart");
  }

  #onKey(event: KeyboardEvent): void {
    const directions: Record<string, readonly [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const direction = directions[event.key];
    const current = this.#tiles.find(({ id }) => id === this.#focusId) ?? this.#tiles[0];
    if (event.key === "Enter") this.#open(current);
    if (!direction || !current) return;
    event.preventDefault();
    event.stopPropagation();
    const next = this.#focusId < 0 ? current : (adjacentTile(this.#tiles, current, direction) ?? current);
    this.#focusId = next.id;
    this.#showTip(next);
    setText(this.#liveText, `${market.symbol[next.id]} ${formatPercent(market.percentChange(next.id))}, ${formatPrice(market.last(next.id))}`);
    this.paint();
  }
}

/** The tile next to the middle of an edge of a tile. */
function adjacentTile(tiles: readonly InstrumentTile[], from: InstrumentTile, [dx, dy]: readonly [number, number]): InstrumentTile | undefined {
  const x = from.x + from.w / 2 + dx * (from.w / 2 + 2);
  const y = from.y + from.h / 2 + dy * (from.h / 2 + 2);
  return tiles.find((tile) => x >= tile.x && x < tile.x + tile.w && y >= tile.y && y < tile.y + tile.h);
}

function fitText(context: CanvasRenderingContext2D, text: string, width: number): string {
  if (context.measureText(text).width <= width) return text;
  let n = text.length;
  while (n > 1 && context.measureText(`${text.slice(0, n)}…`).width > width) n--;
  return `${text.slice(0, n)}…`;
}

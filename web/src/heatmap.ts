// All instruments as tiles, coloured by their change. Arrow keys walk over it, Enter opens.

import { $, sharp, text } from "./dom.ts";
import { arrow, compact, percent, price } from "./format.ts";
import { chosen, view } from "./state.ts";
import { market } from "./store.ts";
import { squarify, type Tile } from "./squares.ts";
import { between, colors } from "./theme.ts";

const MOST = 2000;
const FULL_PERCENT = 3;
const LAYOUT_MS = 10_000;

interface Placed extends Tile {
  id: number;
}

export class HeatMap {
  readonly #canvas = $<HTMLCanvasElement>("heat");
  readonly #tip = $("heat-tip");
  readonly #words = $("heat-words");
  readonly #size = $<HTMLSelectElement>("heat-size");
  #tiles: Placed[] = [];
  #laidMs = -Infinity;
  #key = "";
  #focus = -1;

  constructor() {
    this.#canvas.addEventListener("pointermove", (event) => this.#hover(this.#under(event)));
    this.#canvas.addEventListener("pointerleave", () => this.#hover(undefined));
    this.#canvas.addEventListener("click", (event) => this.#open(this.#under(event)));
    this.#canvas.addEventListener("keydown", (event) => this.#press(event));
    this.#canvas.addEventListener("blur", () => this.#hover(undefined));
    this.#size.addEventListener("change", () => {
      this.#laidMs = -Infinity;
      this.paint();
    });
  }

  paint(): void {
    const { clientWidth: width, clientHeight: height } = this.#canvas.parentElement!;
    if (!width || !height) return;
    this.#layout(width, height);
    const context = sharp(this.#canvas, width, height);
    if (!context) return;
    const palette = colors.value;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const family = getComputedStyle(this.#canvas).fontFamily;
    for (const tile of this.#tiles) this.#tile(context, tile, family);
    const focused = this.#tiles.find(({ id }) => id === this.#focus);
    if (focused) {
      context.strokeStyle = palette.text;
      context.lineWidth = 2;
      context.strokeRect(focused.x + 1, focused.y + 1, focused.w - 2, focused.h - 2);
    }
  }

  #layout(width: number, height: number): void {
    const key = `${width} ${height} ${market.size} ${this.#size.value}`;
    const now = performance.now();
    if (key === this.#key && now - this.#laidMs < LAYOUT_MS) return;
    this.#key = key;
    this.#laidMs = now;
    const { last, volume } = market.columns;
    const equal = this.#size.value === "equal";
    const all = Array.from({ length: market.size }, (_, id) => ({ id, weight: equal ? 1 : last[id]! * volume[id]! }));
    const weighed = all.filter(({ id, weight }) => weight > 0 && market.percent(id) === market.percent(id));
    weighed.sort(equal ? (a, b) => market.percent(b.id) - market.percent(a.id) : (a, b) => b.weight - a.weight);
    const most = weighed.slice(0, MOST);
    this.#tiles = squarify(most.map(({ weight }) => weight), width, height).map((tile) => ({ ...tile, id: most[tile.at]!.id }));
    text($("heat-note"), weighed.length > most.length ? `the ${MOST} with most turnover` : "");
  }

  #tile(context: CanvasRenderingContext2D, { id, x, y, w, h }: Placed, family: string): void {
    const { up, down, flat, bg } = colors.value;
    const change = market.percent(id);
    const share = Math.min(1, Math.abs(change) / FULL_PERCENT) || 0;
    const dark = document.documentElement.dataset.theme !== "light";
    const color = between(flat, change >= 0 ? up : down, 0.12 + 0.6 * share * (dark ? 1 : 1.2));
    const gap = w > 6 && h > 6 ? 1 : 0.25;
    context.fillStyle = share === share && change === change ? color : bg;
    context.fillRect(x, y, w - gap, h - gap);
    if (w < 34 || h < 16) return;
    const size = Math.max(9, Math.min(20, Math.min(w / 5, h / 3)));
    context.fillStyle = dark ? "#fff" : "#10151c";
    context.font = `600 ${size}px ${family}`;
    const two = h > size * 2.6;
    context.fillText(fit(context, market.symbol[id]!, w - 6), x + w / 2, y + h / 2 - (two ? size * 0.6 : 0));
    if (!two) return;
    context.font = `${Math.max(9, size * 0.78)}px ${family}`;
    context.fillText(fit(context, percent(change), w - 4), x + w / 2, y + h / 2 + size * 0.65);
  }

  #under({ offsetX, offsetY }: MouseEvent): Placed | undefined {
    return this.#tiles.find(({ x, y, w, h }) => offsetX >= x && offsetX < x + w && offsetY >= y && offsetY < y + h);
  }

  #hover(tile: Placed | undefined): void {
    this.#tip.hidden = !tile;
    if (!tile) return;
    const { id } = tile;
    const change = market.percent(id);
    text(this.#tip, `${market.symbol[id]}  ${arrow(change)} ${percent(change)}  ${price(market.last(id))}  vol ${compact(market.columns.volume[id])}`);
    const wide = this.#canvas.parentElement!.clientWidth;
    const left = Math.min(Math.max(0, tile.x + tile.w / 2 - 110), Math.max(0, wide - 240));
    this.#tip.style.transform = `translate(${left}px, ${tile.y > 34 ? tile.y - 30 : tile.y + tile.h + 4}px)`;
  }

  #open(tile: Placed | undefined): void {
    if (!tile) return;
    chosen.set(tile.id);
    view.set("chart");
  }

  #press(event: KeyboardEvent): void {
    const ways: Record<string, readonly [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key];
    const here = this.#tiles.find(({ id }) => id === this.#focus) ?? this.#tiles[0];
    if (event.key === "Enter") this.#open(here);
    if (!way || !here) return;
    event.preventDefault();
    event.stopPropagation();
    const next = this.#focus < 0 ? here : (beside(this.#tiles, here, way) ?? here);
    this.#focus = next.id;
    this.#hover(next);
    text(this.#words, `${market.symbol[next.id]} ${percent(market.percent(next.id))}, ${price(market.last(next.id))}`);
    this.paint();
  }
}

/** The tile that a step from the middle of one leads to. */
function beside(tiles: readonly Placed[], from: Placed, [dx, dy]: readonly [number, number]): Placed | undefined {
  const x = from.x + from.w / 2 + dx * (from.w / 2 + 2);
  const y = from.y + from.h / 2 + dy * (from.h / 2 + 2);
  return tiles.find((tile) => x >= tile.x && x < tile.x + tile.w && y >= tile.y && y < tile.y + tile.h);
}

function fit(context: CanvasRenderingContext2D, words: string, width: number): string {
  if (context.measureText(words).width <= width) return words;
  let n = words.length;
  while (n > 1 && context.measureText(`${words.slice(0, n)}…`).width > width) n--;
  return `${words.slice(0, n)}…`;
}

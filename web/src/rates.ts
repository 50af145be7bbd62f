// Records a second over time.

import uPlot from "uplot";
import { rate } from "./format.ts";
import { clock } from "./prefs.ts";
import { type Colors, faded } from "./theme.ts";
import { MINE, time } from "./zone.ts";

const MOST = 900;
const LEGEND = 22;
const GRID = { width: 1, size: 4 };

export class Rates {
  readonly #parent: HTMLElement;
  readonly #data: [number[], number[], number[]] = [[], [], []];
  #plot: uPlot | null = null;
  #colors: Colors | null = null;

  constructor(parent: HTMLElement) {
    this.#parent = parent;
    new ResizeObserver(() => this.#fit()).observe(parent);
  }

  add(ms: number, read: number, done: number): void {
    if (ms / 1000 <= (this.#data[0].at(-1) ?? 0)) return;
    [ms / 1000, read, done].forEach((value, at) => this.#data[at]!.push(value));
    if (this.#data[0].length > MOST) for (const column of this.#data) column.shift();
  }

  paint(colors: Colors): void {
    const { clientWidth: width, clientHeight: height } = this.#parent;
    if (!width || !height) return;
    if (colors !== this.#colors) {
      this.#plot?.destroy();
      this.#colors = colors;
      this.#plot = new uPlot(options(colors, width, height - LEGEND), this.#data, this.#parent);
    }
    this.#plot?.setData(this.#data);
  }

  #fit(): void {
    const { clientWidth: width, clientHeight: height } = this.#parent;
    if (width && height) this.#plot?.setSize({ width, height: height - LEGEND });
  }
}

function options(colors: Colors, width: number, height: number): uPlot.Options {
  const axis = { stroke: colors.dim, grid: { stroke: faded(colors.line, 0.7), ...GRID }, ticks: { show: false }, font: "11px system-ui" };
  // where no pointer is, the newest
  const told = (plot: uPlot, x: number | null, series: number) => `${rate(x ?? plot.data[series]?.at(-1) ?? NaN)}/s`;
  const zone = () => (clock.value === "mine" ? MINE : "UTC");
  return {
    width,
    height,
    cursor: { y: false, points: { size: 6 } },
    legend: { show: true, live: true },
    scales: { x: { time: false }, y: { range: (_, __, most) => [0, Math.max(10, (most || 0) * 1.15)] } },
    axes: [
      { ...axis, space: 90, size: 26, values: (_, ticks) => ticks.map((s) => time(s * 1000, zone())) },
      { ...axis, size: 56, values: (_, ticks) => ticks.map(rate) },
    ],
    series: [
      { label: "at", value: (_, s) => (s === null ? "now" : time(s * 1000, zone())) },
      { label: "written to Kafka", stroke: colors.up, width: 1.5, fill: faded(colors.up, 0.1), points: { show: false }, value: told },
      { label: "read by groups", stroke: colors.down, width: 1.5, points: { show: false }, value: told },
    ],
  };
}

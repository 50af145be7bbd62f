// Records per second over time.

import uPlot from "uplot";
import { clock } from "../data/preferences.ts";
import { formatRate } from "./format.ts";
import { type Colors, withOpacity } from "./theme.ts";
import { formatTime, LOCAL_ZONE } from "./timezone.ts";

const MAX_POINTS = 900;
const LEGEND_PX = 22;
const GRID = { width: 1, size: 4 };

export class RatesChart {
  readonly #parent: HTMLElement;
  readonly #data: [number[], number[], number[]] = [[], [], []];
  #plot: uPlot | null = null;
  #colors: Colors | null = null;

  constructor(parent: HTMLElement) {
    this.#parent = parent;
    new ResizeObserver(() => this.#resize()).observe(parent);
  }

  add(ms: number, written: number, read: number): void {
    if (ms / 1000 <= (this.#data[0].at(-1) ?? 0)) return;
    [ms / 1000, written, read].forEach((value, at) => this.#data[at]!.push(value));
    if (this.#data[0].length > MAX_POINTS) for (const column of this.#data) column.shift();
  }

  paint(colors: Colors): void {
    const { clientWidth: width, clientHeight: height } = this.#parent;
    if (!width || !height) return;
    if (colors !== this.#colors) {
      this.#plot?.destroy();
      this.#colors = colors;
      this.#plot = new uPlot(options(colors, width, height - LEGEND_PX), this.#data, this.#parent);
    }
    this.#plot?.setData(this.#data);
  }

  #resize(): void {
    const { clientWidth: width, clientHeight: height } = this.#parent;
    if (width && height) this.#plot?.setSize({ width, height: height - LEGEND_PX });
  }
}

function options(colors: Colors, width: number, height: number): uPlot.Options {
  const axis = { stroke: colors.dim, grid: { stroke: withOpacity(colors.line, 0.7), ...GRID }, ticks: { show: false }, font: "11px system-ui" };
  // the latest value while there is no pointer
  const formatValue = (plot: uPlot, x: number | null, series: number) => `${formatRate(x ?? plot.data[series]?.at(-1) ?? NaN)}/s`;
  const zone = () => (clock.value === "local" ? LOCAL_ZONE : "UTC");
  return {
    width,
    height,
    cursor: { y: false, points: { size: 6 } },
    legend: { show: true, live: true },
    scales: { x: { time: false }, y: { range: (_, __, max) => [0, Math.max(10, (max || 0) * 1.15)] } },
    axes: [
      { ...axis, space: 90, size: 26, values: (_, ticks) => ticks.map((s) => formatTime(s * 1000, zone())) },
      { ...axis, size: 56, values: (_, ticks) => ticks.map(formatRate) },
    ],
    series: [
      { label: "time", value: (_, s) => (s === null ? "now" : formatTime(s * 1000, zone())) },
      { label: "written to Kafka", stroke: colors.up, width: 1.5, fill: withOpacity(colors.up, 0.1), points: { show: false }, value: formatValue },
      { label: "read by consumer groups", stroke: colors.down, width: 1.5, points: { show: false }, value: formatValue },
    ],
  };
}

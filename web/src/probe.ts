// Read-only state of the page, for tests and measurements.

import { market } from "./data/market.ts";
import { selectedId, view } from "./data/state.ts";
import type { ChartPanel } from "./panels/chart.ts";
import { onPainted } from "./view/paint.ts";

interface Frame {
  /** Time at which the server encoded the frame, by its clock. */
  nowMs: number;
  /** Time at which the frame was painted, by the browser's clock. */
  paintedMs: number;
}

export function startProbe(chart: ChartPanel): void {
  let last: Frame = { nowMs: 0, paintedMs: 0 };
  onPainted(() => {
    if (market.frameMs === last.nowMs) return;
    last = { nowMs: market.frameMs, paintedMs: performance.timeOrigin + performance.now() };
    performance.clearMarks("tickerlake-rows");
    performance.mark("tickerlake-rows", { detail: last.nowMs });
  });
  const probe = Object.freeze({
    painted: () => last.nowMs,
    lastFrame: () => ({ ...last }),
    size: () => market.size,
    row: (instrument: string) => {
      const id = market.find(instrument);
      return id < 0 ? null : { id, last: market.last(id), change: market.change(id), percent: market.percentChange(id), volume: market.columns.volume[id] };
    },
    chart: () => ({ instrument: market.instrument[selectedId.value] ?? null, interval: chart.data?.bars.length ? chart.data.interval : null, view: view.value }),
    bars: () => {
      const bars = chart.data?.bars;
      return bars ? { time: [...bars.time], open: [...bars.open], high: [...bars.high], low: [...bars.low], close: [...bars.close], volume: [...bars.volume] } : null;
    },
    values: (name: string) => [...(chart.data?.values.byName.get(name) ?? [])],
  });
  Object.defineProperty(window, "__tickerlake", { value: probe });
}

// What tests and measurements may look at. It can only be read.

import type { ChartPanel } from "./chart.ts";
import { painted } from "./paint.ts";
import { chosen, view } from "./state.ts";
import { market } from "./store.ts";

interface Frame {
  /** The server's clock when it made the frame. */
  nowMs: number;
  /** Our clock after it was painted. */
  paintedMs: number;
}

export function startProbe(chart: ChartPanel): void {
  let last: Frame = { nowMs: 0, paintedMs: 0 };
  painted(() => {
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
      return id < 0 ? null : { id, last: market.last(id), change: market.change(id), percent: market.percent(id), volume: market.columns.volume[id] };
    },
    chart: () => ({ instrument: market.instrument[chosen.value] ?? null, interval: chart.feed?.bars.length ? chart.feed.interval : null, view: view.value }),
    bars: () => {
      const bars = chart.feed?.bars;
      return bars ? { time: [...bars.time], open: [...bars.open], high: [...bars.high], low: [...bars.low], close: [...bars.close], volume: [...bars.volume] } : null;
    },
    values: (name: string) => [...(chart.feed?.values.byName.get(name) ?? [])],
  });
  Object.defineProperty(window, "__tickerlake", { value: probe });
}

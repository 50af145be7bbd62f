import assert from "node:assert/strict";
import { test } from "node:test";
import { Bars, indexAtOrBefore, IndicatorValues } from "../src/data/bars.ts";

const page = (times: number[], close: number, more = false) => ({
  instrument: "A.XNAS",
  interval: "1m",
  time: times,
  ...{ open: times.map(() => 1), high: times.map(() => 2), low: times.map(() => 0.5) },
  close: times.map(() => close),
  volume: times.map(() => null),
  forming: false,
  more,
});

test("the bar at a time", () => {
  assert.deepEqual([5, 10, 15, 30, 99].map((ms) => indexAtOrBefore([10, 20, 30], ms)), [-1, 0, 0, 2, 2]);
});

test("pages are joined before, after and across each other", () => {
  const bars = new Bars();
  bars.merge(page([30, 40], 1));
  bars.merge(page([10, 20], 2));
  bars.merge(page([40, 50], 3));
  assert.deepEqual(bars.time, [10, 20, 30, 40, 50]);
  assert.deepEqual(bars.close, [2, 2, 1, 3, 3]);
});

test("a live bar replaces the last one, follows it, or restates an earlier one", () => {
  const bars = new Bars();
  bars.merge(page([10, 20, 30], 1));
  assert.ok(bars.upsert([30, 1, 2, 1, 7, 5]));
  assert.ok(bars.upsert([40, 1, 2, 1, 8, 5]));
  assert.ok(!bars.upsert([20, 1, 2, 1, 9, 5]));
  assert.ok(!bars.upsert([15, 1, 2, 1, 6, 5]));
  assert.deepEqual(bars.time, [10, 15, 20, 30, 40]);
  assert.deepEqual(bars.close, [1, 6, 9, 7, 8]);
});

test("bars of which only the close is known", () => {
  const bars = new Bars();
  assert.ok(!bars.hasOnlyCloses);
  const none = [null, null];
  bars.merge({ ...page([10, 20], 5), open: none, high: none, low: none });
  assert.ok(bars.hasOnlyCloses);
  assert.deepEqual(bars.row(1), [20, null, null, null, 5, null]);
  bars.upsert([30, 1, 2, 1, 7, 5]);
  assert.ok(!bars.hasOnlyCloses);
});

test("missing indicator values stay missing", () => {
  const values = new IndicatorValues();
  values.merge({ time: [10, 20], values: { "SMA(20)": [null, 4] } });
  values.set(30, { "SMA(20)": 5, RSI: null });
  assert.deepEqual([...(values.byName.get("SMA(20)") ?? [])], [[20, 4], [30, 5]]);
  assert.equal(values.byName.has("RSI"), false);
});

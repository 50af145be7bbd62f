import assert from "node:assert/strict";
import { test } from "node:test";
import { atOrBefore, Bars, Values } from "../src/bars.ts";

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

test("the bar of a moment", () => {
  assert.deepEqual([5, 10, 15, 30, 99].map((ms) => atOrBefore([10, 20, 30], ms)), [-1, 0, 0, 2, 2]);
});

test("pages join before, after and over each other", () => {
  const bars = new Bars();
  bars.merge(page([30, 40], 1));
  bars.merge(page([10, 20], 2));
  bars.merge(page([40, 50], 3));
  assert.deepEqual(bars.time, [10, 20, 30, 40, 50]);
  assert.deepEqual(bars.close, [2, 2, 1, 3, 3]);
});

test("a live bar replaces the last, follows it, or restates one within", () => {
  const bars = new Bars();
  bars.merge(page([10, 20, 30], 1));
  assert.ok(bars.put([30, 1, 2, 1, 7, 5]));
  assert.ok(bars.put([40, 1, 2, 1, 8, 5]));
  assert.ok(!bars.put([20, 1, 2, 1, 9, 5]));
  assert.ok(!bars.put([15, 1, 2, 1, 6, 5]));
  assert.deepEqual(bars.time, [10, 15, 20, 30, 40]);
  assert.deepEqual(bars.close, [1, 6, 9, 7, 8]);
});

test("indicators have no value where there is none", () => {
  const values = new Values();
  values.merge({ time: [10, 20], values: { "SMA(20)": [null, 4] } });
  values.put(30, { "SMA(20)": 5, RSI: null });
  assert.deepEqual([...(values.byName.get("SMA(20)") ?? [])], [[20, 4], [30, 5]]);
  assert.equal(values.byName.has("RSI"), false);
});

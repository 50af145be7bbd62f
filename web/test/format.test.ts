import assert from "node:assert/strict";
import { test } from "node:test";
import * as f from "../src/view/format.ts";

test("prices have as many decimals as their size needs", () => {
  assert.deepEqual([1234567.891, 101.25, 9.87, 0.0312, 0.00012, NaN, null].map((x) => f.formatPrice(x)), ["1,234,567.89", "101.25", "9.8700", "0.0312", "0.000120", "–", "–"]);
});

test("thousands are grouped", () => {
  assert.deepEqual([0, 999, 1000, 12345, 123456, 1234567].map((x) => f.formatNumber(x)), ["0", "999", "1,000", "12,345", "123,456", "1,234,567"]);
  assert.equal(f.formatNumber(-1234.5, 1), "−1,234.5");
  assert.equal(f.formatNumber(999.999, 2), "1,000.00");
});

test("signs are always shown, except for zero", () => {
  assert.deepEqual([1.5, -1.5, 0, 0.001, -0.001].map((x) => f.formatPercent(x)), ["+1.50%", "−1.50%", "0.00%", "0.00%", "0.00%"]);
});

test("large numbers are abbreviated", () => {
  assert.deepEqual([9999, 12345, 1.9e6, 4.4e9, 0.5, -2.5e6].map(f.formatCompact), ["9,999", "12.3 k", "1.9 M", "4.4 bn", "0.50", "−2.5 M"]);
});

test("durations", () => {
  assert.deepEqual([0.25, 45, 125, 7200, 200_000].map(f.formatDuration), ["0.3 s", "45 s", "2 min", "2 h", "2 days"]);
});

test("values with their units", () => {
  assert.equal(f.formatQuantity(-3.1, "pct"), "−3.10 %");
  assert.equal(f.formatQuantity(5, "sigma"), "5 σ");
  assert.equal(f.formatQuantity(187.5, "price"), "187.50");
  assert.equal(f.formatQuantity(null, "x"), "–");
});

test("bytes", () => {
  assert.deepEqual([12, 91_331_000, 3_812_331_000].map(f.formatBytes), ["12 B", "91.3 MB", "3.8 GB"]);
});

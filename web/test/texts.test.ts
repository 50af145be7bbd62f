import assert from "node:assert/strict";
import { test } from "node:test";
import { groupIndicators, isOverlay, splitName } from "../src/data/indicators.ts";
import { nearestInterval } from "../src/data/interval.ts";
import type { Alert } from "../src/data/protocol.ts";
import { alertInterval, formatAlertTime, formatAlertTimeShort, messageWithoutSymbol } from "../src/view/alerttext.ts";
import { tickMarkWeight } from "../src/view/tickweight.ts";
import { formatDateTime, zoneOffsetMs } from "../src/view/timezone.ts";
import { squarify } from "../src/view/treemap.ts";

const NEW_YORK = "America/New_York";

test("indicators are grouped by base name", () => {
  assert.deepEqual(splitName("MACD(12,26,9).hist"), ["MACD(12,26,9)", "hist"]);
  assert.deepEqual(splitName("BBANDS(20,2.5,2).upper"), ["BBANDS(20,2.5,2)", "upper"]);
  assert.deepEqual(splitName("OBV"), ["OBV", ""]);
  assert.equal(groupIndicators(["A(1).x", "B", "A(1).y"]).length, 2);
  assert.deepEqual(["SMA(20)", "VWAP", "RSI(14)", "SMART"].map(isOverlay), [true, true, false, false]);
});

test("wall-clock times follow daylight saving", () => {
  assert.equal(formatDateTime(Date.UTC(2024, 0, 2, 14, 31), NEW_YORK), "Tue 2 Jan 2024 09:31");
  assert.equal(zoneOffsetMs(Date.UTC(2024, 2, 10, 6, 59), NEW_YORK), -5 * 3_600_000);
  assert.equal(zoneOffsetMs(Date.UTC(2024, 2, 10, 7, 0), NEW_YORK), -4 * 3_600_000);
  assert.equal(zoneOffsetMs(Date.UTC(2024, 2, 10), "No/Where"), 0);
});

test("tick marks of the time scale are at midnights", () => {
  const at = (day: number, hour: number, minute = 0) => new Date(Date.UTC(2024, 0, day, hour, minute));
  assert.equal(tickMarkWeight(at(2, 23, 59), at(3, 0)), 50);
  assert.equal(tickMarkWeight(at(2, 11, 59), at(2, 12)), 33);
  assert.equal(tickMarkWeight(at(2, 11, 1), at(2, 11, 2)), 20);
});

test("the nearest interval", () => {
  assert.equal(nearestInterval("1m", ["1d", "1h"]), "1h");
  assert.equal(nearestInterval("1m", []), undefined);
});

test("texts of alerts", () => {
  const alert = { symbol: "AAPL", message: "AAPL fell 5.1% in 1d", dedup_key: "big-day AAPL.XNAS 1d", event_ms: Date.UTC(2000, 8, 30) } as Alert;
  assert.equal(messageWithoutSymbol(alert), "fell 5.1% in 1d");
  assert.equal(messageWithoutSymbol({ ...alert, message: "unusual volume of AAPL" }), "unusual volume of AAPL");
  assert.equal(alertInterval(alert), "1d");
  assert.equal(alertInterval({ ...alert, dedup_key: "stale AAPL.XNAS" }), "");
  assert.equal(formatAlertTime(alert, NEW_YORK), "2000-09-29");
  assert.equal(formatAlertTimeShort({ ...alert, dedup_key: "x A.B 1m" }, "UTC", alert.event_ms + 60_000), "00:00:00");
});

test("tiles fill the area", () => {
  const tiles = squarify([6, 6, 4, 3, 2, 2, 1], 600, 400);
  const area = tiles.reduce((sum, { w, h }) => sum + w * h, 0);
  assert.equal(tiles.length, 7);
  assert.ok(Math.abs(area - 240_000) < 1);
  assert.ok(tiles.every(({ x, y, w, h }) => x >= 0 && y >= 0 && x + w <= 600.01 && y + h <= 400.01));
});

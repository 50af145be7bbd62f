import assert from "node:assert/strict";
import { test } from "node:test";
import { nearest } from "../src/interval.ts";
import { grouped, overlays, split } from "../src/names.ts";
import type { Alert } from "../src/protocol.ts";
import { weight } from "../src/weight.ts";
import { squarify } from "../src/squares.ts";
import { intervalOf, moment, sentence, when } from "../src/words.ts";
import { full, offset } from "../src/zone.ts";

const NEW_YORK = "America/New_York";

test("indicators are grouped by their base", () => {
  assert.deepEqual(split("MACD(12,26,9).hist"), ["MACD(12,26,9)", "hist"]);
  assert.deepEqual(split("BBANDS(20,2.5,2).upper"), ["BBANDS(20,2.5,2)", "upper"]);
  assert.deepEqual(split("OBV"), ["OBV", ""]);
  assert.equal(grouped(["A(1).x", "B", "A(1).y"]).length, 2);
  assert.deepEqual(["SMA(20)", "VWAP", "RSI(14)", "SMART"].map(overlays), [true, true, false, false]);
});

test("wall clocks follow daylight saving", () => {
  assert.equal(full(Date.UTC(2024, 0, 2, 14, 31), NEW_YORK), "Tue 2 Jan 2024 09:31");
  assert.equal(offset(Date.UTC(2024, 2, 10, 6, 59), NEW_YORK), -5 * 3_600_000);
  assert.equal(offset(Date.UTC(2024, 2, 10, 7, 0), NEW_YORK), -4 * 3_600_000);
  assert.equal(offset(Date.UTC(2024, 2, 10), "No/Where"), 0);
});

test("marks of the time scale stand at midnights", () => {
  const at = (day: number, hour: number, minute = 0) => new Date(Date.UTC(2024, 0, day, hour, minute));
  assert.equal(weight(at(2, 23, 59), at(3, 0)), 50);
  assert.equal(weight(at(2, 11, 59), at(2, 12)), 33);
  assert.equal(weight(at(2, 11, 1), at(2, 11, 2)), 20);
});

test("the nearest interval", () => {
  assert.equal(nearest("1m", ["1d", "1h"]), "1h");
  assert.equal(nearest("1m", []), undefined);
});

test("alerts in words", () => {
  const alert = { symbol: "AAPL", message: "AAPL fell 5.1% in 1d", dedup_key: "big-day AAPL.XNAS 1d", event_ms: Date.UTC(2000, 8, 30) } as Alert;
  assert.equal(sentence(alert), "fell 5.1% in 1d");
  assert.equal(sentence({ ...alert, message: "something of AAPL" }), "something of AAPL");
  assert.equal(intervalOf(alert), "1d");
  assert.equal(intervalOf({ ...alert, dedup_key: "stale AAPL.XNAS" }), "");
  assert.equal(when(alert, NEW_YORK), "2000-09-29");
  assert.equal(moment({ ...alert, dedup_key: "x A.B 1m" }, "UTC", alert.event_ms + 60_000), "00:00:00");
});

test("tiles fill the whole field", () => {
  const tiles = squarify([6, 6, 4, 3, 2, 2, 1], 600, 400);
  const area = tiles.reduce((sum, { w, h }) => sum + w * h, 0);
  assert.equal(tiles.length, 7);
  assert.ok(Math.abs(area - 240_000) < 1);
  assert.ok(tiles.every(({ x, y, w, h }) => x >= 0 && y >= 0 && x + w <= 600.01 && y + h <= 400.01));
});

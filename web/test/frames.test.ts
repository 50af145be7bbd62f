import assert from "node:assert/strict";
import { test } from "node:test";
import { COLUMNS, decodeFrame, type RowsFrame, type SparklinesFrame } from "../src/data/frames.ts";

function rows(ids: number[], nowMs = 5): ArrayBuffer {
  const n = ids.length;
  const buffer = new ArrayBuffer(16 + 8 * n * COLUMNS.length + 4 * n);
  const head = new DataView(buffer);
  head.setUint8(0, 1);
  head.setUint32(4, n, true);
  head.setFloat64(8, nowMs, true);
  COLUMNS.forEach((_, column) => ids.forEach((id, at) => head.setFloat64(16 + 8 * (column * n + at), 100 * column + id, true)));
  ids.forEach((id, at) => head.setUint32(16 + 8 * n * COLUMNS.length + 4 * at, id, true));
  return buffer;
}

test("rows are decoded by column", () => {
  const read = decodeFrame(rows([7, 3])) as RowsFrame;
  assert.equal(read.kind, "rows");
  assert.equal(read.nowMs, 5);
  assert.deepEqual([...read.ids], [7, 3]);
  assert.deepEqual([...read.columns.last], [7, 3]);
  assert.deepEqual([...read.columns.average], [707, 703]);
});

test("a frame may be empty", () => {
  assert.equal((decodeFrame(rows([])) as RowsFrame).ids.length, 0);
});

test("sparklines are decoded by row", () => {
  const buffer = new ArrayBuffer(16 + 4 * 2 * 3 + 4 * 2);
  const head = new DataView(buffer);
  head.setUint8(0, 2);
  head.setUint16(2, 3, true);
  head.setUint32(4, 2, true);
  [NaN, 1, 2, 3, 4, 5].forEach((close, at) => head.setFloat32(16 + 4 * at, close, true));
  [9, 4].forEach((id, at) => head.setUint32(16 + 24 + 4 * at, id, true));
  const read = decodeFrame(buffer) as SparklinesFrame;
  assert.equal(read.kind, "sparklines");
  assert.equal(read.points, 3);
  assert.deepEqual([...read.ids], [9, 4]);
  assert.deepEqual([...read.closes.subarray(3)], [3, 4, 5]);
});

test("a truncated frame is an error, an unknown type is skipped", () => {
  assert.throws(() => decodeFrame(rows([1, 2]).slice(0, 60)), RangeError);
  assert.throws(() => decodeFrame(new ArrayBuffer(0)), RangeError);
  assert.equal(decodeFrame(new Uint8Array([99, ...Array<number>(15).fill(0)]).buffer), null);
});

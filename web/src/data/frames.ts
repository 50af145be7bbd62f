// Binary frames, little-endian, decoded as views of the buffer without copies.

export const COLUMNS = ["last", "time", "previous", "open", "high", "low", "volume", "average"] as const;
export type Column = (typeof COLUMNS)[number];

const HEADER_BYTES = 16;
const ROWS = 1;
const SPARKLINES = 2;

export interface RowsFrame {
  kind: "rows";
  nowMs: number;
  ids: Uint32Array;
  columns: Record<Column, Float64Array>;
}

export interface SparklinesFrame {
  kind: "sparklines";
  nowMs: number;
  ids: Uint32Array;
  points: number;
  closes: Float32Array;
}

/** Decode a frame; null if its type is unknown. Throws RangeError if it is truncated. */
export function decodeFrame(buffer: ArrayBuffer): RowsFrame | SparklinesFrame | null {
  const head = new DataView(buffer);
  const kind = head.getUint8(0);
  if (kind !== ROWS && kind !== SPARKLINES) return null;
  const points = head.getUint16(2, true);
  const n = head.getUint32(4, true);
  const nowMs = head.getFloat64(8, true);
  if (kind === ROWS) {
    const columns = Object.fromEntries(
      COLUMNS.map((name, at) => [name, new Float64Array(buffer, HEADER_BYTES + at * 8 * n, n)]),
    ) as Record<Column, Float64Array>;
    return { kind: "rows", nowMs, ids: new Uint32Array(buffer, HEADER_BYTES + COLUMNS.length * 8 * n, n), columns };
  }
  const closes = new Float32Array(buffer, HEADER_BYTES, n * points);
  return { kind: "sparklines", nowMs, points, closes, ids: new Uint32Array(buffer, HEADER_BYTES + 4 * n * points, n) };
}

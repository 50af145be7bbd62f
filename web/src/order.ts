/** The numbers below `size` that are wanted. */
export function pick(size: number, wanted: (id: number) => boolean): Int32Array {
  const found = new Int32Array(size);
  let n = 0;
  for (let id = 0; id < size; id++) if (wanted(id)) found[n++] = id;
  return found.subarray(0, n);
}

/** Sort in place by a key; what has none (NaN) is last either way, ties go by `tie`. */
export function arrange(ids: Int32Array, key: (id: number) => number, descending: boolean, tie: Int32Array): Int32Array {
  const keys = new Float64Array(tie.length);
  for (const id of ids) keys[id] = key(id);
  const way = descending ? -1 : 1;
  return ids.sort((a, b) => {
    const x = keys[a]!;
    const y = keys[b]!;
    if (x !== x || y !== y) return Number(x !== x) - Number(y !== y) || tie[a]! - tie[b]!;
    return (x - y) * way || tie[a]! - tie[b]!;
  });
}

/** Whether two orders are the same. */
export function same(a: Int32Array, b: Int32Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/** How well a symbol answers a search: 0 not at all, most if it is the same. */
export function answers(symbol: string, instrument: string, query: string): number {
  const name = symbol.toUpperCase();
  if (name === query) return 4;
  if (name.startsWith(query)) return 3;
  if (name.includes(query)) return 2;
  return instrument.toUpperCase().includes(query) ? 1 : 0;
}

/** The ids below `size` that match a predicate. */
export function filterIds(size: number, predicate: (id: number) => boolean): Int32Array {
  const ids = new Int32Array(size);
  let n = 0;
  for (let id = 0; id < size; id++) if (predicate(id)) ids[n++] = id;
  return ids.subarray(0, n);
}

/** Sort in place by a key; NaN is last in both directions, ties are sorted by `tie`. */
export function sortIds(ids: Int32Array, key: (id: number) => number, descending: boolean, tie: Int32Array): Int32Array {
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

/** Whether two lists are equal. */
export function equalIds(a: Int32Array, b: Int32Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

/** How well a symbol matches a search: 0 for no match, highest for an exact match. */
export function matchScore(symbol: string, instrument: string, query: string): number {
  const name = symbol.toUpperCase();
  if (name === query) return 4;
  if (name.startsWith(query)) return 3;
  if (name.includes(query)) return 2;
  return instrument.toUpperCase().includes(query) ? 1 : 0;
}

// A squarified treemap (Bruls, Huizing and van Wijk, 2000).

export interface Tile {
  at: number;
  x: number;
  y: number;
  w: number;
  h: number;
}

/** Lay out areas in proportion to weights, which descend; `at` is the place of a weight. */
export function squarify(weights: readonly number[], width: number, height: number): Tile[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const tiles: Tile[] = [];
  if (!(total > 0) || !(width > 0) || !(height > 0)) return tiles;
  const scale = (width * height) / total;
  let [x, y, w, h] = [0, 0, width, height];
  for (let start = 0; start < weights.length; ) {
    const side = Math.min(w, h);
    let [end, sum, worst] = [start, 0, Infinity];
    const most = weights[start]! * scale;
    while (end < weights.length) {
      const area = weights[end]! * scale;
      const next = sum + area;
      const ratio = Math.max((side * side * most) / (next * next), (next * next) / (side * side * area));
      if (ratio > worst) break;
      [worst, sum] = [ratio, next];
      end++;
    }
    const thick = Math.min(sum / side, Math.max(w, h));
    let along = 0;
    for (let at = start; at < end; at++) {
      const long = (weights[at]! * scale) / thick;
      tiles.push(w >= h ? { at, x, y: y + along, w: thick, h: long } : { at, x: x + along, y, w: long, h: thick });
      along += long;
    }
    if (w >= h) [x, w] = [x + thick, Math.max(0, w - thick)];
    else [y, h] = [y + thick, Math.max(0, h - thick)];
    start = end;
  }
  return tiles;
}

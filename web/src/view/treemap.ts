// A squarified treemap (Bruls, Huizing and van Wijk, 2000).

export interface Tile {
  index: number;
  x: number;
  y: number;
  w: number;
  h: number;
}

/** Lay out areas in proportion to descending weights; `index` is the index of a weight. */
export function squarify(weights: readonly number[], width: number, height: number): Tile[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const tiles: Tile[] = [];
  if (!(total > 0) || !(width > 0) || !(height > 0)) return tiles;
  const scale = (width * height) / total;
  let [x, y, w, h] = [0, 0, width, height];
  for (let start = 0; start < weights.length; ) {
    const side = Math.min(w, h);
    let [end, sum, worst] = [start, 0, Infinity];
    const maxArea = weights[start]! * scale;
    while (end < weights.length) {
      const area = weights[end]! * scale;
      const next = sum + area;
      const ratio = Math.max((side * side * maxArea) / (next * next), (next * next) / (side * side * area));
      if (ratio > worst) break;
      [worst, sum] = [ratio, next];
      end++;
    }
    const thickness = Math.min(sum / side, Math.max(w, h));
    let position = 0;
    for (let at = start; at < end; at++) {
      const length = (weights[at]! * scale) / thickness;
      tiles.push(w >= h ? { index: at, x, y: y + position, w: thickness, h: length } : { index: at, x: x + position, y, w: length, h: thickness });
      position += length;
    }
    if (w >= h) [x, w] = [x + thickness, Math.max(0, w - thickness)];
    else [y, h] = [y + thickness, Math.max(0, h - thickness)];
    start = end;
  }
  return tiles;
}

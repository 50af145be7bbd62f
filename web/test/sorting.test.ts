import assert from "node:assert/strict";
import { test } from "node:test";
import { equalIds, filterIds, matchScore, sortIds } from "../src/data/sorting.ts";

const RANK = new Int32Array([0, 1, 2, 3, 4]);

test("missing keys are last in both directions, ties are sorted by rank", () => {
  const keys = [2, NaN, 3, 2, NaN];
  const sorted = (descending: boolean) => [...sortIds(filterIds(5, () => true), (id) => keys[id]!, descending, RANK)];
  assert.deepEqual(sorted(false), [0, 3, 2, 1, 4]);
  assert.deepEqual(sorted(true), [2, 0, 3, 1, 4]);
});

test("ids are filtered by a predicate", () => {
  const odd = filterIds(6, (id) => id % 2 === 1);
  assert.deepEqual([...odd], [1, 3, 5]);
  assert.ok(equalIds(odd, new Int32Array([1, 3, 5])));
  assert.ok(!equalIds(odd, new Int32Array([1, 5, 3])));
});

test("an exact symbol matches best, then a prefix", () => {
  assert.deepEqual(["A", "AAPL", "BAA", "X"].map((symbol) => matchScore(symbol, `${symbol}.XNAS`, "A")), [4, 3, 2, 1]);
  assert.equal(matchScore("X", "X.XNYS", "Q"), 0);
});

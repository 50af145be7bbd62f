import assert from "node:assert/strict";
import { test } from "node:test";
import { answers, arrange, pick, same } from "../src/order.ts";

const RANK = new Int32Array([0, 1, 2, 3, 4]);

test("what has no key is last in both directions, and ties keep the alphabet", () => {
  const keys = [2, NaN, 3, 2, NaN];
  const sorted = (descending: boolean) => [...arrange(pick(5, () => true), (id) => keys[id]!, descending, RANK)];
  assert.deepEqual(sorted(false), [0, 3, 2, 1, 4]);
  assert.deepEqual(sorted(true), [2, 0, 3, 1, 4]);
});

test("picked are those that are wanted", () => {
  const odd = pick(6, (id) => id % 2 === 1);
  assert.deepEqual([...odd], [1, 3, 5]);
  assert.ok(same(odd, new Int32Array([1, 3, 5])));
  assert.ok(!same(odd, new Int32Array([1, 5, 3])));
});

test("an exact symbol answers best, then its beginning", () => {
  assert.deepEqual(["A", "AAPL", "BAA", "X"].map((symbol) => answers(symbol, `${symbol}.XNAS`, "A")), [4, 3, 2, 1]);
  assert.equal(answers("X", "X.XNYS", "Q"), 0);
});

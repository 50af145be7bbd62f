// The parts of Node's modules that the tests use.
declare module "node:test" {
  export function test(name: string, run: () => void): void;
}
declare module "node:assert/strict" {
  function equal(actual: unknown, expected: unknown): void;
  function deepEqual(actual: unknown, expected: unknown): void;
  function ok(value: unknown): void;
  function throws(run: () => void, kind?: unknown): void;
  const assert: { equal: typeof equal; deepEqual: typeof deepEqual; ok: typeof ok; throws: typeof throws };
  export default assert;
}

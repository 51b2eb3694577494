import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { chunkHashOf, countWrongBytes, fillPayload } from "../../../src/workload/payload.ts";

const words = 1024;
const anyId = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const anySeed = fc.integer({ min: 0, max: 0xffffffff });

function payload(id: number, seed: number): Uint32Array {
  const target = new Uint32Array(words);
  fillPayload(target, id, seed);
  return target;
}

test("what was filled verifies, whole or in pieces", () => {
  fc.assert(
    fc.property(anyId, anySeed, fc.integer({ min: 0, max: words }), (id, seed, cut) => {
      const whole = payload(id, seed);
      assert.equal(countWrongBytes(whole, id, seed), 0);
      const pieces = new Uint32Array(words);
      fillPayload(pieces.subarray(0, cut), id, seed);
      fillPayload(pieces.subarray(cut), id, seed, cut);
      assert.deepEqual(pieces, whole);
      assert.equal(countWrongBytes(whole.subarray(cut), id, seed, cut), 0);
    }),
    { verbose: true },
  );
});

test("every changed byte is counted", () => {
  fc.assert(
    fc.property(anyId, anySeed, fc.uniqueArray(fc.integer({ min: 0, max: words * 4 - 1 }), { maxLength: 40 }), fc.integer({ min: 1, max: 255 }), (id, seed, places, flip) => {
      const source = payload(id, seed);
      const bytes = new Uint8Array(source.buffer);
      for (const place of places) bytes[place] ^= flip;
      assert.equal(countWrongBytes(source, id, seed), places.length);
    }),
    { verbose: true },
  );
});

test("another chunk, another seed and a shifted copy are wrong nearly everywhere", () => {
  fc.assert(
    fc.property(anyId, anyId, anySeed, anySeed, (id, otherId, seed, otherSeed) => {
      fc.pre(id !== otherId && seed !== otherSeed);
      const source = payload(id, seed);
      for (const wrong of [countWrongBytes(source, otherId, seed), countWrongBytes(source, id, otherSeed), countWrongBytes(source, id, seed, 1)])
        assert.ok(wrong > words * 4 * 0.95, `${wrong} of ${words * 4} bytes differ`);
    }),
    { verbose: true },
  );
});

test("the first million ids have different payloads and different hashes", () => {
  // 32 bits of state alone would give about 116 pairs of equal chunks here, which a swap could hide behind.
  const seen = new Set<bigint>();
  const two = new Uint32Array(2);
  const view = new BigUint64Array(two.buffer);
  for (let id = 0; id < 1_000_000; id++) {
    fillPayload(two, id, 7);
    seen.add(view[0]);
  }
  assert.equal(seen.size, 1_000_000);
});

test("chunk hashes tell every id and seed apart and spread over their first byte", () => {
  const out = new Uint8Array(32);
  const first = new Array<number>(256).fill(0);
  for (let id = 0; id < 25_600; id++) {
    chunkHashOf(id, 3, new DataView(out.buffer));
    first[out[0]]++;
  }
  assert.ok(Math.min(...first) > 50 && Math.max(...first) < 160, `bucket sizes ${Math.min(...first)}..${Math.max(...first)}, expected around 100`);
  fc.assert(
    fc.property(anyId, anyId, anySeed, anySeed, (id, otherId, seed, otherSeed) => {
      const a = new Uint8Array(32);
      const b = new Uint8Array(32);
      chunkHashOf(id, seed, new DataView(a.buffer));
      chunkHashOf(otherId, otherSeed, new DataView(b.buffer));
      assert.equal(Buffer.compare(a, b) === 0, id === otherId && seed === otherSeed);
    }),
    { verbose: true },
  );
});

import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { checkTokens, chunkHashes, chunkHashSeed } from "../../../src/keys/chunk-hash.ts";
import { flatKeys, requestRanks, requestRows, rowKeys } from "../../../src/keys/expand.ts";
import { packKvRank, unpackKvRank, workerKvRank } from "../../../src/keys/rank.ts";
import { check } from "../policies/support.ts";

test("a kv rank reads back as what was packed, and stays unsigned", () => {
  const byte = fc.integer({ min: 0, max: 255 });
  check(
    fc.property(fc.record({ worldSize: byte, globalRank: byte, localWorldSize: byte, localRank: byte }, { noNullPrototype: true }), (rank) => {
      const packed = packKvRank(rank);
      assert.ok(packed >= 0 && packed <= 0xffffffff);
      assert.deepEqual(unpackKvRank(packed), rank);
    }),
  );
});

test("a rank that does not fit is refused by name", () => {
  assert.throws(() => workerKvRank(256, 0), /worldSize must be an integer in \[0, 255\], got 256/);
  assert.throws(() => packKvRank({ worldSize: 1, globalRank: 0, localWorldSize: 1, localRank: 1.5 }), /localRank/);
  assert.throws(() => requestRanks(2, 2), /workerId must be below worldSize 2, got 2/);
});

const twoHashes = Uint8Array.from({ length: 64 }, (_, index) => (index < 32 ? 1 : 2));

test("rows are group-major, then rank; the flat form is chunk-major, then rank", () => {
  const groups = [{ objectGroupId: 5, windowChunks: -1 }, { objectGroupId: 6, windowChunks: 2 }];
  const rows = requestRows({ worldSize: 2, groups });
  assert.deepEqual(rows.map(({ objectGroupId, windowChunks, kvRank }) => [objectGroupId, windowChunks, unpackKvRank(kvRank).globalRank]), [[5, -1, 0], [5, -1, 1], [6, 2, 0], [6, 2, 1]]);
  const flat = flatKeys(twoHashes, 9, requestRanks(2), 5);
  assert.deepEqual(
    Array.from({ length: flat.count }, (_, index) => [flat.chunkHash(index)[31], unpackKvRank(flat.kvRank(index)).globalRank, flat.objectGroupId(index), flat.namespaceId(index)]),
    [[1, 0, 5, 9], [1, 1, 5, 9], [2, 0, 5, 9], [2, 1, 5, 9]],
  );
  const row = rowKeys(twoHashes, 9, rows[3]);
  assert.deepEqual([row.count, row.chunkHash(1)[0], unpackKvRank(row.kvRank(1)).globalRank, row.objectGroupId(0)], [2, 2, 1, 6]);
});

test("half a hash is refused", () => {
  assert.throws(() => flatKeys(new Uint8Array(33), 0, [0], 0), /must be whole/);
});

test("tokens outside 32 bits are refused with their place, never wrapped", () => {
  assert.deepEqual(checkTokens([0, 0xffffffff]), Uint32Array.of(0, 0xffffffff));
  for (const token of [-1, 2 ** 32, 1.5, NaN]) assert.throws(() => checkTokens([7, token]), /tokens\[1\] must be an integer/, String(token));
});

test("a range of chunk hashes starts at the first chunk that begins at or after its start", () => {
  const asked: [number, number][] = [];
  const hasher = {
    chunkHashes(tokens: Uint32Array, chunkTokens: number, prefix: Uint8Array): Uint8Array {
      asked.push([tokens.length, chunkTokens]);
      assert.equal(prefix, chunkHashSeed);
      const chunks = Math.floor(tokens.length / chunkTokens);
      return Uint8Array.from({ length: chunks * 32 }, (_, index) => index >>> 5);
    },
  };
  const tokens = new Uint32Array(20);
  const first = (startToken: number, endToken?: number): number[] => [...chunkHashes(hasher, tokens, 4, { startToken, endToken })].filter((_, index) => index % 32 === 0);
  assert.deepEqual(first(0), [0, 1, 2, 3, 4]);
  assert.deepEqual(first(4, 15), [1, 2]);
  assert.deepEqual(first(5), [2, 3, 4]);
  assert.deepEqual(first(99), []);
  assert.deepEqual(asked[1], [15, 4]);
  assert.throws(() => chunkHashes(hasher, tokens, 0), /chunkTokens must be a positive integer, got 0/);
});

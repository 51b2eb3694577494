import assert from "node:assert/strict";
import { test } from "node:test";

import { toHex } from "../../src/base/bytes.ts";
import { checkTokens, chunkHashes, chunkHashSeed } from "../../src/keys/chunk-hash.ts";
import { loadBinding } from "../../src/native/load.ts";
import { withVectors } from "./vectors.ts";

interface Vectors {
  seed: string;
  rows: { chunk: number; tokens: number[]; start: number; end: number | null; prefix: string | null; hashes: string[] }[];
  odd: { tokens: number[]; raises?: string; hashes?: string[] }[];
}

function spell(hashes: Uint8Array): string[] {
  return Array.from({ length: hashes.byteLength / 32 }, (_, chunk) => toHex(hashes.subarray(chunk * 32, (chunk + 1) * 32)));
}

// Exceptions: none in the hashes. A token outside 0..2^32-1 is a RangeError of ours where LMCache raises.
withVectors<Vectors>("chunk-hashes", ({ seed, rows, odd }) => {
  test("the seed is blake3 of twelve zero bytes, and the recorded one", () => {
    assert.equal(toHex(chunkHashSeed), seed);
    assert.equal(toHex(loadBinding().blake3(new Uint8Array(12))), seed);
  });

  test(`chunk hashes are the recorded ones (${rows.length} token lists)`, () => {
    const binding = loadBinding();
    for (const row of rows) {
      const range = { startToken: row.start, endToken: row.end ?? undefined, prefix: row.prefix === null ? undefined : Uint8Array.from(Buffer.from(row.prefix, "hex")) };
      assert.deepEqual(spell(chunkHashes(binding, checkTokens(row.tokens), row.chunk, range)), row.hashes);
    }
  });

  test("token ids outside 32 bits are refused, the edge is not", () => {
    for (const row of odd)
      if (row.raises !== undefined) assert.throws(() => checkTokens(row.tokens), /tokens\[0\] must be an integer in \[0, 2\^32\)/);
      else assert.deepEqual(spell(chunkHashes(loadBinding(), checkTokens(row.tokens), row.tokens.length)), row.hashes);
  });
});

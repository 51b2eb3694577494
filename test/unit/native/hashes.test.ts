import assert from "node:assert/strict";
import { test } from "node:test";

import { garbage, native } from "./support.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("crc32c and BLAKE3 answer published vectors", () => {
  assert.equal(native.crc32c(Buffer.from("123456789")), 0xe3069283);
  assert.equal(native.crc32c(new Uint8Array(0)), 0);
  assert.equal(hex(native.blake3(new Uint8Array(0))), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
  assert.equal(hex(native.blake3(Buffer.from("IETF"))), "83a2de1ee6f4e6ab686889248f4ec0cf4cc5709446a682ffd1cbb4d6165181e2");
});

test("chunk hashes roll, leave out a partial chunk and can be continued", () => {
  const tokens = Uint32Array.from({ length: 1000 }, (_, i) => i * 77_777);
  const prefix = new Uint8Array(32).fill(3);
  const all = native.chunkHashes(tokens, 256, prefix);
  assert.equal(all.length, 3 * 32);
  const first = native.chunkHashes(tokens.subarray(0, 256), 256, prefix);
  assert.deepEqual(first, all.subarray(0, 32));
  assert.deepEqual(native.chunkHashes(tokens.subarray(256, 768), 256, first), all.subarray(32));
  assert.equal(native.chunkHashes(tokens, 0xffffffff, prefix).length, 0);
  assert.throws(() => native.chunkHashes(tokens, 0, prefix), /chunkTokens is 0/);
  assert.throws(() => native.chunkHashes(tokens, 256, prefix.subarray(1)), /prefix has length 31/);
});

test("garbage is an exception", () => {
  for (const call of [native.crc32c, native.blake3, native.chunkHashes] as unknown as ((...args: unknown[]) => unknown)[]) {
    for (const value of garbage()) {
      for (const args of [[value], [value, value, value], [new Uint32Array(4), value, new Uint8Array(32)], [new Uint32Array(4), 2, value]]) {
        try {
          call(...args);
        } catch (error) {
          assert.ok(error instanceof Error);
        }
      }
    }
  }
});

test("the build says what it is", () => {
  const info = native.buildInfo();
  for (const field of ["version", "compiler", "libc", "crc32c", "napiVersion"]) assert.ok(info[field]?.length > 0, field);
});

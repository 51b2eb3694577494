import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import fc from "fast-check";

import { toHex } from "../../../src/base/bytes.ts";
import { blake2b } from "../../../src/keys/blake2b.ts";
import type { ObjectKey } from "../../../src/keys/object-key.ts";
import * as spellings from "../../../src/keys/spellings.ts";
import { check } from "../policies/support.ts";

const text = (forbidden: RegExp): fc.Arbitrary<string> => fc.string({ unit: "binary", maxLength: 20 }).map((value) => value.replace(forbidden, ""));
const key: fc.Arbitrary<ObjectKey> = fc.record(
  {
    chunkHash: fc.uint8Array({ maxLength: 40 }).map((bytes) => Uint8Array.from(bytes)),
    modelName: text(/@/g),
    kvRank: fc.integer({ min: 0, max: 0xffffffff }),
    objectGroupId: fc.integer({ min: 0, max: 0xffffffff }),
    cacheSalt: text(/[@/\\\0]/g),
  },
  { noNullPrototype: true },
);

test("every key reads back from every spelling that is injective", () => {
  check(
    fc.property(key, (original) => {
      assert.deepEqual(spellings.parseNativeName(spellings.nativeName(original)), original);
      assert.deepEqual(spellings.parseS3RequestPath(spellings.s3RequestPath(original)), original);
      assert.deepEqual(spellings.parseRawBlockName(spellings.rawBlockName(original)), original);
      assert.deepEqual(spellings.fromJsonKey(JSON.parse(JSON.stringify(spellings.toJsonKey(original)))), original);
      if (!original.modelName.includes("-SEP-")) assert.deepEqual(spellings.parseFsFileName(spellings.fsFileName(original)), original);
    }),
    500,
  );
});

test("any text is either no key or a key of ours, never a throw", () => {
  const piece = fc.constantFrom("@", "0x", "ff", "0", "-1", "_", " ", "%", "%41", "é", ".data", "m", "-SEP-", "/");
  check(
    fc.property(fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join("")), (name) => {
      for (const parsed of [spellings.parseNativeName(name), spellings.parseFsFileName(`${name}.data`), spellings.parseRawBlockName(name), spellings.parseS3RequestPath(`/${name}`)])
        if (parsed !== undefined) assert.deepEqual(spellings.parseNativeName(spellings.nativeName(parsed)), parsed);
    }),
    1000,
  );
});

test("the file name's collision is known, and its length can be asked", () => {
  const base = { chunkHash: new Uint8Array(32), kvRank: 0, objectGroupId: 0, cacheSalt: "" };
  assert.equal(spellings.fsFileName({ ...base, modelName: "a/b" }), spellings.fsFileName({ ...base, modelName: "a-SEP-b" }));
  assert.equal(spellings.fsFileNameBytes({ ...base, modelName: "é" }), 2 + 1 + 10 + 1 + 1 + 1 + 64 + 5);
});

test("JSON that is no key is refused with the field's name", () => {
  const good = { chunk_hash_hex: "00", model_name: "m", kv_rank: 0 };
  assert.deepEqual(spellings.fromJsonKey(good).cacheSalt, "");
  const bad: [unknown, RegExp][] = [
    [null, /must be a JSON object, got null/],
    [{ ...good, chunk_hash_hex: "0" }, /chunk_hash_hex must be an even number of hex digits, got "0"/],
    [{ ...good, model_name: 7 }, /model_name must be a text, got 7/],
    [{ ...good, model_name: "a@b" }, /modelName must not contain "@"/],
    [{ ...good, kv_rank: "1" }, /kvRank must be an integer/],
    [{ ...good, object_group_id: -1 }, /objectGroupId must be an integer/],
    [{ ...good, cache_salt: null }, /cache_salt must be a text, got null/],
  ];
  for (const [json, message] of bad) assert.throws(() => spellings.fromJsonKey(json), (error) => error instanceof RangeError && message.test(error.message));
});

test("blake2b of every length agrees with the system's 64-byte form, and its short form with the reference", () => {
  for (const length of [0, 1, 127, 128, 129, 255, 256, 257, 1000]) {
    const bytes = Uint8Array.from({ length }, (_, index) => (index * 7) & 255);
    assert.equal(toHex(blake2b(bytes, 64)), createHash("blake2b512").update(bytes).digest("hex"));
  }
  // Python's hashlib.blake2b(b"abc", digest_size=8).
  assert.equal(toHex(blake2b(Buffer.from("abc"), 8)), "d8bb14d833d59559");
});

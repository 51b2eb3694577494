import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";

import { garbage, garbageCall, native, staleHandle } from "./support.ts";

const recordBytes = 48;

/** Records of 32 bytes of hash (all `hash`) and 16 of family (all `family`). */
function records(...keys: [hash: number, family: number][]): Uint8Array {
  const bytes = new Uint8Array(keys.length * recordBytes);
  keys.forEach(([hash, family], i) => bytes.fill(hash, i * recordBytes, i * recordBytes + 32).fill(family, i * recordBytes + 32, (i + 1) * recordBytes));
  return bytes;
}

function openTable() {
  return new native.InternTable(32, 16);
}

test("ids are dense from one, shared by equal records, and counted", () => {
  const table = openTable();
  assert.equal(table.recordBytes, recordBytes);
  const ids = new Uint32Array(4);
  assert.equal(table.intern(records([1, 1], [2, 1], [1, 1], [1, 2]), ids), 3);
  assert.deepEqual([...ids], [1, 2, 1, 3]);
  assert.deepEqual([table.size, table.idBound], [3, 3]);
  assert.equal(table.find(records([2, 1], [9, 9]), ids), 1);
  assert.deepEqual([...ids.subarray(0, 2)], [2, 0]);
  assert.equal(table.release(Uint32Array.of(1, 2)), 1);
  assert.equal(table.release(Uint32Array.of(1, 3)), 2);
  assert.equal(table.size, 0);
});

test("a recycled id has another generation, and its records can be read while it lives", () => {
  const table = openTable();
  const id = new Uint32Array(1);
  const generation = new Uint32Array(2);
  table.intern(records([5, 6]), id);
  const out = new Uint8Array(recordBytes);
  table.records(id, out);
  assert.deepEqual(out, records([5, 6]));
  table.generations(id, generation.subarray(0, 1));
  table.release(id);
  assert.throws(() => table.records(id, out), staleHandle);
  table.intern(records([7, 7]), id);
  table.generations(id, generation.subarray(1));
  assert.equal(id[0], 1);
  assert.notEqual(generation[0], generation[1]);
});

test("a dead id refuses the whole call", () => {
  const table = openTable();
  const ids = new Uint32Array(2);
  table.intern(records([1, 1], [2, 2]), ids);
  for (const wrong of [Uint32Array.of(1, 0), Uint32Array.of(1, 3), Uint32Array.of(1, 2, 1), Uint32Array.of(0xffffffff)]) {
    assert.throws(() => table.release(wrong), staleHandle);
  }
  assert.throws(() => table.retain(Uint32Array.of(1, 3)), staleHandle);
  assert.equal(table.release(ids), 2);
});

test("a million keys take at most 50 bytes each, and growth comes in small steps", () => {
  const table = openTable();
  const batch = new Uint8Array(10_000 * recordBytes);
  const ids = new Uint32Array(10_000);
  let before = table.memoryBytes();
  let step = 0;
  for (let i = 0; i < 110; i += 1) {
    batch.set(randomBytes(batch.length));
    for (let k = 0; k < 10_000; k += 1) batch.fill(k & 7, k * recordBytes + 32, (k + 1) * recordBytes);
    assert.equal(table.intern(batch, ids), 10_000);
    step = Math.max(step, table.memoryBytes() - before);
    before = table.memoryBytes();
    if (i === 99) assert.ok(before / table.size <= 50, `${before / table.size} bytes per key`);
  }
  assert.ok(before / table.size <= 50);
  assert.ok(step <= 1024 * 1024, `one batch of 10,000 keys took ${step} bytes at once`);
});

test("any garbage in any call is an exception, and the table goes on", () => {
  const table = openTable();
  const ids = new Uint32Array(2);
  table.intern(records([1, 1], [2, 2]), ids);
  const methods = ["intern", "find", "retain", "release", "records", "generations"] as const;
  for (const method of methods) {
    const call = table[method] as unknown as (...args: unknown[]) => unknown;
    for (const value of garbage()) {
      for (const args of [[value], [value, value], [ids, value], [records([1, 1]), value]]) {
        // release of the table's own ids would be a right call.
        if (method === "release" && args[0] === ids) continue;
        try {
          call.apply(table, args);
        } catch (error) {
          assert.ok(error instanceof Error);
        }
      }
    }
    for (const receiver of [undefined, {}, new native.Engine({ stepped: true })]) assert.throws(() => call.apply(receiver, [ids, ids]), TypeError);
  }
  for (let seed = 0; seed < 10_000; seed += 1) {
    try {
      (table[methods[seed % methods.length]] as unknown as (...args: unknown[]) => unknown).apply(table, garbageCall(seed, 3));
    } catch (error) {
      assert.ok(error instanceof Error, `seed ${seed}`);
    }
  }
  const out = new Uint8Array(2 * recordBytes);
  table.records(ids, out);
  assert.deepEqual(out, records([1, 1], [2, 2]));
  const InternTable = native.InternTable as unknown as new (...args: unknown[]) => unknown;
  for (const args of [[], [0, 16], [32, -1], [257, 0], [32, 1e9], ["32", 16], [Number.NaN, 1]]) assert.throws(() => new InternTable(...args));
});

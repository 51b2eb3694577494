import assert from "node:assert/strict";
import { test } from "node:test";

import { ItemStatus } from "../../../src/native/binding.ts";
import { NativeRuntime } from "../../../src/native/runtime.ts";
import { allocate, drainAll, garbage, garbageCall, KiB, MiB, native, openArena, pick, staleHandle } from "./support.ts";

test("copies whole objects with their checksums and answers one status per slot", async () => {
  const runtime = new NativeRuntime();
  const source = runtime.openArena({ sizeBytes: 8 * MiB });
  const target = runtime.openArena({ sizeBytes: 8 * MiB });
  const from = allocate(source, 300_000, 8);
  const to = allocate(target, 300_000, 8);
  for (let i = 0; i < 8; i += 1) source.write(from[2 * i], from[2 * i + 1], 0, new Uint8Array(300_000).fill(i + 1));
  const statuses = await runtime.run((opId) => runtime.engine.copySlots(opId, source, from, target, to, true));
  assert.deepEqual([...statuses], Array.from({ length: 8 }, () => ItemStatus.ok));
  const out = new Uint8Array(300_000);
  target.read(to[14], to[15], 0, out);
  assert.ok(out.every((byte) => byte === 8));
  await runtime.close();
});

test("many operations at once each settle once, with few wake-ups", async () => {
  const runtime = new NativeRuntime();
  const arena = runtime.openArena({ sizeBytes: 16 * MiB });
  const refs = allocate(arena, 64 * KiB, 64);
  const results = await Promise.all(Array.from({ length: 2000 }, () => runtime.run((opId) => runtime.engine.checksumSlots(opId, arena, refs))));
  assert.equal(results.length, 2000);
  assert.ok(results.every((statuses) => statuses.length === 64));
  const stats = runtime.stats();
  assert.equal(stats.completions, 2000);
  assert.ok(stats.wakeUps <= 2000);
  assert.deepEqual([stats.pendingOps, arena.stats().slotsInIo], [0, 0]);
  await runtime.close();
  await runtime.close();
});

test("slots freed under an operation drain when it ends, and can be freed at its completion", async () => {
  const runtime = new NativeRuntime();
  const arena = runtime.openArena({ sizeBytes: 64 * MiB });
  const refs = allocate(arena, 4 * MiB, 16);
  const early = pick(refs, 0, 1, 2, 3, 4, 5, 6, 7);
  const settled = runtime.run((opId) => runtime.engine.checksumSlots(opId, arena, refs));
  arena.free(early);
  assert.throws(() => arena.free(early), staleHandle);
  assert.throws(() => runtime.engine.close(), { code: "KVFERRY_STATE" });
  await settled;
  assert.equal(arena.usedBytes(), 32 * MiB);
  assert.equal(arena.free(pick(refs, 8, 9, 10, 11, 12, 13, 14, 15)), 32 * MiB);
  arena.close();
  await runtime.close();
});

test("an operation of no items completes too, after the call", async () => {
  const runtime = new NativeRuntime();
  const arena = runtime.openArena({ sizeBytes: MiB });
  assert.equal((await runtime.run((opId) => runtime.engine.checksumSlots(opId, arena, new Uint32Array(0)))).length, 0);
  await runtime.close();
});

test("a record larger than the runtime's buffer arrives whole", async () => {
  const runtime = new NativeRuntime();
  const arena = runtime.openArena({ sizeBytes: 256 * MiB });
  const refs = allocate(arena, 4096, 40_000);
  const statuses = await runtime.run((opId) => runtime.engine.checksumSlots(opId, arena, refs));
  assert.equal(statuses.length, 40_000);
  await runtime.close();
});

test("stepped mode has no threads and completes one operation per step", () => {
  const engine = new native.Engine({ stepped: true });
  engine.onWake(() => assert.fail("a stepped engine does not wake anybody"));
  const arena = openArena({ sizeBytes: MiB });
  const refs = allocate(arena, 4096, 4);
  for (const opId of [7, 8, 9]) engine.checksumSlots(opId, arena, pick(refs, opId - 7));
  assert.deepEqual([engine.stats().copyThreads, engine.stats().pendingOps, arena.stats().slotsInIo], [0, 3, 3]);
  assert.equal(drainAll(engine).size, 0);
  for (const opId of [7, 8, 9]) {
    assert.equal(engine.step(1), 1);
    assert.deepEqual(drainAll(engine), new Map([[opId, [0]]]));
  }
  assert.equal(engine.step(1), 0);
  arena.close();
  engine.close();
  assert.throws(() => engine.checksumSlots(1, arena, refs), { code: "KVFERRY_CLOSED" });
});

test("drain never splits a record and says how much the next one wants", () => {
  const engine = new native.Engine({ stepped: true });
  const arena = openArena({ sizeBytes: MiB });
  engine.checksumSlots(0xffffffff, arena, allocate(arena, 4096, 10));
  engine.step(1);
  const small = new Int32Array(11).fill(5);
  assert.equal(engine.drain(small), 0);
  assert.ok(small.every((word) => word === 5));
  assert.equal(engine.neededWords(), 12);
  const out = new Int32Array(12);
  assert.equal(engine.drain(out), 12);
  assert.deepEqual([out[0] >>> 0, out[1]], [0xffffffff, 10]);
  assert.equal(engine.neededWords(), 0);
});

test("a refused operation starts nothing", () => {
  const engine = new native.Engine({ stepped: true });
  const arena = openArena({ sizeBytes: MiB });
  const small = allocate(arena, 4096, 2);
  const large = allocate(arena, 8192, 2);
  engine.checksumSlots(1, arena, small);
  assert.throws(() => engine.checksumSlots(1, arena, small), /opId 1 belongs to an operation that is still pending/);
  assert.throws(() => engine.copySlots(2, arena, small, arena, large, true), /holds 4096 bytes and its target 8192/);
  assert.throws(() => engine.copySlots(2, arena, small, arena, pick(small, 0), true), /sourceRefs names 2 slots and targetRefs 1/);
  assert.throws(() => engine.copySlots(2, arena, small, arena, small, true), /slot 0 is its own target/);
  assert.throws(() => engine.copySlots(2, arena, pick(large, 0, 1), arena, pick(large, 1, 1), true));
  assert.throws(() => engine.checksumSlots(2, arena, Uint32Array.of(9, 9)), staleHandle);
  assert.deepEqual([engine.stats().pendingOps, arena.stats().slotsInIo], [1, 2]);
});

test("any garbage in any call is an exception, and the engine goes on", () => {
  const engine = new native.Engine({ stepped: true });
  const arena = openArena({ sizeBytes: MiB });
  const refs = allocate(arena, 4096, 2);
  const methods = ["onWake", "drain", "step", "copySlots", "checksumSlots"] as const;
  for (const method of methods) {
    const call = engine[method] as unknown as (...args: unknown[]) => unknown;
    for (const value of garbage()) {
      for (const args of [[value], [value, value, value], [1, value, refs], [1, arena, value], [1, engine, refs], [1, arena, refs, value, refs, true], [1, arena, refs, arena, value, true], [1, arena, refs, arena, refs, value]]) {
        try {
          call.apply(engine, args);
        } catch (error) {
          assert.ok(error instanceof Error);
        }
        engine.step(10);
        drainAll(engine);
      }
    }
    for (const receiver of [undefined, {}, arena]) assert.throws(() => call.apply(receiver, [1, arena, refs]), TypeError);
  }
  for (let seed = 0; seed < 10_000; seed += 1) {
    try {
      (engine[methods[seed % methods.length]] as unknown as (...args: unknown[]) => unknown).apply(engine, garbageCall(seed, 6));
    } catch (error) {
      assert.ok(error instanceof Error, `seed ${seed}`);
    }
  }
  engine.step(1_000_000);
  drainAll(engine);
  assert.deepEqual([engine.stats().pendingOps, arena.stats().slotsInIo], [0, 0]);
  const Engine = native.Engine as unknown as new (options: unknown) => unknown;
  for (const options of [5, null, { copyThreads: 0 }, { copyThreads: 257 }, { fileThreads: -1 }, { fileEngine: "aio" }, { fileBytesInFlight: 0 }, { stepped: "yes" }]) {
    assert.throws(() => new Engine(options));
  }
});

test("objects of one class are not taken for another", () => {
  const engine = new native.Engine({ stepped: true });
  const table = new native.InternTable(32, 16);
  const refs = new Uint32Array(0);
  const checksumSlots = engine.checksumSlots as unknown as (...args: unknown[]) => unknown;
  for (const impostor of [table, engine, Object.create(openArena({ sizeBytes: MiB })), new Proxy(openArena({ sizeBytes: MiB }), {})]) {
    assert.throws(() => checksumSlots.call(engine, 1, impostor, refs), /arena is not a native Arena/);
  }
});

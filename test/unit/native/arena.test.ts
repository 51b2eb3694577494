import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { sharedNameTaken, type NativeArena, type SlotRefs } from "../../../src/native/binding.ts";
import { NativeRuntime } from "../../../src/native/runtime.ts";
import { allocate, garbage, garbageCall, KiB, MiB, native, openArena, pick, staleHandle } from "./support.ts";

test("opens at any size without touching the memory", () => {
  for (const sizeBytes of [64 * KiB, 32 * MiB, 16 * 1024 * MiB, 512 * 1024 * MiB]) {
    const arena = openArena({ sizeBytes });
    assert.equal(arena.capacityBytes, sizeBytes);
    assert.equal(arena.usedBytes(), 0);
    assert.ok(arena.stats().populatedBytes <= 0);
    const refs = allocate(arena, 16 * KiB, 4);
    arena.write(refs[6], refs[7], 0, new Uint8Array(16 * KiB).fill(7));
    arena.close();
    arena.close();
  }
});

test("bytes come back as they were written, within the bounds of the object", () => {
  const arena = openArena({ sizeBytes: MiB });
  const refs = allocate(arena, 5000, 2);
  const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i);
  arena.write(refs[2], refs[3], 0, bytes);
  arena.write(refs[2], refs[3], 4990, Uint8Array.of(1, 2, 3));
  bytes.set([1, 2, 3], 4990);
  const out = new Uint8Array(5000);
  arena.read(refs[2], refs[3], 0, out);
  assert.deepEqual(out, bytes);
  const crcs = new Uint32Array(1);
  arena.checksums(pick(refs, 1), crcs);
  assert.equal(crcs[0], native.crc32c(bytes));
  assert.throws(() => arena.write(refs[2], refs[3], 4998, Uint8Array.of(1, 2, 3)), /bytes 4998 to 5001 are outside the object of 5000 bytes/);
  assert.throws(() => arena.read(refs[2], refs[3], 5001, new Uint8Array(0)), RangeError);
  assert.throws(() => arena.read(refs[2], refs[3], -1, out), RangeError);
});

test("used and draining bytes are exact, and a slot under I/O returns when it ends", () => {
  const arena = openArena({ sizeBytes: 64 * KiB });
  const refs = allocate(arena, 20 * KiB, 3);
  arena.beginIo(pick(refs, 0, 0, 1));
  assert.equal(arena.free(refs), 20 * KiB);
  assert.deepEqual([arena.usedBytes(), arena.stats().drainingBytes, arena.stats().slotsInIo], [40 * KiB, 40 * KiB, 2]);
  assert.equal(arena.allocate(24 * KiB, 2, new Uint32Array(4)), 1);
  arena.endIo(pick(refs, 0, 1));
  assert.equal(arena.usedBytes(), 44 * KiB);
  assert.throws(() => arena.close(), { code: "KVFERRY_STATE" });
  arena.endIo(pick(refs, 0));
  assert.equal(arena.usedBytes(), 24 * KiB);
  assert.throws(() => arena.endIo(pick(refs, 0)), staleHandle);
  arena.close();
});

test("a stale, forged or doubled reference refuses the whole call", () => {
  const arena = openArena({ sizeBytes: MiB });
  const refs = allocate(arena, 4096, 3);
  const gone = pick(refs, 0);
  arena.free(gone);
  const wrong = [
    Uint32Array.of(...pick(refs, 1), ...gone),
    Uint32Array.of(...pick(refs, 1), gone[0], gone[1] + 1),
    Uint32Array.of(...pick(refs, 1), gone[0], gone[1] + 2),
    Uint32Array.of(...pick(refs, 1), 77, 1),
    Uint32Array.of(...pick(refs, 1), 0xffffffff, 0xffffffff),
    pick(refs, 1, 2, 1),
  ];
  for (const batch of wrong) assert.throws(() => arena.free(batch), staleHandle);
  for (const batch of wrong.slice(0, 5)) {
    assert.throws(() => arena.beginIo(batch), staleHandle);
    assert.throws(() => arena.checksums(batch, new Uint32Array(4)), staleHandle);
    assert.throws(() => arena.offsets(batch, new Float64Array(4)), staleHandle);
  }
  assert.deepEqual([arena.stats().slotsInIo, arena.stats().slotCount, arena.usedBytes()], [0, 2, 8192]);
  assert.equal(arena.free(pick(refs, 1, 2)), 8192);
});

test("a new size fits into fragmented free space, and the moved objects keep their bytes", () => {
  const arena = openArena({ sizeBytes: MiB });
  const refs = allocate(arena, 8 * KiB, 128);
  for (let i = 0; i < 128; i += 1) arena.write(refs[2 * i], refs[2 * i + 1], 0, new Uint8Array(8 * KiB).fill(i));
  for (let i = 0; i < 128; i += 2) arena.free(pick(refs, i));
  assert.equal(arena.stats().largestFreeBytes, 8 * KiB);
  allocate(arena, 512 * KiB, 1);
  const out = new Uint8Array(8 * KiB);
  for (let i = 1; i < 128; i += 2) {
    arena.read(refs[2 * i], refs[2 * i + 1], 0, out);
    assert.ok(out.every((byte) => byte === i));
  }
  assert.ok(arena.stats().compactions > 0);
});

test("an object that can never fit is a RangeError, lack of room is not", () => {
  const arena = openArena({ sizeBytes: 256 * KiB, segmentBytes: 128 * KiB });
  assert.throws(() => arena.allocate(129 * KiB, 1, new Uint32Array(2)), /1 to 131072 fit in this arena/);
  assert.equal(arena.allocate(128 * KiB, 3, new Uint32Array(6)), 2);
  assert.equal(arena.stats().allocationFailures, 1);
});

test("shared memory is seen under its name at the slots' offsets", async () => {
  const { openSync, readSync, closeSync, existsSync } = await import("node:fs");
  const sharedName = `kvferry_test_${process.pid}_${Date.now()}`;
  const arena = openArena({ sizeBytes: MiB, sharedName });
  const refs = allocate(arena, 4096, 3);
  arena.write(refs[4], refs[5], 0, new TextEncoder().encode("here"));
  const offsets = new Float64Array(3);
  arena.offsets(refs, offsets);
  const file = openSync(`/dev/shm/${sharedName}`, "r");
  const out = new Uint8Array(4);
  readSync(file, out, 0, 4, offsets[2]);
  closeSync(file);
  assert.equal(new TextDecoder().decode(out), "here");
  assert.equal(arena.stats().sharedName, sharedName);
  arena.close();
  assert.equal(existsSync(`/dev/shm/${sharedName}`), false);
});

test("a shared name whose owner was killed is taken over; one with a living owner is refused by name", async () => {
  const { spawn } = await import("node:child_process");
  const { existsSync, statSync } = await import("node:fs");
  const sharedName = `kvferry_taken_${process.pid}_${Date.now()}`;
  const refused = { code: sharedNameTaken, message: new RegExp(`^sharedName: the shared memory /${sharedName} is held by a live process`) };
  for (const end of ["SIGKILL", "exit"]) {
    const child = spawn(process.execPath, [fileURLToPath(new URL("lifecycle-child.js", import.meta.url)), "shared", sharedName], { stdio: ["pipe", "pipe", "inherit"] });
    await once(child.stdout, "data");
    assert.throws(() => openArena({ sizeBytes: MiB, sharedName }), refused);
    if (end === "SIGKILL") child.kill("SIGKILL");
    else child.stdin.end();
    const [, signal] = (await once(child, "exit")) as [number | null, string | null];
    assert.equal(signal, end === "SIGKILL" ? "SIGKILL" : null);
    // Only a killed owner leaves it behind for certain.
    if (end === "SIGKILL") assert.ok(existsSync(`/dev/shm/${sharedName}`));
    const arena = openArena({ sizeBytes: 2 * MiB, sharedName });
    assert.equal(statSync(`/dev/shm/${sharedName}`).size, 2 * MiB);
    assert.throws(() => openArena({ sizeBytes: MiB, sharedName }), refused);
    arena.close();
    assert.equal(existsSync(`/dev/shm/${sharedName}`), false);
  }
});

test("seal refuses every writer until the slot is freed, and leaves readers alone", async () => {
  const runtime = new NativeRuntime();
  const arena = runtime.openArena({ sizeBytes: MiB });
  const refs = allocate(arena, 4096, 3);
  const bytes = new Uint8Array(4096).fill(7);
  for (const slot of [0, 1, 2]) arena.write(refs[2 * slot], refs[2 * slot + 1], 0, bytes);
  arena.beginIo(pick(refs, 2));
  assert.equal(arena.seal(refs), 1);
  arena.write(refs[0], refs[1], 0, bytes);
  arena.endIo(pick(refs, 2));
  assert.throws(() => arena.seal(Uint32Array.of(refs[0], refs[1], 9, 9)), staleHandle);
  arena.write(refs[0], refs[1], 0, bytes);
  assert.equal(arena.seal(pick(refs, 0, 1)), 0);
  assert.equal(arena.seal(new Uint32Array(0)), 0);

  assert.throws(() => arena.write(refs[0], refs[1], 0, Uint8Array.of(1)), staleHandle);
  const { engine } = runtime;
  assert.throws(() => engine.copySlots(1, arena, pick(refs, 2), arena, pick(refs, 1), false), staleHandle);
  assert.deepEqual(await runtime.run((opId) => engine.copySlots(opId, arena, pick(refs, 1), arena, pick(refs, 2), true)), Int32Array.of(0));
  assert.deepEqual(await runtime.run((opId) => engine.checksumSlots(opId, arena, refs)), Int32Array.of(0, 0, 0));
  const sums = new Uint32Array(3);
  arena.checksums(refs, sums);
  assert.deepEqual(sums, new Uint32Array(3).fill(native.crc32c(bytes)));
  arena.free(refs);
  assert.throws(() => arena.seal(refs), staleHandle);
  const next = allocate(arena, 4096, 3);
  arena.write(next[0], next[1], 0, bytes);
  await runtime.close();
});

test("a fresh slot shows nothing of the object that lay there before", () => {
  const secret = new Uint8Array(64 * KiB).fill(0x53);
  const uses: ((arena: NativeArena, refs: SlotRefs) => void)[] = [
    (arena, refs) => assert.equal(arena.seal(refs), 0),
    () => undefined,
    (arena, refs) => arena.write(refs[0], refs[1], 1000, Uint8Array.of(0)),
    (arena, refs) => arena.write(refs[0], refs[1], 64 * KiB, new Uint8Array(0)),
  ];
  for (const use of uses) {
    const arena = openArena({ sizeBytes: 64 * KiB });
    const first = allocate(arena, 64 * KiB, 1);
    arena.write(first[0], first[1], 0, secret);
    arena.free(first);
    const second = allocate(arena, 64 * KiB, 1);
    use(arena, second);
    const out = new Uint8Array(64 * KiB).fill(1);
    arena.read(second[0], second[1], 0, out);
    assert.ok(out.every((byte) => byte === 0));
    arena.close();
  }
});

test("options are checked, naming the field", () => {
  const cases: [unknown, RegExp][] = [
    [undefined, /options is undefined/],
    [{}, /sizeBytes is undefined/],
    [{ sizeBytes: "1" }, /sizeBytes is a string; a number is wanted/],
    [{ sizeBytes: Number.NaN }, /sizeBytes is NaN/],
    [{ sizeBytes: 1000 }, /sizeBytes is 1000; 65536 to/],
    [{ sizeBytes: 2 ** 53 }, /sizeBytes is 9007199254740992/],
    [{ sizeBytes: MiB, alignBytes: 5000 }, /alignBytes is 5000; a power of two/],
    [{ sizeBytes: MiB, segmentBytes: 2 ** 31 }, /segmentBytes is 2147483648/],
    [{ sizeBytes: MiB, hugePages: 1 }, /hugePages is a number; a boolean is wanted/],
    [{ sizeBytes: MiB, sharedName: "a/b" }, /sharedName is "a\/b"/],
    [{ sizeBytes: MiB, sharedName: "" }, /sharedName is empty/],
    [{ sizeBytes: MiB, populateAheadBytes: -1 }, /populateAheadBytes is -1/],
  ];
  const Arena = native.Arena as unknown as new (options: unknown) => NativeArena;
  for (const [options, message] of cases) assert.throws(() => new Arena(options), message);
});

test("any garbage in any call is an exception, and the arena goes on", () => {
  const arena = openArena({ sizeBytes: MiB });
  const engine = new native.Engine({ stepped: true });
  const refs = allocate(arena, 4096, 4);
  // Slot 0 is named in the calls, some of which are right; slot 3 is not.
  const bytes = new Uint8Array(4096).fill(9);
  arena.write(refs[6], refs[7], 0, bytes);
  const methods = ["allocate", "free", "beginIo", "endIo", "seal", "write", "read", "checksums", "offsets"] as const;
  let thrown = 0;
  for (const method of methods) {
    const call = arena[method] as unknown as (...args: unknown[]) => unknown;
    for (const value of garbage()) {
      for (const args of [[value], [value, value], [value, value, value], [value, value, value, value], [4096, value, value], [refs[0], refs[1], value, value], [refs[0], refs[1], 0, value]]) {
        try {
          call.apply(arena, args);
        } catch (error) {
          assert.ok(error instanceof Error);
          thrown += 1;
        }
      }
    }
    // Another receiver, another class.
    for (const receiver of [undefined, {}, engine, native.Arena.prototype, Object.create(native.Arena.prototype as object), 5]) assert.throws(() => call.apply(receiver, [refs, refs, refs]), TypeError);
  }
  for (let seed = 0; seed < 20_000; seed += 1) {
    try {
      (arena[methods[seed % methods.length]] as unknown as (...args: unknown[]) => unknown).apply(arena, garbageCall(seed, 4));
    } catch (error) {
      assert.ok(error instanceof Error, `seed ${seed}`);
      thrown += 1;
    }
  }
  assert.ok(thrown > 10_000);
  const out = new Uint8Array(4096);
  arena.read(refs[6], refs[7], 0, out);
  assert.deepEqual(out, bytes);
});

test("a closed arena answers every call with KVFERRY_CLOSED", () => {
  const arena = openArena({ sizeBytes: MiB });
  const refs = allocate(arena, 4096, 1);
  arena.close();
  const calls = [
    () => arena.allocate(4096, 1, refs),
    () => arena.free(refs),
    () => arena.beginIo(refs),
    () => arena.endIo(refs),
    () => arena.seal(refs),
    () => arena.write(refs[0], refs[1], 0, new Uint8Array(1)),
    () => arena.read(refs[0], refs[1], 0, new Uint8Array(1)),
    () => arena.checksums(refs, new Uint32Array(1)),
  ];
  for (const call of calls) assert.throws(call, { code: "KVFERRY_CLOSED" });
  assert.equal(arena.usedBytes(), 0);
});

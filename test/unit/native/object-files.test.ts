import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";

import { ItemStatus, type NativeArena, type NativeObjectFiles, type SlotRefs } from "../../../src/native/binding.ts";
import { NativeRuntime } from "../../../src/native/runtime.ts";
import { allocate, garbage, KiB, MiB, native, pick, staleHandle } from "./support.ts";

const digest = new Uint8Array(32).map((_, index) => index + 1);
const description = '{"modelName":"test"}';

interface Bench {
  readonly directory: string;
  readonly runtime: NativeRuntime;
  readonly arena: NativeArena;
  readonly files: NativeObjectFiles;
}

function folder(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "kvferry-object-files-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function bench(context: TestContext, options: ConstructorParameters<typeof NativeRuntime>[0] = {}): Bench {
  const directory = folder(context);
  const runtime = new NativeRuntime(options);
  const arena = runtime.openArena({ sizeBytes: 16 * MiB });
  const files = new native.ObjectFiles(runtime.engine, { basePath: directory, directIo: "auto", fsync: false });
  files.registerNamespace(0, digest, Buffer.from(description));
  context.after(async () => {
    files.close();
    await runtime.close();
    arena.close();
  });
  return { directory, runtime, arena, files };
}

/** Records of namespace 0 whose hashes begin with these numbers. */
function records(...keys: number[]): Uint8Array {
  const words = new Uint32Array(12 * keys.length);
  keys.forEach((key, index) => (words[12 * index] = key));
  return new Uint8Array(words.buffer);
}

function filled(arena: NativeArena, sizeBytes: number, ...values: number[]): SlotRefs {
  const refs = allocate(arena, sizeBytes, values.length);
  values.forEach((value, index) => arena.write(refs[2 * index], refs[2 * index + 1], 0, new Uint8Array(sizeBytes).fill(value)));
  return refs;
}

function contents(arena: NativeArena, refs: SlotRefs, index: number, sizeBytes: number): Uint8Array {
  const out = new Uint8Array(sizeBytes);
  arena.read(refs[2 * index], refs[2 * index + 1], 0, out);
  return out;
}

function pathOf({ directory, files }: Bench, record: Uint8Array): string {
  const name = new Uint8Array(16);
  files.digests(record, name);
  const hex = Buffer.from(name).toString("hex");
  return join(directory, "objects", hex.slice(0, 2), hex.slice(2, 4), `${hex}.${Buffer.from(digest.subarray(0, 4)).toString("hex")}`);
}

test("nothing is loaded into a sealed slot, nor into the other slots of that call; it can be stored", async (context) => {
  const { arena, files, runtime } = bench(context);
  const refs = filled(arena, 4096, 1, 2);
  assert.deepEqual([...(await runtime.run((opId) => files.store(opId, arena, refs, records(1, 2))))], [0, 0]);
  const targets = filled(arena, 4096, 8, 9);
  assert.equal(arena.seal(targets.subarray(2, 4)), 0);
  assert.throws(() => files.load(1, arena, targets, records(1, 2)), { code: "KVFERRY_STALE_HANDLE" });
  assert.deepEqual([0, 1].map((index) => contents(arena, targets, index, 4096)[0]), [8, 9]);
  assert.deepEqual([...(await runtime.run((opId) => files.store(opId, arena, targets, records(3, 4))))], [0, 0]);
});

for (const fileEngine of ["auto", "threads"] as const) {
  test(`${fileEngine}: objects are stored and loaded in one call each, with one status per object`, async (context) => {
    const { arena, files, runtime } = bench(context, { fileEngine });
    const sizeBytes = 100 * KiB + 1;
    const stored = filled(arena, sizeBytes, 1, 2, 3);
    assert.deepEqual([...(await runtime.run((opId) => files.store(opId, arena, stored, records(1, 2, 3))))], [0, 0, 0]);
    assert.deepEqual([...(await runtime.run((opId) => files.store(opId, arena, pick(stored, 0), records(2))))], [ItemStatus.alreadyPresent]);
    const loaded = allocate(arena, sizeBytes, 4);
    assert.deepEqual([...(await runtime.run((opId) => files.load(opId, arena, loaded, records(3, 9, 1, 2))))], [0, ItemStatus.missing, 0, 0]);
    assert.deepEqual([0, 2, 3].map((index) => contents(arena, loaded, index, sizeBytes)[sizeBytes - 1]), [3, 1, 2]);
    const known = new Uint32Array(1);
    arena.checksums(pick(loaded, 2), known);
    assert.equal(known[0], native.crc32c(new Uint8Array(sizeBytes).fill(1)));
    const { fileEngine: used, fileEngineReason, fileBytesInFlight } = runtime.stats();
    assert.equal(fileBytesInFlight, 0);
    assert.ok(fileEngine === "auto" || (used === "threads" && fileEngineReason === "asked for"));
    assert.ok(used === "io_uring" ? fileEngineReason === "" : fileEngineReason !== "");
  });
}

test("scan gives identities that remove takes", async (context) => {
  const b = bench(context);
  const { arena, directory, files, runtime } = b;
  await runtime.run((opId) => files.store(opId, arena, filled(arena, 5000, 1, 2), records(1, 2)));
  writeFileSync(join(directory, "objects", "ff.note"), "left alone");
  mkdirSync(join(directory, "objects", "aa"), { recursive: true });
  writeFileSync(join(directory, "objects", "aa", "stranger"), "counted");
  writeFileSync(join(directory, "tmp", "12-0123456789abcdef-3"), "of a dead writer");
  let scanId = 0;
  await runtime.run((opId) => {
    scanId = opId;
    files.scan(opId, 0, 256);
  });
  const rows = files.takeScan(scanId);
  assert.equal(rows.identities.length, 40);
  assert.deepEqual([...rows.fileBytes], [files.fileBytesFor(5000), files.fileBytesFor(5000)]);
  assert.ok(Math.abs(rows.modifiedMs[0] - statSync(pathOf(b, records(1))).mtimeMs) < 60_000);
  assert.equal(rows.foreignFiles, 1);
  assert.equal(rows.temporaryDeleted, 1);
  assert.throws(() => files.takeScan(scanId), RangeError, "once");
  const identities = new Uint8Array([...rows.identities, ...new Uint8Array(20)]);
  assert.deepEqual([...(await runtime.run((opId) => files.remove(opId, identities)))], [0, 0, ItemStatus.missing]);
});

test("inspect reads one file, with or without a directory of ours around it", async (context) => {
  const b = bench(context);
  const record = new Uint8Array(48).fill(7);
  new Uint32Array(record.buffer).set([0, 4, 5, 0], 8);
  await b.runtime.run((opId) => b.files.store(opId, b.arena, filled(b.arena, 5000, 9), record));
  const path = pathOf(b, record);
  const report = native.inspectObjectFile(path);
  assert.deepEqual({ ...report, writtenAtMs: 0 }, {
    intact: true,
    problem: "",
    formatVersion: 1,
    payloadBytes: 5000,
    chunkHashHex: "07".repeat(32),
    kvRank: 4,
    objectGroupId: 5,
    namespaceDigestHex: Buffer.from(digest).toString("hex"),
    namespaceDescription: description,
    payloadCrc32c: native.crc32c(readFileSync(path).subarray(4096)),
    writtenAtMs: 0,
  });
  assert.ok(Math.abs(report.writtenAtMs - Date.now()) < 60_000);
  truncateSync(path, 6000);
  assert.deepEqual(b.files.inspect(path).problem, "it has 6000 bytes; its header promises 12288");
  assert.match(native.inspectObjectFile(join(b.directory, "none")).problem, /No such file/);
});

test("a store whose slots are dropped while it runs completes, and the slots come back then", async (context) => {
  const { arena, files, runtime } = bench(context);
  const refs = filled(arena, MiB, 1, 2, 3, 4);
  const storing = runtime.run((opId) => files.store(opId, arena, refs, records(1, 2, 3, 4)));
  arena.free(refs);
  assert.throws(() => files.store(99, arena, refs, records(5, 6, 7, 8)), staleHandle);
  assert.deepEqual([...(await storing)], [0, 0, 0, 0]);
  assert.equal(arena.usedBytes(), 0);
});

test("close lets running work end and refuses more", async (context) => {
  const { arena, files, runtime } = bench(context);
  const storing = runtime.run((opId) => files.store(opId, arena, filled(arena, MiB, 1, 2), records(1, 2)));
  files.close();
  files.close();
  assert.deepEqual([...(await storing)], [0, 0]);
  await assert.rejects(runtime.run((opId) => files.store(opId, arena, filled(arena, MiB, 1), records(3))), { code: "KVFERRY_CLOSED" });
});

test("a stepped runtime stores and loads one operation per step", async (context) => {
  const { arena, files, runtime } = bench(context, { stepped: true });
  const storing = runtime.run((opId) => files.store(opId, arena, filled(arena, 5000, 1, 2), records(1, 2)));
  const loading = runtime.run((opId) => files.load(opId, arena, allocate(arena, 5000, 1), records(2)));
  assert.equal(runtime.pendingCount, 2);
  assert.equal(runtime.engine.step(1), 1);
  runtime.drain();
  assert.equal(runtime.pendingCount, 1);
  assert.equal(runtime.engine.step(9), 1);
  runtime.drain();
  assert.deepEqual([...(await storing), ...(await loading)], [0, 0, 0]);
});

test("a directory that cannot be used is refused by its field", (context) => {
  const directory = folder(context);
  const runtime = new NativeRuntime();
  context.after(() => runtime.close());
  const open = (options: Record<string, unknown>): unknown => new native.ObjectFiles(runtime.engine, { basePath: directory, directIo: "auto", fsync: false, ...options } as never);
  assert.throws(() => open({ basePath: join(directory, "none") }), { code: "KVFERRY_NATIVE", message: /basePath: opening the directory .*none/ });
  assert.throws(() => open({ basePath: "" }), { name: "RangeError", message: /basePath is empty/ });
  assert.throws(() => open({ directIo: "maybe" }), { name: "RangeError", message: /directIo is "maybe"; auto, on or off is wanted/ });
  assert.throws(() => open({ fsync: 1 }), { name: "TypeError", message: /fsync/ });
});

test("garbage arguments are exceptions, and nothing starts", (context) => {
  const { arena, files, runtime } = bench(context);
  const refs = filled(arena, 100, 1);
  const record = records(1);
  const calls: [name: string, call: (value: never) => void][] = [
    ["engine", (value) => new native.ObjectFiles(value, { basePath: "/", directIo: "auto", fsync: false })],
    ["options", (value) => new native.ObjectFiles(runtime.engine, value)],
    ["store arena", (value) => files.store(1, value, refs, record)],
    ["store refs", (value) => files.store(1, arena, value, record)],
    ["store records", (value) => files.store(1, arena, refs, value)],
    ["load arena", (value) => files.load(1, value, refs, record)],
    ["remove", (value) => files.remove(1, value)],
    ["digests out", (value) => files.digests(record, value)],
    ["namespace digest", (value) => files.registerNamespace(5, value, new Uint8Array(0))],
    ["inspect", (value) => native.inspectObjectFile(value)],
    ["device engine", (value) => new native.CpuDevice(value)],
    ["device layout", (value) => new native.CpuDevice(runtime.engine).registerLayout(value)],
    ["device memory", (value) => new native.CpuDevice(runtime.engine).registerMemory(value)],
  ];
  for (const [name, call] of calls) {
    for (const value of garbage()) {
      if (accepted(name, value)) continue;
      assert.throws(() => call(value as never), (error) => error instanceof TypeError || error instanceof RangeError, `${name}: ${inspect(value)}`);
    }
  }
  assert.equal(runtime.stats().pendingOps, 0);
  assert.equal(arena.stats().slotsInIo, 0);

  /** Pieces of garbage that one of the arguments happens to take. */
  function accepted(name: string, value: unknown): boolean {
    if (name === "inspect") return typeof value === "string";
    if (name === "device memory") return value instanceof Uint8Array && value.length > 0 && value.buffer instanceof SharedArrayBuffer;
    if (name === "remove") return value instanceof Uint8Array && value.length % 20 === 0;
    if (name === "namespace digest") return value instanceof Uint8Array && value.length === 32;
    return name === "digests out" && value instanceof Uint8Array && value.length >= 16;
  }
});

// ------------------------------------------------------------------------------------------------- how processes end

const child = fileURLToPath(new URL("object-files-child.js", import.meta.url));

function runChild(stage: string, directory: string, number: number): Promise<{ ending: string; output: string }> {
  return new Promise((resolve) => {
    const running = spawn(process.execPath, ["--expose-gc", child, stage, directory, String(number)], { stdio: ["ignore", "pipe", "pipe"], timeout: 60_000, killSignal: "SIGKILL" });
    let output = "";
    running.stdout.on("data", (data: Buffer) => (output += data.toString()));
    running.stderr.on("data", (data: Buffer) => (output += data.toString()));
    running.on("close", (code, signal) => resolve({ ending: signal ?? `exit ${code}`, output }));
  });
}

function objectsIn(directory: string): string[] {
  if (!existsSync(join(directory, "objects"))) return [];
  return readdirSync(join(directory, "objects"), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.[0-9a-f]{8}$/.test(name))
    .map((name) => join(directory, "objects", name));
}

test("workers write files beside each other and end by themselves", async (context) => {
  const directory = folder(context);
  assert.deepEqual(await runChild("worker", directory, 1), { ending: "exit 0", output: `${"0".repeat(16)}\n`.repeat(2) });
  assert.equal(objectsIn(directory).length, 32);
});

// process.exit ends threads where they stand, as SIGKILL does; the end of a worker waits for them.
test("process.exit in the middle of stores: every published object is intact, and the rest goes at the next scan", async (context) => {
  const b = bench(context);
  let left = 0;
  for (const number of [1, 10, 40, 90]) {
    assert.deepEqual(await runChild("exit-in-the-middle", b.directory, number), { ending: "exit 0", output: "" });
    for (const path of objectsIn(b.directory)) assert.equal(native.inspectObjectFile(path).problem, "");
    left = readdirSync(join(b.directory, "tmp")).length;
    assert.ok(left <= 128 * 4, "open files are bounded, whatever the byte budget admits");
  }
  let scanId = 0;
  await b.runtime.run((opId) => {
    scanId = opId;
    b.files.scan(opId, 0, 1);
  });
  assert.equal(b.files.takeScan(scanId).temporaryDeleted, left);
  assert.deepEqual(readdirSync(join(b.directory, "tmp")), []);
});

test("a worker that is terminated in the middle of stores leaves intact objects and nothing else", async (context) => {
  const directory = folder(context);
  for (const number of [1, 10, 40, 90]) {
    assert.deepEqual(await runChild("worker-terminated", directory, number), { ending: "exit 0", output: "" });
    for (const path of objectsIn(directory)) assert.equal(native.inspectObjectFile(path).problem, "");
    assert.deepEqual(existsSync(join(directory, "tmp")) ? readdirSync(join(directory, "tmp")) : [], []);
  }
});

test("a device that is collected while it copies leaves its memory in place", async (context) => {
  assert.deepEqual(await runChild("collected-device", folder(context), 0), { ending: "exit 0", output: "settled\n" });
});

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import fc from "fast-check";

import { KiB } from "../../../src/base/bytes.ts";
import { nullBlock, openDevice, type Device, type DeviceLayoutSpec } from "../../../src/device/index.ts";
import type { NativeArena, SlotRefs } from "../../../src/native/binding.ts";
import { NativeRuntime } from "../../../src/native/runtime.ts";

const runs = 150;

interface Bench {
  readonly device: Device;
  readonly arena: NativeArena;
  readonly runtime: NativeRuntime;
}

function bench(context: TestContext): Bench {
  const runtime = new NativeRuntime();
  const arena = runtime.openArena({ sizeBytes: 1024 * KiB });
  const device = openDevice({ kind: "cpu", runtime });
  context.after(async () => {
    await device.close();
    arena.close();
    await runtime.close();
  });
  return { device, arena, runtime };
}

function slots(arena: NativeArena, sizeBytes: number, count: number): SlotRefs {
  const refs = new Uint32Array(2 * count);
  assert.equal(arena.allocate(sizeBytes, count, refs), count);
  return refs;
}

function readSlot(arena: NativeArena, refs: SlotRefs, index: number, sizeBytes: number): Uint8Array {
  const out = new Uint8Array(sizeBytes);
  arena.read(refs[2 * index], refs[2 * index + 1], 0, out);
  return out;
}

// ----------------------------------------------------------------------------------------------------- the naive answer

interface Geometry {
  readonly layers: number;
  readonly planes: number;
  readonly heads: number;
  readonly headBytes: number;
  readonly blockTokens: number;
  readonly blocksPerChunk: number;
  readonly blockCount: number;
  readonly order: "tokens first" | "heads first";
  readonly regions: "one" | "per layer" | "per plane and layer";
  /** Unused bytes behind each block row, as hybrid pools have. */
  readonly padding: number;
}

const geometry: fc.Arbitrary<Geometry> = fc.record({
  layers: fc.integer({ min: 1, max: 4 }),
  planes: fc.integer({ min: 1, max: 2 }),
  heads: fc.integer({ min: 1, max: 4 }),
  headBytes: fc.constantFrom(2, 4, 12, 32, 132),
  blockTokens: fc.constantFrom(1, 4, 16),
  blocksPerChunk: fc.integer({ min: 1, max: 3 }),
  blockCount: fc.integer({ min: 6, max: 12 }),
  order: fc.constantFrom("tokens first", "heads first"),
  regions: fc.constantFrom("one", "per layer", "per plane and layer"),
  padding: fc.constantFrom(0, 4, 68),
});

/** Strides of a geometry, computed from its words alone. */
function specOf(g: Geometry, fill: (length: number) => Uint8Array): DeviceLayoutSpec {
  const tileBytes = g.blockTokens * g.heads * g.headBytes;
  const tilesPerBlock = { one: g.layers * g.planes, "per layer": g.planes, "per plane and layer": 1 }[g.regions];
  const blockStride = tilesPerBlock * tileBytes + g.padding;
  const regionCount = { one: 1, "per layer": g.layers, "per plane and layer": g.layers * g.planes }[g.regions];
  return {
    regions: Array.from({ length: regionCount }, () => ({ memory: fill(g.blockCount * blockStride + 8), offset: 8 })),
    layers: g.layers,
    planes: g.planes,
    heads: g.heads,
    headBytes: g.headBytes,
    blockTokens: g.blockTokens,
    chunkTokens: g.blockTokens * g.blocksPerChunk,
    blockCount: g.blockCount,
    blockStride,
    layerStride: g.regions === "one" ? g.planes * tileBytes : 0,
    planeStride: g.regions === "per plane and layer" ? 0 : tileBytes,
    tokenStride: g.order === "tokens first" ? g.heads * g.headBytes : g.headBytes,
    headStride: g.order === "tokens first" ? g.headBytes : g.blockTokens * g.headBytes,
  };
}

/** Calls `each` for every head of every token of one object, in the order of the image, with its place in memory (undefined for a null block). */
function forEachHead(spec: DeviceLayoutSpec, blocks: ArrayLike<number>, each: (token: number, place: Uint8Array | undefined, imageOffset: number) => void): void {
  let imageOffset = 0;
  for (let plane = 0; plane < spec.planes; plane++)
    for (let layer = 0; layer < spec.layers; layer++)
      for (let token = 0; token < spec.chunkTokens; token++)
        for (let head = 0; head < spec.heads; head++) {
          const region = spec.regions[spec.regions.length === 1 ? 0 : spec.regions.length === spec.layers ? layer : plane * spec.layers + layer];
          const block = blocks[Math.floor(token / spec.blockTokens)];
          const at =
            (region.offset ?? 0) +
            block * spec.blockStride +
            plane * spec.planeStride +
            layer * spec.layerStride +
            (token % spec.blockTokens) * spec.tokenStride +
            head * spec.headStride;
          each(token, block === nullBlock ? undefined : region.memory.subarray(at, at + spec.headBytes), imageOffset);
          imageOffset += spec.headBytes;
        }
}

function expectedImage(spec: DeviceLayoutSpec, blocks: ArrayLike<number>): Uint8Array {
  const image = new Uint8Array(spec.planes * spec.layers * spec.chunkTokens * spec.heads * spec.headBytes);
  forEachHead(spec, blocks, (_token, place, offset) => place !== undefined && image.set(place, offset));
  return image;
}

let counter = 0;
function noise(length: number): Uint8Array {
  const memory = new Uint8Array(new SharedArrayBuffer(length));
  for (let at = 0; at < length; at++) memory[at] = (counter = (Math.imul(counter, 1664525) + 1013904223) >>> 0) >>> 24;
  return memory;
}

// ------------------------------------------------------------------------------------------------------------- promises

test("gather and scatter agree with the address formula, for every kind of layout", async (context) => {
  const { device, arena } = bench(context);
  await fc.assert(
    fc.asyncProperty(geometry, fc.infiniteStream(fc.nat()), fc.nat(), async (g, draws, skip) => {
      const source = specOf(g, noise);
      const layout = device.registerLayout(source);
      const image = layout.imageBytes;
      assert.equal(image, g.planes * g.layers * source.chunkTokens * g.heads * g.headBytes);
      const order = Array.from({ length: g.blockCount }, (_, block) => block).sort((a, b) => (draws.next().value as number) - (draws.next().value as number) || a - b);
      // Two objects, the second with a null block in front.
      const blocks = Int32Array.from(order.slice(0, 2 * g.blocksPerChunk));
      blocks[g.blocksPerChunk] = nullBlock;
      const refs = slots(arena, image, 2);
      await device.gather(layout, arena, refs, blocks);
      for (const object of [0, 1]) {
        const ids = blocks.subarray(object * g.blocksPerChunk, (object + 1) * g.blocksPerChunk);
        assert.deepEqual(readSlot(arena, refs, object, image), expectedImage(source, ids));
      }

      const target = specOf(g, noise);
      const targetLayout = device.registerLayout(target);
      const before = target.regions.map(({ memory }) => memory.slice());
      const skipTokens = skip % (source.chunkTokens + 1);
      const places = Int32Array.from(order.toReversed().slice(0, 2 * g.blocksPerChunk));
      places[places.length - 1] = nullBlock;
      await device.scatter(targetLayout, arena, refs, places, { skipTokens });
      const expected = { ...target, regions: before.map((memory) => ({ memory, offset: 8 })) };
      for (const object of [0, 1]) {
        const bytes = readSlot(arena, refs, object, image);
        forEachHead(expected, places.subarray(object * g.blocksPerChunk, (object + 1) * g.blocksPerChunk), (token, place, offset) => {
          if (object === 1 || token >= skipTokens) place?.set(bytes.subarray(offset, offset + g.headBytes));
        });
      }
      target.regions.forEach(({ memory }, index) => assert.deepEqual(memory, expected.regions[index].memory, `region ${index}: written exactly where it should be`));
      arena.free(refs);
      device.unregisterLayout(layout);
      device.unregisterLayout(targetLayout);
    }),
    { numRuns: runs, verbose: 1 },
  );
});

const plain: Geometry = { layers: 2, planes: 2, heads: 2, headBytes: 32, blockTokens: 16, blocksPerChunk: 2, blockCount: 8, order: "tokens first", regions: "per layer", padding: 0 };

test("a layout that could leave its memory, or meets itself, is refused by the field that is wrong", (context) => {
  const { device } = bench(context);
  const spec = specOf(plain, noise);
  const refused = (changes: Partial<DeviceLayoutSpec>, words: RegExp): void => assert.throws(() => device.registerLayout({ ...spec, ...changes }), { name: "RangeError", message: words });
  refused({ blockCount: 9 }, /block/i);
  refused({ blockStride: spec.blockStride * 2 }, /block/i);
  refused({ tokenStride: 1 }, /token/i);
  refused({ chunkTokens: 24 }, /chunkTokens/);
  refused({ regions: spec.regions.slice(0, 1).concat(spec.regions, spec.regions) }, /regions must be 1, one per layer \(2\), or one per plane and layer \(4\), got 5/);
  refused({ regions: [{ memory: noise(10) }, { memory: noise(10) }] }, /./);
});

test("memory that JavaScript could take away during a copy is refused", async (context) => {
  const { device, arena } = bench(context);
  const spec = specOf(plain, noise);
  const bytes = spec.regions[0].memory.length;
  const growable = Reflect.construct(SharedArrayBuffer, [bytes, { maxByteLength: 2 * bytes }]) as SharedArrayBuffer & { grow(byteLength: number): void };
  const shrinkable = Reflect.construct(ArrayBuffer, [bytes, { maxByteLength: bytes }]) as ArrayBuffer;
  const refusal = { name: "TypeError", message: "memory must be backed by a SharedArrayBuffer: a plain ArrayBuffer can be detached while a copy runs" };
  for (const memory of [new Uint8Array(bytes), Buffer.alloc(bytes), new Uint8Array(shrinkable)])
    assert.throws(() => device.registerLayout({ ...spec, regions: spec.regions.map(() => ({ memory, offset: 8 })) }), refusal);
  // The array's own offset counts; memory that can only grow is accepted too.
  const views = spec.regions.map((_, region) => (region === 0 ? new Uint8Array(growable) : new Uint8Array(new SharedArrayBuffer(bytes + 16), 16)));
  views.forEach((memory) => memory.set(noise(bytes)));
  const moved = { ...spec, regions: views.map((memory) => ({ memory, offset: 8 })) };
  const layout = device.registerLayout(moved);
  growable.grow(2 * bytes);
  const refs = slots(arena, layout.imageBytes, 1);
  await device.gather(layout, arena, refs, Int32Array.of(7, 2));
  assert.deepEqual(readSlot(arena, refs, 0, layout.imageBytes), expectedImage(moved, [7, 2]));
});

test("a sealed slot is not gathered into, with any slot of the call", async (context) => {
  const { device, arena } = bench(context);
  const layout = device.registerLayout(specOf(plain, noise));
  const refs = slots(arena, layout.imageBytes, 2);
  await device.gather(layout, arena, refs, Int32Array.of(0, 1, 2, 3));
  const before = [0, 1].map((index) => readSlot(arena, refs, index, layout.imageBytes));
  assert.equal(arena.seal(refs.subarray(2, 4)), 0);
  await assert.rejects(device.gather(layout, arena, refs, Int32Array.of(4, 5, 6, 7)), { code: "KVFERRY_STALE_HANDLE" });
  assert.deepEqual([0, 1].map((index) => readSlot(arena, refs, index, layout.imageBytes)), before);
  await device.scatter(layout, arena, refs, Int32Array.of(4, 5, 6, 7));
});

test("slots with a gather in flight are not sealed; afterwards they are", async (context) => {
  const { device, arena } = bench(context);
  const layout = device.registerLayout(specOf(plain, noise));
  const refs = slots(arena, layout.imageBytes, 3);
  const copying = device.gather(layout, arena, refs.subarray(0, 4), Int32Array.of(0, 1, 2, 3));
  // The copy may be done in an instant; a hold of our own makes the answer certain.
  arena.beginIo(refs.subarray(2, 4));
  assert.ok(arena.seal(refs) >= 1);
  await copying;
  assert.equal(arena.seal(refs), 1);
  arena.write(refs[4], refs[5], 0, Uint8Array.of(1));
  arena.endIo(refs.subarray(2, 4));
  assert.equal(arena.seal(refs), 0);
  assert.throws(() => arena.write(refs[4], refs[5], 0, Uint8Array.of(1)), { code: "KVFERRY_STALE_HANDLE" });
});

test("block ids are counted and checked before anything is copied", async (context) => {
  const { device, arena } = bench(context);
  const layout = device.registerLayout(specOf(plain, noise));
  const refs = slots(arena, layout.imageBytes, 2);
  await assert.rejects(device.gather(layout, arena, refs, Int32Array.of(0, 1, 2)), /gather of 2 objects takes 2 block ids each, 4 in all, got 3/);
  await assert.rejects(device.gather(layout, arena, refs, Int32Array.of(0, 1, 2, 8)), RangeError);
  await assert.rejects(device.scatter(layout, arena, refs, Int32Array.of(0, 1, 2, -2)), RangeError);
  await device.gather(layout, arena, new Uint32Array(0), new Int32Array(0));
});

test("a stale slot and a slot of another size are refused", async (context) => {
  const { device, arena } = bench(context);
  const layout = device.registerLayout(specOf(plain, noise));
  const refs = slots(arena, layout.imageBytes, 1);
  arena.free(refs);
  await assert.rejects(device.gather(layout, arena, refs, Int32Array.of(0, 1)), { code: "KVFERRY_STALE_HANDLE" });
  const small = slots(arena, layout.imageBytes - 4, 1);
  await assert.rejects(device.gather(layout, arena, small, Int32Array.of(0, 1)), RangeError);
});

test("a copy that runs when its slots are dropped finishes into memory that nobody else gets", async (context) => {
  const { device, arena } = bench(context);
  const layout = device.registerLayout(specOf(plain, noise));
  const refs = slots(arena, layout.imageBytes, 4);
  const copying = device.gather(layout, arena, refs, Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7));
  arena.free(refs);
  await copying;
  assert.equal(arena.usedBytes(), 0);
});

test("close waits for copies; afterwards the device says that it is closed", async (context) => {
  const { device, arena, runtime } = bench(context);
  const layout = device.registerLayout(specOf(plain, noise));
  const refs = slots(arena, layout.imageBytes, 1);
  let copied = false;
  const copying = device.gather(layout, arena, refs, Int32Array.of(0, 1)).then(() => (copied = true));
  await device.close();
  assert.ok(copied);
  await copying;
  await device.close();
  await assert.rejects(device.gather(layout, arena, refs, Int32Array.of(0, 1)), { code: "KVFERRY_CLOSED" });
  assert.throws(() => device.registerLayout(specOf(plain, noise)), { code: "KVFERRY_CLOSED" });
  assert.equal(runtime.pendingCount, 0);
});

test("a layout of another device, or one that is gone, is refused", async (context) => {
  const { device, arena, runtime } = bench(context);
  const other = openDevice({ kind: "cpu", runtime });
  const layout = other.registerLayout(specOf(plain, noise));
  const refs = slots(arena, layout.imageBytes, 1);
  await assert.rejects(device.gather(layout, arena, refs, Int32Array.of(0, 1)), /not registered with this device/);
  other.unregisterLayout(layout);
  await assert.rejects(other.gather(layout, arena, refs, Int32Array.of(0, 1)), /not registered with this device/);
  await other.close();
});

test("a signal that is aborted before the call stops it; one that fires later does not", async (context) => {
  const { device, arena } = bench(context);
  const layout = device.registerLayout(specOf(plain, noise));
  const refs = slots(arena, layout.imageBytes, 1);
  const reason = new Error("no longer wanted");
  await assert.rejects(device.gather(layout, arena, refs, Int32Array.of(0, 1), { signal: AbortSignal.abort(reason) }), { code: "ABORT_ERR", cause: reason });
  assert.equal(arena.stats().slotsInIo, 0);
  const controller = new AbortController();
  const copying = device.gather(layout, arena, refs, Int32Array.of(0, 1), { signal: controller.signal });
  controller.abort();
  await copying;
});

test("an unknown kind of device is refused, with the known ones", (context) => {
  const { runtime } = bench(context);
  assert.throws(() => openDevice({ kind: "cpi" as "cpu", runtime }), /kind must be one of cpu, got "cpi"/);
});

/**
 * What a conformance case works with: an arena, keys, slots with known bytes, and calls that treat the adapter as the storage does (I/O is
 * held on the slots for as long as a call runs, and the slots are watched after it).
 */
import assert from "node:assert/strict";

import { MiB } from "../../base/bytes.ts";
import { type Random, SeededRandom } from "../../base/random.ts";
import { KeyBatch, keyRecordBytes, packKeys } from "../../keys/key-batch.ts";
import { imageFingerprint } from "../../keys/layout.ts";
import type { NativeArena, SlotRefs } from "../../native/binding.ts";
import type { AdapterContext, L2Adapter, ObjectBatch } from "../contract.ts";

/** A call that has not settled by then hangs. */
const callTimeoutMs = 30_000;
const arenaBytes = 64 * MiB;

/** An empty store that can be opened again and again, one adapter at a time. */
export interface AdapterPlace {
  open(context: AdapterContext): Promise<L2Adapter>;
  /** Deletes what the place holds. */
  destroy?(): Promise<void>;
}

export interface TestContext {
  readonly context: AdapterContext;
  close(): Promise<void>;
}

export class Harness {
  readonly random: Random;
  readonly context: AdapterContext;
  readonly arena: NativeArena;
  readonly #place: AdapterPlace;
  readonly #testContext: TestContext;
  readonly #opened: L2Adapter[] = [];
  /** Slots handed out, with what they must hold from now on. */
  readonly #watched: { refs: SlotRefs; payloads: Uint8Array[] }[] = [];

  constructor(seed: number, place: AdapterPlace, testContext: TestContext) {
    this.random = new SeededRandom(seed);
    this.#place = place;
    this.#testContext = testContext;
    this.context = testContext.context;
    this.arena = this.context.native.openArena({ sizeBytes: arenaBytes });
  }

  async open(): Promise<L2Adapter> {
    const adapter = await this.#place.open(this.context);
    this.#opened.push(adapter);
    return adapter;
  }

  /** Random keys whose objects have the given sizes; equal sizes share a namespace. */
  keys(sizes: ArrayLike<number>, cacheSalt = ""): KeyBatch {
    const records = new Uint8Array(sizes.length * keyRecordBytes);
    for (let index = 0; index < sizes.length; index++) {
      const key = { chunkHash: this.bytes(32), modelName: "conformance", kvRank: 0x01000100, objectGroupId: index % 3, cacheSalt };
      records.set(packKeys([key], imageFingerprint({ sizeBytes: sizes[index] }), this.context.namespaces).records, index * keyRecordBytes);
    }
    return new KeyBatch(records);
  }

  /** Keys equal to these but for the image fingerprint. */
  otherImage(keys: KeyBatch): KeyBatch {
    const packed = Array.from({ length: keys.count }, (_, index) =>
      packKeys([keys.objectKey(index, this.context.namespaces)], "ab".repeat(16), this.context.namespaces).records,
    );
    return new KeyBatch(new Uint8Array(Buffer.concat(packed)));
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    const words = new Uint32Array(bytes.buffer, 0, count >>> 2);
    for (let index = 0; index < words.length; index++) words[index] = this.random.nextUint32();
    for (let index = words.length * 4; index < count; index++) bytes[index] = this.random.nextBelow(256);
    return bytes;
  }

  payloads(sizes: ArrayLike<number>): Uint8Array[] {
    return Array.from(sizes, (size) => this.bytes(size));
  }

  /** A batch whose slots hold `payloads`. */
  batch(keys: KeyBatch, payloads: readonly Uint8Array[]): ObjectBatch {
    const slots = new Uint32Array(keys.count * 2);
    payloads.forEach((payload, index) => {
      const taken = this.arena.allocate(payload.byteLength, 1, slots.subarray(index * 2, index * 2 + 2));
      assert.equal(taken, 1, "the conformance arena is full: release batches");
      this.arena.write(slots[index * 2], slots[index * 2 + 1], 0, payload);
    });
    return { keys, arena: this.arena, slots, sizes: Uint32Array.from(payloads, (payload) => payload.byteLength) };
  }

  /** A batch to load into, its slots filled with a byte that no test payload consists of. */
  emptyBatch(keys: KeyBatch, sizes: ArrayLike<number>): ObjectBatch {
    return this.batch(keys, Array.from(sizes, (size) => new Uint8Array(size).fill(0xa5)));
  }

  read(batch: ObjectBatch, index: number): Uint8Array {
    const bytes = new Uint8Array(batch.sizes[index]);
    this.arena.read(batch.slots[index * 2], batch.slots[index * 2 + 1], 0, bytes);
    return bytes;
  }

  /** Runs a call on a batch as the storage does: I/O held from before the call until it has settled. */
  async call(batch: ObjectBatch, start: (batch: ObjectBatch) => Promise<Uint8Array>): Promise<Uint8Array> {
    this.arena.beginIo(batch.slots);
    try {
      const answers = await inTime(start(batch));
      assert.equal(answers.length, batch.keys.count, "one answer per key");
      return answers;
    } finally {
      this.arena.endIo(batch.slots);
    }
  }

  async store(adapter: L2Adapter, keys: KeyBatch, payloads: readonly Uint8Array[], signal?: AbortSignal): Promise<Uint8Array> {
    const batch = this.batch(keys, payloads);
    const statuses = await this.call(batch, (given) => adapter.store(given, { signal }));
    this.release(batch);
    return statuses;
  }

  /** Loads into fresh slots; the batch is the caller's to release. */
  async load(adapter: L2Adapter, keys: KeyBatch, sizes: ArrayLike<number>, signal?: AbortSignal): Promise<{ statuses: Uint8Array; batch: ObjectBatch }> {
    const batch = this.emptyBatch(keys, sizes);
    return { batch, statuses: await this.call(batch, (given) => adapter.load(given, { signal })) };
  }

  /** Fills the slots of a settled batch with new bytes and remembers them: whoever writes there later is found by checkWatched(). */
  watch(batch: ObjectBatch): void {
    const payloads = this.payloads(batch.sizes);
    payloads.forEach((payload, index) => this.arena.write(batch.slots[index * 2], batch.slots[index * 2 + 1], 0, payload));
    this.#watched.push({ refs: batch.slots, payloads });
  }

  release(batch: ObjectBatch): void {
    this.arena.free(batch.slots);
  }

  checkWatched(): void {
    for (const { refs, payloads } of this.#watched)
      payloads.forEach((payload, index) => {
        const bytes = new Uint8Array(payload.byteLength);
        this.arena.read(refs[index * 2], refs[index * 2 + 1], 0, bytes);
        assert.ok(Buffer.from(bytes).equals(payload), "an adapter wrote to a slot after its call had settled");
      });
  }

  /** Ends the case: closes what was opened and proves that nothing is left in flight. */
  async finish(): Promise<void> {
    for (const adapter of this.#opened) await inTime(adapter.close());
    this.checkWatched();
    for (const { refs } of this.#watched.splice(0)) this.arena.free(refs);
    assert.equal(this.arena.stats().slotsInIo, 0, "an adapter left I/O on a slot");
    this.arena.close();
    await this.#testContext.close();
    await this.#place.destroy?.();
  }
}

/** Rejects when `work` does not settle in time, so that a hang has a name. */
export async function inTime<Result>(work: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`a call has not settled after ${callTimeoutMs} ms`)), callTimeoutMs);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

export function assertSameBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.from(actual.buffer, actual.byteOffset, actual.byteLength).equals(expected)) return;
  assert.equal(actual.byteLength, expected.byteLength, `${what}: length`);
  const first = actual.findIndex((byte, index) => byte !== expected[index]);
  assert.fail(`${what}: wrong bytes from offset ${first}`);
}

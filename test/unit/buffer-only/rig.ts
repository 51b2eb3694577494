/** Scenario builder of the buffer-only tests: a storage on a virtual clock, simulated adapters with chosen faults, and what must hold at rest. */
import assert from "node:assert/strict";

import { roundUp } from "../../../src/base/bytes.ts";
import { VirtualClock } from "../../../src/base/clock.ts";
import { Counters } from "../../../src/base/counters.ts";
import { SeededRandom } from "../../../src/base/random.ts";
import type { Settlement } from "../../../src/controllers/index.ts";
import { packKeys } from "../../../src/keys/key-batch.ts";
import { imageFingerprint } from "../../../src/keys/layout.ts";
import type { AdapterSpec, L2Adapter } from "../../../src/l2/index.ts";
import { NativeRuntime } from "../../../src/native/runtime.ts";
import { openStorage, type KeyRow, type PrefetchOptions, type ReadHandle, type Storage, type StorageConfigInput, type WriteHandle } from "../../../src/storage/index.ts";
import { Faults, type FaultRates } from "../../sim/faults.ts";
import { isPayloadOf, payloadOf } from "../../sim/payload.ts";
import { keyText, recordOf, SimAdapter } from "../../sim/sim-adapter.ts";

/** L1 sizes that every failure is tried with, in chunks. */
export const l1Sizes = [1, 2, 16] as const;
export const failureRates = [0, 0.001, 0.01, 0.1, 1] as const;

export interface AdapterPlan {
  readonly rates?: FaultRates;
  readonly latencyMs?: number;
  readonly heedsSignals?: boolean;
  readonly knowsKeys?: boolean;
}

export interface RigOptions {
  /** Chunks that L1 holds. */
  readonly chunks: number;
  readonly adapters: readonly (AdapterPlan | L2Adapter | AdapterSpec)[];
  readonly l1?: Partial<StorageConfigInput["l1"]>;
  readonly l2?: Partial<NonNullable<StorageConfigInput["l2"]>>;
  readonly quotas?: StorageConfigInput["quotas"];
  readonly seed?: number;
  /** Objects per chunk with their share of the chunk's bytes; default one object. */
  readonly rowSizes?: readonly number[];
  /** Sliding window of each row in chunks; -1 = none. */
  readonly windows?: readonly number[];
}

/** How long a virtual minute's worth of waiting may take in events before a test is taken to hang. */
const eventsMax = 1_000_000;

export class Rig {
  readonly clock = new VirtualClock();
  readonly counters = new Counters();
  readonly sims: SimAdapter[] = [];
  readonly faults: Faults[] = [];
  readonly problems: string[] = [];
  readonly runtime = new NativeRuntime({ stepped: true });
  readonly chunkBytes: number;
  readonly layouts: readonly { readonly sizeBytes: number }[];
  readonly windows: readonly number[];
  readonly seed: number;
  storage!: Storage;

  private constructor(options: RigOptions) {
    // The smallest arena is 64 KiB, so fewer chunks are larger ones.
    this.chunkBytes = roundUp(Math.ceil((64 * 1024) / options.chunks), 4096);
    this.layouts = (options.rowSizes ?? [this.chunkBytes - 40]).map((sizeBytes) => ({ sizeBytes }));
    this.windows = options.windows ?? [];
    this.seed = options.seed ?? 1;
  }

  static async open(options: RigOptions): Promise<Rig> {
    const rig = new Rig(options);
    rig.storage = await openStorage(
      {
        l1: { sizeBytes: options.chunks * rig.chunkBytes, evictionPolicy: "noop", hugePages: false, ...options.l1 },
        l2: { ...options.l2, adapters: options.adapters.map((adapter) => rig.#adapter(adapter)) },
        quotas: options.quotas,
      },
      { clock: rig.clock, counters: rig.counters, random: new SeededRandom(rig.seed), runtime: rig.runtime, memoryLimitBytes: 2 ** 32 },
    );
    return rig;
  }

  #adapter(plan: AdapterPlan | L2Adapter | AdapterSpec): L2Adapter | AdapterSpec {
    if ("type" in plan) return plan;
    return this.makeSim(plan);
  }

  makeSim(plan: AdapterPlan): SimAdapter {
    const index = this.sims.length;
    const faults = new Faults(plan.rates ?? {}, new SeededRandom(this.seed * 31 + index));
    const adapter = new SimAdapter(
      { name: `sim${index}`, latencyMs: plan.latencyMs ?? 1, heedsSignals: plan.heedsSignals ?? false, knowsKeys: plan.knowsKeys ?? false, lateMs: 120_000 },
      { clock: this.clock, random: new SeededRandom(this.seed * 17 + index), faults, fail: (message) => void this.problems.push(message), note: () => {} },
    );
    this.sims.push(adapter);
    this.faults.push(faults);
    return adapter;
  }

  get usedBytes(): number {
    return this.storage.usage.usedBytes;
  }

  /** Lets virtual time pass until `goal` settles. */
  async drive<T>(goal: Promise<T>): Promise<T> {
    let isSettled = false;
    const settle = (): void => void (isSettled = true);
    goal.then(settle, settle);
    for (let events = 0; events < eventsMax; events++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (isSettled) return goal;
      if (this.runtime.pendingCount > 0) {
        this.runtime.engine.step(1);
        this.runtime.drain();
      } else assert.ok(this.clock.runNext(), "nothing is due and the goal is not reached");
    }
    throw new Error(`the goal was not reached within ${eventsMax} events`);
  }

  /** Lets this much virtual time pass. */
  pass(milliseconds: number): Promise<void> {
    return this.drive(new Promise((resolve) => void this.clock.setTimer(milliseconds, resolve)));
  }

  rows(first: number, count: number, document = 0, cacheSalt = ""): KeyRow[] {
    return this.layouts.map((layout, group) => ({
      keys: packKeys(
        Array.from({ length: count }, (_, index) => {
          const chunkHash = new Uint8Array(32);
          new Uint32Array(chunkHash.buffer).set([document + 1, first + index + 1]);
          return { chunkHash, modelName: "rig", kvRank: 0, objectGroupId: group, cacheSalt };
        }),
        imageFingerprint(layout),
        this.storage.namespaces,
      ),
      layout,
      windowChunks: this.windows[group] ?? -1,
    }));
  }

  reserve(rows: readonly KeyRow[], timeoutMs?: number): Promise<WriteHandle> {
    return this.drive(this.storage.reserveWriteRows(rows, { timeoutMs }));
  }

  fill(write: WriteHandle): void {
    write.slots.forEach((slot, position) => slot.write(payloadOf(recordOf(write.keys, write.keyIndices[position]), slot.sizeBytes)));
  }

  /** Writes all chunks in as many windows as L1 needs; answers the sum of the settlements of all windows. */
  async writeAll(first: number, count: number, options: { readonly document?: number; readonly timeoutMs?: number } = {}): Promise<Settlement> {
    const settlements: Promise<Settlement>[] = [];
    for (let done = 0; done < count; ) {
      const write = await this.reserve(this.rows(first + done, count - done, options.document), options.timeoutMs);
      assert.ok(write.chunkCount > 0, "a grant has at least one chunk");
      done += write.chunkCount;
      this.fill(write);
      settlements.push((await write.commit()).settled);
    }
    return this.drive(Promise.all(settlements).then(sumOf));
  }

  read(rows: readonly KeyRow[], options?: PrefetchOptions): Promise<ReadHandle> {
    return this.drive(this.storage.prefetchRows(rows, options));
  }

  /** Every byte of a read is right. */
  verify(read: ReadHandle): void {
    const cells = [...read.hitCells.keys()].filter((cell) => read.hitCells[cell] === 1);
    assert.equal(read.slots.length, cells.length);
    read.slots.forEach((slot, position) => assert.ok(isPayloadOf(slot.copyOut(), recordOf(read.grid.keys, cells[position])), "wrong bytes were read"));
  }

  /** Reads chunks window by window, verifies them, and answers how many were hits. */
  async countReadable(first: number, count: number, document = 0): Promise<number> {
    let hits = 0;
    for (let chunk = first; chunk < first + count; chunk++) {
      const read = await this.read(this.rows(chunk, 1, document));
      this.verify(read);
      hits += read.hitCount;
      await read.release();
      await this.drive(this.storage.idle());
    }
    return hits;
  }

  /** Objects of these chunks that an adapter holds. */
  heldBy(sim: SimAdapter, first: number, count: number, document = 0): number {
    return this.rows(first, count, document).reduce((sum, { keys }) => {
      for (let index = 0; index < count; index++) if (sim.held.has(keyText(keys as Parameters<typeof keyText>[0], index))) sum++;
      return sum;
    }, 0);
  }

  heal(): void {
    for (const faults of this.faults) faults.heal();
    for (const sim of this.sims) sim.release();
  }

  /** Law 4 at rest: no sessions and no I/O, so a buffer-only L1 holds nothing at all, and every ending was counted. */
  async assertAtRest(): Promise<void> {
    await this.drive(this.storage.idle());
    assert.deepEqual(this.problems, []);
    const audit = this.storage.audit();
    assert.deepEqual([...audit.problems], []);
    assert.equal(this.usedBytes, 0, "bytes in L1 at rest");
    const { objects, leases, openWrites, waiting, openObligationKeys, loadsInFlight, prefetchTurns, prefetchQueue, joinedKeys, internedKeys } = audit;
    assert.deepEqual(
      { objects, leases, openWrites, waiting, openObligationKeys, loadsInFlight, prefetchTurns, prefetchQueue, joinedKeys, internedKeys, slotsInIo: audit.arena.slotsInIo },
      { objects: 0, leases: 0, openWrites: 0, waiting: 0, openObligationKeys: 0, loadsInFlight: 0, prefetchTurns: 0, prefetchQueue: 0, joinedKeys: 0, internedKeys: 0, slotsInIo: 0 },
    );
    const ended = this.counters.total("kvferry_obligations_ended_total");
    assert.equal(this.counters.total("kvferry_obligations_created_total"), ended, "every obligation that was created has ended, once");
  }

  /** After everything that went wrong the storage stores and loads like a new one. */
  async assertWorks(): Promise<void> {
    this.heal();
    await this.drive(this.storage.idle());
    for (let chunk = 0; chunk < 3; chunk++) {
      const settlement = await this.writeAll(chunk, 1, { document: 77 });
      assert.equal(settlement.storedKeys, this.layouts.length, JSON.stringify(settlement));
    }
    assert.equal(await this.countReadable(0, 3, 77), 3);
    await this.assertAtRest();
  }

  /** Ends a scenario: at rest, working, closed without leftovers. */
  async finish(): Promise<void> {
    await this.assertAtRest();
    await this.assertWorks();
    await this.close();
  }

  async close(): Promise<void> {
    const report = await this.drive(this.storage.close());
    assert.deepEqual(report, { unfinishedKeys: 0, memoryKept: false });
    assert.deepEqual(this.problems, []);
    for (const sim of this.sims) assert.ok(sim.closed, `${sim.name} was closed`);
    await this.runtime.close();
  }
}

export function sumOf(settlements: readonly Settlement[]): Settlement {
  const reasons: Record<string, number> = {};
  const sum = { storedKeys: 0, failedKeys: 0, droppedKeys: 0, reasons };
  for (const settlement of settlements) {
    sum.storedKeys += settlement.storedKeys;
    sum.failedKeys += settlement.failedKeys;
    sum.droppedKeys += settlement.droppedKeys;
    for (const [reason, count] of Object.entries(settlement.reasons)) reasons[reason] = (reasons[reason] ?? 0) + count;
  }
  return sum;
}

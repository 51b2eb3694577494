import { VirtualClock } from "../../src/base/clock.ts";
import { Counters } from "../../src/base/counters.ts";
import { SeededRandom } from "../../src/base/random.ts";
import { type KeyBatch, packKeys } from "../../src/keys/key-batch.ts";
import { imageFingerprint, type ObjectLayout } from "../../src/keys/layout.ts";
import type { ObjectKey } from "../../src/keys/object-key.ts";
import type { SlotRefs } from "../../src/native/binding.ts";
import type { NativeRuntime } from "../../src/native/runtime.ts";
import type { KeyRow, Storage } from "../../src/storage/index.ts";
import { type FaultName, Faults } from "./faults.ts";
import { addTo, keyText, SimAdapter } from "./sim-adapter.ts";
import type { SwarmPlan } from "./swarm.ts";
import { Trace } from "./trace.ts";

/** A broken promise of kvferry, found by the simulation. */
export class SimFailure extends Error {}

/** Everything that one run shares: time, chance, the storage under test, its adapters, and what the clients know to be true. */
export class World {
  readonly seed: number;
  readonly plan: SwarmPlan;
  readonly clock = new VirtualClock();
  readonly counters = new Counters();
  readonly random: SeededRandom;
  readonly faults: Faults;
  readonly trace: Trace;
  readonly runtime: NativeRuntime;
  /** Every adapter there ever was. */
  readonly adapters: SimAdapter[] = [];
  /** Keys that some commit has published. */
  readonly committed = new Set<string>();
  /** Slots under I/O of simulated clients, with counts. */
  readonly clientIo = new Map<number, number>();
  readonly layouts: ObjectLayout[][];
  storage!: Storage;
  failure: SimFailure | undefined;
  /** Virtual time that clock faults have skipped: what took place meanwhile is nobody's delay. */
  jumpedMs = 0;
  closing = false;
  /** A reader's copy ran while the storage closed: its memory must stay. */
  copiesAtClose = false;
  /** Operations of clients that have not ended, by a word for what they are. */
  readonly running = new Map<number, string>();
  #nextOperation = 0;
  /** What commits were owed and how it ended, by the clients' own count. */
  readonly settlements = { published: 0, stored: 0, failed: 0, dropped: 0, waiting: 0 };

  constructor(seed: number, plan: SwarmPlan, runtime: NativeRuntime, counts: Map<FaultName, number>, print?: (line: string) => void) {
    this.seed = seed;
    this.plan = plan;
    this.runtime = runtime;
    this.random = new SeededRandom(seed * 4 + 1);
    this.faults = new Faults(plan.rates, new SeededRandom(seed * 4 + 2), counts);
    this.trace = new Trace(print);
    this.layouts = plan.shapes.map((rows) => rows.map(({ sizeBytes }) => ({ sizeBytes })));
  }

  fail(message: string): void {
    this.failure ??= new SimFailure(message);
  }

  note(text: string): void {
    this.trace.note(`${this.clock.nowMs()} ${text}`);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.clock.setTimer(delayMs, resolve));
  }

  addAdapter(options: SwarmPlan["adapters"][number]): SimAdapter {
    const index = this.adapters.length;
    const adapter = new SimAdapter(
      { ...options, name: `sim${index}`, lateMs: Math.max(this.plan.storeDeadlineMs, this.plan.loadTimeoutMs) + 10_000 },
      {
        clock: this.clock,
        random: new SeededRandom(this.seed * 1000 + index),
        faults: this.faults,
        fail: (message) => this.fail(message),
        note: (text) => this.note(text),
      },
    );
    this.adapters.push(adapter);
    return adapter;
  }

  /** Rows of `count` chunks from `first` of a document; with `repeats` some chunk is named twice. */
  rows(document: number, first: number, count: number, repeats = false): KeyRow[] {
    const shape = document % this.plan.shapes.length;
    const chunks = Array.from({ length: count }, (_, index) => first + index);
    if (repeats) chunks.splice(this.random.nextBelow(count + 1), 0, chunks[this.random.nextBelow(count)]);
    return this.plan.shapes[shape].map(({ windowChunks }, group) => ({
      keys: packKeys(
        chunks.map((chunk) => this.#key(document, chunk, group)),
        imageFingerprint(this.layouts[shape][group]),
        this.storage.namespaces,
      ),
      layout: this.layouts[shape][group],
      windowChunks,
    }));
  }

  #key(document: number, chunk: number, group: number): ObjectKey {
    const chunkHash = new Uint8Array(32);
    const random = new SeededRandom(document * 4096 + chunk + 7);
    new Uint32Array(chunkHash.buffer).forEach((_, index, words) => (words[index] = random.nextUint32()));
    const cacheSalt = this.plan.salts[document % this.plan.salts.length];
    return { chunkHash, modelName: "sim", kvRank: 0, objectGroupId: group, cacheSalt };
  }

  noteCommitted(keys: KeyBatch, indices: Iterable<number>): void {
    for (const index of indices) this.committed.add(keyText(keys, index));
  }

  /**
   * Runs an operation of a client that must end within `limitMs` of virtual time, clock faults aside. Answers undefined when it rejects with
   * one of the `expected` codes.
   */
  async within<T>(what: string, limitMs: number, expected: readonly string[], operation: () => Promise<T>): Promise<T | undefined> {
    const id = this.#nextOperation++;
    this.running.set(id, what);
    const startMs = this.clock.nowMs();
    const startJumpedMs = this.jumpedMs;
    try {
      const value = await operation();
      this.note(`${what} ok`);
      return value;
    } catch (error) {
      const code = (error as { code?: string }).code ?? String(error);
      this.note(`${what} ${code}`);
      const isExpected = expected.includes(code) || (this.closing && code === "KVFERRY_CLOSED");
      if (!isExpected) this.fail(`${what} rejected: ${(error as Error).stack ?? String(error)}`);
      return undefined;
    } finally {
      this.running.delete(id);
      const tookMs = this.clock.nowMs() - startMs - (this.jumpedMs - startJumpedMs);
      if (tookMs > limitMs + 1) this.fail(`${what} took ${tookMs} ms, allowed are ${limitMs}`);
    }
  }

  /** Slots that were just granted must not be under anybody's I/O. */
  checkFresh(refs: SlotRefs): void {
    for (let offset = 0; offset < refs.length; offset += 2) {
      const slot = refs[offset];
      if (this.clientIo.has(slot)) this.fail(`slot ${slot} was granted while a reader's copy runs on it`);
      for (const adapter of this.adapters) if (adapter.slotsInUse.has(slot)) this.fail(`slot ${slot} was granted while ${adapter.name} works on it`);
    }
  }

  beginClientIo(refs: SlotRefs): void {
    this.storage.arena.beginIo(refs);
    for (let offset = 0; offset < refs.length; offset += 2) addTo(this.clientIo, refs[offset], 1);
  }

  endClientIo(refs: SlotRefs): void {
    for (let offset = 0; offset < refs.length; offset += 2) addTo(this.clientIo, refs[offset], -1);
    this.storage.arena.endIo(refs);
    // A device's copies end in the completion ring, and its wake-up drains that.
    this.runtime.drain();
  }
}

import { settlesWithin, sleep, systemClock, type Clock, type Timer } from "../base/clock.ts";
import { Counters } from "../base/counters.ts";
import { AbortError, CapacityError, ClosedError } from "../base/errors.ts";
import { silentLogger, type Logger } from "../base/log.ts";
import { SeededRandom, type Random } from "../base/random.ts";
import {
  EvictionController,
  KeyGrid,
  PrefetchController,
  StoreController,
  type GridRow,
  type Obligation,
} from "../controllers/index.ts";
import { KeyBatch, packKeys } from "../keys/key-batch.ts";
import { checkObjectLayout, imageFingerprint, type ObjectLayout } from "../keys/layout.ts";
import { NamespaceTable } from "../keys/namespace.ts";
import type { ObjectKey } from "../keys/object-key.ts";
import { Admission, AdmissionClass, L1Manager, pickRefs, type ReadLease, type ReserveRequest, type WriteGrant } from "../l1/index.ts";
import { adapterContext, openL2Adapter, type L2Adapter } from "../l2/index.ts";
import type { NativeArena } from "../native/binding.ts";
import { NativeRuntime } from "../native/runtime.ts";
import { evictionPolicies, prefetchPolicies, QuotaTable, storePolicies } from "../policies/index.ts";
import { AdapterSet } from "./adapter-set.ts";
import { parseStorageConfig, type StorageConfig, type StorageConfigInput } from "./config.ts";
import { openArena } from "./arena.ts";
import { checkMilliseconds, checkPrefetchOptions } from "./call-options.ts";
import { configuredAnswer, dropsStored, waitUnder } from "./pressure.ts";
import { quotaFile } from "./quota-file.ts";
import { ReadHandle } from "./read-handle.ts";
import { storageAudit, storageBanner, storageStatus, type StorageParts } from "./report.ts";
import { checkFits, largestObjectBytes } from "./object-size.ts";
import type { CloseOptions, CloseReport, KeyRow, PrefetchOptions, StorageAudit, StorageDependencies, StorageStatus, WriteOptions } from "./options.ts";
import { type Granted, StoredWrite, WriteHandle } from "./write-handle.ts";

/** A write of no chunks gets no slots and waits for none. */
const nothingGranted: WriteGrant = { statuses: new Uint8Array(0), keyIndices: new Uint32Array(0), refs: new Uint32Array(0), chunks: 0 };

/** The writer tag of stores. */
const storeTag = 1;
const sweepPauseMs = 1_000;

/** Opens a storage. Refuses a bad configuration before anything is opened (ConfigError); a failed start undoes what was started. */
export async function openStorage(config: StorageConfigInput, dependencies: StorageDependencies = {}): Promise<Storage> {
  return Storage.open(parseStorageConfig(config, dependencies.memoryLimitBytes), dependencies);
}

/**
 * L1, L2 adapters, policies and controllers as one thing: the public face of kvferry in TypeScript. Reserve, fill, commit; prefetch, read,
 * release. One storage belongs to one thread; several may be open at once.
 */
export class Storage implements AsyncDisposable {
  readonly config: StorageConfig;
  readonly counters: Counters;
  readonly namespaces = new NamespaceTable();
  readonly runtime: NativeRuntime;
  readonly quotas: QuotaTable;
  readonly #ownsRuntime: boolean;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #l1: L1Manager;
  readonly #admission: Admission;
  readonly #store: StoreController;
  readonly #prefetch: PrefetchController;
  readonly #eviction: EvictionController;
  readonly #adapters: AdapterSet;
  readonly #openWrites = new Set<WriteHandle>();
  readonly #refusedNoRoom;
  readonly #expired;
  readonly #dropsStored: boolean;
  readonly #stopListening: () => void;
  #peakUsedBytes = 0;
  #nextOwner = 0;
  #sweepTimer: Timer | undefined;
  #closing: Promise<CloseReport> | undefined;

  /** Use openStorage. */
  static async open(config: StorageConfig, dependencies: StorageDependencies): Promise<Storage> {
    const storePolicy = await storePolicies.resolve(config.l2.storePolicy, "l2.storePolicy");
    const prefetchPolicy = await prefetchPolicies.resolve(config.l2.prefetchPolicy, "l2.prefetchPolicy");
    const evictionPolicy = await evictionPolicies.resolve(config.l1.evictionPolicy, "l1.evictionPolicy");
    const quotas = await QuotaTable.open({
      defaultQuotaBytes: config.quotas.defaultBytes,
      store: config.quotas.path === "" ? undefined : quotaFile(config.quotas.path),
    });
    const runtime = dependencies.runtime ?? new NativeRuntime(config.engine);
    let arena: NativeArena | undefined;
    let storage: Storage | undefined;
    try {
      arena = openArena(runtime, config.l1);
      storage = new Storage(config, dependencies, runtime, arena, quotas, { storePolicy, prefetchPolicy, evictionPolicy });
      for (const adapter of config.l2.adapters) await storage.addAdapter(adapter);
    } catch (error) {
      if (storage !== undefined) await storage.close({ deadlineMs: 0 });
      else {
        arena?.close();
        if (dependencies.runtime === undefined) await runtime.close();
      }
      throw error;
    }
    return storage;
  }

  private constructor(
    config: StorageConfig,
    dependencies: StorageDependencies,
    runtime: NativeRuntime,
    arena: NativeArena,
    quotas: QuotaTable,
    policies: {
      readonly storePolicy: Awaited<ReturnType<typeof storePolicies.resolve>>;
      readonly prefetchPolicy: Awaited<ReturnType<typeof prefetchPolicies.resolve>>;
      readonly evictionPolicy: Awaited<ReturnType<typeof evictionPolicies.resolve>>;
    },
  ) {
    this.config = config;
    this.runtime = runtime;
    this.quotas = quotas;
    this.#ownsRuntime = dependencies.runtime === undefined;
    this.#clock = dependencies.clock ?? systemClock;
    this.#random = dependencies.random ?? new SeededRandom(crypto.getRandomValues(new Uint32Array(1))[0]);
    this.#logger = dependencies.logger ?? silentLogger;
    this.counters = dependencies.counters ?? new Counters();
    const { l1, l2 } = config;
    this.#l1 = new L1Manager(arena, new runtime.binding.InternTable(32, 16), { store: l1.storeShare, load: l1.loadShare });
    this.#admission = new Admission(this.#clock, this.counters, l1.queueMax);
    const common = { l1: this.#l1, clock: this.#clock, counters: this.counters, logger: this.#logger };
    this.#eviction = new EvictionController(
      { ...common, createPolicy: (context) => policies.evictionPolicy.create(context), namespaces: this.namespaces, quotas },
      { triggerWatermark: l1.evictionTriggerWatermark, evictionRatio: l1.evictionRatio },
    );
    const storePolicy = policies.storePolicy.create({ namespaces: this.namespaces });
    this.#store = new StoreController(
      { ...common, policy: storePolicy, random: this.#random, onIoEnded: () => this.#admission.pumpSoon() },
      {
        attemptsMax: l2.storeAttemptsMax,
        retryDelayMs: l2.storeRetryDelayMs,
        retryKeysPerSecond: l2.storeRetryKeysPerSecond,
        deadlineMs: l2.storeDeadlineMs,
        bytesInFlightMax: l2.storeBytesInFlightMax,
      },
    );
    this.#prefetch = new PrefetchController(
      {
        ...common,
        admission: this.#admission,
        policy: policies.prefetchPolicy.create({ namespaces: this.namespaces }),
        makeRoom: (bytes) => this.#eviction.makeRoom(bytes),
      },
      { deadlineMs: l2.loadDeadlineMs, loadTimeoutMs: l2.loadTimeoutMs, inFlightMax: l2.prefetchMaxInFlight, leaseTtlMs: l1.readTtlSeconds * 1000 },
    );
    this.#adapters = new AdapterSet({ store: this.#store, prefetch: this.#prefetch, clock: this.#clock, logger: this.#logger });
    this.#dropsStored = dropsStored(storePolicy);
    this.#l1.observe({ onRoom: () => this.#admission.pumpSoon() });
    this.#stopListening = runtime.onDrained(() => this.#admission.pumpSoon());
    this.#refusedNoRoom = this.counters.counter("kvferry_writes_refused_total", { reason: "no_room" });
    this.#expired = this.counters.counter("kvferry_leases_expired_total");
    this.counters.gauge("kvferry_l1_used_bytes", () => this.#l1.usedBytes);
    this.counters.gauge("kvferry_l1_capacity_bytes", () => arena.capacityBytes);
    for (const warning of config.warnings) this.#logger.warn("config", warning);
  }

  // ------------------------------------------------------------------------------------------------------------ write

  /**
   * Stages slots for the longest leading run of chunks that fits, waiting for room if none does. Rejects with CapacityError (no room in
   * time, object too large), AbortError or ClosedError; then nothing is held. With one row each key is a chunk.
   */
  reserveWrite(keys: KeyBatch | readonly ObjectKey[], layout: ObjectLayout, options: WriteOptions = {}): Promise<WriteHandle> {
    return this.reserveWriteRows([{ keys, layout }], options);
  }

  /** As reserveWrite, for several object groups or ranks: a chunk is granted with all its rows or not at all. */
  async reserveWriteRows(rows: readonly KeyRow[], options: WriteOptions = {}): Promise<WriteHandle> {
    this.#requireOpen();
    if (options.signal?.aborted === true) throw new AbortError(options.signal.reason);
    if (options.timeoutMs !== undefined) checkMilliseconds("timeoutMs", options.timeoutMs);
    const grid = this.#grid(rows);
    checkFits(this.#l1, grid, this.largestObjectBytes());
    if (grid.columns === 0) return this.#giveOut(grid, nothingGranted);
    const request: ReserveRequest = {
      keys: grid.keys,
      rowSizes: grid.rowSizes,
      tag: storeTag,
      temporary: false,
      charge: AdmissionClass.store,
      // What every adapter holds already would leave L1 at once anyway: copying it would be work for nothing.
      wanted: this.#dropsStored ? this.#store.heldByAll(grid.keys)?.map((held) => 1 - held) : undefined,
      makeRoom: (bytes) => this.#eviction.makeRoom(bytes),
    };
    const admission = {
      charge: AdmissionClass.store,
      saltId: this.#saltId(grid.keys),
      attempt: () => {
        const grant = this.#l1.reserve(request);
        return grant.chunks > 0 ? grant : undefined;
      },
      what: `a write of ${grid.columns} chunks`,
      signal: options.signal,
    };
    const grant = this.#admission.tryNow({ ...admission, timeoutMs: 0 }) ?? (await this.#waitForRoom(admission, grid, options));
    return this.#giveOut(grid, grant);
  }

  /** Only WriteHandle calls this. */
  commitWrite(handle: WriteHandle, granted: Granted): StoredWrite {
    const statuses = this.#l1.commit(granted.refs, storeTag);
    this.#openWrites.delete(handle);
    const published: number[] = [];
    for (let position = 0; position < statuses.length; position++) if (statuses[position] === 0) published.push(position);
    const obligation = published.length === 0 ? undefined : this.#owe(granted, published);
    return new StoredWrite(published.length, statuses.length - published.length, obligation);
  }

  /** Only WriteHandle calls this. */
  abortWrite(handle: WriteHandle, granted: Granted): void {
    this.#openWrites.delete(handle);
    this.#l1.abort(granted.refs, storeTag);
  }

  // ------------------------------------------------------------------------------------------------------------- read

  /**
   * How much of this prefix can be read: leases what L1 has, joins what is being written, loads the rest from L2 until the deadline. Misses
   * are values; rejects with AbortError or ClosedError only.
   */
  prefetch(keys: KeyBatch | readonly ObjectKey[], layout: ObjectLayout, options: PrefetchOptions = {}): Promise<ReadHandle> {
    return this.prefetchRows([{ keys, layout }], options);
  }

  /** As prefetch, for several object groups or ranks: a chunk counts only with all rows that need it. */
  async prefetchRows(rows: readonly KeyRow[], options: PrefetchOptions = {}): Promise<ReadHandle> {
    this.#requireOpen();
    checkPrefetchOptions(options);
    const grid = this.#grid(rows);
    const answer = await this.#prefetch.prefetch({
      grid,
      fetching: options.fetching ?? "prefix",
      owner: options.owner ?? `reader ${++this.#nextOwner}`,
      saltId: this.#saltId(grid.keys),
      deliveries: options.deliveries ?? 1,
      deadlineMs: options.deadlineMs,
      signal: options.signal,
      skipL2: options.skipL2,
    });
    if (this.#closing !== undefined) {
      if (answer.lease.live) this.#l1.release(answer.lease);
      throw new ClosedError("the storage");
    }
    this.#notePeak();
    this.#sweepLater();
    return new ReadHandle(this, grid, answer);
  }

  /** Only ReadHandle calls this. */
  releaseRead(lease: ReadLease): void {
    this.#l1.release(lease);
  }

  // ------------------------------------------------------------------------------------------------------- management

  /** The packed form of keys that share a layout: pack once, use for a write and a prefetch. */
  packKeys(keys: readonly ObjectKey[], layout: ObjectLayout): KeyBatch {
    return packKeys(keys, imageFingerprint(layout), this.namespaces);
  }

  get arena(): L1Manager["arena"] {
    return this.#l1.arena;
  }

  /** Opens one more adapter while the storage runs. Returns its name. */
  async addAdapter(adapter: StorageConfig["l2"]["adapters"][number]): Promise<string> {
    this.#requireOpen();
    return this.#adapters.add(adapter, (spec, name) => openL2Adapter(spec, this.#adapterContext(name)));
  }

  /**
   * Removes an adapter: unsent stores end dropped(removed), running ones are waited for until the deadline and then stopped. Rejects with
   * AdapterError when the adapter holds on even then; it is out of use all the same.
   */
  removeAdapter(name: string, options: CloseOptions = {}): Promise<void> {
    return this.#adapters.remove(name, options.deadlineMs ?? closeDeadlineMs);
  }

  get adapters(): readonly L2Adapter[] {
    return this.#adapters.list;
  }

  /** Drops everything from L1 that nobody holds; with `force` also what is held, as soon as it is not any more. */
  clearL1(options: { readonly force?: boolean } = {}): { readonly removed: number; readonly pending: number; readonly held: number } {
    return this.#l1.clear(options.force ?? false);
  }

  /** Largest object that a write can ever get. */
  largestObjectBytes(): number {
    return largestObjectBytes(this.arena.capacityBytes, this.config.l1.loadShare);
  }

  /** Resolves when no store is owed and no load runs. */
  async idle(): Promise<void> {
    do {
      await this.#store.idle();
      await this.#prefetch.idle();
    } while (this.#store.openKeys > 0 || this.#prefetch.loadsInFlight > 0);
  }

  /** What a person or a monitor asks. Costs O(objects); not for hot paths. */
  status(): StorageStatus {
    this.#notePeak();
    return storageStatus(this.#parts(), this.#peakUsedBytes);
  }

  /**
   * Recounts what is held, by whom, and whether every sum agrees (`problems` is empty then). Costs O(objects): for tests and the simulation.
   */
  audit(): StorageAudit {
    return storageAudit(this.#parts());
  }

  /** Bytes of L1 in use now, and the most there were. Cheap. */
  get usage(): { readonly usedBytes: number; readonly peakUsedBytes: number } {
    this.#notePeak();
    return { usedBytes: this.#l1.usedBytes, peakUsedBytes: this.#peakUsedBytes };
  }

  /** Requests that wait for room in L1. Cheap. */
  get waitingCount(): number {
    return this.#admission.waitingCount;
  }

  /** Lines for the start-up banner: what was decided, and what will surprise (law 10). */
  banner(): string[] {
    return storageBanner(this.#parts(), this.largestObjectBytes());
  }

  /**
   * Stops intake, aborts open writes, ends leases, drains stores and loads until the deadline, then closes adapters, memory and threads.
   * Idempotent: further calls get the same report.
   */
  close(options: CloseOptions = {}): Promise<CloseReport> {
    this.#closing ??= this.#close(options.deadlineMs ?? closeDeadlineMs);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---------------------------------------------------------------------------------------------------------- private

  #parts(): StorageParts {
    return {
      config: this.config,
      counters: this.counters,
      runtime: this.runtime,
      l1: this.#l1,
      admission: this.#admission,
      store: this.#store,
      prefetch: this.#prefetch,
      eviction: this.#eviction,
      adapters: this.adapters,
      openWriteCount: this.#openWrites.size,
    };
  }

  async #close(deadlineMs: number): Promise<CloseReport> {
    this.#sweepTimer?.cancel();
    this.#eviction.close();
    this.#admission.close();
    for (const handle of this.#openWrites) handle[Symbol.dispose]();
    const startMs = this.#clock.nowMs();
    const unfinishedKeys = await this.#store.close(deadlineMs);
    const loads = await this.#prefetch.close(Math.max(0, deadlineMs - (this.#clock.nowMs() - startMs)));
    this.#l1.expireLeases(Infinity);
    await this.#adapters.close(Math.max(adapterCloseMs, deadlineMs));
    // Adapters settle what they had when they close; give those answers their turn.
    await settlesWithin(this.#clock, this.idle(), adapterCloseMs);
    this.#stopListening();
    await this.#copiesDone(this.#clock.nowMs() + Math.max(adapterCloseMs, deadlineMs));
    const memoryKept = this.#l1.arena.stats(false).slotsInIo > 0;
    if (memoryKept) this.#logger.error("close", `L1 memory is still in I/O after close (${loads} loads, or a copy of the caller's); it stays mapped until the process ends`);
    else this.#l1.arena.close();
    if (this.#ownsRuntime && !memoryKept) await this.runtime.close();
    return { unfinishedKeys, memoryKept };
  }

  /** Waits until no slot is in I/O: copies that the caller started may outlast the adapters' work (law 2). */
  async #copiesDone(deadlineMs: number): Promise<void> {
    while (this.#l1.arena.stats(false).slotsInIo > 0 && this.#clock.nowMs() < deadlineMs) await sleep(this.#clock, ioPollMs);
  }

  #requireOpen(): void {
    if (this.#closing !== undefined) throw new ClosedError("the storage");
  }

  #grid(rows: readonly KeyRow[]): KeyGrid {
    return new KeyGrid(
      rows.map(({ keys, layout, windowChunks = -1 }): GridRow => {
        checkObjectLayout(layout);
        return { keys: keys instanceof KeyBatch ? keys : this.packKeys(keys, layout), sizeBytes: layout.sizeBytes, windowChunks };
      }),
    );
  }

  #saltId(keys: KeyBatch): number {
    return keys.count === 0 ? 0 : this.namespaces.saltId(keys.namespaceId(0));
  }

  async #waitForRoom(
    admission: { readonly charge: typeof AdmissionClass.store; readonly saltId: number; readonly attempt: () => WriteGrant | undefined; readonly what: string; readonly signal?: AbortSignal },
    grid: KeyGrid,
    options: WriteOptions,
  ): Promise<WriteGrant> {
    const waitMs = options.timeoutMs ?? this.config.l1.storeWaitMs;
    const neededBytes = grid.columns * grid.rowSizes.reduce((sum, size) => sum + this.#l1.bytes.footprint(size), 0);
    const pressure = { neededBytes, unsentBytes: this.#store.unsentBytes, waitMs };
    const answer = this.#store.answerPressure(pressure, configuredAnswer(this.config.l2.storePressure, waitMs));
    if (answer.action === "drop_oldest") this.#store.dropOldestUnsent(neededBytes);
    try {
      return await this.#admission.wait({ ...admission, timeoutMs: waitUnder(answer, waitMs) });
    } catch (error) {
      if (error instanceof CapacityError) this.#refusedNoRoom.add(grid.cellCount);
      throw error;
    }
  }

  #giveOut(grid: KeyGrid, grant: WriteGrant): WriteHandle {
    const handle = new WriteHandle(this, grid, grant, this.#clock.nowMs() + this.config.l1.writeTtlSeconds * 1000);
    if (this.#closing !== undefined) {
      this.#l1.abort(grant.refs, storeTag);
      throw new ClosedError("the storage");
    }
    this.#openWrites.add(handle);
    this.#notePeak();
    this.#sweepLater();
    return handle;
  }

  /** The obligation of what a commit published; it owns its arrays, whatever the caller does with the keys it passed. */
  #owe({ grid, keyIndices, refs }: Granted, published: readonly number[]): Obligation | undefined {
    if (this.#store.endsAtOnce(published.length)) return undefined;
    const isWhole = published.length === keyIndices.length;
    const indices = isWhole ? keyIndices : published.map((position) => keyIndices[position]);
    const sizes = new Uint32Array(published.length);
    for (let index = 0; index < published.length; index++) sizes[index] = grid.sizeOf(indices[index]);
    const keys = published.length === grid.cellCount ? new KeyBatch(grid.keys.records.slice()) : grid.keys.pick(indices);
    return this.#store.accept(keys, isWhole ? refs : pickRefs(refs, published), sizes);
  }

  #adapterContext(name: string): Parameters<typeof openL2Adapter>[1] {
    return adapterContext({
      name,
      clock: this.#clock,
      random: this.#random,
      logger: this.#logger,
      counters: this.counters,
      namespaces: this.namespaces,
      native: this.runtime,
      createEvictionPolicy: (policyName, context) => evictionPolicies.find(policyName, "eviction.eviction_policy").create(context),
      quotaBytes: (cacheSalt) => this.quotas.get(cacheSalt),
    });
  }

  #notePeak(): void {
    const usedBytes = this.#l1.usedBytes;
    if (usedBytes > this.#peakUsedBytes) this.#peakUsedBytes = usedBytes;
  }

  /** While writes or leases are open, looks once a second for those whose time has run out. */
  #sweepLater(): void {
    if (this.#sweepTimer !== undefined || this.#closing !== undefined) return;
    this.#sweepTimer = this.#clock.setTimer(sweepPauseMs, () => {
      this.#sweepTimer = undefined;
      const nowMs = this.#clock.nowMs();
      this.#expired.add(this.#l1.expireLeases(nowMs));
      for (const handle of this.#openWrites) {
        if (handle.deadlineMs > nowMs) continue;
        this.#expired.add(1);
        this.#openWrites.delete(handle);
        handle.expire();
      }
      if (this.#openWrites.size > 0 || this.#l1.leaseCount > 0) this.#sweepLater();
    });
  }
}

const closeDeadlineMs = 30_000;
const ioPollMs = 5;
/** Adapters get at least this long to close, and what they then answer gets this long to arrive. */
const adapterCloseMs = 1_000;

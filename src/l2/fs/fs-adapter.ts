/**
 * `fs`: one checksummed file per object. The addon moves the bytes and verifies them (docs/object-format.md); this file decides: what is
 * known, what fits, what leaves, and what a failure means.
 */
import { access } from "node:fs/promises";
import { join } from "node:path";

import type { KeyBatch } from "../../keys/key-batch.ts";
import { ItemStatus, type NativeObjectFiles } from "../../native/binding.ts";
import { checkBatch, pickBatch, pickRecords } from "../batches.ts";
import {
  type AdapterContext,
  type L2Adapter,
  type L2CallOptions,
  type L2Capabilities,
  type L2Health,
  type L2Usage,
  LoadStatus,
  type ObjectBatch,
  StoreStatus,
} from "../contract.ts";
import { chooseVictims, type EvictionRules } from "../eviction.ts";
import { EntryState, ObjectIndex } from "../object-index.ts";
import { type ObjectPlace, ObjectRoom, type RoomLimits } from "../object-room.ts";
import { isAborted, Operations, untilAborted } from "../operations.ts";
import { describeFs } from "./describe.ts";
import type { Marker } from "./directory.ts";
import { DirectoryWatch } from "./directory-watch.ts";
import type { FreeSpace } from "./free-space.ts";
import { listObjects } from "./list.ts";
import { digestBytes, identityBytes, ObjectNames, objectPath, tagBytes } from "./object-names.ts";
import { type FsSpec, maxBytesOf } from "./open.ts";
import type { OwnerLock } from "./owner-lock.ts";
import { errnoName, Problems } from "./problems.ts";
import { Scanner } from "./scanner.ts";

/** One native call moves at most about this much: between two calls a signal is heard. */
const windowBytes = 64 * 1024 * 1024;

export interface FsParts {
  readonly spec: FsSpec;
  readonly basePath: string;
  readonly marker: Marker;
  readonly lock: OwnerLock;
  readonly freeSpace: FreeSpace;
  readonly context: AdapterContext;
}

export class FsAdapter implements L2Adapter, ObjectPlace {
  readonly type = "fs";
  readonly name: string;
  readonly capabilities: L2Capabilities;
  readonly #parts: FsParts;
  readonly #context: AdapterContext;
  readonly #names: ObjectNames;
  readonly #index: ObjectIndex;
  readonly #rules: EvictionRules;
  readonly #room: ObjectRoom;
  readonly #scanner: Scanner;
  readonly #watch: DirectoryWatch;
  readonly #operations: Operations;
  readonly #problems: Problems;
  readonly #maxBytes: number;
  readonly #maxObjects: number;
  #files: NativeObjectFiles;
  #scanned: Promise<void> = Promise.resolve();

  constructor(parts: FsParts) {
    const { context, spec } = parts;
    this.#parts = parts;
    this.#context = context;
    this.name = context.name;
    this.#operations = new Operations(`adapter ${context.name}`);
    this.#problems = new Problems(context.name, context.logger);
    this.#maxBytes = maxBytesOf(spec);
    this.#maxObjects = spec.max_objects ?? Infinity;
    this.#files = this.#openFiles();
    this.#names = new ObjectNames(context.namespaces, this.#files);
    const table = new context.native.binding.InternTable(digestBytes, tagBytes);
    const policyName = spec.eviction?.eviction_policy ?? "LRU";
    this.#index = new ObjectIndex(table, context.namespaces, context.quotaBytes, (policyContext) => context.createEvictionPolicy(policyName, policyContext));
    this.#rules = {
      policy: this.#index.policy,
      // Without an `eviction` block objects leave only when room is needed.
      triggerWatermark: spec.eviction?.trigger_watermark ?? Infinity,
      evictionRatio: spec.eviction?.eviction_ratio ?? 0,
      sizeBytes: (id) => this.#index.footprintBytes(id),
      saltBytes: (saltId) => this.#index.bytesOfSalt(saltId),
      saltQuotaBytes: (saltId) => context.quotaBytes?.(context.namespaces.saltName(saltId)),
    };
    this.#room = new ObjectRoom(this.name, this.#index, this, this.#rules, context.counters);
    this.#scanner = new Scanner(context.native, this.#index, this.#names);
    this.#watch = new DirectoryWatch(parts, this.#problems);
    const { evicts } = this.#index.policy;
    this.capabilities = { persistent: true, accountsBytes: true, evicts, lists: true, shared: false, throughJavaScript: false };
  }

  /** Begins the background scan. Called once. */
  start(described: { readonly ids: readonly number[]; readonly damaged: readonly string[] }): void {
    for (const id of described.ids) this.#names.register(id);
    for (const name of described.damaged) this.#context.logger.warn("fs-namespace", `${this.name}: namespaces/${name} is damaged; its objects count under no salt`);
    const directIo = this.#files.directIoState();
    if (this.#parts.spec.use_odirect === true && !directIo.used) this.#problems.set("odirect", `use_odirect is true, but files are buffered: ${directIo.reason}`);
    this.#scan();
  }

  describe(): string {
    return describeFs({
      name: this.name,
      parts: this.#parts,
      limits: this.limits(),
      maxBytes: this.#maxBytes,
      policy: this.#index.policy.name,
      engine: this.#context.native.stats(),
      directIo: this.#files.directIoState(),
    });
  }

  store(batch: ObjectBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    checkBatch(batch);
    return this.#operations.run(async () => {
      const limited = this.#maxBytes !== Infinity || this.#maxObjects !== Infinity;
      // A limit means nothing before everything is counted. Free space needs no count: the file system keeps it.
      if (limited && this.#scanner.running) await untilAborted(this.#scanned, options.signal);
      await this.#awaken();
      await this.#refreshFreeSpace();
      const statuses = await this.#room.store(batch, this.#names.identities(batch.keys), options.signal);
      void this.#operations.track(this.#room.trim());
      return statuses;
    });
  }

  lookup(keys: KeyBatch): Promise<Uint8Array> {
    return this.#operations.run(async () => {
      const found = this.holds(keys);
      if (this.#scanner.running) await this.#askDisk(keys, found);
      return found;
    });
  }

  holds(keys: KeyBatch): Uint8Array {
    return Uint8Array.from(this.#index.find(this.#names.identities(keys)), (id) => (id !== 0 && this.#index.state(id) === EntryState.present ? 1 : 0));
  }

  load(batch: ObjectBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    checkBatch(batch);
    return this.#operations.run(() => this.#load(batch, options.signal));
  }

  delete(keys: KeyBatch, options: L2CallOptions = {}): Promise<Uint8Array> {
    return this.#operations.run(async () => {
      const identities = this.#names.identities(keys);
      if (this.#scanner.running) await untilAborted(this.#scanned, options.signal);
      await this.#room.untilIdle(this.#index.find(identities), options.signal);
      return this.#room.remove(this.#index.find(identities), "deleted");
    });
  }

  usage(): L2Usage {
    const { capacityBytes } = this.limits();
    return this.#index.usage(Math.max(0, Math.floor(capacityBytes)));
  }

  health(): L2Health {
    return { ready: !this.#operations.closed && !this.#watch.gone, problems: this.#problems.list() };
  }

  async *list(): AsyncIterable<{ readonly keys: KeyBatch; readonly sizes: Uint32Array }> {
    await this.#scanned;
    yield* listObjects(this.#parts.basePath, this.#index, this.#context.namespaces);
  }

  async close(): Promise<void> {
    const first = !this.#operations.closed;
    this.#scanner.stop();
    await this.#operations.close();
    if (!first) return;
    this.#files.close();
    await this.#watch.release();
  }

  /** Resolves when the scan that runs now is over. */
  scanned(): Promise<void> {
    return this.#scanned;
  }

  /** Bytes of the index, the eviction policy's own not included. */
  indexBytes(): number {
    return this.#index.memoryBytes();
  }

  // ObjectPlace ------------------------------------------------------------------------------------------------------------

  footprintBytes(objectBytes: number): number {
    return this.#files.fileBytesFor(objectBytes);
  }

  limits(): RoomLimits {
    const { freeSpace } = this.#parts;
    const usage = this.#index.usage(0);
    const headroom = freeSpace.headroom();
    const byFreeSpace = usage.usedBytes + headroom.bytes;
    return {
      capacityBytes: Math.min(this.#maxBytes, byFreeSpace),
      maxObjects: Math.min(this.#maxObjects, usage.objectCount + headroom.objects),
      reason: byFreeSpace < this.#maxBytes ? "free_space" : "capacity",
      largestBytes: Math.min(this.#maxBytes, freeSpace.totalBytes),
    };
  }

  evictable(): boolean {
    // A file that is being read keeps its bytes until it is closed, which is soon; nothing has to wait for it.
    return true;
  }

  async write(ids: Uint32Array, batch: ObjectBatch, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const statuses = new Uint8Array(ids.length).fill(StoreStatus.failed);
    if (this.#watch.gone) return statuses;
    const described = await this.#describeNamespaces(batch.keys);
    if (described !== StoreStatus.stored) return statuses.fill(described);
    for (const window of windows(batch.sizes)) {
      if (isAborted(signal)) break;
      const part = pickBatch(batch, window);
      const results = await this.#context.native.run((opId) => this.#files.store(opId, part.arena, part.slots, part.keys.records));
      window.forEach((index, position) => (statuses[index] = this.#storeStatusOf(results[position])));
      await this.#afterWrites(results, part);
    }
    this.#scanner.noteUsed(ids);
    return statuses;
  }

  async remove(ids: Uint32Array): Promise<Uint8Array> {
    const identities = new Uint8Array(ids.length * identityBytes);
    this.#index.table.records(ids, identities);
    const gone = await this.#unlink(identities);
    let bytes = 0;
    let objects = 0;
    ids.forEach((id, position) => {
      if (gone[position] === 0) return;
      bytes += this.#index.footprintBytes(id);
      objects++;
    });
    this.#parts.freeSpace.changed(-bytes, -objects);
    return gone;
  }

  // -------------------------------------------------------------------------------------------------------------------------

  async #load(batch: ObjectBatch, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const statuses = new Uint8Array(batch.keys.count).fill(LoadStatus.failed);
    await this.#awaken();
    if (isAborted(signal) || this.#watch.gone) return statuses;
    const identities = this.#names.identities(batch.keys);
    const ids = this.#index.find(identities);
    const asked: number[] = [];
    ids.forEach((id, key) => {
      const known = id !== 0 && this.#index.state(id) === EntryState.present;
      // Before the scan is over, an unknown file may be there; being stored or removed is a miss.
      if (known || (this.#scanner.running && (id === 0 || this.#index.state(id) === EntryState.absent))) asked.push(key);
      else statuses[key] = LoadStatus.missing;
    });
    for (const window of windows(Uint32Array.from(asked, (key) => batch.sizes[key]))) {
      if (isAborted(signal)) break;
      const keys = window.map((position) => asked[position]);
      const part = pickBatch(batch, keys);
      const partIds = Uint32Array.from(keys, (key) => ids[key]);
      const partIdentities = pickRecords(identities, identityBytes, keys);
      const generations = this.#generationsOf(partIds);
      const results = await this.#context.native.run((opId) => this.#files.load(opId, part.arena, part.slots, part.keys.records));
      keys.forEach((key, position) => (statuses[key] = this.#loadStatusOf(results[position])));
      await this.#afterLoads(results, part, partIds, generations, partIdentities);
      if (this.#isGone()) for (const key of keys) if (statuses[key] === LoadStatus.missing) statuses[key] = LoadStatus.failed;
    }
    return statuses;
  }

  /** As a call: what is true may change while a load is awaited. */
  #isGone(): boolean {
    return this.#watch.gone;
  }

  #generationsOf(ids: Uint32Array): Uint32Array {
    const generations = new Uint32Array(ids.length);
    const known = ids.filter((id) => id !== 0);
    const found = new Uint32Array(known.length);
    this.#index.table.generations(known, found);
    let next = 0;
    ids.forEach((id, position) => (generations[position] = id === 0 ? 0 : found[next++]));
    return generations;
  }

  /** Used, found on the way, damaged or gone: what a load says about the index. */
  async #afterLoads(results: Int32Array, part: ObjectBatch, ids: Uint32Array, generations: Uint32Array, identities: Uint8Array): Promise<void> {
    const current = this.#index.find(identities);
    const nowGenerations = this.#generationsOf(current);
    const used: number[] = [];
    const damaged: number[] = [];
    const vanished: number[] = [];
    const found: number[] = [];
    results.forEach((result, position) => {
      const id = current[position];
      // The entry may have been removed and made again while the load ran: what it found then says nothing about what is there now.
      const same = id !== 0 && id === ids[position] && nowGenerations[position] === generations[position] && this.#index.state(id) === EntryState.present;
      if (result === ItemStatus.ok) (same ? used : found).push(same ? id : position);
      else if (isDamage(result)) {
        this.#damaged(result);
        if (same || id === 0 || this.#isStillDamaged(identities, position)) damaged.push(position);
      } else if (result === ItemStatus.missing && same) vanished.push(id);
      else if (result < 0) this.#failed("load", result);
    });
    if (used.length > 0) {
      this.#index.policy.onKeysTouched(Uint32Array.from(used));
      this.#scanner.noteUsed(used);
      this.#problems.clear("load");
    }
    if (found.length > 0) this.#adopt(found, part, identities);
    if (vanished.length > 0 || results.some((result) => result < 0)) await this.#watch.check();
    if (vanished.length > 0 && !this.#watch.gone) await this.#room.remove(Uint32Array.from(vanished), "vanished");
    if (damaged.length > 0) await this.#removeDamaged(damaged, current, identities);
  }

  /** For the rare entry that a scan or a store made while the load ran: only the file itself can say whose damage that was. */
  #isStillDamaged(identities: Uint8Array, position: number): boolean {
    const path = join(this.#parts.basePath, objectPath(identities.subarray(position * identityBytes, (position + 1) * identityBytes)));
    return !this.#context.native.binding.inspectObjectFile(path).intact;
  }

  /** Enters objects that a load found before the scan did. */
  #adopt(positions: readonly number[], part: ObjectBatch, identities: Uint8Array): void {
    if (!this.#scanner.running) return;
    const ids = this.#index.intern(pickRecords(identities, identityBytes, positions));
    const returned: number[] = [];
    const created: number[] = [];
    ids.forEach((id, row) => {
      if (this.#index.state(id) !== EntryState.absent) {
        returned.push(id);
        return;
      }
      const position = positions[row];
      this.#index.enter(id, EntryState.present, part.keys.namespaceId(position), this.footprintBytes(part.sizes[position]));
      created.push(id);
    });
    this.#index.release(returned);
    if (created.length > 0) this.#index.policy.onKeysCreated(Uint32Array.from(created));
    this.#scanner.noteUsed(created);
  }

  /** Damaged files go, so that the next store repairs them. */
  async #removeDamaged(positions: readonly number[], ids: Uint32Array, identities: Uint8Array): Promise<void> {
    const known = positions.filter((position) => ids[position] !== 0);
    const unknown = positions.filter((position) => ids[position] === 0);
    await this.#room.remove(Uint32Array.from(known, (position) => ids[position]), "damaged");
    if (unknown.length > 0) await this.#unlink(pickRecords(identities, identityBytes, unknown));
  }

  async #unlink(identities: Uint8Array): Promise<Uint8Array> {
    const results = await this.#context.native.run((opId) => this.#files.remove(opId, identities));
    const gone = Uint8Array.from(results, (result) => (result === ItemStatus.ok || result === ItemStatus.missing ? 1 : 0));
    for (const result of results) if (result < 0) this.#failed("remove", result);
    this.#scanner.noteRemoved(identities, gone);
    return gone;
  }

  async #afterWrites(results: Int32Array, part: ObjectBatch): Promise<void> {
    let bytes = 0;
    let objects = 0;
    let full = false;
    results.forEach((result, position) => {
      if (result === ItemStatus.ok) {
        bytes += this.footprintBytes(part.sizes[position]);
        objects++;
      } else if (result < 0) {
        this.#failed("store", result);
        full ||= isFull(result);
      }
    });
    this.#parts.freeSpace.changed(bytes, objects);
    if (objects > 0) this.#problems.clear("store");
    if (objects < results.length && results.some((result) => result < 0)) await this.#watch.check();
    if (full) await this.#makeRoomOnFullDisk(part);
  }

  /** The disk is full although the limits saw room (a quota, another writer): gives way by as much as was refused. */
  async #makeRoomOnFullDisk(part: ObjectBatch): Promise<void> {
    this.#context.counters.counter("kvferry_l2_refused_objects_total", { adapter: this.name, reason: "disk_full" }).add(1);
    await this.#refreshFreeSpace(true);
    const bytes = part.sizes.reduce((sum, size) => sum + this.footprintBytes(size), 0);
    const victims = chooseVictims(this.#rules, bytes, 0, (id) => this.#index.state(id) === EntryState.present);
    if (victims.length > 0) await this.#room.remove(victims, "disk_full");
  }

  async #refreshFreeSpace(now = false): Promise<void> {
    try {
      await (now ? this.#parts.freeSpace.sample() : this.#parts.freeSpace.refresh());
    } catch (error) {
      this.#problems.set("statfs", `free space cannot be read: ${(error as Error).message}`);
      await this.#watch.check();
      return;
    }
    this.#problems.clear("statfs");
  }

  /** A description of each namespace lies in the directory before its first object does. */
  async #describeNamespaces(keys: KeyBatch): Promise<StoreStatus> {
    try {
      for (const id of this.#names.namespacesOf(keys)) await this.#watch.describeNamespace(id);
      return StoreStatus.stored;
    } catch (error) {
      const status = -Math.abs((error as NodeJS.ErrnoException).errno ?? 5);
      this.#failed("store", status);
      await this.#watch.check();
      return this.#storeStatusOf(status);
    }
  }

  /** After the directory vanished: looks for it again, at most once a second, and reads anew what lies in it. */
  async #awaken(): Promise<void> {
    if (!this.#watch.gone) return;
    const back = await this.#watch.tryAgain(() => {
      this.#files = this.#openFiles();
      this.#names.useFiles(this.#files);
    });
    if (!back) return;
    await this.#refreshFreeSpace(true);
    if (!this.#scanner.running) this.#scan((ids) => this.#room.remove(ids, "vanished"));
  }

  #scan(forget?: (ids: Uint32Array) => Promise<unknown>): void {
    const { counters } = this.#context;
    const work = async (): Promise<void> => {
      try {
        const report = await this.#scanner.run(this.#files, forget);
        counters.counter("kvferry_l2_scan_objects_total", { adapter: this.name }).add(report.objects);
        counters.counter("kvferry_l2_scan_temporary_deleted_total", { adapter: this.name }).add(report.temporaryDeleted);
        counters.counter("kvferry_l2_scan_foreign_files_total", { adapter: this.name }).add(report.foreignFiles);
        await this.#room.fit();
      } catch (error) {
        this.#problems.set("scan", `the directory could not be read: ${(error as Error).message}`);
      }
    };
    this.#scanned = this.#operations.track(work());
  }

  async #askDisk(keys: KeyBatch, found: Uint8Array): Promise<void> {
    const identities = this.#names.identities(keys);
    const ids = this.#index.find(identities);
    const unknown = [...found.keys()].filter((index) => found[index] === 0 && (ids[index] === 0 || this.#index.state(ids[index]) === EntryState.absent));
    await Promise.all(
      unknown.map(async (index) => {
        const path = join(this.#parts.basePath, objectPath(identities.subarray(index * identityBytes, (index + 1) * identityBytes)));
        found[index] = await access(path).then(
          () => 1,
          () => 0,
        );
      }),
    );
  }

  #openFiles(): NativeObjectFiles {
    const { native } = this.#context;
    const { use_odirect, fsync } = this.#parts.spec;
    const directIo = use_odirect === false ? "off" : "auto";
    return new native.binding.ObjectFiles(native.engine, { basePath: this.#parts.basePath, directIo, fsync });
  }

  #storeStatusOf(status: number): StoreStatus {
    if (status === ItemStatus.ok) return StoreStatus.stored;
    if (status === ItemStatus.alreadyPresent) return StoreStatus.alreadyPresent;
    if (status < 0 && isFull(status)) return StoreStatus.skippedNoRoom;
    return status < 0 && isRefusal(status) ? StoreStatus.refused : StoreStatus.failed;
  }

  #loadStatusOf(status: number): LoadStatus {
    if (status === ItemStatus.ok) return LoadStatus.loaded;
    if (status === ItemStatus.missing) return LoadStatus.missing;
    if (status === ItemStatus.corrupt) return LoadStatus.corrupt;
    return isDamage(status) ? LoadStatus.foreign : LoadStatus.failed;
  }

  #damaged(status: number): void {
    const kind = status === ItemStatus.corrupt ? "corrupt" : status === ItemStatus.foreignKey ? "foreign_key" : "other_layout";
    this.#context.counters.counter("kvferry_l2_damaged_objects_total", { adapter: this.name, kind }).add(1);
  }

  #failed(operation: string, status: number): void {
    const errno = errnoName(status);
    this.#context.counters.counter("kvferry_l2_io_errors_total", { adapter: this.name, operation, errno }).add(1);
    this.#problems.set(operation, `${operation} fails with ${errno} in ${this.#parts.basePath}`);
  }
}

function isDamage(status: number): boolean {
  return status === ItemStatus.corrupt || status === ItemStatus.foreignKey || status === ItemStatus.otherLayout;
}

function isFull(status: number): boolean {
  return ["ENOSPC", "EDQUOT"].includes(errnoName(status));
}

function isRefusal(status: number): boolean {
  return ["EROFS", "EACCES", "EPERM"].includes(errnoName(status));
}

/** Positions 0.. in runs of at most about windowBytes. */
function* windows(sizes: Uint32Array): Iterable<number[]> {
  let window: number[] = [];
  let bytes = 0;
  for (let position = 0; position < sizes.length; position++) {
    window.push(position);
    bytes += sizes[position];
    if (bytes >= windowBytes) {
      yield window;
      window = [];
      bytes = 0;
    }
  }
  if (window.length > 0) yield window;
}

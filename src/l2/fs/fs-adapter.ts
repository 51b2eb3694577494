/**
 * `fs`: one checksummed file per object. The addon moves the bytes and verifies them (docs/object-format.md); this file decides: what is
 * known, what fits, what leaves, and what a failure means.
 */
import { access } from "node:fs/promises";
import { join } from "node:path";

import type { KeyBatch } from "../../keys/key-batch.ts";
import { ItemStatus } from "../../native/binding.ts";
import { checkBatch, pickBatch } from "../batches.ts";
import {
  type AdapterContext,
  type L2Adapter,
  type L2CallOptions,
  type L2Capabilities,
  type L2Health,
  type L2Usage,
  type ObjectBatch,
  StoreStatus,
} from "../contract.ts";
import { chooseVictims, type EvictionRules } from "../eviction.ts";
import { EntryState, ObjectIndex } from "../object-index.ts";
import { type ObjectPlace, ObjectRoom, type RoomLimits } from "../object-room.ts";
import { isAborted, Operations, untilAborted } from "../operations.ts";
import { describeFs } from "./describe.ts";
import { DirectoryWatch } from "./directory-watch.ts";
import { listObjects } from "./list.ts";
import { Loader } from "./loader.ts";
import { ObjectFiles, windows } from "./object-files.ts";
import { digestBytes, identityBytes, ObjectNames, objectPath, tagBytes } from "./object-names.ts";
import { type FsParts, maxBytesOf } from "./parts.ts";
import { Problems } from "./problems.ts";
import { Scanner } from "./scanner.ts";
import { isFull, storeStatusOf } from "./statuses.ts";

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
  readonly #files: ObjectFiles;
  readonly #loader: Loader;
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
    this.#files = new ObjectFiles(parts, this.#problems);
    this.#names = new ObjectNames(context.namespaces, this.#files.native);
    const table = new context.native.binding.InternTable(digestBytes, tagBytes);
    this.#index = new ObjectIndex(table, context, spec.eviction?.eviction_policy ?? "LRU");
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
    const { basePath } = parts;
    this.#loader = new Loader({
      basePath,
      context,
      files: this.#files,
      names: this.#names,
      index: this.#index,
      room: this.#room,
      scanner: this.#scanner,
      watch: this.#watch,
      problems: this.#problems,
    });
    const { evicts } = this.#index.policy;
    this.capabilities = { persistent: true, accountsBytes: true, evicts, lists: true, shared: false, throughJavaScript: false };
  }

  /** Begins the background scan. Called once. */
  start(described: { readonly ids: readonly number[]; readonly damaged: readonly string[] }): void {
    for (const id of described.ids) this.#names.register(id);
    for (const name of described.damaged) this.#context.logger.warn("fs-namespace", `${this.name}: namespaces/${name} is damaged; its objects count under no salt`);
    const directIo = this.#files.native.directIoState();
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
      directIo: this.#files.native.directIoState(),
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
    return this.#operations.run(async () => {
      await this.#awaken();
      return this.#loader.load(batch, options.signal);
    });
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
    return this.#files.native.fileBytesFor(objectBytes);
  }

  limits(): RoomLimits {
    const { freeSpace } = this.#parts;
    const headroom = freeSpace.headroom();
    const byFreeSpace = this.#index.usedBytes + headroom.bytes;
    return {
      capacityBytes: Math.min(this.#maxBytes, byFreeSpace),
      maxObjects: Math.min(this.#maxObjects, this.#index.objectCount + headroom.objects),
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
      const results = await this.#files.store(part);
      window.forEach((index, position) => (statuses[index] = storeStatusOf(results[position])));
      await this.#afterWrites(results, part);
    }
    this.#scanner.noteUsed(ids);
    return statuses;
  }

  async remove(ids: Uint32Array): Promise<Uint8Array> {
    const identities = new Uint8Array(ids.length * identityBytes);
    this.#index.table.records(ids, identities);
    const gone = await this.#files.remove(identities);
    this.#scanner.noteRemoved(identities, gone);
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

  async #afterWrites(results: Int32Array, part: ObjectBatch): Promise<void> {
    let bytes = 0;
    let objects = 0;
    let full = false;
    results.forEach((result, position) => {
      if (result === ItemStatus.ok) {
        bytes += this.footprintBytes(part.sizes[position]);
        objects++;
      } else if (result < 0) {
        this.#files.failed("store", result);
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
      this.#files.failed("store", status);
      await this.#watch.check();
      return storeStatusOf(status);
    }
  }

  /** After the directory vanished: looks for it again, at most once a second, and reads anew what lies in it. */
  async #awaken(): Promise<void> {
    if (!this.#watch.gone) return;
    const back = await this.#watch.tryAgain(() => {
      this.#files.reopen();
      this.#names.useFiles(this.#files.native);
    });
    if (!back) return;
    await this.#refreshFreeSpace(true);
    if (!this.#scanner.running) this.#scan((ids) => this.#room.remove(ids, "vanished"));
  }

  #scan(forget?: (ids: Uint32Array) => Promise<unknown>): void {
    const { counters } = this.#context;
    const work = async (): Promise<void> => {
      try {
        const report = await this.#scanner.run(this.#files.native, forget);
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

}

/**
 * Types of the C++ addon, in one place beside the loader. Nothing else in the project may call the addon (the architecture
 * test reads the imports), and nothing here is part of the public face.
 *
 * Conventions
 * - One call per window of a request, never per object: ids, slots, sizes and hashes cross in typed arrays.
 * - `SlotRefs` holds two u32 per slot: index, generation. A stale or forged reference throws a RangeError whose `code` is
 *   KVFERRY_STALE_HANDLE; the whole call is checked before anything is changed.
 * - Asynchronous operations take an `opId` (u32, chosen by the caller, unique among pending ones). They hold I/O on every slot
 *   they name from the call until the hardware is done with it, and end with exactly one record in the completion ring.
 * - Buffers passed to an asynchronous operation are copied before the call returns unless the text says otherwise.
 */

/** Pairs [index, generation] of u32. */
export type SlotRefs = Uint32Array;

/** Code of the Error thrown when ArenaOptions.sharedName is in use by somebody else. */
export const sharedNameTaken = "KVFERRY_SHARED_NAME";

export interface ArenaOptions {
  /** Capacity; rounded down to 4 KiB, at least 64 KiB. Lazily populated: opening 16 GiB touches nothing. */
  readonly sizeBytes: number;
  /** At most this much per segment (default 1 GiB); an object never crosses a segment. */
  readonly segmentBytes?: number;
  /** madvise(MADV_HUGEPAGE) on the reservation (default true); refusal is reported in stats, never thrown. */
  readonly hugePages?: boolean;
  /**
   * POSIX shared memory name without the leading slash; posix_fallocate'd before use. Undefined = private memory. What a dead owner
   * left under the name is replaced; when it has a live owner, or is not kvferry's, opening throws an Error whose code is `sharedNameTaken`.
   */
  readonly sharedName?: string;
  /** Slot alignment and size rounding, a power of two of at least 4096 (default 4096). */
  readonly alignBytes?: number;
  /** Private memory that a background thread populates ahead of what was ever allocated (default 0: pages come at first touch). */
  readonly populateAheadBytes?: number;
}

export interface ArenaStats {
  readonly capacityBytes: number;
  /** Aligned bytes of every slot that is not back in the allocator, draining ones included. */
  readonly usedBytes: number;
  /** Part of usedBytes whose slots are marked for drop and wait for their last I/O. */
  readonly drainingBytes: number;
  readonly slotCount: number;
  readonly slotsInIo: number;
  readonly largestFreeBytes: number;
  /** Bytes moved by compaction since the arena was opened, and how often. */
  readonly compactedBytes: number;
  readonly compactions: number;
  readonly allocationFailures: number;
  readonly segmentCount: number;
  readonly hugePages: "on" | "refused" | "off";
  readonly sharedName: string | null;
  /** Resident bytes of the reservation as the kernel counts them (mincore is not read; smaps is): -1 when unknown. */
  readonly populatedBytes: number;
  /** Bytes of bookkeeping outside the arena (slot table, free lists). */
  readonly bookkeepingBytes: number;
}

export interface NativeArena {
  readonly capacityBytes: number;
  readonly alignBytes: number;
  /** Same as stats().usedBytes, cheap. */
  usedBytes(): number;
  /**
   * Takes up to `count` slots of `sizeBytes`, neighbours where possible, and writes their references. Returns how many were taken
   * (0..count). While enough bytes are free in all, fragmentation does not fail a call: slots without I/O are moved.
   */
  allocate(sizeBytes: number, count: number, outRefs: SlotRefs): number;
  /**
   * Marks slots for drop. A slot without I/O returns to the allocator at once, one with I/O when the last ends; its generation
   * changes at this call, so the references are stale from now on. Returns the aligned bytes that returned at once.
   */
  free(refs: SlotRefs): number;
  /** Counts one I/O in on each slot, for holders outside the addon (JavaScript adapters, clients of shared memory). */
  beginIo(refs: SlotRefs): void;
  /** Counts one I/O out. `refs` are those given to beginIo and stay valid for this call even after free(). */
  endIo(refs: SlotRefs): void;
  /**
   * Makes objects final: returns how many of the slots have I/O in flight and, when that is 0, seals all of them; otherwise nothing
   * changes. Whatever would write into a sealed slot (write, gather, load, the target of copySlots) is refused with
   * KVFERRY_STALE_HANDLE until free(); reading goes on as before. What was never written reads as zeros, never as an earlier object.
   */
  seal(refs: SlotRefs): number;
  /** Copies into the slot; bounds are checked against its size. Clears the slot's checksum. The first write leaves zeros around it. */
  write(index: number, generation: number, offset: number, bytes: Uint8Array): void;
  /** Copies out of the slot into the whole of `out`. */
  read(index: number, generation: number, offset: number, out: Uint8Array): void;
  /** Writes the crc32c of each slot's object bytes (computing it where it is not known) and returns nothing. */
  checksums(refs: SlotRefs, out: Uint32Array): void;
  /** For a shared arena: byte offset of each slot in the segment. */
  offsets(refs: SlotRefs, out: Float64Array): void;
  /** With `measurePopulated` false, populatedBytes is -1: measuring it reads /proc/self/smaps, which takes milliseconds. Default true. */
  stats(measurePopulated?: boolean): ArenaStats;
  /** Unmaps. Throws (and changes nothing) while I/O is in flight. Idempotent. */
  close(): void;
}

/**
 * Interning table: fixed-size records to dense 32-bit ids (from 1; 0 means absent) with reference counts and generations.
 * A record is `hashBytes` of hash followed by `familyBytes` that few distinct values share (namespace, rank, group), which are
 * stored once. Grows in steps, without a doubling peak. Belongs to the thread that made it.
 */
export interface NativeInternTable {
  readonly recordBytes: number;
  readonly size: number;
  /** Highest id ever handed out: the bound for arrays indexed by id. */
  readonly idBound: number;
  /** Bytes held by the table. */
  memoryBytes(): number;
  /** Finds or inserts; each id gets one more reference. Returns how many were inserted. A record twice in one call gets one id, two references. */
  intern(records: Uint8Array, outIds: Uint32Array): number;
  /** Finds without inserting and without taking a reference; 0 = absent. Returns how many were found. */
  find(records: Uint8Array, outIds: Uint32Array): number;
  retain(ids: Uint32Array): void;
  /** Gives back one reference each; an id at zero is recycled and its generation changes. Returns how many were recycled. */
  release(ids: Uint32Array): number;
  /** Writes the records of live ids; throws on a dead id. */
  records(ids: Uint32Array, out: Uint8Array): void;
  generations(ids: Uint32Array, out: Uint32Array): void;
}

export type FileEngineChoice = "auto" | "io_uring" | "threads";

export interface EngineOptions {
  /** Threads for gather, scatter, slot copies and checksums. Default: 2, at most the cores. */
  readonly copyThreads?: number;
  /** Threads for file work (all of it under "threads"; open, publish, unlink under io_uring). Default 8. */
  readonly fileThreads?: number;
  readonly fileEngine?: FileEngineChoice;
  /** Budget of payload bytes in flight to files; work beyond it waits in order. Default 256 MiB. */
  readonly fileBytesInFlight?: number;
  /** No threads: operations are queued and run, one by one, by step(). For the simulation. */
  readonly stepped?: boolean;
}

export interface EngineStats {
  /** What is really used for files, and why not io_uring when it is not (e.g. "EPERM from io_uring_setup"). */
  readonly fileEngine: "io_uring" | "threads";
  readonly fileEngineReason: string;
  readonly copyThreads: number;
  readonly fileThreads: number;
  readonly pendingOps: number;
  readonly fileBytesInFlight: number;
  readonly wakeUps: number;
  readonly completions: number;
}

/** Per-item status of asynchronous operations. 0 is success, 1..99 are these, negative values are -errno. */
export const ItemStatus = {
  ok: 0,
  /** load: there is no such object. */
  missing: 1,
  /** load: header or payload fails its checksum, or the length is wrong. */
  corrupt: 2,
  /** load: an intact object of another key lies there. */
  foreignKey: 3,
  /** load: an intact object of this key but of another layout or format version. */
  otherLayout: 4,
  /** store: an object of this key is already published (first wins). */
  alreadyPresent: 5,
  /** The engine was closed before the item started. */
  cancelled: 6,
} as const;

export interface NativeEngine {
  /** `wake` is called on this thread, coalesced: once after the ring goes from empty to non-empty. It keeps the loop alive only while operations are pending. */
  onWake(wake: () => void): void;
  /**
   * Moves completed records into `out` as [opId, itemCount, status...] of i32 and returns the words written. A record is never
   * split; when the next one does not fit, 0 is returned with nothing else written and `neededWords()` says how much it wants.
   */
  drain(out: Int32Array): number;
  neededWords(): number;
  /** Stepped mode: runs up to `count` queued operations. Returns how many ran. */
  step(count: number): number;
  stats(): EngineStats;
  /** Copies whole objects between arenas with their checksums computed (store) or compared (verify: a mismatch is `corrupt`, the target is then undefined). One status per slot. */
  copySlots(opId: number, source: NativeArena, sourceRefs: SlotRefs, target: NativeArena, targetRefs: SlotRefs, verify: boolean): void;
  /** Computes the checksum of slots that have none, on the copy threads. One status per slot. */
  checksumSlots(opId: number, arena: NativeArena, refs: SlotRefs): void;
  /** Joins the threads. Throws while operations are pending. Idempotent. */
  close(): void;
}

export interface ObjectFilesOptions {
  /** An existing directory; the object files go to `objects/xx/yy/` below it. */
  readonly basePath: string;
  /** O_DIRECT: "auto" falls back to buffered where it is refused and says so in directIoState(). */
  readonly directIo: "auto" | "on" | "off";
  /** fsync file and directory before an object counts as stored (default false). */
  readonly fsync: boolean;
}

/**
 * Object files of one fs directory: format, publishing, verification (docs/object-format.md).
 * File name: hex of a 16-byte digest of the whole key, a dot, 8 hex digits of the namespace digest.
 */
export interface NativeObjectFiles {
  /** Must be called before records of that namespace are stored or loaded. `description` (UTF-8 JSON) goes into each header for people. */
  registerNamespace(namespaceId: number, digest32: Uint8Array, description: Uint8Array): void;
  directIoState(): { readonly used: boolean; readonly reason: string };
  /** The 16-byte digests that name the objects of `records` (48 bytes each). */
  digests(records: Uint8Array, out: Uint8Array): void;
  /** Writes each slot as a complete, checksummed, published object. One status per slot. */
  store(opId: number, arena: NativeArena, refs: SlotRefs, records: Uint8Array): void;
  /** Reads each object into its slot; the slot's size is the only length that is accepted. One status per slot. */
  load(opId: number, arena: NativeArena, refs: SlotRefs, records: Uint8Array): void;
  /** Unlinks by file identity: 20 bytes each = 16 digest + 4 namespace tag. A missing file is `missing`. */
  remove(opId: number, identities: Uint8Array): void;
  /** Lists shard directories first..first+count-1 of 256 (first level), deleting temporary files of dead writers. Ends with one status; then takeScan gives the rows. */
  scan(opId: number, firstShard: number, shardCount: number): void;
  /** Rows of a finished scan: 20-byte identities, file sizes, and what was met besides. */
  takeScan(opId: number): {
    readonly identities: Uint8Array;
    readonly fileBytes: Float64Array;
    /** Modification times, ms since the epoch: the order for a rebuilt LRU. */
    readonly modifiedMs: Float64Array;
    readonly temporaryDeleted: number;
    readonly foreignFiles: number;
  };
  /** File size of an object with this many payload bytes. */
  fileBytesFor(payloadBytes: number): number;
  /** Same as NativeBinding.inspectObjectFile. */
  inspect(path: string): ObjectFileReport;
  close(): void;
}

export interface ObjectFileReport {
  readonly intact: boolean;
  /** Empty when intact, else what is wrong, in words. */
  readonly problem: string;
  readonly formatVersion: number;
  readonly payloadBytes: number;
  readonly chunkHashHex: string;
  readonly kvRank: number;
  readonly objectGroupId: number;
  readonly namespaceDigestHex: string;
  /** JSON text given to registerNamespace by the writer. */
  readonly namespaceDescription: string;
  readonly payloadCrc32c: number;
  readonly writtenAtMs: number;
}

/** Paged KV memory as seen by the copy plan; see native/core/copy_plan.h and docs/architecture.md. Strides in bytes. */
export interface KvLayoutDescription {
  /** Region per pointer index: registered memory and byte offset of block 0. Length layers (x planes when planes lie apart), or 1 for cross-layer blocks. */
  readonly regionIds: Uint32Array;
  readonly regionOffsets: Float64Array;
  readonly layers: number;
  /** 2 for K and V, 1 for MLA or packed. */
  readonly planes: number;
  readonly heads: number;
  /** Head size x element size. */
  readonly headBytes: number;
  readonly blockTokens: number;
  /** Tokens per object; a multiple of blockTokens. */
  readonly chunkTokens: number;
  readonly blockCount: number;
  readonly blockStride: number;
  readonly planeStride: number;
  readonly layerStride: number;
  readonly tokenStride: number;
  readonly headStride: number;
  /** Which pointer a (plane, layer) uses: 0 = one for all, 1 = by layer, 2 = plane x layers + layer. */
  readonly pointerMode: number;
}

/** Gather and scatter between paged KV memory and slots on the host. */
export interface NativeCpuDevice {
  /**
   * Registers memory (kept alive until unregisterMemory). Returns a region id. It must be backed by a SharedArrayBuffer (TypeError
   * otherwise), which nobody can detach or shrink while a copy runs.
   */
  registerMemory(memory: Uint8Array): number;
  unregisterMemory(regionId: number): void;
  /** Checks that no address the layout can form leaves its region or overlaps; returns a layout id. Throws RangeError naming the field. */
  registerLayout(layout: KvLayoutDescription): number;
  unregisterLayout(layoutId: number): void;
  /** Bytes of one object image of this layout: planes x layers x chunkTokens x heads x headBytes. */
  imageBytes(layoutId: number): number;
  /** Paged blocks -> slots, with the slots' checksums set. blockIds: chunkTokens/blockTokens per slot, -1 = null block (zeros). One status per slot. */
  gather(opId: number, layoutId: number, arena: NativeArena, refs: SlotRefs, blockIds: Int32Array): void;
  /** Slots -> paged blocks; the first skipTokens tokens of the first slot are not written; null blocks are skipped. One status per slot. */
  scatter(opId: number, layoutId: number, arena: NativeArena, refs: SlotRefs, blockIds: Int32Array, skipTokens: number): void;
  close(): void;
}

export interface CopyBenchOptions {
  readonly layers: number;
  readonly heads: number;
  readonly headBytes: number;
  readonly blockTokens: number;
  readonly chunkTokens: number;
  /** Heads outside tokens in a block: every head of every token is a piece of its own. */
  readonly headMajor: boolean;
  readonly objects: number;
  readonly rounds: number;
}

export interface CopyBenchRound {
  readonly memcpyPieces: number;
  readonly memcpyWhole: number;
  readonly gather: number;
  readonly scatter: number;
  readonly crc32c: number;
}

export interface CopyBenchResult {
  readonly objectBytes: number;
  readonly pieceBytes: number;
  readonly rounds: readonly CopyBenchRound[];
  /** The copies and checksums agreed with memcpy and crc32c. */
  readonly equal: boolean;
}

export interface NativeBinding {
  readonly version: string;
  /** Compiler, libc, crc32c implementation in use, for doctor and bug reports. */
  buildInfo(): Record<string, string>;
  crc32c(bytes: Uint8Array): number;
  /** BLAKE3 of bytes, 32 bytes. */
  blake3(bytes: Uint8Array): Uint8Array;
  /** Rolling chunk hashes (keys/chunk-hash.ts): returns 32 bytes per full chunk of `chunkTokens` tokens. `prefix` is h(i-1) or the seed. */
  chunkHashes(tokens: Uint32Array, chunkTokens: number, prefix: Uint8Array): Uint8Array;
  /** Reads and verifies one object file by path, without a directory of ours around it. Synchronous; not for hot paths. */
  inspectObjectFile(path: string): ObjectFileReport;
  /**
   * The kernel's exclusive lock on a file, made when it is not there; let go when the process ends in any way. A handle of 1 or more, or
   * -errno: -EWOULDBLOCK when somebody holds it (this process too), -ENOLCK or -EOPNOTSUPP where the file system has no locks.
   */
  lockFile(path: string): number;
  /** Gives a handle back. False when it is none, or was given back before. */
  unlockFile(handle: number): boolean;
  /**
   * The bytes' work of buffer-only mode with nothing around it, the yardstick of `kvferry bench buffer-only`: each object is copied from
   * a ring of engine memory to one of L1's size with its crc32c, and from there to one of the store's size. Blocks; returns seconds.
   */
  plainCopyLoop(options: {
    readonly objects: number;
    readonly objectBytes: number;
    /** Engine memory that the objects are copied from. */
    readonly source: Uint8Array;
    readonly l1Bytes: number;
    readonly l2Bytes: number;
    readonly threads: number;
  }): number;
  /** Gather, scatter and crc32c against memcpy on this thread, in alternation (native/core/copy_bench.h). Blocks; seconds per round. */
  copyBench(options: CopyBenchOptions): CopyBenchResult;
  readonly Arena: new (options: ArenaOptions) => NativeArena;
  readonly InternTable: new (hashBytes: number, familyBytes: number) => NativeInternTable;
  readonly Engine: new (options: EngineOptions) => NativeEngine;
  readonly ObjectFiles: new (engine: NativeEngine, options: ObjectFilesOptions) => NativeObjectFiles;
  readonly CpuDevice: new (engine: NativeEngine) => NativeCpuDevice;
}

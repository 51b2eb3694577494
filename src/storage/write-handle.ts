import { StateError } from "../base/errors.ts";
import type { KeyGrid, Obligation, Settlement } from "../controllers/index.ts";
import { KeyBatch } from "../keys/key-batch.ts";
import { WriteStatus, type WriteGrant } from "../l1/index.ts";
import type { NativeArena, SlotRefs } from "../native/binding.ts";
import { WriteSlot } from "./slot-handle.ts";

/** What a commit made visible. */
export class StoredWrite {
  /** Objects that are readable now because of this commit. */
  readonly publishedCount: number;
  /** Objects whose key another writer committed first; its copy stands. */
  readonly lostRaceCount: number;
  readonly #obligation: Obligation | undefined;

  constructor(publishedCount: number, lostRaceCount: number, obligation: Obligation | undefined) {
    this.publishedCount = publishedCount;
    this.lostRaceCount = lostRaceCount;
    this.#obligation = obligation;
  }

  /** Resolves when every adapter's part of every object has ended. Never rejects: read the counts. */
  get settled(): Promise<Settlement> {
    return this.#obligation?.settled ?? Promise.resolve({ storedKeys: this.publishedCount, failedKeys: 0, droppedKeys: 0, reasons: {} });
  }
}

/** What a write handle needs from the storage that gave it out. */
export interface WriteOwner {
  readonly arena: NativeArena;
  commitWrite(handle: WriteHandle, granted: Granted): StoredWrite;
  abortWrite(handle: WriteHandle, granted: Granted): void;
}

/** The storage's own record of a write: what is committed or aborted, whatever becomes of the handle's public arrays. */
export interface Granted {
  readonly grid: KeyGrid;
  readonly keyIndices: Uint32Array;
  readonly refs: SlotRefs;
}

type WriteState = "open" | "committed" | "aborted" | "expired";

/**
 * Staged slots that nobody can read yet. Fill the slots of `refs` (a device's gather, or `slots[i].write`), then commit; abort gives them
 * back. Keys that need no writing (resident, or being written by somebody else) have no slot: see `statuses`.
 */
export class WriteHandle implements Disposable {
  /** One WriteStatus per key, chunk by chunk. */
  readonly statuses: Uint8Array;
  /** Positions of the granted keys in `keys`. */
  readonly keyIndices: Uint32Array;
  readonly #granted: Granted;
  /** Leading whole chunks that are taken care of: granted, in L1 already, or being written. The rest found no room. */
  readonly chunkCount: number;
  /** Clock time at which an open write is aborted. */
  readonly deadlineMs: number;
  readonly #owner: WriteOwner;
  #state: WriteState = "open";
  #keys: KeyBatch | undefined;
  #refs: SlotRefs | undefined;
  #slots: WriteSlot[] | undefined;

  constructor(owner: WriteOwner, grid: KeyGrid, grant: WriteGrant, deadlineMs: number) {
    this.#owner = owner;
    this.statuses = grant.statuses;
    this.keyIndices = grant.keyIndices.slice();
    this.#granted = { grid, keyIndices: grant.keyIndices, refs: grant.refs };
    this.chunkCount = grant.chunks;
    this.deadlineMs = deadlineMs;
  }

  /** A copy, as the other arrays are. */
  get keys(): KeyBatch {
    this.#keys ??= new KeyBatch(this.#granted.grid.keys.records.slice());
    return this.#keys;
  }

  get arena(): NativeArena {
    return this.#owner.arena;
  }

  /** Granted slots: how many objects are the caller's to fill. */
  get count(): number {
    return this.keyIndices.length;
  }

  get state(): WriteState {
    return this.#state;
  }

  /** Pairs [index, generation] of the granted slots, in the order of keyIndices: what device.gather takes. A copy; commit has its own. */
  get refs(): SlotRefs {
    this.#refs ??= this.#granted.refs.slice();
    return this.#refs;
  }

  /** The granted slots as objects, for payload that comes from JavaScript. */
  get slots(): readonly WriteSlot[] {
    this.#slots ??= Array.from(
      this.keyIndices,
      (keyIndex, position) => new WriteSlot(this.arena, this.refs[2 * position], this.refs[2 * position + 1], this.#granted.grid.sizeOf(keyIndex)),
    );
    return this.#slots;
  }

  /** True when the key at this position is granted to this write. */
  isGranted(keyIndex: number): boolean {
    return this.statuses[keyIndex] === WriteStatus.granted;
  }

  /**
   * Makes the objects readable and gives them to the store policy. They are visible when the promise resolves; `settled` tells what L2 did.
   * Rejects with StateError while a copy still runs into a slot (await the gather first); the write then stays open.
   */
  commit(): Promise<StoredWrite> {
    try {
      this.#require("commit");
      const stored = this.#owner.commitWrite(this, this.#granted);
      this.#state = "committed";
      return Promise.resolve(stored);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /** Gives the slots back; readers never knew. A copy that still runs into them keeps their memory until it is done. */
  abort(): void {
    this.#require("abort");
    this.#state = "aborted";
    this.#owner.abortWrite(this, this.#granted);
  }

  /** The write's time ran out: the slots go back, and commit says why from then on. */
  expire(): void {
    this.#state = "expired";
    this.#owner.abortWrite(this, this.#granted);
  }

  [Symbol.dispose](): void {
    if (this.#state === "open") this.abort();
  }

  #require(what: string): void {
    if (this.#state === "expired") throw new StateError(`${what}: this write was aborted after its time (l1.writeTtlSeconds) ran out`);
    if (this.#state !== "open") throw new StateError(`${what}: this write is ${this.#state} already`);
  }
}

/** Reads what lies in the directory into the index, in the background, and rebuilds the order of eviction from the files' times. */
import { toHex } from "../../base/bytes.ts";
import type { NativeObjectFiles } from "../../native/binding.ts";
import type { NativeRuntime } from "../../native/runtime.ts";
import { EntryState, type ObjectIndex } from "../object-index.ts";
import { AgeOrder } from "./age-order.ts";
import { identityBytes, type ObjectNames } from "./object-names.ts";

const shardCount = 256;
/** First-level directories per native call: 1/32 of the directory. */
const shardsPerStep = 8;
/** Rows entered between two breaths of the event loop. */
const rowsPerSlice = 2048;

export interface ScanReport {
  objects: number;
  temporaryDeleted: number;
  foreignFiles: number;
}

export class Scanner {
  readonly #native: NativeRuntime;
  readonly #index: ObjectIndex;
  readonly #names: ObjectNames;
  /** Files removed or found damaged while a scan runs: a row that was read before must not come back as an object. */
  readonly #removed = new Set<string>();
  /** Ids created or used while a scan runs: younger than everything it finds. */
  readonly #used = new Set<number>();
  #running = false;
  #stopped = false;

  constructor(native: NativeRuntime, index: ObjectIndex, names: ObjectNames) {
    this.#native = native;
    this.#index = index;
    this.#names = names;
  }

  get running(): boolean {
    return this.#running;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Tells of files that are gone. */
  noteRemoved(identities: Uint8Array, gone: Uint8Array): void {
    if (!this.#running) return;
    for (let index = 0; index < gone.length; index++)
      if (gone[index] === 1) this.noteLost(identities, index);
  }

  /** Tells of a file that is no object, whether it can be removed or not: `identities[row]`. */
  noteLost(identities: Uint8Array, row: number): void {
    if (this.#running) this.#removed.add(identityHex(identities, row));
  }

  /** True when the scan that runs has been told that this file is no object any more. */
  wasRemoved(identities: Uint8Array, row: number): boolean {
    return this.#removed.size > 0 && this.#removed.has(identityHex(identities, row));
  }

  /** Tells of ids that were created or used. */
  noteUsed(ids: Iterable<number>): void {
    if (this.#running) for (const id of ids) this.#used.add(id);
  }

  /** Enters every object file. With `forget`, objects that were known before and are not there any more are given to it. */
  async run(files: NativeObjectFiles, forget?: (ids: Uint32Array) => Promise<unknown>): Promise<ScanReport> {
    this.#running = true;
    const report: ScanReport = { objects: 0, temporaryDeleted: 0, foreignFiles: 0 };
    try {
      const idBound = this.#index.table.idBound;
      const seen = forget === undefined ? undefined : new Uint8Array(idBound + 1);
      const order = new AgeOrder();
      for (let first = 0; first < shardCount && !this.#stopped; first += shardsPerStep) {
        let scanOp = 0;
        await this.#native.run((opId) => {
          scanOp = opId;
          files.scan(opId, first, shardsPerStep);
        });
        const rows = files.takeScan(scanOp);
        report.temporaryDeleted += rows.temporaryDeleted;
        report.foreignFiles += rows.foreignFiles;
        report.objects += rows.fileBytes.length;
        await this.#enter(rows.identities, rows.fileBytes, rows.modifiedMs, order, seen);
      }
      if (!this.#stopped) await this.#rank(order);
      if (seen !== undefined && !this.#stopped) await forget?.(this.#unseen(seen, idBound));
      return report;
    } finally {
      this.#running = false;
      this.#removed.clear();
      this.#used.clear();
    }
  }

  async #enter(identities: Uint8Array, fileBytes: Float64Array, modifiedMs: Float64Array, order: AgeOrder, seen: Uint8Array | undefined): Promise<void> {
    const index = this.#index;
    for (let first = 0; first < fileBytes.length; first += rowsPerSlice) {
      const end = Math.min(first + rowsPerSlice, fileBytes.length);
      const slice = identities.subarray(first * identityBytes, end * identityBytes);
      const ids = index.intern(slice);
      const returned: number[] = [];
      for (let row = 0; row < ids.length; row++) {
        const id = ids[row];
        if (seen !== undefined && id < seen.length) seen[id] = 1;
        if (index.state(id) !== EntryState.absent || this.wasRemoved(slice, row)) {
          returned.push(id);
          continue;
        }
        index.enter(id, EntryState.present, this.#names.namespaceOf(slice, row), fileBytes[first + row]);
        order.add(id, modifiedMs[first + row]);
      }
      index.release(returned);
      await breathe();
    }
  }

  /** Gives the found objects to the policy, oldest first, and then what was used meanwhile. */
  async #rank(order: AgeOrder): Promise<void> {
    const { policy } = this.#index;
    const one = new Uint32Array(1);
    await order.visit(breathe, (id) => {
      if (this.#index.state(id) !== EntryState.present) return;
      one[0] = id;
      policy.onKeysCreated(one);
    });
    const used = [...this.#used].filter((id) => this.#index.state(id) === EntryState.present);
    if (used.length > 0) policy.onKeysTouched(Uint32Array.from(used));
  }

  /** Ids that were present before the scan and were neither found nor written since. */
  #unseen(seen: Uint8Array, idBound: number): Uint32Array {
    const missing: number[] = [];
    for (let id = 1; id <= idBound; id++)
      if (seen[id] === 0 && !this.#used.has(id) && this.#index.state(id) === EntryState.present) missing.push(id);
    return Uint32Array.from(missing);
  }
}

function identityHex(identities: Uint8Array, row: number): string {
  return toHex(identities.subarray(row * identityBytes, (row + 1) * identityBytes));
}

function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

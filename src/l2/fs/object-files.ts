import { ItemStatus, type NativeObjectFiles } from "../../native/binding.ts";
import type { AdapterContext, ObjectBatch } from "../contract.ts";
import type { FsParts } from "./parts.ts";
import type { Problems } from "./problems.ts";
import { errnoName } from "./problems.ts";
import { damageKind } from "./statuses.ts";

/** One native call moves at most about this much: between two calls a signal is heard. */
const windowBytes = 64 * 1024 * 1024;

/** The addon's object files of the directory as promises, with every failure counted and shown. */
export class ObjectFiles {
  readonly #parts: FsParts;
  readonly #context: AdapterContext;
  readonly #problems: Problems;
  #native: NativeObjectFiles;

  constructor(parts: FsParts, problems: Problems) {
    this.#parts = parts;
    this.#context = parts.context;
    this.#problems = problems;
    this.#native = this.#open();
  }

  get native(): NativeObjectFiles {
    return this.#native;
  }

  /** Takes hold of the directory anew, after it was away. Throws NativeError. */
  reopen(): void {
    this.#native = this.#open();
  }

  store(batch: ObjectBatch): Promise<Int32Array> {
    return this.#context.native.run((opId) => this.#native.store(opId, batch.arena, batch.slots, batch.keys.records));
  }

  load(batch: ObjectBatch): Promise<Int32Array> {
    return this.#context.native.run((opId) => this.#native.load(opId, batch.arena, batch.slots, batch.keys.records));
  }

  /** 1 per identity whose file is gone now. */
  async remove(identities: Uint8Array): Promise<Uint8Array> {
    const results = await this.#context.native.run((opId) => this.#native.remove(opId, identities));
    for (const result of results) if (result < 0) this.failed("remove", result);
    return Uint8Array.from(results, (result) => (result === ItemStatus.ok || result === ItemStatus.missing ? 1 : 0));
  }

  close(): void {
    this.#native.close();
  }

  /** Counts an error and keeps it in health() until the operation works again. */
  failed(operation: string, status: number): void {
    const errno = errnoName(status);
    this.#context.counters.counter("kvferry_l2_io_errors_total", { adapter: this.#context.name, operation, errno }).add(1);
    this.#problems.set(operation, `${operation} fails with ${errno} in ${this.#parts.basePath}`);
  }

  damaged(status: number): void {
    this.#context.counters.counter("kvferry_l2_damaged_objects_total", { adapter: this.#context.name, kind: damageKind(status) }).add(1);
  }

  #open(): NativeObjectFiles {
    const { native } = this.#context;
    const { use_odirect, fsync } = this.#parts.spec;
    return new native.binding.ObjectFiles(native.engine, { basePath: this.#parts.basePath, directIo: use_odirect === false ? "off" : "auto", fsync });
  }
}

/** Positions 0.. in runs of at most about windowBytes. */
export function* windows(sizes: Uint32Array): Iterable<number[]> {
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

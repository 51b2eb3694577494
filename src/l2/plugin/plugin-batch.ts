import { createHash } from "node:crypto";

import { StateError } from "../../base/errors.ts";
import type { KeyBatch } from "../../keys/key-batch.ts";
import type { NamespaceTable } from "../../keys/namespace.ts";
import type { ObjectKey } from "../../keys/object-key.ts";
import type { NativeBinding } from "../../native/binding.ts";
import { pickSlots } from "../batches.ts";
import { LoadStatus, type ObjectBatch } from "../contract.ts";
import { checkEnvelope, envelopeHeaderBytes, sealHeader } from "../envelope.ts";
import type { PluginKeys, PluginLoadBatch, PluginStoreBatch } from "./contract.ts";

/** What the wrapper hands to a user's class: revoked when the call settles, so that late work cannot reach a slot. */
export class PluginCall implements PluginKeys, PluginStoreBatch, PluginLoadBatch {
  readonly count: number;
  /** Statuses of copyIn: a key that the class calls loaded without one is not. */
  readonly copiedIn: Uint8Array;
  readonly #keys: KeyBatch;
  readonly #batch: ObjectBatch | undefined;
  readonly #namespaces: NamespaceTable;
  readonly #binding: NativeBinding;
  #revoked = false;

  constructor(keys: KeyBatch, batch: ObjectBatch | undefined, namespaces: NamespaceTable, binding: NativeBinding) {
    this.count = keys.count;
    this.copiedIn = new Uint8Array(keys.count).fill(LoadStatus.missing);
    this.#keys = keys;
    this.#batch = batch;
    this.#namespaces = namespaces;
    this.#binding = binding;
  }

  revoke(): void {
    this.#revoked = true;
  }

  name(index: number): string {
    this.#check(index);
    const hash = createHash("sha256");
    hash.update(this.#namespaces.digest(this.#keys.namespaceId(index)));
    hash.update(this.#keys.chunkHash(index));
    hash.update(Uint32Array.of(this.#keys.kvRank(index), this.#keys.objectGroupId(index)));
    return hash.digest("hex");
  }

  key(index: number): ObjectKey {
    this.#check(index);
    return this.#keys.objectKey(index, this.#namespaces);
  }

  sealedBytes(index: number): number {
    return envelopeHeaderBytes + this.#objects(index).sizes[index];
  }

  copyOut(index: number): Uint8Array {
    const { arena, slots, sizes } = this.#objects(index);
    const sealed = new Uint8Array(envelopeHeaderBytes + sizes[index]);
    arena.read(slots[index * 2], slots[index * 2 + 1], 0, sealed.subarray(envelopeHeaderBytes));
    const crc = new Uint32Array(1);
    arena.checksums(pickSlots(slots, [index]), crc);
    sealHeader(sealed, crc[0], this.#keys, index, this.#namespaces, this.#binding);
    return sealed;
  }

  copyIn(index: number, sealed: Uint8Array): LoadStatus {
    const { arena, slots, sizes } = this.#objects(index);
    if (!(sealed instanceof Uint8Array)) throw new TypeError("copyIn(index, sealed): sealed must be a Uint8Array");
    const status = checkEnvelope(sealed, sizes[index], this.#keys, index, this.#namespaces, this.#binding);
    if (status === LoadStatus.loaded) arena.write(slots[index * 2], slots[index * 2 + 1], 0, sealed.subarray(envelopeHeaderBytes));
    this.copiedIn[index] = status;
    return status;
  }

  #objects(index: number): ObjectBatch {
    this.#check(index);
    if (this.#batch === undefined) throw new StateError("lookup and delete carry no objects");
    return this.#batch;
  }

  #check(index: number): void {
    if (this.#revoked) throw new StateError("this call has settled: its batch can no longer be used");
    if (!Number.isInteger(index) || index < 0 || index >= this.count) throw new RangeError(`index must be in [0, ${this.count}), got ${index}`);
  }
}

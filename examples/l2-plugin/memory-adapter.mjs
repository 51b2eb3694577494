// An L2 adapter of your own, in 40 lines: objects in a Map. Run it with
//   --l2-adapter '{"type":"plugin","module_path":"examples/l2-plugin/memory-adapter.mjs","class_name":"MemoryAdapter"}'
// Swap the Map for a client of your store and you are done: docs/adapters.md.
export class MemoryAdapter {
  #objects = new Map();
  #usedBytes = 0;
  #maxBytes;
  #status;

  /** The spec's adapter_params, and { name, logger, StoreStatus, LoadStatus }. */
  constructor({ max_bytes = Infinity }, { StoreStatus, LoadStatus }) {
    this.#maxBytes = max_bytes;
    this.#status = { ...StoreStatus, ...LoadStatus };
  }

  async store(batch) {
    return indices(batch).map((i) => {
      if (this.#objects.has(batch.name(i))) return this.#status.alreadyPresent;
      if (this.#usedBytes + batch.sealedBytes(i) > this.#maxBytes) return this.#status.skippedNoRoom;
      this.#objects.set(batch.name(i), { sealed: batch.copyOut(i), cacheSalt: batch.key(i).cacheSalt });
      this.#usedBytes += batch.sealedBytes(i);
      return this.#status.stored;
    });
  }

  async lookup(keys) {
    return indices(keys).map((i) => (this.#objects.has(keys.name(i)) ? 1 : 0));
  }

  async load(batch) {
    return indices(batch).map((i) => {
      const found = this.#objects.get(batch.name(i));
      return found === undefined ? this.#status.missing : batch.copyIn(i, found.sealed);
    });
  }

  async delete(keys) {
    return indices(keys).map((i) => {
      const found = this.#objects.get(keys.name(i));
      this.#usedBytes -= found?.sealed.byteLength ?? 0;
      return this.#objects.delete(keys.name(i)) ? 1 : 0;
    });
  }

  /** Optional: what /status and eviction by quota want to know. */
  usage() {
    const bytesBySalt = {};
    for (const { sealed, cacheSalt } of this.#objects.values()) bytesBySalt[cacheSalt] = (bytesBySalt[cacheSalt] ?? 0) + sealed.byteLength;
    return { usedBytes: this.#usedBytes, capacityBytes: Number.isFinite(this.#maxBytes) ? this.#maxBytes : 0, objectCount: this.#objects.size, bytesBySalt };
  }
}

const indices = ({ count }) => Array.from({ length: count }, (_, i) => i);

/** Bugs to plant: each of a kind that a rival has had, or that a careless change would make. mutant-main.ts runs one, mutants.test.ts all. */
import { Counter } from "../../src/base/counters.ts";
import { Obligation, type Ending } from "../../src/controllers/index.ts";
import { QueueWatch } from "../../src/controllers/queue-watch.ts";
import { KeyBatch } from "../../src/keys/key-batch.ts";
import { Admission, L1Manager } from "../../src/l1/index.ts";
import { ClassBytes } from "../../src/l1/class-bytes.ts";
import { ObjectTable } from "../../src/l1/object-table.ts";
import type { NativeArena, NativeBinding, NativeInternTable } from "../../src/native/binding.ts";
import { loadBinding } from "../../src/native/load.ts";

/** Replaces a method for the rest of the process; `make` gets the real one. */
function patch<T extends object, K extends keyof T>(target: T, name: K, make: (real: T[K]) => T[K]): void {
  Object.defineProperty(target, name, { value: make(target[name]), configurable: true, writable: true });
}

/** The addon with some methods of one class replaced. */
function changedBinding<Instance extends object>(className: "Arena" | "InternTable", changed: Partial<Instance>): NativeBinding {
  const binding = loadBinding();
  const Real = binding[className] as new (...args: unknown[]) => object;
  class Changed {
    constructor(...args: unknown[]) {
      return new Proxy(new Real(...args), {
        get(target, property) {
          if (property in changed) return changed[property as keyof Instance];
          const value: unknown = Reflect.get(target, property, target);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    }
  }
  return { ...binding, [className]: Changed };
}

export interface Bug {
  readonly name: string;
  readonly plant: () => NativeBinding | void;
}

const loads = 2;

export const bugs: readonly Bug[] = [
  {
    name: "I/O is not counted, so a slot is freed under it (LMCache N2, N4)",
    plant: () => changedBinding<NativeArena>("Arena", { beginIo: () => {}, endIo: () => {} }),
  },
  { name: "I/O is never counted out", plant: () => changedBinding<NativeArena>("Arena", { endIo: () => {} }) },
  { name: "a lease is not counted", plant: () => patch(ObjectTable.prototype, "addLease", () => function () {}) },
  { name: "leases are invisible to whoever frees", plant: () => patch(ObjectTable.prototype, "leases", () => () => 0) },
  { name: "leases do not expire (LMCache N6)", plant: () => patch(L1Manager.prototype, "expireLeases", () => () => 0) },
  { name: "the last part of an obligation is not noticed (LMCache B1)", plant: () => patch(Obligation.prototype, "endPart", (real) => function (this: Obligation, ...args) {
    return real.apply(this, args) && args[1].kind === "stored";
  }) },
  { name: "an ending is noted for another key of the batch", plant: () => patch(Obligation.prototype, "endPart", (real) => function (this: Obligation, keyIndex: number, ending: Ending) {
    return real.call(this, (keyIndex + 1) % this.keys.count, ending);
  }) },
  { name: "a failed store counts as stored (LMCache N1)", plant: () => patch(Obligation.prototype, "endPart", (real) => function (this: Obligation, keyIndex: number) {
    return real.call(this, keyIndex, { kind: "stored" });
  }) },
  { name: "nobody is told that an obligation has ended", plant: () => patch(Obligation.prototype, "announce", () => function () {}) },
  { name: "temporary objects stay when their reader has gone", plant: () => patch(ObjectTable.prototype, "isTemporary", () => () => false) },
  { name: "an abort does not free", plant: () => patch(L1Manager.prototype, "abort", () => function () {}) },
  { name: "a failed load is published (rank 1 of what users suffer)", plant: () => patch(L1Manager.prototype, "abort", (real) => function (this: L1Manager, refs, tag) {
    if (tag === loads) this.commitLoaded(refs, tag);
    else real.call(this, refs, tag);
  }) },
  { name: "eviction takes what is leased or owed", plant: () => patch(L1Manager.prototype, "isEvictable", () => function (this: L1Manager, keyId: number) {
    return this.table.residentSlot(keyId) >= 0;
  }) },
  { name: "readers see staged objects (LMCache: an expired write lock is readable)", plant: () => patch(ObjectTable.prototype, "residentSlot", (real) => function (this: ObjectTable, keyId: number) {
    const slot = real.call(this, keyId);
    return slot >= 0 ? slot : this.stagedSlot(keyId);
  }) },
  { name: "bytes are not given back to their class", plant: () => patch(ClassBytes.prototype, "remove", () => function () {}) },
  { name: "a class may take what is left to the other", plant: () => patch(ClassBytes.prototype, "limit", () => () => Infinity) },
  { name: "a key's reference is never given back", plant: () => changedBinding<NativeInternTable>("InternTable", { release: () => 0 }) },
  { name: "nobody wakes who waits for room", plant: () => patch(Admission.prototype, "pumpSoon", () => function () {}) },
  { name: "part of a batch goes out under other keys (LMCache: another key's bytes under a valid key)", plant: () => patch(KeyBatch.prototype, "pick", (real) => function (this: KeyBatch, indices) {
    return real.call(this, Array.from(indices).reverse());
  }) },
  { name: "what waits behind a silent adapter is never ended (LMCache N7)", plant: () => patch(QueueWatch.prototype, "note", () => function () {}) },
  { name: "a counter falls", plant: () => patch(Counter.prototype, "add", (real) => function (this: Counter, amount: number) {
    real.call(this, this.value > 3 && this.name.endsWith("_total") ? -1 : amount);
  }) },
];


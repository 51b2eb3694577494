import fc from "fast-check";

import { KeyBatch, packKeys } from "../../../src/keys/key-batch.ts";
import { NamespaceTable } from "../../../src/keys/namespace.ts";
import type { EvictionContext } from "../../../src/policies/contract.ts";

/** Every id has one byte and the empty salt. */
export const plainContext: EvictionContext = { saltId: () => 0, sizeBytes: () => 1 };

export const ids = (...list: number[]): Uint32Array => Uint32Array.from(list);

/** A batch of keys told apart by their numbers. */
export function keysOf(numbers: readonly number[], namespaces = new NamespaceTable()): KeyBatch {
  const keys = numbers.map((number) => {
    const chunkHash = new Uint8Array(32);
    new DataView(chunkHash.buffer).setUint32(0, number);
    return { chunkHash, modelName: "m", kvRank: 0, objectGroupId: 0, cacheSalt: "" };
  });
  return packKeys(keys, "00", namespaces);
}

/** Runs a property and prints the seed with a failure, as fast-check does; FC_SEED replays one. */
export function check<Ts extends [unknown, ...unknown[]]>(property: fc.IPropertyWithHooks<Ts>, numRuns = 200): void {
  fc.assert(property, { numRuns, seed: process.env.FC_SEED === undefined ? undefined : Number(process.env.FC_SEED) });
}

export type EvictionOp =
  | { readonly kind: "created" | "reserved" | "touched" | "removed"; readonly ids: number[] }
  | { readonly kind: "evict"; readonly ratio: number; readonly locked: number[]; readonly remove: boolean }
  | { readonly kind: "evictBytes"; readonly bytes: number; readonly locked: number[] };

/** Sequences of policy calls (with `remove`, victims do leave) over few ids, some of them beyond the first segment of 64 Ki. */
export function evictionOps(): fc.Arbitrary<EvictionOp[]> {
  const id = fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7, 65_535, 65_536, 65_537, 200_000);
  const batch = fc.array(id, { minLength: 1, maxLength: 6 });
  return fc.array(
    fc.oneof(
      { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom("created" as const, "reserved" as const, "touched" as const), ids: batch }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("removed" as const), ids: batch }) },
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant("evict" as const), ratio: fc.double({ min: -0.1, max: 1.1, noNaN: true }), locked: batch, remove: fc.boolean() }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("evictBytes" as const), bytes: fc.integer({ min: 0, max: 40 }), locked: batch }) },
    ),
    // fast-check keeps arrays short unless told: ARC shows its rules only in long runs.
    { maxLength: 80, size: "max" },
  );
}

import { KeyBatch } from "../keys/key-batch.ts";
import type { ObjectBatch } from "../l2/contract.ts";

/** A batch for an adapter to keep: it may change or transfer the arrays, and nothing of ours changes with them (law 2). */
export function lendBatch({ keys, arena, slots, sizes }: ObjectBatch): ObjectBatch {
  return { keys: lendKeys(keys), arena, slots: slots.slice(), sizes: sizes.slice() };
}

/** The same for keys alone. */
export function lendKeys(keys: KeyBatch): KeyBatch {
  return new KeyBatch(keys.records.slice());
}

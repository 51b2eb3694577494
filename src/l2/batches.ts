import type { KeyBatch } from "../keys/key-batch.ts";
import type { SlotRefs } from "../native/binding.ts";
import type { ObjectBatch } from "./contract.ts";

/** The slots at `indices`, in that order. */
export function pickSlots(slots: SlotRefs, indices: ArrayLike<number>): SlotRefs {
  const picked = new Uint32Array(indices.length * 2);
  for (let target = 0; target < indices.length; target++) {
    picked[target * 2] = slots[indices[target] * 2];
    picked[target * 2 + 1] = slots[indices[target] * 2 + 1];
  }
  return picked;
}

/** The part of a batch at `indices`; the batch itself when that is all of it. */
export function pickBatch(batch: ObjectBatch, indices: readonly number[]): ObjectBatch {
  if (indices.length === batch.keys.count) return batch;
  return {
    keys: batch.keys.pick(indices),
    arena: batch.arena,
    slots: pickSlots(batch.slots, indices),
    sizes: Uint32Array.from(indices, (index) => batch.sizes[index]),
  };
}

/** Fixed-size records at `indices`, copied. */
export function pickRecords(records: Uint8Array, recordBytes: number, indices: readonly number[]): Uint8Array {
  if (indices.length * recordBytes === records.byteLength) return records;
  const picked = new Uint8Array(indices.length * recordBytes);
  for (let target = 0; target < indices.length; target++)
    picked.set(records.subarray(indices[target] * recordBytes, (indices[target] + 1) * recordBytes), target * recordBytes);
  return picked;
}

/** Throws RangeError when the arrays of a batch do not belong together: a caller's mistake, not a key's failure. */
export function checkBatch(batch: ObjectBatch): void {
  const { keys, slots, sizes } = batch;
  if (slots.length !== keys.count * 2 || sizes.length !== keys.count)
    throw new RangeError(`a batch of ${keys.count} keys needs ${keys.count * 2} slot words and ${keys.count} sizes, got ${slots.length} and ${sizes.length}`);
}

/** 0 .. count-1. */
export function allIndices(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** One answer for all keys. */
export function answerAll(keys: KeyBatch, status: number): Uint8Array {
  return new Uint8Array(keys.count).fill(status);
}

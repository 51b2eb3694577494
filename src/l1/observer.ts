import type { NativeInternTable } from "../native/binding.ts";
import type { ObjectTable } from "./object-table.ts";
import type { Scratch } from "./scratch.ts";

/** Called inside the call that causes it; must not call back into L1. All ids are live, and the arrays the observer's to read, during the call only. */
export interface L1Observer {
  onReserved?(keyIds: Uint32Array): void;
  /** Published by a writer, not temporary. */
  onWritten?(keyIds: Uint32Array, refs: Uint32Array): void;
  /** Published by a load and leased at once. */
  onLoaded?(keyIds: Uint32Array): void;
  onLeased?(keyIds: Uint32Array): void;
  onReleased?(keyIds: Uint32Array): void;
  onTouched?(keyIds: Uint32Array): void;
  /** The key is neither resident nor staged any more. */
  onRemoved?(keyIds: Uint32Array): void;
  /** Slots went back to the arena, or can be evicted now, or left a class's share: whoever waits for room may ask again. */
  onRoom?(): void;
  /** A staged copy of each key was published or freed: whoever joined it may look. */
  onUnstaged?(keyIds: Uint32Array): void;
}

export interface L1Counts {
  readonly residentObjects: number;
  readonly stagedObjects: number;
  readonly leasedObjects: number;
  readonly temporaryObjects: number;
  readonly markedForDrop: number;
}

/** Objects by what is on them, counted from the rows. */
export function countMarks(keys: NativeInternTable, table: ObjectTable): Pick<L1Counts, "leasedObjects" | "temporaryObjects" | "markedForDrop"> {
  let leasedObjects = 0;
  let temporaryObjects = 0;
  let markedForDrop = 0;
  for (let id = 1; id <= keys.idBound; id++) {
    const slot = table.residentSlot(id);
    if (slot < 0) continue;
    if (table.leases(slot) > 0) leasedObjects++;
    if (table.isTemporary(slot)) temporaryObjects++;
    if (table.isMarkedForDrop(slot)) markedForDrop++;
  }
  return { leasedObjects, temporaryObjects, markedForDrop };
}

/** Calls the observers that listen with the key ids of these slots; the ids are gathered only if somebody does. */
export function tellIds(
  observers: readonly L1Observer[],
  listener: (observer: L1Observer) => ((ids: Uint32Array) => void) | undefined,
  table: ObjectTable,
  slots: Uint32Array,
  scratch: Scratch,
): void {
  let ids: Uint32Array | undefined;
  for (const observer of observers) {
    const call = listener(observer);
    if (call === undefined) continue;
    if (ids === undefined) {
      ids = scratch.take(slots.length);
      for (let index = 0; index < slots.length; index++) ids[index] = table.keyId(slots[index]);
    }
    call.call(observer, ids);
  }
}

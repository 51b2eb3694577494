import type { KvLayoutDescription, NativeArena, SlotRefs } from "../native/binding.ts";

/**
 * A piece of engine memory: block 0 of what it holds starts at `offset`. It is used in place, never copied, and must be backed by a
 * SharedArrayBuffer: a plain ArrayBuffer can be detached, or shrink, while a copy runs.
 */
export interface MemoryRegion {
  readonly memory: Uint8Array;
  readonly offset?: number;
}

/**
 * How an engine lays out its paged KV. Any element is at
 *
 *     region(plane, layer) + block x blockStride + plane x planeStride + layer x layerStride + token x tokenStride + head x headStride
 *
 * in bytes. There is one region for all (cross-layer blocks), one per layer, or one per plane and layer (plane x layers + layer).
 */
export interface DeviceLayoutSpec extends Omit<KvLayoutDescription, "regionIds" | "regionOffsets" | "pointerMode"> {
  readonly regions: readonly MemoryRegion[];
}

/** A registered layout; belongs to the device that gave it. */
export interface DeviceLayout {
  readonly id: number;
  /** Bytes of one object: [plane][layer][token][head][head bytes], whatever the engine's own order. */
  readonly imageBytes: number;
  /** Block ids that one object takes. */
  readonly blocksPerObject: number;
}

export interface CopyOptions {
  /** Aborted before the call: rejects with ABORT_ERR and nothing is copied. A copy that runs is never given up. */
  readonly signal?: AbortSignal;
}

export interface ScatterOptions extends CopyOptions {
  /** The first tokens of the first object stay as they are: the engine has them already. */
  readonly skipTokens?: number;
}

/** A block id that stands for no block: gathered as zeros, not scattered. */
export const nullBlock = -1;

/**
 * Where an engine's KV lives. `refs` are those of a write or read handle, `blockIds` the blocks of each object in order. A promise settles when
 * the copy is done with both sides; it rejects with KVFERRY_NATIVE when an object was not copied.
 */
export interface Device {
  readonly kind: "cpu";
  /** Throws RangeError naming the field when an address could leave its region, or two elements could meet. */
  registerLayout(spec: DeviceLayoutSpec): DeviceLayout;
  unregisterLayout(layout: DeviceLayout): void;
  /** Blocks -> slots, checksums included. */
  gather(layout: DeviceLayout, arena: NativeArena, refs: SlotRefs, blockIds: Int32Array, options?: CopyOptions): Promise<void>;
  /** Slots -> blocks. */
  scatter(layout: DeviceLayout, arena: NativeArena, refs: SlotRefs, blockIds: Int32Array, options?: ScatterOptions): Promise<void>;
  /** Waits for running copies, then lets the memory go. Idempotent. */
  close(): Promise<void>;
}

import type { KeyBatch } from "../keys/key-batch.ts";
import type { NativeArena } from "../native/binding.ts";
import type { ClassBytes } from "./class-bytes.ts";
import type { AdmissionClass, ObjectTable } from "./object-table.ts";

/** Answer to one key of a reservation. */
export const WriteStatus = {
  /** A staged slot is the caller's to fill. */
  granted: 0,
  /** A complete object of this key is in L1 already. */
  resident: 1,
  /** A writer with the same tag is filling one, or the key was named before in this call. */
  staged: 2,
  /** No room for this key, or for a key of an earlier chunk. */
  noRoom: 3,
} as const;
export type WriteStatus = (typeof WriteStatus)[keyof typeof WriteStatus];

/** What became of one staged object at commit. */
export const CommitStatus = {
  published: 0,
  /** Another writer's commit came first; this copy was freed (law 3: first commit wins). */
  lostRace: 1,
} as const;

export interface ReserveRequest {
  /** Chunk-major: all keys of a chunk together. */
  readonly keys: KeyBatch;
  /** Object bytes per position within a chunk; its length is the number of keys per chunk. */
  readonly rowSizes: readonly number[];
  /** The writer: one staged copy per key and tag. */
  readonly tag: number;
  /** Leaves L1 when its last lease ends. One for all, or one per key. */
  readonly temporary: boolean | Uint8Array;
  readonly charge: AdmissionClass;
  /** 0 = leave this key alone (it is answered `resident`). Left out = all are wanted. */
  readonly wanted?: Uint8Array;
  /** Asked for the bytes that are missing before slots are taken: evicts at once (law 5). */
  readonly makeRoom?: (bytes: number) => void;
}

export interface WriteGrant {
  /** One WriteStatus per key. */
  readonly statuses: Uint8Array;
  /** Key indices that were granted, ascending. */
  readonly keyIndices: Uint32Array;
  /** Pairs [index, generation] of the granted slots, in the order of keyIndices. */
  readonly refs: Uint32Array;
  /** Leading whole chunks in which no key is `noRoom`. */
  readonly chunks: number;
}

/** What a reservation may have, before anything is staged. */
export interface FoundRoom {
  readonly statuses: Uint8Array;
  /** Pairs [index, generation] of fresh slots, one per `granted` status, in their order. */
  readonly refs: Uint32Array;
  readonly chunks: number;
}

interface Tier {
  readonly arena: NativeArena;
  readonly table: ObjectTable;
  readonly bytes: ClassBytes;
}

/**
 * Decides which keys of a request need a slot and takes slots for the longest run of whole chunks that fits now, making room by eviction
 * where the arena has too little. `ids` are the interned keys, `inserted` how many of them were new; `spared` is filled with the keys that
 * eviction must leave alone meanwhile.
 */
export function findRoom(tier: Tier, spared: Set<number>, request: ReserveRequest, ids: Uint32Array, inserted: number): FoundRoom {
  const { rowSizes } = request;
  const statuses = new Uint8Array(ids.length);
  let needed = classify(tier.table, request, ids, statuses);
  // Keys that are all new to the table cannot be named twice.
  if (needed > inserted) needed -= markRepeats(ids, statuses);
  const { chunks: allowed, bytes } = chunksWithinLimit(tier.bytes, request, statuses, needed);
  let chunks = allowed;
  if (bytes > freeBytes(tier) && request.makeRoom !== undefined) chunks = makeRoom(tier, spared, request, ids, statuses, { chunks, bytes });

  const slots = rowSizes.map((sizeBytes, row) => takeSlots(tier.arena, sizeBytes, countGranted(statuses, row, rowSizes.length, chunks, needed)));
  slots.forEach((refs, row) => (chunks = coveredChunks(statuses, row, rowSizes.length, chunks, refs.length / 2)));
  for (let index = chunks * rowSizes.length; index < statuses.length; index++) if (statuses[index] === WriteStatus.granted) statuses[index] = WriteStatus.noRoom;
  return { statuses, refs: interleave(tier.arena, slots, statuses, chunks), chunks };
}

/** Fills `statuses` and returns how many keys need a slot; those are `granted` for now. */
function classify(table: ObjectTable, { tag, wanted }: ReserveRequest, ids: Uint32Array, statuses: Uint8Array): number {
  let needed = 0;
  for (let index = 0; index < statuses.length; index++) {
    const id = ids[index];
    if (wanted !== undefined && wanted[index] === 0) statuses[index] = WriteStatus.resident;
    else if (!table.hasObjects(id)) needed++;
    else if (table.residentSlot(id) >= 0) statuses[index] = WriteStatus.resident;
    else if (table.stagedSlotOf(id, tag) >= 0) statuses[index] = WriteStatus.staged;
    else needed++;
  }
  return needed;
}

/** A key named twice would be staged twice (LMCache loses the first buffer so, N16): the second becomes `staged`. */
function markRepeats(ids: Uint32Array, statuses: Uint8Array): number {
  const seen = new Set<number>();
  let repeats = 0;
  for (let index = 0; index < statuses.length; index++) {
    if (statuses[index] !== WriteStatus.granted) continue;
    if (seen.has(ids[index])) {
      statuses[index] = WriteStatus.staged;
      repeats++;
    }
    seen.add(ids[index]);
  }
  return repeats;
}

/** Leading chunks whose new objects fit into what the class may still take, and their bytes. */
function chunksWithinLimit(classes: ClassBytes, { rowSizes, charge }: ReserveRequest, statuses: Uint8Array, needed: number): { chunks: number; bytes: number } {
  const perChunk = rowSizes.length;
  const chunkCount = statuses.length / perChunk;
  const footprints = rowSizes.map((size) => classes.footprint(size));
  const largest = perChunk === 1 ? footprints[0] : Math.max(...footprints);
  const room = classes.room(charge, largest);
  if (perChunk === 1 && needed * largest <= room) return { chunks: chunkCount, bytes: needed * largest };
  let bytes = 0;
  for (let chunk = 0; chunk < chunkCount; chunk++) {
    let chunkBytes = 0;
    for (let row = 0; row < perChunk; row++) if (statuses[chunk * perChunk + row] === WriteStatus.granted) chunkBytes += footprints[row];
    if (bytes + chunkBytes > room) return { chunks: chunk, bytes };
    bytes += chunkBytes;
  }
  return { chunks: chunkCount, bytes };
}

function freeBytes({ bytes, arena }: Tier): number {
  return bytes.capacityBytes - arena.usedBytes();
}

/**
 * Evicts for the chunks that are allowed, and answers how many of them still stand. Room for some keys of a request must not come from
 * others of it, which are about to be answered `resident`. But the first chunk that needs room is worth more than those behind it: when
 * nothing else can be evicted they go, else the request would wait for itself.
 */
function makeRoom(tier: Tier, spared: Set<number>, request: ReserveRequest, ids: Uint32Array, statuses: Uint8Array, allowed: { chunks: number; bytes: number }): number {
  const { rowSizes, wanted } = request;
  const perChunk = rowSizes.length;
  evictBeside(tier, spared, request, ids, statuses, statuses.length, allowed.bytes);
  const end = (Math.floor(statuses.indexOf(WriteStatus.granted) / perChunk) + 1) * perChunk;
  let firstBytes = 0;
  for (let index = end - perChunk; index < end; index++) if (statuses[index] === WriteStatus.granted) firstBytes += tier.bytes.footprint(rowSizes[index % perChunk]);
  if (firstBytes <= freeBytes(tier)) return allowed.chunks;
  evictBeside(tier, spared, request, ids, statuses, end, firstBytes);
  for (let index = end; index < statuses.length; index++) {
    if (statuses[index] !== WriteStatus.resident || wanted?.[index] === 0 || tier.table.residentSlot(ids[index]) >= 0) continue;
    statuses[index] = WriteStatus.noRoom;
    allowed.chunks = Math.min(allowed.chunks, Math.floor(index / perChunk));
  }
  return allowed.chunks;
}

/** Evicts until `bytes` are free, but nothing that the first `end` keys name as resident. */
function evictBeside(tier: Tier, spared: Set<number>, request: ReserveRequest, ids: Uint32Array, statuses: Uint8Array, end: number, bytes: number): void {
  for (let index = 0; index < end; index++) if (statuses[index] === WriteStatus.resident) spared.add(ids[index]);
  try {
    request.makeRoom?.(bytes - freeBytes(tier));
  } finally {
    spared.clear();
  }
}

/** Slots that one row of the first `chunks` chunks needs. */
function countGranted(statuses: Uint8Array, row: number, perChunk: number, chunks: number, needed: number): number {
  if (perChunk === 1 && chunks === statuses.length) return needed;
  let count = 0;
  for (let index = row; index < chunks * perChunk; index += perChunk) if (statuses[index] === WriteStatus.granted) count++;
  return count;
}

/** Up to `count` slots: as many as there are. */
function takeSlots(arena: NativeArena, sizeBytes: number, count: number): Uint32Array {
  const refs = new Uint32Array(2 * count);
  if (count === 0) return refs;
  const taken = arena.allocate(sizeBytes, count, refs);
  return taken === count ? refs : refs.subarray(0, 2 * taken);
}

/** Leading chunks for whose `row` the `available` slots suffice. */
function coveredChunks(statuses: Uint8Array, row: number, perChunk: number, chunks: number, available: number): number {
  if (perChunk === 1 && available === statuses.length) return chunks;
  let used = 0;
  for (let chunk = 0; chunk < chunks; chunk++) {
    if (statuses[chunk * perChunk + row] !== WriteStatus.granted) continue;
    if (used === available) return chunk;
    used++;
  }
  return chunks;
}

/** The slots of all rows in the order of their keys; what the granted chunks do not need goes back. */
function interleave(arena: NativeArena, slots: readonly Uint32Array[], statuses: Uint8Array, chunks: number): Uint32Array {
  const perChunk = slots.length;
  if (perChunk === 1 && chunks === statuses.length) return slots[0];
  const used = new Array<number>(perChunk).fill(0);
  const refs = new Uint32Array(slots.reduce((sum, row) => sum + row.length, 0));
  let length = 0;
  for (let index = 0; index < chunks * perChunk; index++) {
    if (statuses[index] !== WriteStatus.granted) continue;
    const row = index % perChunk;
    refs[length++] = slots[row][used[row]++];
    refs[length++] = slots[row][used[row]++];
  }
  slots.forEach((row, position) => {
    if (used[position] < row.length) arena.free(row.subarray(used[position]));
  });
  return length === refs.length ? refs : refs.subarray(0, length);
}

/** The references at these positions of a list of [index, generation] pairs. */
export function pickRefs(refs: Uint32Array, positions: readonly number[]): Uint32Array {
  const picked = new Uint32Array(2 * positions.length);
  for (let index = 0; index < positions.length; index++) {
    picked[2 * index] = refs[2 * positions[index]];
    picked[2 * index + 1] = refs[2 * positions[index] + 1];
  }
  return picked;
}

/** From one engine request (chunk hashes, a world, object groups) to the keys of its objects. */
import { KeyBatch, keyHashBytes, keyRecordBytes } from "./key-batch.ts";
import { workerKvRank } from "./rank.ts";

export interface RequestShape {
  readonly worldSize: number;
  /** Undefined (a lookup): every rank of the world. */
  readonly workerId?: number;
  readonly groups: readonly RequestGroup[];
}

export interface RequestGroup {
  readonly objectGroupId: number;
  /** -1 = whole prefix; w >= 1 = the last w chunks. */
  readonly windowChunks: number;
}

/** One row: the objects of one group and rank, in chunk order. */
export interface RequestRow extends RequestGroup {
  readonly kvRank: number;
}

/** Kv ranks that a request names. Throws RangeError on a world or worker out of range. */
export function requestRanks(worldSize: number, workerId?: number): number[] {
  if (workerId === undefined) return Array.from({ length: worldSize }, (_, rank) => workerKvRank(worldSize, rank));
  if (!(workerId < worldSize)) throw new RangeError(`workerId must be below worldSize ${worldSize}, got ${workerId}`);
  return [workerKvRank(worldSize, workerId)];
}

/** Rows of a lookup or prefetch: group-major, then rank. */
export function requestRows({ worldSize, workerId, groups }: RequestShape): RequestRow[] {
  const ranks = requestRanks(worldSize, workerId);
  return groups.flatMap((group) => ranks.map((kvRank) => ({ ...group, kvRank })));
}

/** Keys of one row: `chunkHashes` holds 32 bytes per chunk. */
export function rowKeys(chunkHashes: Uint8Array, namespaceId: number, row: Pick<RequestRow, "kvRank" | "objectGroupId">): KeyBatch {
  return flatKeys(chunkHashes, namespaceId, [row.kvRank], row.objectGroupId);
}

/** Keys of one object group in the flat form of a store or retrieve: chunk-major, then rank. */
export function flatKeys(chunkHashes: Uint8Array, namespaceId: number, kvRanks: readonly number[], objectGroupId: number): KeyBatch {
  if (chunkHashes.byteLength % keyHashBytes !== 0) throw new RangeError(`chunk hashes must be whole (${keyHashBytes} bytes each), got ${chunkHashes.byteLength} bytes`);
  const chunks = chunkHashes.byteLength / keyHashBytes;
  const records = new Uint8Array(chunks * kvRanks.length * keyRecordBytes);
  const words = new Uint32Array(records.buffer);
  let offset = 0;
  for (let chunk = 0; chunk < chunks; chunk++)
    for (const kvRank of kvRanks) {
      records.set(chunkHashes.subarray(chunk * keyHashBytes, (chunk + 1) * keyHashBytes), offset);
      const word = offset / 4 + keyHashBytes / 4;
      words[word] = namespaceId;
      words[word + 1] = kvRank;
      words[word + 2] = objectGroupId;
      offset += keyRecordBytes;
    }
  return new KeyBatch(records);
}

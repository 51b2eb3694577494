/** The kv rank of an object: which worker of which world wrote it, packed into 32 bits as LMCache does. */
export interface KvRank {
  readonly worldSize: number;
  readonly globalRank: number;
  readonly localWorldSize: number;
  readonly localRank: number;
}

const fieldMax = 255;

/**
 * `worldSize << 24 | globalRank << 16 | localWorldSize << 8 | localRank`, unsigned. Throws RangeError when a field does not fit its 8
 * bits: LMCache lets it spill into its neighbour, and the world size then reads back wrong.
 */
export function packKvRank(rank: KvRank): number {
  checkField("worldSize", rank.worldSize);
  checkField("globalRank", rank.globalRank);
  checkField("localWorldSize", rank.localWorldSize);
  checkField("localRank", rank.localRank);
  return ((rank.worldSize << 24) | (rank.globalRank << 16) | (rank.localWorldSize << 8) | rank.localRank) >>> 0;
}

/** The kv rank of one worker of a request: LMCache sets the local fields equal to the global ones. */
export function workerKvRank(worldSize: number, workerId: number): number {
  return packKvRank({ worldSize, globalRank: workerId, localWorldSize: worldSize, localRank: workerId });
}

export function unpackKvRank(kvRank: number): KvRank {
  return { worldSize: (kvRank >>> 24) & 255, globalRank: (kvRank >>> 16) & 255, localWorldSize: (kvRank >>> 8) & 255, localRank: kvRank & 255 };
}

function checkField(field: string, value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > fieldMax) throw new RangeError(`${field} must be an integer in [0, ${fieldMax}], got ${value}`);
}

import type { L1Manager, ReserveRequest, WriteGrant } from "../l1/index.ts";
import { WriteStatus } from "../l1/index.ts";

/** Gives up cached objects so that about `bytes` come free; returns the bytes. */
export type MakeRoom = (bytes: number) => number;

/**
 * Reserves the longest run of whole chunks that fits now, after evicting what is needed for the rest (law 5: eviction acts at once).
 * Undefined when not even one chunk could be had; then nothing is held.
 */
export function reserveWithEviction(l1: L1Manager, request: ReserveRequest, makeRoom: MakeRoom): WriteGrant | undefined {
  const grant = l1.reserve(request);
  const perChunk = request.rowSizes.length;
  const granted = grant.chunks * perChunk;
  if (granted === request.keys.count) return grant;
  const missingBytes = l1.bytes.missing(request.charge, neededBytes(l1, request, grant));
  if (missingBytes === 0 || makeRoom(missingBytes) === 0) return grant.chunks > 0 ? grant : undefined;
  const rest = l1.reserve({
    ...request,
    keys: request.keys.slice(granted, request.keys.count),
    temporary: typeof request.temporary === "boolean" ? request.temporary : request.temporary.subarray(granted),
    wanted: request.wanted?.subarray(granted),
  });
  const joined = join(grant, rest, granted);
  return joined.chunks > 0 ? joined : undefined;
}

/** Bytes of the keys that found no room. */
export function neededBytes(l1: L1Manager, request: ReserveRequest, grant: WriteGrant): number {
  const perChunk = request.rowSizes.length;
  let bytes = 0;
  for (let index = grant.chunks * perChunk; index < request.keys.count; index++)
    if (grant.statuses[index] === WriteStatus.noRoom) bytes += l1.bytes.footprint(request.rowSizes[index % perChunk]);
  return bytes;
}

/** Two grants of consecutive parts of one request as one. */
function join(first: WriteGrant, second: WriteGrant, firstCount: number): WriteGrant {
  const statuses = first.statuses.slice();
  statuses.set(second.statuses, firstCount);
  const keyIndices = new Uint32Array(first.keyIndices.length + second.keyIndices.length);
  keyIndices.set(first.keyIndices);
  for (let index = 0; index < second.keyIndices.length; index++) keyIndices[first.keyIndices.length + index] = second.keyIndices[index] + firstCount;
  const refs = new Uint32Array(first.refs.length + second.refs.length);
  refs.set(first.refs);
  refs.set(second.refs, first.refs.length);
  return { statuses, keyIndices, refs, chunks: first.chunks + second.chunks };
}

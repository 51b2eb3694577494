import { SeededRandom } from "../../src/base/random.ts";
import { keyRecordBytes } from "../../src/keys/key-batch.ts";

/**
 * The bytes of every object in the simulation are a function of its key and its size, so that any reader can tell a wrong byte (R1) without
 * anybody keeping a copy. The head names the key, the rest is a cut of one random pool at a place that follows from the key.
 */
const poolBytes = 512 * 1024;
const pool = makePool();
const headBytes = keyRecordBytes + 4;

/** The payload of the key in `record` (48 bytes) for an object of `sizeBytes`. */
export function payloadOf(record: Uint8Array, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(pool.subarray(placeOf(record, sizeBytes), placeOf(record, sizeBytes) + sizeBytes));
  bytes.set(headOf(record, sizeBytes).subarray(0, Math.min(sizeBytes, headBytes)));
  return bytes;
}

/** True when `bytes` are exactly the payload of the key in `record`. */
export function isPayloadOf(bytes: Uint8Array, record: Uint8Array): boolean {
  const head = headOf(record, bytes.length);
  const compared = Math.min(bytes.length, headBytes);
  if (Buffer.compare(bytes.subarray(0, compared), head.subarray(0, compared)) !== 0) return false;
  const place = placeOf(record, bytes.length);
  return Buffer.compare(bytes.subarray(compared), pool.subarray(place + compared, place + bytes.length)) === 0;
}

function headOf(record: Uint8Array, sizeBytes: number): Uint8Array {
  const head = new Uint8Array(headBytes);
  head.set(record);
  new DataView(head.buffer).setUint32(keyRecordBytes, sizeBytes, true);
  return head;
}

/** Very short objects have no room for a head: two keys may then have the same bytes, which the places make unlikely. */
function placeOf(record: Uint8Array, sizeBytes: number): number {
  let hash = 2166136261;
  for (const byte of record) hash = Math.imul(hash ^ byte, 16777619);
  return (hash >>> 0) % (poolBytes - sizeBytes);
}

function makePool(): Uint8Array {
  const random = new SeededRandom(0x5eed);
  const words = new Uint32Array(poolBytes / 4);
  for (let index = 0; index < words.length; index++) words[index] = random.nextUint32();
  return new Uint8Array(words.buffer);
}

/**
 * How an object rests where JavaScript carries its bytes (a user's adapter): a header in front of the payload, so that what comes back is
 * proved to be the object of this key, image and salt before a byte of it reaches a slot (law 1).
 *
 * | offset | bytes | field |
 * |---|---|---|
 * | 0 | 8 | `KVFENV01` |
 * | 8 | 4 | payload bytes, little-endian |
 * | 12 | 4 | crc32c of the payload |
 * | 16 | 32 | namespace digest (model, salt, image) |
 * | 48 | 32 | chunk hash |
 * | 80 | 4 | kv rank |
 * | 84 | 4 | object group |
 * | 88 | 4 | zero |
 * | 92 | 4 | crc32c of bytes 0..91 |
 */
import type { KeyBatch } from "../keys/key-batch.ts";
import type { NamespaceTable } from "../keys/namespace.ts";
import type { NativeBinding } from "../native/binding.ts";
import { LoadStatus } from "./contract.ts";

export const envelopeHeaderBytes = 96;
const magic = Buffer.from("KVFENV01", "latin1");

/** Writes the header of `keys[index]` into the first 96 bytes of `sealed`, whose rest is the payload. */
export function sealHeader(sealed: Uint8Array, payloadCrc: number, keys: KeyBatch, index: number, namespaces: NamespaceTable, binding: NativeBinding): void {
  const view = new DataView(sealed.buffer, sealed.byteOffset, envelopeHeaderBytes);
  sealed.set(magic, 0);
  view.setUint32(8, sealed.byteLength - envelopeHeaderBytes, true);
  view.setUint32(12, payloadCrc, true);
  sealed.set(namespaces.digest(keys.namespaceId(index)), 16);
  sealed.set(keys.chunkHash(index), 48);
  view.setUint32(80, keys.kvRank(index), true);
  view.setUint32(84, keys.objectGroupId(index), true);
  view.setUint32(88, 0, true);
  view.setUint32(92, binding.crc32c(sealed.subarray(0, 92)), true);
}

/** `loaded` when `sealed` is the whole, intact object of `keys[index]` with `payloadBytes` bytes; else why not. */
export function checkEnvelope(
  sealed: Uint8Array,
  payloadBytes: number,
  keys: KeyBatch,
  index: number,
  namespaces: NamespaceTable,
  binding: NativeBinding,
): LoadStatus {
  if (sealed.byteLength < envelopeHeaderBytes) return LoadStatus.corrupt;
  const view = new DataView(sealed.buffer, sealed.byteOffset, envelopeHeaderBytes);
  if (!magic.equals(sealed.subarray(0, 8)) || view.getUint32(92, true) !== binding.crc32c(sealed.subarray(0, 92))) return LoadStatus.corrupt;
  const ours =
    Buffer.from(namespaces.digest(keys.namespaceId(index))).equals(sealed.subarray(16, 48)) &&
    Buffer.from(keys.chunkHash(index)).equals(sealed.subarray(48, 80)) &&
    view.getUint32(80, true) === keys.kvRank(index) &&
    view.getUint32(84, true) === keys.objectGroupId(index);
  if (!ours) return LoadStatus.foreign;
  const length = view.getUint32(8, true);
  if (length !== payloadBytes || sealed.byteLength !== envelopeHeaderBytes + length) return LoadStatus.corrupt;
  return binding.crc32c(sealed.subarray(envelopeHeaderBytes)) === view.getUint32(12, true) ? LoadStatus.loaded : LoadStatus.corrupt;
}

/**
 * How LMCache 0.5.6 spells an object key in its stores (storage-core 9.1), so that kvferry can read what LMCache wrote and write what it
 * reads. All of them are lossy in one way: no dtype, layout or size is in them. `parse…` answers undefined for a name that is none.
 *
 * | where | form |
 * |---|---|
 * | RESP, native connectors, S3 name | `<model>@<rank %08x>@<group %x>@<hash>[@<salt>]` |
 * | S3 request path | `/` and the URL-quoted name, `/` kept |
 * | fs, fs_native file | `/` in the model as `-SEP-`; `<model>@0x<rank %08x>@<group %x>@<hash>[@<salt>].data` |
 * | raw_block | model percent-quoted, then as in a file name, without `.data` |
 */
import { toHex } from "../base/bytes.ts";
import { blake2b } from "./blake2b.ts";
import { checkObjectKey, type ObjectKey } from "./object-key.ts";

const separator = "-SEP-";
const fileExtension = ".data";

export function nativeName(key: ObjectKey): string {
  return joinName(key.modelName, hexRank(key), key);
}

export function parseNativeName(name: string): ObjectKey | undefined {
  return splitName(name, (model) => model);
}

export function s3RequestPath(key: ObjectKey): string {
  return `/${nativeName(key).split("/").map(percentQuote).join("/")}`;
}

export function parseS3RequestPath(path: string): ObjectKey | undefined {
  if (!path.startsWith("/")) return undefined;
  const name = percentUnquote(path.slice(1));
  return name === undefined ? undefined : parseNativeName(name);
}

/**
 * Not injective: models `a/b` and `a-SEP-b` share their files. Not bounded: a name over 255 bytes cannot exist on disk
 * (fsFileNameBytes).
 */
export function fsFileName(key: ObjectKey): string {
  return joinName(key.modelName.replaceAll("/", separator), `0x${hexRank(key)}`, key) + fileExtension;
}

export function fsFileNameBytes(key: ObjectKey): number {
  return Buffer.byteLength(fsFileName(key));
}

/** Every `-SEP-` is read back as `/`, as LMCache does. */
export function parseFsFileName(fileName: string): ObjectKey | undefined {
  if (!fileName.endsWith(fileExtension)) return undefined;
  return splitName(fileName.slice(0, -fileExtension.length), (model) => model.replaceAll(separator, "/"));
}

export function rawBlockName(key: ObjectKey): string {
  return joinName(percentQuote(key.modelName), `0x${hexRank(key)}`, key);
}

export function parseRawBlockName(name: string): ObjectKey | undefined {
  return splitName(name, percentUnquote);
}

/** What a raw_block slot's header holds: blake2b-64 of the name, read as little-endian. */
export function rawBlockIdentity(key: ObjectKey): bigint {
  const digest = blake2b(Buffer.from(rawBlockName(key)), 8);
  return new DataView(digest.buffer, digest.byteOffset, 8).getBigUint64(0, true);
}

/** LMCache's JSON form of a key. */
export interface JsonKey {
  readonly chunk_hash_hex: string;
  readonly model_name: string;
  readonly kv_rank: number;
  readonly object_group_id: number;
  readonly cache_salt: string;
}

export function toJsonKey(key: ObjectKey): JsonKey {
  return {
    chunk_hash_hex: toHex(key.chunkHash),
    model_name: key.modelName,
    kv_rank: key.kvRank,
    object_group_id: key.objectGroupId,
    cache_salt: key.cacheSalt,
  };
}

/** Throws RangeError naming the field when `json` is not a key. Group 0 and the empty salt may be left out. */
export function fromJsonKey(json: unknown): ObjectKey {
  if (typeof json !== "object" || json === null) throw new RangeError(`a key must be a JSON object, got ${json === null ? "null" : typeof json}`);
  const { chunk_hash_hex, model_name, kv_rank, object_group_id = 0, cache_salt = "" } = json as Record<string, unknown>;
  const chunkHash = typeof chunk_hash_hex === "string" ? parseHexBytes(chunk_hash_hex) : undefined;
  if (chunkHash === undefined) throw new RangeError(`chunk_hash_hex must be an even number of hex digits, got ${JSON.stringify(chunk_hash_hex)}`);
  if (typeof model_name !== "string") throw new RangeError(`model_name must be a text, got ${JSON.stringify(model_name)}`);
  if (typeof cache_salt !== "string") throw new RangeError(`cache_salt must be a text, got ${JSON.stringify(cache_salt)}`);
  const key = { chunkHash, modelName: model_name, kvRank: kv_rank as number, objectGroupId: object_group_id as number, cacheSalt: cache_salt };
  checkObjectKey(key);
  return key;
}

function joinName(model: string, rank: string, key: ObjectKey): string {
  const name = `${model}@${rank}@${key.objectGroupId.toString(16)}@${toHex(key.chunkHash)}`;
  return key.cacheSalt === "" ? name : `${name}@${key.cacheSalt}`;
}

function hexRank(key: ObjectKey): string {
  return key.kvRank.toString(16).padStart(8, "0");
}

function splitName(name: string, readModel: (text: string) => string | undefined): ObjectKey | undefined {
  const parts = name.split("@");
  if (parts.length !== 4 && parts.length !== 5) return undefined;
  const [model, rank, group, hash, cacheSalt = ""] = parts;
  const modelName = readModel(model);
  const kvRank = parseHexNumber(rank);
  const objectGroupId = parseHexNumber(group);
  const chunkHash = parseHexBytes(hash);
  if (modelName === undefined || kvRank === undefined || objectGroupId === undefined || chunkHash === undefined) return undefined;
  const key = { chunkHash, modelName, kvRank, objectGroupId, cacheSalt };
  try {
    checkObjectKey(key);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
  return key;
}

/** What Python's int(text, 16) takes, less the signs: spaces around, an optional 0x, single underscores between digits. */
function parseHexNumber(text: string): number | undefined {
  const match = /^\s*(?:0x_?)?([0-9a-f]+(?:_[0-9a-f]+)*)\s*$/i.exec(text);
  return match === null ? undefined : Number.parseInt(match[1].replaceAll("_", ""), 16);
}

function parseHexBytes(text: string): Uint8Array | undefined {
  if (!/^(?:[0-9a-f]{2})*$/i.test(text)) return undefined;
  return Uint8Array.from(Buffer.from(text, "hex"));
}

/** Python's urllib.parse.quote with nothing kept but letters, digits and `_.-~`. */
function percentQuote(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

function percentUnquote(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

import { open } from "node:fs/promises";
import { join } from "node:path";

import { toHex } from "../../base/bytes.ts";
import { KeyBatch, keyHashBytes, keyRecordBytes } from "../../keys/key-batch.ts";
import type { NamespaceTable } from "../../keys/namespace.ts";
import { EntryState, type ObjectIndex } from "../object-index.ts";
import { identityBytes, objectPath } from "./object-names.ts";

const pageKeys = 256;
/** Fields of the header page (docs/object-format.md) that a key record needs. */
const headerBytes = 104;

/** Keys and sizes of every object, read from the files' headers: the index keeps no whole keys. */
export async function* listObjects(
  basePath: string,
  index: ObjectIndex,
  namespaces: NamespaceTable,
): AsyncIterable<{ readonly keys: KeyBatch; readonly sizes: Uint32Array }> {
  const idByDigest = new Map<string, number>();
  let known = 0;
  for (let first = 1; first <= index.table.idBound; first += pageKeys) {
    for (; known < namespaces.size; known++) idByDigest.set(toHex(namespaces.digest(known)), known);
    const ids: number[] = [];
    for (let id = first; id < first + pageKeys; id++) if (index.state(id) === EntryState.present) ids.push(id);
    if (ids.length === 0) continue;
    const identities = new Uint8Array(ids.length * identityBytes);
    index.table.records(Uint32Array.from(ids), identities);
    const paths = ids.map((_, row) => join(basePath, objectPath(identities.subarray(row * identityBytes, (row + 1) * identityBytes))));
    const rows = (await Promise.all(paths.map((path) => readKey(path, idByDigest)))).filter((row) => row !== undefined);
    const records = new Uint8Array(rows.length * keyRecordBytes);
    rows.forEach(({ record }, row) => records.set(record, row * keyRecordBytes));
    yield { keys: new KeyBatch(records), sizes: Uint32Array.from(rows, ({ payloadBytes }) => payloadBytes) };
  }
}

/** Undefined for a file that has gone meanwhile, is damaged, or whose namespace nobody described. */
async function readKey(path: string, idByDigest: ReadonlyMap<string, number>): Promise<{ record: Uint8Array; payloadBytes: number } | undefined> {
  const header = Buffer.alloc(headerBytes);
  try {
    const file = await open(path, "r");
    try {
      await file.read(header, 0, headerBytes, 0);
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const namespaceId = idByDigest.get(header.toString("hex", 32, 64));
  if (namespaceId === undefined) return undefined;
  const record = new Uint8Array(keyRecordBytes);
  record.set(header.subarray(64, 96));
  const view = new DataView(record.buffer);
  view.setUint32(keyHashBytes, namespaceId, true);
  view.setUint32(keyHashBytes + 4, header.readUInt32LE(96), true);
  view.setUint32(keyHashBytes + 8, header.readUInt32LE(100), true);
  return { record, payloadBytes: Number(header.readBigUInt64LE(16)) };
}

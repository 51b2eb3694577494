/** Key records to the 20-byte identities that name object files: 16 bytes of key digest, 4 of namespace digest. */
import { keyRecordBytes, type KeyBatch } from "../../keys/key-batch.ts";
import type { NamespaceTable } from "../../keys/namespace.ts";
import type { NativeObjectFiles } from "../../native/binding.ts";
import { toHex } from "../../base/bytes.ts";
import { namespaceText } from "./directory.ts";

export const identityBytes = 20;
export const digestBytes = 16;
export const tagBytes = identityBytes - digestBytes;

export class ObjectNames {
  readonly #namespaces: NamespaceTable;
  #files: NativeObjectFiles;
  readonly #registered = new Set<number>();
  readonly #idByTag = new Map<number, number>();

  constructor(namespaces: NamespaceTable, files: NativeObjectFiles) {
    this.#namespaces = namespaces;
    this.#files = files;
  }

  /** Goes on with another native object over the same directory. */
  useFiles(files: NativeObjectFiles): void {
    this.#files = files;
    const known = [...this.#registered];
    this.#registered.clear();
    for (const id of known) this.register(id);
  }

  register(namespaceId: number): void {
    if (this.#registered.has(namespaceId)) return;
    const digest = this.#namespaces.digest(namespaceId);
    this.#files.registerNamespace(namespaceId, digest, Buffer.from(namespaceText(this.#namespaces.get(namespaceId))));
    this.#registered.add(namespaceId);
    this.#idByTag.set(tagOf(digest, 0), namespaceId);
  }

  /** Namespaces of a batch, each once. */
  namespacesOf(keys: KeyBatch): Set<number> {
    const ids = new Set<number>();
    for (let index = 0; index < keys.count; index++) ids.add(keys.namespaceId(index));
    return ids;
  }

  identities(keys: KeyBatch): Uint8Array {
    for (const id of this.namespacesOf(keys)) this.register(id);
    const digests = new Uint8Array(keys.count * digestBytes);
    this.#files.digests(keys.records.subarray(0, keys.count * keyRecordBytes), digests);
    const identities = new Uint8Array(keys.count * identityBytes);
    for (let index = 0; index < keys.count; index++) {
      identities.set(digests.subarray(index * digestBytes, (index + 1) * digestBytes), index * identityBytes);
      identities.set(this.#namespaces.digest(keys.namespaceId(index)).subarray(0, tagBytes), index * identityBytes + digestBytes);
    }
    return identities;
  }

  /** The namespace of a file that a scan found. One whose description is lost gets a stand-in, so that it is counted and can be evicted. */
  namespaceOf(identities: Uint8Array, index: number): number {
    const offset = index * identityBytes + digestBytes;
    const tag = tagOf(identities, offset);
    let id = this.#idByTag.get(tag);
    if (id === undefined) {
      id = this.#namespaces.register({ modelName: "unknown", cacheSalt: "", fingerprint: `unknown-${toHex(identities.subarray(offset, offset + tagBytes))}` });
      this.#idByTag.set(tag, id);
    }
    return id;
  }
}

function tagOf(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset + offset, tagBytes).getUint32(0);
}

/** `objects/xx/yy/<32 hex>.<8 hex>`, as the addon names it. */
export function objectPath(identity: Uint8Array): string {
  const name = toHex(identity.subarray(0, digestBytes));
  return `objects/${name.slice(0, 2)}/${name.slice(2, 4)}/${name}.${toHex(identity.subarray(digestBytes, identityBytes))}`;
}

import { createHash } from "node:crypto";

import { checkCacheSalt, checkModelName } from "./object-key.ts";

/** What the objects of one namespace have in common: whose they are and what their bytes mean. */
export interface Namespace {
  readonly modelName: string;
  readonly cacheSalt: string;
  /** Image fingerprint (layout.ts), lower-case hex. Objects of different images never meet. */
  readonly fingerprint: string;
}

/**
 * Namespaces to small integers, for key records. Grows with the number of (model, salt, image) triples a process meets, which is
 * bounded by `namespacesMax`: a hostile client cannot make it grow without end.
 */
export class NamespaceTable {
  readonly #byText = new Map<string, number>();
  readonly #rows: { namespace: Namespace; digest: Uint8Array; saltId: number }[] = [];
  readonly #saltIds = new Map<string, number>();
  readonly #salts: string[] = [];

  /** The id of this namespace, registered on first use. Throws RangeError on a forbidden name or when the table is full. */
  register(namespace: Namespace): number {
    const text = canonicalText(namespace);
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    checkModelName(namespace.modelName);
    checkCacheSalt(namespace.cacheSalt);
    if (this.#rows.length >= namespacesMax) throw new RangeError(`more than ${namespacesMax} namespaces (model, salt, image) in one process`);
    const id = this.#rows.length;
    const digest = new Uint8Array(createHash("sha256").update(text).digest());
    this.#rows.push({ namespace: { ...namespace }, digest, saltId: this.#saltId(namespace.cacheSalt) });
    this.#byText.set(text, id);
    return id;
  }

  /** The id, or undefined when no such namespace was registered: nothing in this process can have its objects. */
  find(namespace: Namespace): number | undefined {
    return this.#byText.get(canonicalText(namespace));
  }

  get(id: number): Namespace {
    return this.#row(id).namespace;
  }

  /** 32 bytes that stand for the namespace on disk. */
  digest(id: number): Uint8Array {
    return this.#row(id).digest;
  }

  /** A small integer for the salt, equal for all namespaces of one salt; what IsolatedLRU separates by. */
  saltId(id: number): number {
    return this.#row(id).saltId;
  }

  saltName(saltId: number): string {
    const salt = this.#salts[saltId];
    if (salt === undefined) throw new RangeError(`no salt has id ${saltId}`);
    return salt;
  }

  get size(): number {
    return this.#rows.length;
  }

  #row(id: number): { namespace: Namespace; digest: Uint8Array; saltId: number } {
    const row = this.#rows[id];
    if (row === undefined) throw new RangeError(`no namespace has id ${id}`);
    return row;
  }

  #saltId(salt: string): number {
    let id = this.#saltIds.get(salt);
    if (id === undefined) {
      id = this.#salts.length;
      this.#salts.push(salt);
      this.#saltIds.set(salt, id);
    }
    return id;
  }
}

const namespacesMax = 1 << 20;

/** One text per namespace: JSON of an array has no ambiguity between fields. */
function canonicalText(namespace: Namespace): string {
  return JSON.stringify(["kvferry-namespace/1", namespace.modelName, namespace.cacheSalt, namespace.fingerprint]);
}

/**
 * What lies in an fs directory, or in one object file, and whether it is intact (`kvferry inspect`). Reads only: it takes no lock, so it
 * works on a directory that a live process owns, and it changes nothing.
 */
import { open, readdir, readFile, stat } from "node:fs/promises";
import { basename, join, relative } from "node:path";

import { systemClock } from "../base/clock.ts";
import { AdapterError, errorText } from "../base/errors.ts";
import type { NativeBinding, ObjectFileReport } from "../native/binding.ts";
import type { NativeRuntime } from "../native/runtime.ts";
import { readMarker } from "./fs/directory.ts";
import { isOwnerAlive, readOwner } from "./fs/owner-lock.ts";

export interface DamagedFile {
  /** Relative to the inspected path. */
  readonly path: string;
  readonly problem: string;
}

export interface InspectedNamespace {
  readonly digest: string;
  readonly modelName: string;
  readonly cacheSalt: string;
  readonly fingerprint: string;
  readonly objects: number;
  readonly payloadBytes: number;
}

export interface InspectReport {
  readonly path: string;
  readonly kind: "directory" | "file";
  /** Nothing is damaged. */
  readonly intact: boolean;
  readonly version: number;
  readonly uuid: string;
  readonly owner: { readonly pid: number; readonly host: string; readonly since: string; readonly alive: boolean } | null;
  /** Intact objects, their payloads, and what their files take. */
  readonly objects: number;
  readonly payloadBytes: number;
  readonly fileBytes: number;
  readonly namespaces: readonly InspectedNamespace[];
  readonly damaged: readonly DamagedFile[];
  /** Files being written, or left by a writer that died; the next owner deletes the latter. */
  readonly temporaryFiles: number;
  /** Files below objects/ that kvferry did not name. */
  readonly foreignFiles: readonly string[];
  /** The object, when one file was inspected. */
  readonly object: ObjectFileReport | null;
}

export interface InspectOptions {
  readonly signal?: AbortSignal;
  /** Called now and then with the number of files read so far. */
  readonly onProgress?: (files: number) => void;
}

const filesPerBreath = 16;
/** The first bytes of every object file, as native/core/object_file.h lays them out. */
const objectMagic = Buffer.from("\x89KVF\r\n\x1a\n", "latin1");
const objectName = /^[0-9a-f]{32}\.[0-9a-f]{8}$/;

/** Throws AdapterError when `path` is not there, is no kvferry directory, is no file of ours, or has another version. */
export async function inspectPath(path: string, runtime: NativeRuntime, options: InspectOptions = {}): Promise<InspectReport> {
  let found;
  try {
    found = await stat(path);
  } catch (error) {
    throw new AdapterError("inspect", `${path} cannot be read: ${errorText(error)}`, { cause: error });
  }
  const inspection = new Inspection(path, runtime.binding);
  if (!found.isDirectory()) {
    // A file that has neither the name nor the beginning of an object file is somebody else's, not a damaged one of ours.
    if (!objectName.test(basename(path)) && !(await beginsAsObject(path))) throw new AdapterError("inspect", `${path} is not one of kvferry's files: it has neither the name nor the beginning of an object file`);
    const object = inspection.file(path, basename(path), found.size);
    return inspection.report({ kind: "file", version: object.formatVersion, uuid: "", owner: null, object });
  }
  const marker = await readMarker(path, "inspect");
  if (marker === undefined)
    throw new AdapterError("inspect", `${path} is not a kvferry directory: it has no kvferry.json (name the base_path of an fs adapter, or one object file)`);
  await inspection.directory(options);
  const held = await readOwner(path);
  const owner = held?.owner === undefined ? null : { ...held.owner, alive: await isOwnerAlive(path, held.owner, systemClock) };
  return inspection.report({ kind: "directory", version: marker.version, uuid: marker.uuid, owner: pickOwner(owner), object: null });
}

class Inspection {
  readonly #path: string;
  readonly #binding: NativeBinding;
  readonly #namespaces = new Map<string, InspectedNamespace>();
  readonly #damaged: DamagedFile[] = [];
  readonly #foreign: string[] = [];
  #temporaryFiles = 0;
  #objects = 0;
  #payloadBytes = 0;
  #fileBytes = 0;

  constructor(path: string, binding: NativeBinding) {
    this.#path = path;
    this.#binding = binding;
  }

  async directory({ signal, onProgress }: InspectOptions): Promise<void> {
    await this.#describedNamespaces();
    this.#temporaryFiles = (await listFolder(join(this.#path, "tmp"))).length;
    let files = 0;
    for (const first of await listFolder(join(this.#path, "objects")))
      for (const second of await listFolder(join(this.#path, "objects", first)))
        for (const name of await listFolder(join(this.#path, "objects", first, second))) {
          signal?.throwIfAborted();
          await this.#entry(join(this.#path, "objects", first, second, name), name, first + second);
          if (++files % filesPerBreath !== 0) continue;
          onProgress?.(files);
          await new Promise((resolve) => setImmediate(resolve));
        }
    onProgress?.(files);
  }

  /** Verifies one file and counts it. */
  file(path: string, name: string, size: number): ObjectFileReport {
    const report = this.#binding.inspectObjectFile(path);
    if (!report.intact) {
      this.#damaged.push({ path: relative(this.#path, path) || name, problem: report.problem });
      return report;
    }
    this.#objects++;
    this.#payloadBytes += report.payloadBytes;
    this.#fileBytes += size;
    this.#count(report);
    return report;
  }

  report(about: Pick<InspectReport, "kind" | "version" | "uuid" | "owner" | "object">): InspectReport {
    return {
      path: this.#path,
      intact: this.#damaged.length === 0,
      ...about,
      objects: this.#objects,
      payloadBytes: this.#payloadBytes,
      fileBytes: this.#fileBytes,
      namespaces: [...this.#namespaces.values()].sort((a, b) => (a.digest < b.digest ? -1 : 1)),
      damaged: this.#damaged,
      temporaryFiles: this.#temporaryFiles,
      foreignFiles: this.#foreign,
    };
  }

  async #entry(path: string, name: string, shard: string): Promise<void> {
    if (!objectName.test(name) || !name.startsWith(shard)) {
      this.#foreign.push(relative(this.#path, path));
      return;
    }
    // A live owner may evict a file between the listing and the reading: gone is not damaged.
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return;
    const damagedBefore = this.#damaged.length;
    this.file(path, name, found.size);
    if (this.#damaged.length > damagedBefore && (await stat(path).catch(() => undefined)) === undefined) this.#damaged.pop();
  }

  async #describedNamespaces(): Promise<void> {
    for (const name of await listFolder(join(this.#path, "namespaces"))) {
      if (!/^[0-9a-f]{64}\.json$/.test(name)) continue;
      try {
        const { modelName, cacheSalt, fingerprint } = JSON.parse(await readFile(join(this.#path, "namespaces", name), "utf8")) as InspectedNamespace;
        this.#namespaces.set(name.slice(0, 64), { digest: name.slice(0, 64), modelName, cacheSalt, fingerprint, objects: 0, payloadBytes: 0 });
      } catch (error) {
        this.#damaged.push({ path: join("namespaces", name), problem: `not JSON: ${errorText(error)}` });
      }
    }
  }

  #count(report: ObjectFileReport): void {
    const digest = report.namespaceDigestHex;
    const known = this.#namespaces.get(digest) ?? { digest, ...describedIn(report), objects: 0, payloadBytes: 0 };
    this.#namespaces.set(digest, { ...known, objects: known.objects + 1, payloadBytes: known.payloadBytes + report.payloadBytes });
  }
}

/** Every object's header describes its namespace too. */
function describedIn(report: ObjectFileReport): { modelName: string; cacheSalt: string; fingerprint: string } {
  try {
    const { modelName, cacheSalt, fingerprint } = JSON.parse(report.namespaceDescription) as InspectedNamespace;
    return { modelName, cacheSalt, fingerprint };
  } catch {
    return { modelName: "unknown", cacheSalt: "", fingerprint: "" };
  }
}

async function beginsAsObject(path: string): Promise<boolean> {
  const file = await open(path, "r").catch((error: unknown) => {
    throw new AdapterError("inspect", `${path} cannot be read: ${errorText(error)}`, { cause: error });
  });
  try {
    const head = Buffer.alloc(objectMagic.length);
    await file.read(head, 0, head.length, 0);
    return head.equals(objectMagic);
  } finally {
    await file.close();
  }
}

function pickOwner(owner: InspectReport["owner"]): InspectReport["owner"] {
  return owner === null ? null : { pid: owner.pid, host: owner.host, since: owner.since, alive: owner.alive };
}

/** Sorted names; none for a folder that is not there or is a file. */
async function listFolder(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return [];
    throw error;
  }
}

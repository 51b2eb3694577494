/**
 * The files of an fs directory that are not objects (docs/object-format.md):
 *
 *   kvferry.json               what this directory is: format, version, uuid
 *   owner.lock                 who has it open
 *   namespaces/<64 hex>.json   model, salt and image behind the digest in object names and headers
 *   objects/xx/yy/...          the objects, written by the addon
 */
import { randomUUID } from "node:crypto";
import { open, readdir, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";

import { toHex } from "../../base/bytes.ts";
import type { Clock } from "../../base/clock.ts";
import { AdapterError, errorText } from "../../base/errors.ts";
import { makeDirectory } from "../../base/make-directory.ts";
import type { Namespace, NamespaceTable } from "../../keys/namespace.ts";

export const markerName = "kvferry.json";
export const directoryVersion = 1;
const markerFormat = "kvferry-fs";
const namespaceFormat = "kvferry-namespace/1";

export interface Marker {
  readonly format: string;
  readonly version: number;
  readonly uuid: string;
  readonly createdAt: string;
}

/** Makes what is missing of the directory's frame and returns its marker. Throws AdapterError on another version or a foreign marker. */
export async function prepareDirectory(basePath: string, adapter: string, clock: Clock): Promise<Marker> {
  const found = await readMarker(basePath, adapter);
  const marker = found ?? (await writeMarker(basePath, clock));
  for (const folder of ["namespaces", "objects"]) await makeDirectory(join(basePath, folder));
  await deleteLeftovers(basePath);
  return marker;
}

/** What a writer that died in writeWhole or in giving up its lock left. REQUIRES: we own the directory. */
async function deleteLeftovers(basePath: string): Promise<void> {
  for (const folder of [basePath, join(basePath, "namespaces")])
    for (const name of await readdir(folder)) if (leftover.test(name)) await unlink(join(folder, name));
}

/** The marker, or undefined when the directory has none. Throws AdapterError KVFERRY_ADAPTER_VERSION when it is not one of ours. */
export async function readMarker(basePath: string, adapter: string): Promise<Marker | undefined> {
  const path = join(basePath, markerName);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  let marker: Marker;
  try {
    marker = JSON.parse(text) as Marker;
  } catch (error) {
    throw versionError(adapter, `${path} is not JSON (${errorText(error)}); use another directory, or remove this one's contents`);
  }
  if (marker?.format !== markerFormat)
    throw versionError(adapter, `${path} says format ${JSON.stringify(marker?.format)}, expected "${markerFormat}"; use another directory`);
  if (marker.version !== directoryVersion)
    throw versionError(adapter, `${basePath} has version ${marker.version}, this kvferry reads version ${directoryVersion}; use another directory, or empty this one`);
  return marker;
}

function versionError(adapter: string, message: string): AdapterError {
  return new AdapterError(adapter, message, { code: "KVFERRY_ADAPTER_VERSION" });
}

async function writeMarker(basePath: string, clock: Clock): Promise<Marker> {
  const marker = { format: markerFormat, version: directoryVersion, uuid: randomUUID(), createdAt: new Date(clock.wallMs()).toISOString() };
  await writeWhole(join(basePath, markerName), `${JSON.stringify(marker)}\n`);
  return marker;
}

/** JSON text of a namespace: in its file, and in every object's header for people. */
export function namespaceText(namespace: Namespace): string {
  return JSON.stringify({ format: namespaceFormat, modelName: namespace.modelName, cacheSalt: namespace.cacheSalt, fingerprint: namespace.fingerprint });
}

export function namespacePath(basePath: string, digest: Uint8Array): string {
  return join(basePath, "namespaces", `${toHex(digest)}.json`);
}

export async function writeNamespace(basePath: string, digest: Uint8Array, namespace: Namespace): Promise<void> {
  await writeWhole(namespacePath(basePath, digest), `${namespaceText(namespace)}\n`);
}

/** Namespaces described in the directory, registered; files that are damaged or misnamed are left out and returned as such. */
export async function readNamespaces(basePath: string, namespaces: NamespaceTable): Promise<{ readonly ids: number[]; readonly damaged: string[] }> {
  const ids: number[] = [];
  const damaged: string[] = [];
  for (const name of await readdir(join(basePath, "namespaces"))) {
    if (!/^[0-9a-f]{64}\.json$/.test(name)) continue;
    try {
      const parsed = JSON.parse(await readFile(join(basePath, "namespaces", name), "utf8")) as Namespace;
      const id = namespaces.register({ modelName: parsed.modelName, cacheSalt: parsed.cacheSalt, fingerprint: parsed.fingerprint });
      if (`${toHex(namespaces.digest(id))}.json` === name) ids.push(id);
      else damaged.push(name);
    } catch {
      damaged.push(name);
    }
  }
  return { ids, damaged };
}

const leftover = /^((kvferry|[0-9a-f]{64})\.json\.\d+\.[0-9a-f-]{36}\.tmp|owner\.lock\.(claim\.[0-9a-f]{16}|\d+\.\d+))$/;

/** A small file that is there whole or not at all. */
async function writeWhole(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.${randomUUID()}.tmp`;
  const file = await open(temporary, "wx", 0o600);
  try {
    await file.writeFile(text);
  } catch (error) {
    await file.close();
    await unlink(temporary);
    throw error;
  }
  await file.close();
  await rename(temporary, path);
}

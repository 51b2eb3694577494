import { dirname, join, normalize } from "node:path";

import ts from "typescript";

import type { SourceFile } from "./source-files.ts";

/** Who may import whom (docs/architecture.md). A room may always import itself; `node:` modules are judged separately. */
export const rooms: Readonly<Record<string, readonly string[]>> = {
  base: [],
  native: ["base"],
  keys: ["native", "base"],
  plugins: ["base"],
  wire: ["native", "keys", "base"],
  device: ["native", "base"],
  policies: ["plugins", "keys", "base"],
  l2: ["plugins", "native", "keys", "base"],
  l1: ["native", "keys", "base"],
  controllers: ["policies", "l1", "l2", "keys", "base"],
  storage: ["controllers", "policies", "l1", "l2", "plugins", "device", "native", "keys", "base"],
  workload: ["storage", "keys", "base"],
  // The story of `kvferry demo`: a tiny model with a paged KV cache, an engine in small.
  demo: ["storage", "device", "native", "keys", "base"],
  client: ["wire", "keys", "base"],
  server: ["wire", "storage", "device", "native", "keys", "base"],
  cli: ["server", "client", "demo", "workload", "storage", "controllers", "l1", "device", "wire", "policies", "l2", "plugins", "keys", "native", "base"],
};

/** The same for C++: native/<room> and what it may include besides itself and the system. */
export const nativeRooms: Readonly<Record<string, readonly string[]>> = {
  core: [],
  cuda: ["core"],
  net: ["core"],
  napi: ["core", "cuda", "net"],
};

/** Headers that only some native rooms may include. */
const restrictedHeaders: readonly { readonly pattern: RegExp; readonly rooms: readonly string[] }[] = [
  { pattern: /^(napi|node_api|js_native_api|node|uv|v8)(\.h|_types\.h)$|^napi-/, rooms: ["napi"] },
  { pattern: /cuda|nvml|cudart/i, rooms: ["cuda", "napi"] },
];

/** Forbidden arrows of one TypeScript file under src/, as sentences; empty when all is well. */
export function forbiddenImports(file: SourceFile): string[] {
  const room = roomOf(file.path, "src/");
  const found: string[] = [];
  for (const { fileName } of ts.preProcessFile(file.text, true, true).importedFiles) {
    if ((fileName === "node-gyp-build" || fileName.endsWith(".node")) && file.path !== "src/native/load.ts") found.push(`${file.path} loads the addon itself; only src/native/load.ts may`);
    if (!fileName.startsWith(".")) {
      if (room === "policies" && fileName.startsWith("node:")) found.push(`${file.path} imports ${fileName}; policies are pure`);
      continue;
    }
    const target = normalize(join(dirname(file.path), fileName));
    if (!target.startsWith("src/")) {
      found.push(`${file.path} imports ${target}, which is outside src/`);
      continue;
    }
    const other = roomOf(target, "src/");
    // src/index.ts and src/testing.ts are the public face: they re-export, and no room imports them.
    if (room === "" || room === other) continue;
    const allowed = rooms[room];
    if (allowed === undefined) found.push(`${file.path}: src/${room}/ is not in the table of rooms`);
    else if (!allowed.includes(other)) found.push(`${file.path} imports ${target}: ${room} may import ${allowed.join(", ") || "nothing"}`);
  }
  return found;
}

/** Forbidden includes of one C++ file under native/. */
export function forbiddenIncludes(file: SourceFile): string[] {
  const room = roomOf(file.path, "native/");
  const allowed = nativeRooms[room];
  if (allowed === undefined) return [`${file.path}: native/${room}/ is not in the table of rooms`];
  const found: string[] = [];
  for (const [, quote, header] of file.text.matchAll(/^\s*#\s*include\s*(["<])([^">]+)[">]/gm)) {
    for (const { pattern, rooms: holders } of restrictedHeaders)
      if (pattern.test(header) && !holders.includes(room)) found.push(`${file.path} includes ${header}; only native/${holders.join(", native/")} may`);
    if (quote !== '"') continue;
    const target = /^(\.|[^/]+$)/.test(header) ? normalize(join(dirname(file.path), header)) : join("native", header.replace(/^native\//, ""));
    const other = roomOf(target, "native/");
    if (other in nativeRooms && other !== room && !allowed.includes(other)) found.push(`${file.path} includes ${header}: native/${room} may include ${allowed.join(", ") || "nothing"}`);
  }
  return found;
}

/** "l1" of "src/l1/lease.ts"; "" of a file directly under the prefix. */
function roomOf(path: string, prefix: string): string {
  const rest = path.slice(prefix.length);
  return rest.includes("/") ? rest.slice(0, rest.indexOf("/")) : "";
}

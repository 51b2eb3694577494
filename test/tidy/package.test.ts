import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { root } from "./source-files.ts";

interface PackageJson {
  readonly name: string;
  readonly version: string;
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly gypfile: boolean;
  readonly files: readonly string[];
}
interface LockFile {
  readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly hasInstallScript?: boolean; readonly version?: string; readonly integrity?: string; readonly optionalDependencies?: Readonly<Record<string, string>> }>>;
}
const read = <T>(name: string): T => JSON.parse(readFileSync(join(root, name), "utf8")) as T;
const manifest = read<PackageJson>("package.json");
const lock = read<LockFile>("package-lock.json");

test("an install runs nothing: no install script, no implicit node-gyp, none in a dependency", () => {
  for (const name of ["preinstall", "install", "postinstall", "prepare"]) assert.equal(manifest.scripts[name], undefined, name);
  assert.equal(manifest.gypfile, false, "without gypfile: false npm runs node-gyp rebuild because binding.gyp is here");
  const scripted = Object.entries(lock.packages).filter(([path, entry]) => path !== "" && entry.dev !== true && entry.hasInstallScript === true);
  assert.deepEqual(scripted.map(([path]) => path), []);
});

test("the lock file agrees with package.json and holds an integrity for every package", () => {
  assert.equal(lock.packages[""].version, manifest.version);
  for (const [path, entry] of Object.entries(lock.packages)) if (path !== "") assert.ok(entry.integrity?.startsWith("sha512-"), path);
});

test("every optional package that a locked one names is locked, so that a clean install works on every platform", () => {
  for (const [path, entry] of Object.entries(lock.packages))
    for (const name of Object.keys(entry.optionalDependencies ?? {})) assert.ok(lock.packages[`node_modules/${name}`] !== undefined, `${path} names ${name}`);
});

test("Node's types are a dependency that joins the user's own, and ours stay those of the oldest Node that we promise", () => {
  // A range with an upper end would put a second copy beside a user's, and two copies of Node's globals do not compile.
  assert.equal(manifest.dependencies["@types/node"], ">=20.19.0");
  assert.match(lock.packages["node_modules/@types/node"].version ?? "", /^20\./);
});

test("what package.json promises to pack exists or is made by the build", () => {
  for (const path of manifest.files) if (!/^!?dist\b/.test(path)) assert.ok(existsSync(join(root, path)), path);
});

test("the name is none that node-gyp-build would take for a tag", () => {
  // Its file-name parser reads the stem as tags: a package called "uvcache" or "napi" is never found.
  assert.doesNotMatch(manifest.name, /^(abi|uv|armv)|^(node|napi|electron|glibc|musl)$|\./);
});

test("the commands that users and CI rely on are there", () => {
  for (const name of ["build", "prebuild", "test", "demo", "test:native", "test:sim", "test:pack", "lint"]) assert.ok(manifest.scripts[name] !== undefined, name);
  const named = Object.values(manifest.scripts).flatMap((script) => [...script.matchAll(/scripts\/[\w./-]+/g)].map(([path]) => path));
  for (const path of named) assert.ok(existsSync(join(root, path)), path);
});

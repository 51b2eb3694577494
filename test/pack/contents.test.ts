import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { setup } from "./setup.ts";

const allowed = [
  /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|binding\.gyp|CMakeLists\.txt)$/,
  /^dist\/[\w./-]+\.(js|d\.ts)$/,
  /^dist\/[\w./-]+\.(jsonl|jsonl\.gz|bin|html|css|json|md)$/,
  /^docs\/[\w./-]+\.(md|svg|png)$/,
  /^native\/(sources\.gypi|exports\.map|CMakeLists\.txt|README\.md)$/,
  /^native\/[\w/]+\.(cc|h|md)$/,
  /^examples\/[\w./-]+$/,
  /^prebuilds\/(README\.md|linux-(x64|arm64)\/kvferry\.(glibc|musl)\.node)$/,
  /^scripts\/build-native\.mjs$/,
];
const required = [
  "LICENSE",
  "README.md",
  "CHANGELOG.md",
  "dist/index.js",
  "dist/index.d.ts",
  "dist/testing.js",
  "dist/cli/main.js",
  "binding.gyp",
  "CMakeLists.txt",
  "native/sources.gypi",
  "native/exports.map",
  "native/CMakeLists.txt",
  "scripts/build-native.mjs",
  "prebuilds/linux-x64/kvferry.glibc.node",
  "prebuilds/linux-x64/kvferry.musl.node",
  "prebuilds/linux-arm64/kvferry.glibc.node",
];
const paths = setup.listing.files.map(({ path }) => path);

test("the tarball holds only what is on the list of allowed files", () => {
  assert.deepEqual(paths.filter((path) => !allowed.some((pattern) => pattern.test(path))), []);
});

test("the tarball holds everything that an install and a source build need", () => {
  assert.deepEqual(required.filter((path) => !paths.includes(path)), []);
  const listed = Object.values((JSON.parse(readFileSync(join(unpacked(), "native/sources.gypi"), "utf8")) as { variables: Record<string, string[]> }).variables).flat();
  assert.ok(listed.length > 10);
  assert.deepEqual(listed.filter((path) => !paths.includes(path)), []);
});

test("the tarball stays small: at most 4 MiB packed, 12 MiB unpacked, 600 files", () => {
  const { size, unpackedSize, files } = setup.listing;
  assert.ok(size <= 4 * 1024 * 1024, `packed ${size} bytes`);
  assert.ok(unpackedSize <= 12 * 1024 * 1024, `unpacked ${unpackedSize} bytes`);
  assert.ok(files.length <= 600, `${files.length} files`);
});

test("nothing packed names a directory of the machine that built it", () => {
  const root = process.cwd();
  const found = paths.filter((path) => readFileSync(join(unpacked(), path)).includes(`${root}/`));
  assert.deepEqual(found, []);
});

let unpackedDirectory: string | undefined;

/** The tarball's content on disk. */
function unpacked(): string {
  if (unpackedDirectory === undefined) {
    const target = join(setup.directory, "unpacked");
    mkdirSync(target, { recursive: true });
    execFileSync("tar", ["-xzf", setup.tarball, "-C", target]);
    unpackedDirectory = join(target, "package");
  }
  return unpackedDirectory;
}

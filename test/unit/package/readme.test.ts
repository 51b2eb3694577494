/** README.md's program is complete: it runs as it stands, twice in one directory, and prints what it promises. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { packageRoot } from "../../../src/native/load.ts";

const readme = readFileSync(join(packageRoot(), "README.md"), "utf8");

test("the program in the README runs as it stands, and again over what the first run left", (t) => {
  const [program, ...others] = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);
  assert.equal(others.length, 0, "one program");
  const directory = mkdtempSync(join(tmpdir(), "kvferry-readme-"));
  t.after(() => rmSync(directory, { recursive: true }));
  // A project of its own: without a package.json here, one in a folder above could be taken for kvferry itself.
  writeFileSync(join(directory, "package.json"), '{ "private": true }');
  const installed = join(directory, "node_modules", "kvferry");
  mkdirSync(installed, { recursive: true });
  writeFileSync(join(installed, "package.json"), '{ "name": "kvferry", "type": "module", "exports": "./index.js" }');
  writeFileSync(join(installed, "index.js"), `export * from ${JSON.stringify(new URL("../../../src/index.js", import.meta.url).href)};\n`);
  // The reader's disk is large; the limits that keep a small one from filling are not what this test is about.
  const unlimited = program.replace('base_path: "./kv"', '$&, min_free_gb: 0, min_free_percent: 0, min_free_inodes_percent: 0');
  assert.notEqual(unlimited, program);
  writeFileSync(join(directory, "ferry.mjs"), unlimited);
  for (const attempt of ["first", "second"]) {
    const { status, stdout, stderr } = spawnSync(process.execPath, ["ferry.mjs"], { cwd: directory, encoding: "utf8", timeout: 60_000 });
    assert.equal(status, 0, `${attempt} run: ${stdout}${stderr}`);
    assert.match(stdout, /^4 of 4 chunks found; the last begins with Uint8Array\(4\) \[ 4, 4, 4, 4 \]\n0 bytes left in L1\n$/, attempt);
  }
});

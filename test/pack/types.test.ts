import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

import { setup } from "./setup.ts";

test("publint finds nothing to better in the tarball", () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["node_modules/publint/src/cli.js", setup.tarball, "--strict"], { encoding: "utf8" });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /All good/);
});

test("every entry point resolves with its types (are the types wrong?)", () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["node_modules/@arethetypeswrong/cli/dist/index.js", setup.tarball, "--profile", "esm-only", "--no-emoji"], { encoding: "utf8" });
  assert.equal(status, 0, stdout + stderr);
  for (const entry of ["kvferry", "kvferry/testing"]) assert.match(stdout, new RegExp(`"${entry}"\\s+node16 \\(from ESM\\): OK \\(ESM\\)\\s+bundler: OK`));
});

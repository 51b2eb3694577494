import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { Consumer, roundTripProgram } from "./consumer.ts";
import { setup } from "./setup.ts";

// npm 11 is the last line that runs on Node 20; npm 12 blocks install scripts and needs Node 22.22 or newer.
for (const { npm, node } of [{ npm: 11, node: "20.20.2" }, { npm: 12, node: "24.21.0" }]) {
  test(`npm ${npm} installs the tarball with no compiler, no script and no warning, and it runs on every Node`, async (t) => {
    const consumer = new Consumer(`npm${npm}`, setup.nodes[node]);
    const installed = consumer.install(npm, "--ignore-scripts=false");
    assert.equal(installed.code, 0, installed.output);
    assert.doesNotMatch(installed.output, /warn|script|gyp|rebuild|deprecated/i);
    assert.match(installed.output, /added \d+ packages/);
    const program = consumer.write("round-trip.mjs", roundTripProgram);
    for (const [version, nodePath] of Object.entries(setup.nodes)) {
      await t.test(`Node ${version} stores and loads`, () => {
        const ran = consumer.node([program], { nodePath, environment: { PREBUILDS_ONLY: "1" } });
        assert.equal(ran.code, 0, ran.output);
        assert.match(ran.output, new RegExp(`round trip ok on Node ${version.replaceAll(".", "\\.")}`));
      });
      await t.test(`Node ${version} runs the README's program as it stands`, () => {
        const [, code] = /^```js\n(.*?)^```$/ms.exec(readFileSync(join(consumer.packageDirectory, "README.md"), "utf8")) ?? [];
        const ran = consumer.node([consumer.write("ferry.mjs", code)], { nodePath, environment: { PREBUILDS_ONLY: "1" } });
        assert.equal(ran.code, 0, ran.output);
        assert.match(ran.output, /^4 of 4 chunks found/);
      });
      await t.test(`Node ${version} requires it from CommonJS and runs the command`, () => {
        const required = consumer.node(["-e", "console.log(typeof require('kvferry').openStorage, typeof require('kvferry/testing'))"], { nodePath });
        assert.equal(required.code, 0, required.output);
        assert.match(required.output, /function object/);
        const command = consumer.node([join(consumer.packageDirectory, "dist", "cli", "main.js"), "--version"], { nodePath });
        assert.equal(command.code, 0, command.output);
        assert.match(command.output, /^\d+\.\d+\.\d+/);
      });
    }
  });
}

test("a binary of another version of the package is refused by name, with the way out", () => {
  const consumer = new Consumer("stale", setup.nodes["22.23.3"]);
  assert.equal(consumer.install(11).code, 0);
  const manifest = join(consumer.packageDirectory, "package.json");
  writeFileSync(manifest, readFileSync(manifest, "utf8").replace(/"version": "[^"]+"/, '"version": "99.0.0"'));
  const ran = consumer.node([consumer.write("try-package.mjs", roundTripProgram)]);
  assert.notEqual(ran.code, 0);
  assert.match(ran.output, /native addon that was found is of kvferry \d+\.\d+\.\d+, this is kvferry 99\.0\.0/);
  assert.match(ran.output, /npx kvferry build-native/);
});

test("a host that no binary fits gets one clear error with the command that builds it", () => {
  const consumer = new Consumer("no-binary", setup.nodes["22.23.3"]);
  assert.equal(consumer.install(11).code, 0);
  rmSync(join(consumer.packageDirectory, "prebuilds", "linux-x64"), { recursive: true });
  const ran = consumer.node([consumer.write("round-trip.mjs", roundTripProgram)]);
  assert.notEqual(ran.code, 0);
  assert.match(ran.output, /KVFERRY_NATIVE_MISSING/);
  assert.match(ran.output, /npx kvferry build-native/);
  assert.match(ran.output, /linux-x64/);
  const built = consumer.node([join(consumer.packageDirectory, "dist", "cli", "main.js"), "build-native"]);
  assert.equal(built.code, 1);
  assert.match(built.output, /cannot be built here[\s\S]*cmake is not on PATH[\s\S]*no C\+\+ compiler[\s\S]*apt install g\+\+ cmake/);
});

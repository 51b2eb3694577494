import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { Consumer, roundTripProgram } from "./consumer.ts";
import { setup } from "./setup.ts";

const compiler = ["sh", "c++", "cc", "as", "ld"];
const ways = [
  { way: "cmake", programs: [...compiler, "cmake", "make", "ar", "ranlib"], args: [] },
  // node-gyp is the one that npm carries; PATH has no cmake, so that the command finds its own way to it.
  { way: "node-gyp", programs: [...compiler, "make", "ar", "ranlib", "python3", "uname", "sed", "cp", "ln", "rm", "mkdir", "touch", "printf", "cat", "dirname", "basename"], args: [] },
  { way: "compiler", programs: compiler, args: [] },
];

for (const { way, programs, args } of ways) {
  test(`kvferry build-native builds the installed package with ${way}, offline, where that is what the host has`, () => {
    const consumer = new Consumer(`build-${way}`, process.execPath, programs);
    assert.equal(consumer.install(11).code, 0);
    rmSync(join(consumer.packageDirectory, "prebuilds"), { recursive: true });
    // A registry and a proxy that do not exist: the build may not need the network.
    const environment = { npm_config_registry: "http://127.0.0.1:9/", https_proxy: "http://127.0.0.1:9/", npm_config_disturl: "http://127.0.0.1:9/", npm_execpath: setup.npms[11] };
    const built = consumer.node([join(consumer.packageDirectory, "dist", "cli", "main.js"), "build-native", ...args], { environment });
    assert.equal(built.code, 0, built.output.slice(-4000));
    assert.match(built.output, new RegExp(`building the addon with ${way}\\n`));
    const ran = consumer.node([consumer.write("round-trip.mjs", roundTripProgram)]);
    assert.equal(ran.code, 0, ran.output);
    assert.match(ran.output, /round trip ok/);
  });
}

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { test } from "node:test";

import { Consumer } from "./consumer.ts";
import { setup } from "./setup.ts";

test("publint finds nothing to better in the tarball", () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["node_modules/publint/src/cli.js", setup.tarball, "--strict"], { encoding: "utf8" });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /All good/);
});

test("every entry point resolves with its types (are the types wrong?)", () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["node_modules/@arethetypeswrong/cli/dist/index.js", setup.tarball, "--profile", "esm-only", "--no-emoji", "--format", "ascii"], { encoding: "utf8" });
  assert.equal(status, 0, stdout + stderr);
  for (const entry of ["kvferry", "kvferry/testing"]) assert.match(stdout, new RegExp(`"${entry}"\\s+node16 \\(from ESM\\): OK \\(ESM\\)\\s+bundler: OK`));
});

const typedProgram = `
import { MiB, openStorage, type ReadHandle, type Storage, tokenKeys, type WriteHandle } from "kvferry";
import { testL2Adapter } from "kvferry/testing";

export async function roundTrip(signal: AbortSignal): Promise<number> {
  await using storage: Storage = await openStorage({ l1: { sizeBytes: MiB } });
  const keys = tokenKeys(storage.runtime.binding, [1, 2, 3], 1, { modelName: "model" });
  using write: WriteHandle = await storage.reserveWrite(keys, { sizeBytes: 4096 }, { signal });
  await write.commit();
  await using read: ReadHandle = await storage.prefetch(keys, { sizeBytes: 4096 });
  return read.hitCount;
}
export { testL2Adapter };
`;

// TypeScript 6 takes in no @types by itself, and nobody owes us skipLibCheck: the package brings what its types name.
test("a plain TypeScript 6 project compiles against both entry points, strictly and with every library checked", async (t) => {
  const consumer = new Consumer("types", setup.nodes["22.23.3"]);
  const installed = consumer.install(11);
  assert.equal(installed.code, 0, installed.output);
  consumer.write("app.ts", typedProgram);
  const compile = (file: string, ...flags: string[]): { readonly code: number | null; readonly output: string } =>
    consumer.node([resolve("node_modules/typescript/bin/tsc"), "--noEmit", "--strict", "--module", "nodenext", "--pretty", "false", ...flags, file]);
  for (const flags of [["--target", "es2023"], ["--lib", "esnext"], ["--target", "es2022", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"]]) {
    await t.test(flags.join(" "), () => {
      const { code, output } = compile("app.ts", ...flags);
      assert.equal(code, 0, output);
    });
  }
  await t.test("and a wrong call is an error, so the types were read", () => {
    consumer.write("wrong.ts", 'import { openStorage } from "kvferry";\nawait openStorage({ l1: { sizeBytes: "1 MiB" } });\n');
    const { code, output } = compile("wrong.ts", "--target", "es2023");
    assert.notEqual(code, 0);
    assert.match(output, /^wrong\.ts\(2,\d+\): error TS2322/);
  });
});

/** Runs examples/tiny-llama as a user does, with this build in place of the installed package. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import type { StoryReport } from "../../../src/demo/story-report.ts";
import { packageRoot } from "../../../src/native/load.ts";

const build = new URL("../../../src/", import.meta.url).href;

/** `kvferry` and its dist folder are what this build made of src. */
const hooks = `export function resolve(name, context, next) {
  if (name === "kvferry") return next(${JSON.stringify(`${build}index.js`)}, context);
  return next(name.startsWith("../../dist/") ? ${JSON.stringify(build)} + name.slice("../../dist/".length) : name, context);
}`;
const asModule = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;
const loader = asModule(`import { register } from "node:module"; register(${JSON.stringify(asModule(hooks))});`);

function example(...args: string[]): { status: number | null; out: string; err: string } {
  // register() is deprecated from Node 26 on, and what came after it is not in Node 20: the warning is this test's, not the example's.
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--no-deprecation", "--import", loader, join(packageRoot(), "examples/tiny-llama/run.mjs"), ...args], {
    encoding: "utf8",
    env: { ...process.env, KVFERRY_MODEL: "" },
  });
  return { status, out: stdout, err: stderr };
}

function scratch(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "kvferry-example-"));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test("write, then continue in another process: bytes equal, tokens equal", (context) => {
  const dir = scratch(context);
  const first = example("write", "--dir", dir, "--prompt", "Nell asked", "--tokens", "110");
  assert.equal(first.status, 0, first.err);
  assert.match(first.out, /stored 3 chunks of 32 tokens, 73728 bytes of KV; L1 holds 0 bytes now/);
  const second = example("continue", "--dir", dir);
  assert.equal(second.status, 0, second.err + second.out);
  assert.match(second.out, /found 96 of 110 tokens on disk, in 3 chunks/);
  assert.match(second.out, /3 of them have the bytes that process one had; 3 lie in other blocks than before/);
  assert.match(second.out, /an uninterrupted run writes the same tokens/);
});

test("continue says so, and fails, when the bytes are not those that were written", (context) => {
  const dir = scratch(context);
  assert.equal(example("write", "--dir", dir, "--tokens", "80").status, 0);
  const note = join(dir, "text.json");
  const text = JSON.parse(readFileSync(note, "utf8")) as { chunks: { digest: string }[] };
  text.chunks[1].digest = "0".repeat(64);
  writeFileSync(note, JSON.stringify(text));
  const second = example("continue", "--dir", dir);
  assert.equal(second.status, 1);
  assert.match(second.out, /1 of them have the bytes/);
});

test("kill --json prints one report", () => {
  const { status, out, err } = example("kill", "--json");
  assert.equal(status, 0, err);
  const report = JSON.parse(out) as StoryReport;
  assert.equal(report.ok, true);
  assert.equal(report.signal, "SIGKILL");
});

test("misuse is answered in words", () => {
  assert.match(example("rite").err, /^run\.mjs: unknown command rite; known: write, continue, both, kill\n$/);
  assert.match(example("toString").err, /^run\.mjs: unknown command toString/);
  assert.match(example("--nosuch").err, /^run\.mjs: Unknown option '--nosuch'[^\n]*\n$/);
  const none = example("continue", "--dir", "/tmp/nowhere");
  assert.equal(none.err, "run.mjs: there is no story in /tmp/nowhere; write one first: run.mjs write --dir /tmp/nowhere\n");
  assert.equal(none.status, 2);
  const help = example("--help");
  assert.equal(help.status, 0);
  assert.match(help.out, /write +--dir DIR.*continue --dir DIR/s);
  assert.match(example("write").err, /--dir is missing/);
  assert.match(example("write", "--dir", "/tmp/nowhere", "--model", "/nonexistent.bin").err, /there is no model at \/nonexistent\.bin/);
});

test("the example uses the public face alone", () => {
  const source = readFileSync(fileURLToPath(new URL(`file://${packageRoot()}/examples/tiny-llama/engine.mjs`)), "utf8");
  const imported = [...source.matchAll(/from "([^"]+)"/g)].map(([, name]) => name);
  assert.deepEqual(imported.filter((name) => name !== "kvferry" && !name.startsWith("../../dist/demo/")), []);
});

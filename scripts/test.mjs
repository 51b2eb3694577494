// Runs every test that needs nothing but this machine and prints, as its last line, `N passed, N failed, N skipped`.
//
//   node scripts/test.mjs [--no-build] [--no-native] [--no-sim] [--only PART]... [--sim-seeds N]
//
// The parts: node:test over .build/test (each *.test.js but those of test/pack, which `npm run test:pack` runs), GoogleTest
// under ctest, and a short simulation. `--only unit` runs the test files under test/unit alone.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";

import { root, run } from "./lib/run.mjs";
import { nativeTests } from "./lib/native-tests.mjs";
import { removeStale } from "./lib/stale.mjs";

const { values } = parseArgs({
  options: {
    "no-build": { type: "boolean", default: false },
    "no-native": { type: "boolean", default: false },
    "no-sim": { type: "boolean", default: false },
    only: { type: "string", multiple: true },
    "sim-seeds": { type: "string", default: "20" },
    concurrency: { type: "string", default: "2" },
  },
});

const total = { passed: 0, failed: 0, skipped: 0 };
const add = (part, counts, seconds) => {
  for (const key of Object.keys(total)) total[key] += counts[key];
  console.log(`${part}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped (${seconds.toFixed(1)} s)\n`);
};
async function part(name, body) {
  console.log(`== ${name}`);
  const start = performance.now();
  let counts;
  try {
    counts = await body();
  } catch (error) {
    console.log(String(error?.message ?? error));
    counts = { passed: 0, failed: 1, skipped: 0 };
  }
  add(name, counts, (performance.now() - start) / 1000);
}

if (!values["no-build"]) {
  await part("build", async () => {
    await run(process.execPath, ["scripts/build-native.mjs", "--quiet"], { show: true });
    for (const part of ["src", "test", "bench", "examples"]) removeStale(join(root, ".build", part), join(root, part));
    await run(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.dev.json"], { show: true });
    return { passed: 0, failed: 0, skipped: 0 };
  });
}

const everything = values.only === undefined;
const wanted = (file) => {
  const place = relative(join(root, ".build", "test"), file);
  return everything ? !place.startsWith("pack/") : values.only.some((part) => place.startsWith(part));
};
const files = testFiles(join(root, ".build", "test")).filter(wanted);
if (!everything && files.length === 0 && !["native", "sim"].some((part) => values.only.includes(part))) {
  console.error(`--only ${values.only.join(", ")} names no test file`);
  process.exit(1);
}
if (everything || files.length > 0) await part("node:test", () => nodeTests(files));
if (everything && !values["no-native"]) await part("GoogleTest", () => nativeTests());
if (everything && !values["no-sim"]) await part("simulation", simulation);

console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;

async function nodeTests(files) {
  if (files.length === 0) throw new Error("no test files under .build/test");
  const directory = mkdtempSync(join(tmpdir(), "kvferry-test-"));
  const countsFile = join(directory, "counts.json");
  try {
    const { code } = await run(
      process.execPath,
      ["--test", `--test-concurrency=${values.concurrency}`, "--enable-source-maps", "--test-reporter=./scripts/lib/test-reporter.mjs", "--test-reporter-destination=stdout", ...files],
      { show: true, check: false, env: { ...process.env, KVFERRY_TEST_COUNTS: countsFile } },
    );
    if (!existsSync(countsFile)) throw new Error(`the test runner ended with exit code ${code} and left no counts`);
    const counts = JSON.parse(readFileSync(countsFile, "utf8"));
    // The runner's exit code is the second witness: it may know of a failure that no event told of.
    if (code !== 0 && counts.failed === 0) counts.failed = 1;
    return counts;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function simulation() {
  const { code, stdout, stderr } = await run(process.execPath, ["scripts/sim.mjs", "--seeds", values["sim-seeds"]], { check: false });
  process.stdout.write(stdout + stderr);
  const seeds = Number(values["sim-seeds"]);
  return code === 0 ? { passed: seeds, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 };
}

function testFiles(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.js"))
    .map((name) => join(directory, name))
    .sort();
}

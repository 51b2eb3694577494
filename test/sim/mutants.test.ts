/**
 * Tests of the tests: every bug of mutants.ts must be found by the simulation, each in a process of its own. A bug that survives means that
 * an invariant is missing.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { bugs } from "./mutants.ts";

const seedsMax = 300;
const main = fileURLToPath(new URL("mutant-main.js", import.meta.url));

test("no bug planted, none found", async () => {
  const { runSeed } = await import("./run-seed.ts");
  for (let seed = 1; seed <= 40; seed++) assert.equal((await runSeed(seed)).failure, undefined);
});

for (const [index, { name }] of bugs.entries())
  test(`the simulation finds: ${name}`, async (context) => {
    const { stdout } = await promisify(execFile)(process.execPath, [main, String(index), String(seedsMax)]);
    const found = JSON.parse(stdout) as { seed: number; event: number; message: string } | null;
    assert.ok(found !== null, `not found in ${seedsMax} seeds`);
    context.diagnostic(`seed ${found.seed}, event ${found.event}: ${found.message}`);
  });

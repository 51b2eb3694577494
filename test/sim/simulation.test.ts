/** The short run of the simulation that `npm test` includes; `npm run test:sim -- --seeds N --from S` runs as many seeds as one likes. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { type FaultName, faultNames } from "./faults.ts";
import { regressions } from "./regressions.ts";
import { runSeed } from "./run-seed.ts";

const seeds = 300;
const secondsMax = 60;
/** With fewer seeds than this the run says nothing: a slow machine takes longer for them. */
const seedsMin = 60;

function failureText(seed: number, message: string): string {
  return `seed ${seed}: ${message}\nreplay: npm run test:sim -- --seeds 1 --from ${seed}`;
}

test(`no invariant breaks in ${seeds} seeds (in ${secondsMax} s, at least ${seedsMin}), and every kind of fault strikes`, async (context) => {
  const counts = new Map<FaultName, number>();
  const startMs = performance.now();
  let events = 0;
  let ran = 0;
  for (let seed = 1; seed <= seeds && (seed <= seedsMin || performance.now() - startMs < secondsMax * 1000); seed++) {
    const { failure, events: seedEvents } = await runSeed(seed, { counts });
    assert.equal(failure, undefined, failureText(seed, failure?.message ?? ""));
    events += seedEvents;
    ran++;
  }
  context.diagnostic(`${ran} seeds, ${events} events; injected: ${faultNames.map((name) => `${name} ${counts.get(name) ?? 0}`).join(", ")}`);
  if (ran === seeds) assert.deepEqual(faultNames.filter((name) => (counts.get(name) ?? 0) === 0), [], "faults that never struck");
});

test("seeds that once found a bug find nothing", async () => {
  for (const { seed, story } of regressions) {
    const { failure } = await runSeed(seed);
    assert.equal(failure, undefined, failureText(seed, `${failure?.message} (once: ${story})`));
  }
});

test("the same seed gives the same trace", async () => {
  for (const seed of [2, 12, 48, 111, 263]) {
    const [first, second] = [await runSeed(seed), await runSeed(seed)];
    assert.equal(first.traceHash, second.traceHash, `seed ${seed}`);
    assert.equal(first.events, second.events);
  }
});

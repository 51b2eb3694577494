import assert from "node:assert/strict";
import { test } from "node:test";

import { VirtualClock } from "../../../src/base/clock.ts";
import type { ReplaySample } from "../../../src/workload/replay-result.ts";
import { Sampler } from "../../../src/workload/sampler.ts";

test("a run of any length fits: intervals double, the order, the ends and the peak stay", () => {
  for (const minutes of [0.001, 0.1, 5, 300]) {
    const clock = new VirtualClock();
    const peakAtMs = Math.floor(minutes * 60_000 * 0.37);
    let taken = 0;
    const sampler = new Sampler(clock, (): ReplaySample => {
      taken++;
      const atMs = clock.nowMs();
      return { atMs, requests: 0, chunksRequested: 0, chunksHit: 0, l1UsedBytes: Math.abs(atMs - peakAtMs) <= 20 ? 1000 : 1, storedBytes: 0, loadedBytes: 0, queuedChunks: 0, waitingWriters: 0 };
    });
    sampler.start();
    clock.advance(minutes * 60_000);
    const samples = sampler.finish();
    assert.ok(samples.length >= Math.min(taken, 590) && samples.length <= 1200, `${samples.length} of ${taken}`);
    assert.equal(samples[0].atMs, 0);
    assert.equal(samples.at(-1)?.atMs, minutes * 60_000);
    assert.ok(samples.every((sample, index) => index === 0 || sample.atMs >= samples[index - 1].atMs));
    if (minutes === 0.1) assert.ok(samples.some((sample) => sample.l1UsedBytes === 1000));
    assert.equal(clock.nextDueMs(), undefined, "no timer is left behind");
  }
});

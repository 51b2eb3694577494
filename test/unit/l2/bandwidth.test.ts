import assert from "node:assert/strict";
import { test } from "node:test";

import { systemClock, VirtualClock } from "../../../src/base/clock.ts";
import { BandwidthBucket } from "../../../src/l2/mock/bandwidth.ts";

test("transfers share the bandwidth: ten at once take ten times as long as one", async () => {
  const clock = new VirtualClock();
  const bucket = new BandwidthBucket(1000, clock);
  clock.advance(1000);
  const ends: number[] = [];
  const transfers = Array.from({ length: 10 }, () => bucket.wait(bucket.take(100)).then(() => ends.push(clock.nowMs())));
  for (let step = 0; step < 200; step++) {
    await Promise.resolve();
    clock.advance(10);
  }
  await Promise.all(transfers);
  // 100 bytes at 1000 bytes/s are 100 ms; the first starts with up to 8 ms of credit.
  assert.equal(ends.length, 10);
  ends.forEach((end, index) => assert.ok(Math.abs(end - 1000 - 100 * (index + 1)) <= 12, `transfer ${index} ended at ${end}`));
});

test("no transfer ends before the link could have moved it, less 2 ms of debt and 8 ms of credit", async () => {
  const clock = new VirtualClock();
  const bucket = new BandwidthBucket(1e6, clock);
  let moved = 0;
  for (let step = 0; step < 500; step++) {
    const bytes = 1 + ((step * 7919) % 5000);
    let done = false;
    void bucket.wait(bucket.take(bytes)).then(() => (done = true));
    for (await Promise.resolve(); !done; await Promise.resolve()) clock.runNext();
    moved += bytes;
    assert.ok(moved <= 1000 * (clock.nowMs() + 10) + 1, `${moved} bytes after ${clock.nowMs()} ms`);
  }
});

test("late timers do not lower the rate", async () => {
  // Real timers oversleep by about a millisecond: 1 MiB pieces at 1 GB/s are due every millisecond.
  const bucket = new BandwidthBucket(1e9, systemClock);
  const startMs = performance.now();
  for (let piece = 0; piece < 200; piece++) await bucket.wait(bucket.take(1e6));
  const elapsedMs = performance.now() - startMs;
  assert.ok(elapsedMs >= 185, `200 MB at 1 GB/s took ${elapsedMs.toFixed(1)} ms`);
});

test("release and abort end a wait", async () => {
  const clock = new VirtualClock();
  const bucket = new BandwidthBucket(1, clock);
  const controller = new AbortController();
  const aborted = bucket.wait(bucket.take(1000), controller.signal);
  controller.abort();
  await aborted;
  const released = bucket.wait(bucket.take(1000));
  bucket.release();
  await released;
  assert.equal(clock.nextDueMs(), undefined, "no timer is left");
});

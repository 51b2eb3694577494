import assert from "node:assert/strict";
import { test } from "node:test";

import { VirtualClock } from "../../../src/base/clock.ts";
import { Counters } from "../../../src/base/counters.ts";
import { Admission, AdmissionClass } from "../../../src/l1/index.ts";

/** A pool of room that requests take from, and an admission over it. */
function pool(roomAtStart: number, queueMax?: number) {
  const clock = new VirtualClock();
  const admission = new Admission(clock, new Counters(), queueMax);
  const granted: string[] = [];
  let room = roomAtStart;
  const request = (name: string, size: number, more: { saltId?: number; timeoutMs?: number; signal?: AbortSignal; load?: boolean } = {}) =>
    admission.wait({
      charge: more.load === true ? AdmissionClass.load : AdmissionClass.store,
      saltId: more.saltId ?? 0,
      timeoutMs: more.timeoutMs ?? 1_000,
      signal: more.signal,
      what: name,
      attempt: () => {
        if (room < size) return undefined;
        room -= size;
        granted.push(name);
        return name;
      },
    });
  const free = (size: number) => {
    room += size;
    admission.pump();
  };
  return { clock, admission, granted, request, free };
}

test("what fits is granted at once", async () => {
  const { request, admission } = pool(2);
  assert.equal(await request("a", 2), "a");
  assert.equal(admission.waitingCount, 0);
});

test("one who fits does not pass one of its class who waits", async () => {
  const { request, free, granted } = pool(1);
  const large = request("large", 2);
  const small = request("small", 1);
  await Promise.resolve();
  assert.deepEqual(granted, [], "small must stand behind large");
  free(1);
  await large;
  free(1);
  await small;
  assert.deepEqual(granted, ["large", "small"]);
});

test("salts take turns, so that one tenant's queue does not stand before another's", async () => {
  const { request, free, granted } = pool(0);
  const waits = [request("a1", 1, { saltId: 1 }), request("a2", 1, { saltId: 1 }), request("a3", 1, { saltId: 1 }), request("b1", 1, { saltId: 2 })];
  for (let round = 0; round < 4; round++) free(1);
  await Promise.all(waits);
  assert.deepEqual(granted, ["a1", "b1", "a2", "a3"]);
});

test("stores and loads alternate where they share one pool", async () => {
  const { request, free, granted } = pool(0);
  const waits = [request("s1", 1), request("s2", 1), request("l1", 1, { load: true }), request("l2", 1, { load: true })];
  for (let round = 0; round < 4; round++) free(1);
  await Promise.all(waits);
  assert.deepEqual([...granted].sort(), ["l1", "l2", "s1", "s2"]);
  assert.notEqual(granted[0][0], granted[1][0]);
  assert.notEqual(granted[2][0], granted[3][0]);
});

test("the deadline ends the wait with a typed error, and the next one gets its chance", async () => {
  const { clock, request, free } = pool(1);
  const large = request("large", 5, { timeoutMs: 100 });
  const small = request("small", 1, { timeoutMs: 1_000 });
  const failed = assert.rejects(large, { code: "KVFERRY_CAPACITY_TIMEOUT", retryable: true });
  clock.advance(100);
  await failed;
  assert.equal(await small, "small");
  free(1);
});

test("an abort signal leaves the queue", async () => {
  const { request, admission } = pool(0);
  const abort = new AbortController();
  const waiting = request("a", 1, { signal: abort.signal });
  assert.equal(admission.waitingCount, 1);
  abort.abort(new Error("gave up"));
  await assert.rejects(waiting, { name: "AbortError", code: "ABORT_ERR" });
  assert.equal(admission.waitingCount, 0);
});

test("a signal that has fired already never waits", async () => {
  const { request } = pool(0);
  await assert.rejects(request("a", 1, { signal: AbortSignal.abort() }), { code: "ABORT_ERR" });
});

test("the queue is bounded", async () => {
  const { request, free } = pool(0, 2);
  const waits = [request("a", 1), request("b", 1)];
  await assert.rejects(request("c", 1), { code: "KVFERRY_CAPACITY_QUEUE_FULL" });
  free(2);
  await Promise.all(waits);
});

test("no wait means no wait", async () => {
  const { request } = pool(0);
  await assert.rejects(request("a", 1, { timeoutMs: 0 }), { code: "KVFERRY_CAPACITY_TIMEOUT" });
});

test("an infinite wait sets no timer", async () => {
  const { request, clock, free } = pool(0);
  const waiting = request("a", 1, { timeoutMs: Infinity });
  assert.equal(clock.nextDueMs(), undefined);
  free(1);
  assert.equal(await waiting, "a");
});

test("close tells everybody who waits", async () => {
  const { request, admission } = pool(0);
  const waits = [request("a", 1), request("b", 1, { load: true })];
  admission.close();
  for (const wait of waits) await assert.rejects(wait, { code: "KVFERRY_CLOSED" });
  await assert.rejects(request("c", 1), { code: "KVFERRY_CLOSED" });
});

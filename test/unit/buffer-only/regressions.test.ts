/** Bugs that the simulation found in L1, the controllers and the storage before anybody used them. Each test opens with the bug's story. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { VirtualClock } from "../../../src/base/clock.ts";
import { AbortError } from "../../../src/base/errors.ts";
import { SeededRandom } from "../../../src/base/random.ts";
import { QueueWatch } from "../../../src/controllers/queue-watch.ts";
import { type L2Adapter, registerL2Adapter } from "../../../src/l2/index.ts";
import { Rig } from "./rig.ts";

// A lease moved an object to the loads' share; its release moved it to nobody's share although an adapter was still owed it, so stores
// could take more of L1 than they may.
test("an object whose reader leaves before its stores end counts against the stores' share again", async () => {
  const rig = await Rig.open({ chunks: 16, adapters: [{ latencyMs: 500 }] });
  const write = await rig.reserve(rig.rows(0, 4));
  rig.fill(write);
  // The reader joins the write, so it has its lease before the stores are owed.
  const joining = rig.storage.prefetchRows(rig.rows(0, 4));
  await rig.pass(1);
  const stored = await write.commit();
  await (await rig.drive(joining)).release();
  assert.deepEqual([...rig.storage.audit().problems], []);
  assert.equal((rig.storage.status().l1 as { storeBytes?: number }).storeBytes, 4 * rig.chunkBytes);
  await rig.drive(stored.settled);
  await rig.finish();
});

// Eviction inside a reservation freed slots, freeing pumped the queue of waiters, and a waiter reserved in the middle of the first
// reservation, on the same scratch memory: key ids were released twice.
test("a reservation that evicts while others wait is not run into by them", async () => {
  const rig = await Rig.open({ chunks: 8, adapters: [{}], l1: { evictionPolicy: "LRU", storeShare: 0.25, loadShare: 0.25 }, l2: { storePolicy: "default" } });
  for (let chunk = 0; chunk < 8; chunk++) await rig.writeAll(chunk, 1);
  // Writes that hold the stores' whole share, more that wait for it, and loads, whose class is free to evict meanwhile.
  const held = await rig.reserve(rig.rows(100, 6));
  assert.equal(held.count, 6);
  const waiting = [10, 20].map((first) => rig.storage.reserveWriteRows(rig.rows(first, 3), { timeoutMs: 60_000 }));
  await rig.pass(1);
  const loading = [0, 3].map((first) => rig.storage.prefetchRows(rig.rows(first, 2)));
  await rig.pass(1);
  held.abort();
  for (const write of await rig.drive(Promise.all(waiting))) write.abort();
  for (const read of await rig.drive(Promise.all(loading))) {
    rig.verify(read);
    await read.release();
  }
  await rig.drive(rig.storage.idle());
  assert.deepEqual([...rig.storage.audit().problems], []);
  rig.storage.clearL1({ force: true });
  await rig.assertAtRest();
  await rig.close();
});

// A write of keys of which one was in L1 already made room by evicting just that one, and was then told that it was there.
test("room for some keys of a write is not taken from those in front of them", async () => {
  const rig = await Rig.open({ chunks: 4, adapters: [{}], l1: { evictionPolicy: "LRU", storeShare: 0, loadShare: 0 }, l2: { storePolicy: "default" } });
  for (let chunk = 0; chunk < 4; chunk++) await rig.writeAll(chunk, 1);
  // Chunk 0 is the oldest, so it would be the first victim for chunks 4 and 5.
  const write = await rig.reserve(rig.rows(0, 6));
  assert.equal(write.chunkCount, 4);
  assert.equal(rig.storage.audit().objects, 4, "all that were answered as resident are");
  write.abort();
  rig.storage.clearL1({ force: true });
  await rig.assertAtRest();
  await rig.close();
});

// To spare all keys of the request went too far: a chunk waited for a later chunk of its own request, which nobody else would evict.
test("a chunk that needs room may push out later chunks of its own request", async () => {
  const rig = await Rig.open({ chunks: 1, adapters: [{}], l1: { evictionPolicy: "LRU" }, l2: { storePolicy: "default" } });
  await rig.writeAll(0, 1);
  await rig.writeAll(1, 1);
  const read = await rig.read(rig.rows(0, 2));
  assert.equal(read.hitCount, 1, "chunk 0 was loaded in the place of chunk 1");
  rig.verify(read);
  await read.release();
  await rig.writeAll(3, 1);
  const startMs = rig.clock.nowMs();
  const write = await rig.reserve(rig.rows(2, 2));
  assert.deepEqual([write.count, write.chunkCount], [1, 1]);
  assert.equal(rig.clock.nowMs(), startMs);
  write.abort();
  rig.storage.clearL1({ force: true });
  await rig.assertAtRest();
  await rig.close();
});

// A row with a sliding window needs only the last chunks of a prefix. When room ended before the plan did, what had been loaded for the
// long prefix served no shorter one, and a request of which half would have fitted hit nothing.
test("a prefix with a sliding window that does not fit is answered with a shorter one", async () => {
  const rig = await Rig.open({ chunks: 16, adapters: [{}], rowSizes: [4096, 4000], windows: [-1, 1] });
  for (let chunk = 0; chunk < 14; chunk++) await rig.writeAll(chunk, 1);
  const read = await rig.read(rig.rows(0, 14));
  // Loads may take 12 objects here: 11 chunks of the first row and the last chunk of the second.
  assert.equal(read.hitCount, 11);
  assert.equal(read.slots.length, 12);
  rig.verify(read);
  await read.release();
  await rig.finish();
});

// Waiters were woken when slots were freed. A reader's release that frees nothing lets its objects be evicted, and woke nobody.
test("a writer that waits gets its room when a reader lets go of what can be evicted", async () => {
  const rig = await Rig.open({ chunks: 2, adapters: [{}], l1: { evictionPolicy: "LRU" }, l2: { storePolicy: "default" } });
  await rig.writeAll(0, 1);
  await rig.writeAll(1, 1);
  const read = await rig.read(rig.rows(0, 2));
  assert.equal(read.hitCount, 2);
  const waiting = rig.storage.reserveWriteRows(rig.rows(5, 1), { timeoutMs: 60_000 });
  await rig.pass(10);
  const startMs = rig.clock.nowMs();
  await read.release();
  const write = await rig.drive(waiting);
  assert.equal(rig.clock.nowMs(), startMs, "at once");
  write.abort();
  rig.storage.clearL1({ force: true });
  await rig.assertAtRest();
  await rig.close();
});

// holds() is asked inside reserveWrite and commit. When it threw, writes rejected, and a commit left its objects in L1 with an obligation
// that nobody would end.
test("an adapter whose holds() throws is owed everything, and costs nothing else", async () => {
  const rig = await Rig.open({ chunks: 2, adapters: [{ knowsKeys: true, rates: { holds_throw: 1 } }] });
  assert.equal((await rig.writeAll(0, 6)).storedKeys, 6);
  assert.ok(rig.counters.total("kvferry_adapter_errors_total", { call: "holds" }) > 0);
  await rig.finish();
});

// signal.throwIfAborted() throws the platform's DOMException, whose code is a number, where every other abort is an AbortError.
test("a signal that has fired already is answered like one that fires later", async () => {
  const rig = await Rig.open({ chunks: 2, adapters: [{}] });
  const signal = AbortSignal.abort("too late");
  for (const call of [() => rig.storage.reserveWriteRows(rig.rows(0, 1), { signal }), () => rig.storage.prefetchRows(rig.rows(0, 1), { signal })])
    await assert.rejects(rig.drive<unknown>(call()), (error) => error instanceof AbortError && error.code === "ABORT_ERR" && error.cause === "too late");
  await rig.finish();
});

// With no adapter at all a commit that published n objects settled as 0 keys.
test("a commit that owes nobody anything settles with the keys it published", async () => {
  const rig = await Rig.open({ chunks: 2, adapters: [], l1: { evictionPolicy: "LRU" } });
  assert.deepEqual(await rig.writeAll(0, 1), { storedKeys: 1, failedKeys: 0, droppedKeys: 0, reasons: {} });
  rig.storage.clearL1();
  await rig.assertAtRest();
  await rig.close();
});

// A retry that waited for its turn was ended only by its timer, which could be long after close() had returned.
test("what waits for another try when the storage closes is dropped then", async () => {
  const rig = await Rig.open({ chunks: 2, adapters: [{ rates: { store_fail: 1 } }], l2: { storeAttemptsMax: 5, storeRetryDelayMs: 20_000 } });
  const write = await rig.reserve(rig.rows(0, 1));
  rig.fill(write);
  const stored = await write.commit();
  await rig.pass(100);
  const report = await rig.drive(rig.storage.close({ deadlineMs: 50 }));
  assert.deepEqual(report, { unfinishedKeys: 1, memoryKept: false });
  assert.ok(rig.clock.nowMs() < 5_000);
  assert.deepEqual(await stored.settled, { storedKeys: 0, failedKeys: 0, droppedKeys: 1, reasons: { "dropped:shutdown": 1 } });
});

// drop_oldest counted the bytes of each dropped part, but an object that a second adapter was still owed did not come free by it.
test("drop_oldest goes on until memory is free, not until bytes are counted", async () => {
  const rig = await Rig.open({ chunks: 4, adapters: [{ latencyMs: 5_000 }, { latencyMs: 5_000 }], l1: { storeShare: 0, loadShare: 0 }, l2: { storePressure: "drop_oldest", storeBytesInFlightMax: 1, loadDeadlineMs: 20_000 } });
  const first = await rig.reserve(rig.rows(0, 3));
  rig.fill(first);
  await first.commit();
  const startMs = rig.clock.nowMs();
  const next = await rig.reserve(rig.rows(10, 2), 60_000);
  assert.ok(next.count > 0);
  assert.equal(rig.clock.nowMs(), startMs, "there was room at once: both adapters' unsent parts were given up");
  next.abort();
  await rig.finish();
});

// The timer was armed by created + deadline and asked whether created <= now - deadline. Rounding made that false for some times, and the
// timer fired again at once, for ever.
test("an overdue store is found overdue by the timer that was set for it", () => {
  const random = new SeededRandom(5);
  for (let round = 0; round < 2_000; round++) {
    const clock = new VirtualClock();
    clock.advance(random.nextFloat() * 10_000);
    const createdMs = clock.nowMs();
    const answers: boolean[] = [];
    const watch = new QueueWatch(clock, 200 + random.nextFloat(), (isOverdue) => {
      answers.push(isOverdue(createdMs));
      if (answers.length < 5 && !isOverdue(createdMs)) watch.note(createdMs);
    });
    watch.note(createdMs);
    clock.advance(1_000);
    assert.deepEqual(answers, [true], `created at ${createdMs}`);
  }
});

// Two adapters that opened at once were given one name, and their counters ran together.
test("adapters that are added at the same time get names of their own, and a taken name is refused", async () => {
  const rig = await Rig.open({ chunks: 2, adapters: [], l1: { evictionPolicy: "LRU" } });
  const spec = { type: "mock", max_size_gb: 0.001, mock_bandwidth_gb: 1 };
  const names = await rig.drive(Promise.all([rig.storage.addAdapter(spec), rig.storage.addAdapter(spec)]));
  assert.equal(new Set(names).size, 2, names.join(", "));
  const sim = rig.makeSim({});
  await rig.drive(rig.storage.addAdapter(sim));
  await assert.rejects(rig.drive(rig.storage.addAdapter(sim)), /is called "sim0" already/);
  await rig.close();
});

// close() awaited every adapter's close() without limit, so one that hangs kept the whole process.
test("an adapter whose close() never ends does not keep the storage from closing", async () => {
  const rig = await Rig.open({ chunks: 2, adapters: [{}, {}] });
  rig.sims[0].close = () => new Promise(() => {});
  await rig.writeAll(0, 2);
  const report = await rig.drive(rig.storage.close({ deadlineMs: 500 }));
  assert.deepEqual(report, { unfinishedKeys: 0, memoryKept: false });
  assert.ok(rig.sims[1].closed);
});

// An opening that a close() overtook left an adapter that nobody would close.
test("an adapter that is still opening when the storage has closed is closed too", async () => {
  let finishOpening = (): void => {};
  let isClosed = false;
  registerL2Adapter({
    type: "slow-opening",
    summary: "opens when it is told to",
    jsonSchema: {},
    parse: (spec) => spec,
    open: () =>
      new Promise((resolve) => {
        finishOpening = () => resolve({ name: "slow-opening", type: "slow-opening", close: () => Promise.resolve(void (isClosed = true)) } as unknown as L2Adapter);
      }),
  });
  const rig = await Rig.open({ chunks: 2, adapters: [], l1: { evictionPolicy: "LRU" } });
  const adding = rig.storage.addAdapter({ type: "slow-opening" });
  await rig.drive(rig.storage.close());
  finishOpening();
  await assert.rejects(rig.drive(adding), { code: "KVFERRY_CLOSED" });
  assert.ok(isClosed);
});

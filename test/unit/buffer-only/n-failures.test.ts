/**
 * The further failures that were reproduced on LMCache 0.5.6: N1 to N7 and N11 to N17 on simulated adapters and a virtual clock (N1 on the
 * real mock); N8 to N10, which are about files, are in n-files.test.ts.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { ConfigError } from "../../../src/base/errors.ts";
import { GiB } from "../../../src/base/bytes.ts";
import { parseStorageConfig } from "../../../src/storage/index.ts";
import { l1Sizes, Rig, sumOf } from "./rig.ts";

for (const chunks of l1Sizes) {
  // LMCache: success is reported for skipped keys; 6 of 10 keys are deleted from L1 and in no adapter.
  test(`N1: an adapter that is full says so per key, and nothing is reported stored that is not (L1 of ${chunks} chunks)`, async () => {
    const capacityBytes = 4 * Math.max(65536 / 4, Math.ceil(65536 / chunks));
    const rig = await Rig.open({ chunks, adapters: [{ type: "mock", max_size_gb: capacityBytes / GiB, mock_bandwidth_gb: 1 }] });
    const fitting = Math.floor(capacityBytes / rig.chunkBytes);
    const settlement = await rig.writeAll(0, fitting + 6);
    assert.deepEqual(settlement, { storedKeys: fitting, failedKeys: 6, droppedKeys: 0, reasons: { "failed:no_room": 6 } });
    assert.equal(await rig.countReadable(0, fitting + 6), fitting, "what was reported stored is there, what was not is a miss");
    await rig.assertAtRest();
    await rig.close();
  });

  // LMCache (read TTL 1 s, two adapters): memory is freed under I/O and another key's bytes are stored under the valid key.
  test(`N2: leases that run out do not take memory from an adapter that reads it (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ latencyMs: 10_000 }, { latencyMs: 1 }], l1: { readTtlSeconds: 1, storeWaitMs: 60_000 } });
    const write = await rig.reserve(rig.rows(0, 1));
    rig.fill(write);
    const stored = await write.commit();
    const read = await rig.read(rig.rows(0, 1));
    await rig.pass(3_000);
    assert.equal(read.live, false, "the lease ran out");
    // The simulated adapters compare every byte at the start and at the end of each store.
    const settlement = await rig.writeAll(1, 2 * chunks, { timeoutMs: 600_000 });
    assert.equal(settlement.storedKeys, 2 * chunks);
    assert.equal((await rig.drive(stored.settled)).storedKeys, 1);
    assert.equal(await rig.countReadable(0, 1), 1);
    await rig.finish();
  });

  // LMCache (write TTL 1 s): a second writer gets the same buffer; a mixed object is stored as valid.
  test(`N3: a writer whose time ran out cannot write or commit any more, and the next one's object is whole (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{}], l1: { writeTtlSeconds: 1 } });
    const late = await rig.reserve(rig.rows(0, 1));
    late.slots[0].write(new Uint8Array(8).fill(1));
    const [slot] = late.slots;
    await rig.pass(3_000);
    assert.equal(late.state, "expired");
    const next = await rig.reserve(rig.rows(0, 1));
    assert.equal(next.count, 1);
    rig.fill(next);
    assert.throws(() => slot.write(new Uint8Array(8).fill(2)), { code: "KVFERRY_STALE_HANDLE" });
    await assert.rejects(late.commit(), { code: "KVFERRY_STATE" });
    assert.equal((await rig.drive((await next.commit()).settled)).storedKeys, 1);
    assert.equal(await rig.countReadable(0, 1), 1, "byte for byte the second writer's");
    await rig.finish();
  });

  test(`N3: a copy that still runs into an expired write keeps its memory until it has ended (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{}], l1: { writeTtlSeconds: 1 } });
    const late = await rig.reserve(rig.rows(0, chunks));
    const refs = late.refs.slice();
    rig.storage.arena.beginIo(refs);
    await rig.pass(3_000);
    assert.equal(late.state, "expired");
    assert.equal(rig.usedBytes, late.count * rig.chunkBytes, "marked for drop, and not given to anybody");
    if (late.count === chunks) await assert.rejects(rig.reserve(rig.rows(50, 1), 100), { code: "KVFERRY_CAPACITY_TIMEOUT" });
    rig.storage.arena.endIo(refs);
    await rig.finish();
  });

  // LMCache: wrong bytes are stored under a valid key.
  test(`N4: a forced clear waits for the adapter that reads (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ latencyMs: 500 }], l1: { storeWaitMs: 60_000 } });
    const write = await rig.reserve(rig.rows(0, 1));
    rig.fill(write);
    const stored = await write.commit();
    await rig.pass(10);
    assert.deepEqual(rig.storage.clearL1(), { removed: 0, pending: 0, held: 1 });
    assert.deepEqual(rig.storage.clearL1({ force: true }), { removed: 0, pending: 1, held: 0 });
    assert.equal((await rig.writeAll(1, chunks)).storedKeys, chunks);
    assert.equal((await rig.drive(stored.settled)).storedKeys, 1);
    assert.equal(await rig.countReadable(0, 1 + chunks), 1 + chunks);
    await rig.finish();
  });

  // LMCache: the request is aborted, its buffers are freed, and the late load overwrites another resident key.
  test(`N5: an adapter that raises during a prefetch frees only its own part; a late load hurts nobody (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ rates: { load_throw: 1 } }, { rates: { load_slow: 1 }, latencyMs: 5 }], l2: { loadDeadlineMs: 50 } });
    const [raising, slow] = rig.sims;
    const count = Math.max(2, chunks);
    await rig.writeAll(0, count);
    // Each adapter has half of the keys, so that a prefetch needs both.
    forget(rig, slow, 0, count / 2);
    forget(rig, raising, count / 2, count / 2);
    const read = await rig.read(rig.rows(0, count));
    assert.equal(read.hitCount, 0);
    await read.release();
    // While the late load still runs, others write and read in what room there is.
    const others = await rig.writeAll(100, 2 * chunks, { timeoutMs: 60_000 });
    assert.equal(others.storedKeys, 2 * chunks);
    await rig.drive(rig.storage.idle());
    assert.equal(rig.usedBytes, 0, "the late load was nobody's and left");
    rig.heal();
    assert.equal(await rig.countReadable(100, 2 * chunks), 2 * chunks);
    await rig.finish();
  });

  // LMCache: after the TTL all memory is still held until an operator clears.
  test(`N6: abandoned writes, reads that nobody reads, and a late release leave nothing (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{}], l1: { writeTtlSeconds: 2, readTtlSeconds: 2 } });
    const abandoned = await rig.reserve(rig.rows(0, chunks));
    assert.ok(abandoned.count > 0);
    await rig.pass(4_000);
    assert.equal(rig.usedBytes, 0, "abandoned writes were aborted");
    assert.equal((await rig.writeAll(0, chunks)).storedKeys, chunks);
    const never = await rig.read(rig.rows(0, chunks));
    assert.ok(never.hitCount > 0);
    await rig.pass(4_000);
    assert.equal(never.live, false);
    assert.equal(rig.usedBytes, 0, "loaded objects that nobody read are gone");
    await never.release();
    assert.equal(never.deliver("late"), false);
    assert.throws(() => never.slots[0].copyOut(), { code: "KVFERRY_STALE_HANDLE" });
    assert.equal(rig.counters.total("kvferry_leases_expired_total"), 2);
    await rig.finish();
  });

  // LMCache: 32 MiB held, the adapter cannot be removed (timeout), healthy.
  test(`N7: a store that never reports ends in time, with what is queued behind it (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ rates: { store_never: 1 } }, {}], l2: { storeDeadlineMs: 5_000, storeBytesInFlightMax: 1 } });
    const write = await rig.reserve(rig.rows(0, chunks));
    rig.fill(write);
    const count = write.count;
    const stored = await write.commit();
    const startMs = rig.clock.nowMs();
    assert.deepEqual(await rig.drive(stored.settled), { storedKeys: 0, failedKeys: count, droppedKeys: 0, reasons: { "failed:deadline": count } });
    assert.ok(rig.clock.nowMs() - startMs <= 5_001);
    assert.equal(rig.heldBy(rig.sims[1], 0, count), count, "the other adapter is not held up");
    assert.equal(rig.usedBytes, rig.chunkBytes, "only what the adapter was given and never gave back is kept");
    // Removing it makes it let go.
    await rig.drive(rig.storage.removeAdapter("sim0", { deadlineMs: 100 }));
    await rig.finish();
  });

  // LMCache: 16 MiB staged for ever; 8 lost lookups: all later prefetch waits for ever although the adapter works again.
  test(`N7: loads and lookups that never report cost their request's time and nothing else (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ rates: { lookup_hang: 1 } }, { rates: { load_never: 1 } }, {}], l2: { loadTimeoutMs: 2_000, loadDeadlineMs: 1_000, prefetchMaxInFlight: 2 } });
    const [, hangs] = rig.sims;
    await rig.writeAll(0, 8);
    const reads = await rig.drive(Promise.all(Array.from({ length: 8 }, (_, chunk) => rig.storage.prefetchRows(rig.rows(chunk, 1)))));
    for (const read of reads) await read.release();
    await rig.pass(10_000);
    assert.equal(rig.storage.audit().prefetchTurns, 0, "every turn was given back");
    hangs.release();
    await rig.pass(1_000);
    assert.equal(rig.usedBytes, 0);
    // The silent lookup of one adapter and the hanging load of another do not hide what the third has.
    await rig.drive(rig.storage.removeAdapter("sim1", { deadlineMs: 100 }));
    const read = await rig.read(rig.rows(0, 1));
    assert.equal(read.hitCount, 1, "adapter 0 is silent, adapter 2 has it");
    rig.verify(read);
    await read.release();
    await rig.drive(rig.storage.removeAdapter("sim0", { deadlineMs: 100 }));
    await rig.finish();
  });

  // N11 is about Redis in LMCache; the same properties with a scripted adapter: absent at start, back again, errors, a key gone at load.
  test(`N11: an adapter that is absent at start and comes back, answers errors, or lacks the key at load (scripted in Redis's place, L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ rates: { store_reject: 1, lookup_reject: 1, load_reject: 1 } }], l2: { storeAttemptsMax: 1 } });
    assert.equal((await rig.writeAll(0, 5)).failedKeys, 5, "absent: stores fail, and are told");
    const miss = await rig.read(rig.rows(0, 5));
    assert.equal(miss.hitCount, 0, "absent: lookups are misses");
    await miss.release();
    rig.heal();
    assert.equal((await rig.writeAll(0, 5)).storedKeys, 5, "back again, without a restart");
    assert.equal(await rig.countReadable(0, 5), 5);
    const [sim] = rig.sims;
    const lookup = sim.lookup.bind(sim);
    sim.lookup = (keys, options) => lookup(keys, options).then((found) => found.fill(1));
    forget(rig, sim, 2, 1);
    const cut = await rig.read(rig.rows(0, 5));
    assert.equal(cut.hitCount, Math.min(2, chunks), "the key is gone between lookup and load: the prefix ends before it");
    rig.verify(cut);
    await cut.release();
    sim.lookup = lookup;
    assert.ok(rig.counters.total("kvferry_load_misses_total", { reason: "missing" }) > 0 || chunks < 3);
    await rig.finish();
  });

  // LMCache: three requests for the same 4 keys stage 24 MiB for 8.
  test(`N15: ten requests for the same keys make one load (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ latencyMs: 20 }] });
    const count = Math.min(4, chunks);
    await rig.writeAll(0, count);
    const [sim] = rig.sims;
    let loadedKeys = 0;
    const load = sim.load.bind(sim);
    sim.load = (batch, options) => {
      loadedKeys += batch.keys.count;
      return load(batch, options);
    };
    const reads = await rig.drive(Promise.all(Array.from({ length: 10 }, () => rig.storage.prefetchRows(rig.rows(0, count)))));
    assert.deepEqual(reads.map((read) => read.hitCount), new Array(10).fill(count));
    assert.equal(loadedKeys, count);
    assert.equal(rig.usedBytes, count * rig.chunkBytes);
    for (const read of reads) {
      rig.verify(read);
      await read.release();
    }
    await rig.finish();
  });

  // LMCache: the staging counter stays at 4 MiB with 0 objects.
  test(`N16: a key named twice in one reservation is staged once (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{}] });
    const once = rig.storage.packKeys([keyOf(1)], rig.layouts[0]);
    const twice = rig.storage.packKeys([keyOf(1), keyOf(1)], rig.layouts[0]);
    const write = await rig.drive(rig.storage.reserveWrite(twice, rig.layouts[0]));
    assert.deepEqual([write.count, write.chunkCount], [1, 2]);
    assert.equal(rig.usedBytes, rig.chunkBytes);
    rig.fill(write);
    assert.equal((await rig.drive((await write.commit()).settled)).storedKeys, 1);
    const read = await rig.drive(rig.storage.prefetch(twice, rig.layouts[0]));
    assert.equal(read.hitCount, 2);
    rig.verify(read);
    await read.release();
    const dropped = await rig.drive(rig.storage.reserveWrite(once, rig.layouts[0]));
    dropped.abort();
    assert.equal((rig.storage.status().l1 as { stagedBytes?: number }).stagedBytes, 0);
    await rig.finish();
  });

  // LMCache: 50 of 50 results are kept for ever.
  test(`N17: results that nobody asks for are kept by nobody (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{}], l1: { readTtlSeconds: 1 } });
    await rig.writeAll(0, 2);
    for (let request = 0; request < 50; request++) await rig.read(rig.rows(request % 2, 1));
    assert.equal(rig.storage.audit().leases > 0, true);
    await rig.pass(5_000);
    await rig.finish();
  });

  // LMCache: copied and sent again each time (5 of 5).
  test(`N17: a chunk that every adapter holds is neither copied nor sent again (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ knowsKeys: true }, { knowsKeys: true }] });
    await rig.writeAll(0, 3);
    const before = rig.counters.total("kvferry_store_keys_total");
    for (let again = 0; again < 5; again++) {
      const write = await rig.reserve(rig.rows(0, 3));
      assert.deepEqual([write.count, write.chunkCount], [0, 3]);
      assert.equal(rig.usedBytes, 0);
      await write.commit();
    }
    assert.equal(rig.counters.total("kvferry_store_keys_total"), before);
    await rig.finish();
  });
}

// LMCache: object groups of different size: the whole task fails, 3 MiB kept (RESP).
for (const chunks of [2, 16])
  test(`N12: object groups of different size go in one commit (scripted in Redis's place, L1 of ${chunks} chunks)`, async () => {
    const unit = 65536 / chunks;
    const rig = await Rig.open({ chunks, adapters: [{ latencyMs: 3 }, { rates: { store_partial: 0.5 } }], rowSizes: chunks === 2 ? [unit - 9000, 5000] : [unit - 90, 3 * 4096 + 5], l2: { storeAttemptsMax: 20, storeRetryDelayMs: 1 } });
    const count = chunks === 2 ? 1 : 3;
    const settlement = sumOf([await rig.writeAll(0, count), await rig.writeAll(count, count)]);
    assert.deepEqual(settlement, { storedKeys: 4 * count, failedKeys: 0, droppedKeys: 0, reasons: {} });
    const read = await rig.read(rig.rows(0, 2 * count));
    assert.ok(read.hitCount >= 1);
    rig.verify(read);
    await read.release();
    await rig.finish();
  });

// LMCache: refused without an exception.
test("N17: an object larger than L1 is refused with an error that names the largest that fits", async () => {
  for (const chunks of l1Sizes) {
    const rig = await Rig.open({ chunks, adapters: [{}] });
    const layout = { sizeBytes: 65536 + 1 };
    await assert.rejects(rig.drive(rig.storage.reserveWrite(rig.storage.packKeys([keyOf(9)], layout), layout)), (error) => {
      assert.equal((error as { code?: string }).code, "KVFERRY_OBJECT_TOO_LARGE");
      assert.match((error as Error).message, /cannot fit into this L1 of .*; the largest object that fits is/);
      return true;
    });
    const read = await rig.drive(rig.storage.prefetch(rig.storage.packKeys([keyOf(9)], layout), layout));
    assert.equal(read.hitCount, 0, "a lookup of it is a miss at once");
    await read.release();
    await rig.finish();
  }
});

// LMCache: L1 full for good; neither refused at start.
test("N13: retain with a write buffer is refused, noop with default says what will happen", () => {
  const adapters = [{ type: "mock", max_size_gb: 1, mock_bandwidth_gb: 1 }];
  assert.throws(
    () => parseStorageConfig({ l1: { sizeBytes: 65536, evictionPolicy: "noop" }, l2: { prefetchPolicy: "retain", adapters } }),
    (error) => error instanceof ConfigError && error.field === "l2.prefetchPolicy" && /retain cannot work with evictionPolicy noop and store policy skip_l1/.test(error.message),
  );
  const { warnings } = parseStorageConfig({ l1: { sizeBytes: 65536, evictionPolicy: "noop" }, l2: { storePolicy: "default", adapters } });
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /nothing ever leaves L1; after 64\.0 KiB of objects it is full/);
});

// LMCache: the eviction thread is dead after the first pass over the watermark.
test("N14: IsolatedLRU on L1 goes on evicting, over quota first, pass after pass", async () => {
  for (const chunks of [2, 16]) {
    const rig = await Rig.open({ chunks, adapters: [{}], l1: { evictionPolicy: "IsolatedLRU" }, l2: { storePolicy: "default" }, quotas: { defaultBytes: 4096 } });
    for (let round = 0; round < 5 * chunks; round++) {
      for (const salt of ["a", "b"]) {
        const write = await rig.reserve(rig.rows(round, 1, 0, salt));
        rig.fill(write);
        assert.equal((await rig.drive((await write.commit()).settled)).storedKeys, 1);
      }
      await rig.pass(2_500);
    }
    assert.ok(rig.counters.total("kvferry_l1_evicted_keys_total") > chunks, "passes went on");
    assert.equal(rig.counters.total("kvferry_policy_errors_total"), 0);
    assert.ok(rig.usedBytes < chunks * rig.chunkBytes);
    rig.storage.clearL1({ force: true });
    await rig.assertAtRest();
    await rig.close();
  }
});

function keyOf(number: number): { chunkHash: Uint8Array; modelName: string; kvRank: number; objectGroupId: number; cacheSalt: string } {
  const chunkHash = new Uint8Array(32);
  chunkHash[5] = number;
  return { chunkHash, modelName: "rig", kvRank: 0, objectGroupId: 0, cacheSalt: "" };
}

/** The adapter loses these chunks behind everybody's back. */
function forget(rig: Rig, sim: Rig["sims"][number], first: number, count: number): void {
  for (const { keys } of rig.rows(first, count)) void sim.delete(keys as Parameters<typeof sim.delete>[0]);
}

/**
 * The failures of buffer-only mode that were reproduced on LMCache 0.5.6 (16 slots of 2 MiB there): B1 to B9. Each test names what LMCache
 * leaves behind, runs the same here, and ends with an empty L1 that works. Adapters are simulated: they check every byte they are given.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { ConfigError } from "../../../src/base/errors.ts";
import { registerStorePolicy, storePolicies } from "../../../src/policies/index.ts";
import { parseStorageConfig } from "../../../src/storage/index.ts";
import { failureRates, l1Sizes, Rig } from "./rig.ts";

for (const chunks of l1Sizes) {
  for (const adapterCount of [1, 2, 3]) {
    // LMCache: each failed store keeps its slot for ever; at one failure in ten the server is dead after 160 stores and calls itself healthy.
    test(`B1: failed stores free their memory (L1 of ${chunks} chunks, ${adapterCount} adapters, 0 to 100 % failing)`, async () => {
      for (const rate of failureRates) {
        const rig = await Rig.open({
          chunks,
          adapters: Array.from({ length: adapterCount }, () => ({ rates: { store_fail: rate, store_reject: rate / 2 } })),
          l2: { storeAttemptsMax: rate === 1 ? 1 : 2, storeRetryDelayMs: 5 },
          seed: Math.round(1000 * rate) + chunks,
        });
        const writes = 20 * Math.min(chunks, 4);
        const settlement = await rig.writeAll(0, writes);
        assert.equal(settlement.storedKeys + settlement.failedKeys, writes, "every write was accepted and ended");
        if (rate === 0) assert.equal(settlement.storedKeys, writes);
        if (rate === 1) assert.equal(settlement.failedKeys, writes);
        assert.equal(rig.counters.total("kvferry_store_keys_total"), writes * adapterCount, "each adapter's part ended once");
        await rig.assertAtRest();
        rig.heal();
        // What failed is not lost for good: the same keys are accepted again, stored, and read back.
        assert.equal((await rig.writeAll(0, writes)).failedKeys, 0);
        assert.equal(await rig.countReadable(0, writes), writes);
        await rig.finish();
      }
    });
  }

  for (const [order, badIndex] of [["good, then bad", 1], ["bad, then good", 0]] as const) {
    // LMCache: the last finisher alone decides. Good then bad leaves 2 MiB; bad then good loses the replica and nobody knows.
    test(`B2: one adapter stores and one fails, ${order} (L1 of ${chunks} chunks)`, async () => {
      for (const [goodMs, badMs] of [[1, 50], [50, 1]]) {
        const adapters = [0, 1].map((index) => (index === badIndex ? { rates: { store_refuse: 1 }, latencyMs: badMs } : { latencyMs: goodMs }));
        const rig = await Rig.open({ chunks, adapters });
        const settlement = await rig.writeAll(0, 5);
        assert.deepEqual(settlement, { storedKeys: 0, failedKeys: 5, droppedKeys: 0, reasons: { "failed:refused": 5 } });
        assert.equal(rig.heldBy(rig.sims[1 - badIndex], 0, 5), 5, "the good adapter has every key");
        assert.equal(rig.heldBy(rig.sims[badIndex], 0, 5), 0);
        assert.equal(rig.counters.total("kvferry_store_keys_total", { adapter: `sim${badIndex}`, ending: "failed" }), 5);
        assert.equal(rig.counters.total("kvferry_store_keys_total", { adapter: `sim${1 - badIndex}`, ending: "stored" }), 5);
        assert.equal(await rig.countReadable(0, 5), 5, "one replica is enough to read");
        await rig.finish();
      }
    });
  }

  test(`B2: three adapters end in three ways and the object leaves after the last (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ latencyMs: 1 }, { latencyMs: 20, rates: { store_no_room: 1 } }, { latencyMs: 100, rates: { store_reject: 1 } }], l2: { storeAttemptsMax: 1 } });
    const write = await rig.reserve(rig.rows(0, 1));
    rig.fill(write);
    const stored = await write.commit();
    await rig.pass(60);
    assert.equal(rig.usedBytes, rig.chunkBytes, "the third adapter still reads it");
    assert.deepEqual(await rig.drive(stored.settled), { storedKeys: 0, failedKeys: 1, droppedKeys: 0, reasons: { "failed:no_room": 1, "failed:adapter_threw": 1 } });
    await rig.finish();
  });

  // LMCache: 16 written, 32 MiB left, healthy.
  test(`B3: an adapter that is removed at run time leaves nothing behind, and what has no target is dropped and says so (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ latencyMs: 5 }] });
    assert.equal((await rig.writeAll(0, 2)).storedKeys, 2);
    await rig.drive(rig.storage.removeAdapter("sim0"));
    const settlement = await rig.writeAll(2, 40);
    assert.deepEqual(settlement, { storedKeys: 0, failedKeys: 0, droppedKeys: 40, reasons: { "dropped:no_target": 40 } });
    await rig.assertAtRest();
    await rig.drive(rig.storage.addAdapter(rig.makeSim({})));
    await rig.finish();
  });

  test(`B3: work of a removed adapter that was not sent ends dropped(removed) (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ rates: { store_never: 1 } }], l2: { storeBytesInFlightMax: 1 } });
    const write = await rig.reserve(rig.rows(0, Math.max(1, chunks - 1)));
    rig.fill(write);
    const count = write.count;
    const stored = await write.commit();
    const removal = rig.storage.removeAdapter("sim0", { deadlineMs: 100 });
    await rig.drive(removal);
    assert.deepEqual(await rig.drive(stored.settled), { storedKeys: 0, failedKeys: 0, droppedKeys: count, reasons: { "dropped:removed": count } });
    await rig.drive(rig.storage.addAdapter(rig.makeSim({})));
    await rig.finish();
  });

  // LMCache: submit raises: 32 MiB left. One of two adapters raising in its completion poll: the good one's finished task is lost too.
  test(`B3: an adapter that throws or rejects does not touch another (L1 of ${chunks} chunks)`, async () => {
    for (const fault of ["store_throw", "store_reject", "store_wrong_length"] as const) {
      const rig = await Rig.open({ chunks, adapters: [{ rates: { [fault]: 1 } }, {}], l2: { storeAttemptsMax: 1 } });
      assert.deepEqual(await rig.writeAll(0, 10), { storedKeys: 0, failedKeys: 10, droppedKeys: 0, reasons: { "failed:adapter_threw": 10 } });
      assert.equal(rig.heldBy(rig.sims[1], 0, 10), 10, `the other adapter has all keys in spite of ${fault}`);
      assert.ok(rig.counters.total("kvferry_adapter_errors_total", { adapter: "sim0", call: "store" }) > 0);
      await rig.finish();
    }
  });

  // LMCache: the keys of that batch stay.
  test(`B3: a store policy that throws drops what it was asked about, counted (L1 of ${chunks} chunks)`, async () => {
    throwing.isOn = true;
    const rig = await Rig.open({ chunks, adapters: [{}], l2: { storePolicy: "b3-throws" } });
    assert.deepEqual(await rig.writeAll(0, 20), { storedKeys: 0, failedKeys: 0, droppedKeys: 20, reasons: { "dropped:policy": 20 } });
    assert.ok(rig.counters.total("kvferry_policy_errors_total", { kind: "store" }) > 0);
    await rig.assertAtRest();
    throwing.isOn = false;
    await rig.finish();
  });

  // LMCache: 17 keys into 16 slots: 0 hits; 8 keys with 7 free slots: 0 hits.
  test(`B5: a prefix larger than L1 is answered as far as it fits (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{}] });
    const count = 2 * chunks + 1;
    assert.equal((await rig.writeAll(0, count)).storedKeys, count);
    const read = await rig.read(rig.rows(0, count));
    // Of 16 chunks loads leave a quarter to stores; an L1 of one or two is one pool.
    assert.equal(read.hitCount, chunks === 16 ? 12 : chunks);
    rig.verify(read);
    await read.release();
    const exact = await rig.read(rig.rows(0, read.hitCount));
    assert.equal(exact.hitCount, read.hitCount);
    await exact.release();
    await rig.finish();
  });

  // LMCache: rewrite refused; the reader's hit keeps 2 MiB for ever, and 16 of them kill L1 although all keys are in L2.
  test(`B6: a reader that holds the key when the store ends, and a rewrite in the store window (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ latencyMs: 100 }] });
    for (let round = 0; round < 2 * chunks; round++) {
      const write = await rig.reserve(rig.rows(round, 1));
      rig.fill(write);
      const stored = await write.commit();
      const again = await rig.reserve(rig.rows(round, 1));
      assert.deepEqual([again.count, again.chunkCount], [0, 1], "first commit wins: the rewrite has nothing to write");
      again.abort();
      const read = await rig.read(rig.rows(round, 1));
      assert.equal(read.hitCount, 1);
      assert.equal((await rig.drive(stored.settled)).storedKeys, 1);
      assert.equal(rig.usedBytes, rig.chunkBytes, "the reader keeps it");
      rig.verify(read);
      await read.release();
      assert.equal(rig.usedBytes, 0, "the last reader is gone, and so is the object");
    }
    assert.equal((await rig.writeAll(0, 1)).failedKeys, 0, "a re-store is accepted");
    await rig.finish();
  });

  // LMCache: 8 of 9 keys not yet submitted are lost and nothing is reported; freed buffers under an adapter end in SIGSEGV.
  test(`B7: close drains, and reports what it could not drain (L1 of ${chunks} chunks)`, async () => {
    const slow = await Rig.open({ chunks, adapters: [{ latencyMs: 500 }] });
    const drained = await slow.reserve(slow.rows(0, chunks));
    slow.fill(drained);
    const count = drained.count;
    const settled = (await drained.commit()).settled;
    await slow.close();
    assert.equal((await settled).storedKeys, count, "a close with time stores everything");

    const hung = await Rig.open({ chunks, adapters: [{ rates: { store_never: 1 } }], l2: { storeBytesInFlightMax: 1 } });
    const lost = await hung.reserve(hung.rows(0, chunks));
    hung.fill(lost);
    const lostCount = lost.count;
    const lostSettled = (await lost.commit()).settled;
    const report = await hung.drive(hung.storage.close({ deadlineMs: 1_000 }));
    assert.deepEqual(report, { unfinishedKeys: lostCount, memoryKept: false });
    assert.deepEqual(await lostSettled, { storedKeys: 0, failedKeys: 0, droppedKeys: lostCount, reasons: { "dropped:shutdown": lostCount } });
    assert.deepEqual(hung.problems, []);
  });

  test(`B7: memory under an adapter that lets close() return too early stays mapped (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ latencyMs: 3_600_000 }] });
    const [sim] = rig.sims;
    sim.close = () => Promise.resolve();
    const write = await rig.reserve(rig.rows(0, 1));
    rig.fill(write);
    await write.commit();
    const report = await rig.drive(rig.storage.close({ deadlineMs: 10 }));
    assert.deepEqual(report, { unfinishedKeys: 1, memoryKept: true });
    // An hour later the adapter touches the slots once more: nobody else got them, and nothing crashes.
    await rig.pass(8_000_000);
    assert.equal(sim.slotsInUse.size, 0);
    assert.deepEqual(rig.problems, []);
  });

  // LMCache: 160 keys offered, 80 dropped in whole batches, waited 0 s; 7 keys offered to 6 free slots: 0 accepted.
  test(`B8: a slow L2 makes writers wait, not lose (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ latencyMs: 400 }] });
    const settlement = await rig.writeAll(0, 10 * chunks, { timeoutMs: 60_000 });
    assert.equal(settlement.storedKeys, 10 * chunks);
    if (chunks > 1) {
      const first = await rig.reserve(rig.rows(0, 1, 1));
      const rest = await rig.reserve(rig.rows(0, chunks + 1, 2));
      // Of 16, a quarter is left to loads.
      assert.equal(rest.chunkCount, chunks === 16 ? 11 : 1, "what fits is granted");
      first.abort();
      rest.abort();
    }
    await rig.finish();
  });

  test(`B8: without waiting, what is refused is refused with an error and counted (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ latencyMs: 1_000 }], l2: { storePressure: "drop_newest" } });
    let accepted = 0;
    let refused = 0;
    for (let chunk = 0; chunk < 160; chunk++) {
      try {
        const write = await rig.reserve(rig.rows(chunk, 1));
        rig.fill(write);
        await write.commit();
        accepted++;
      } catch (error) {
        assert.equal((error as { code?: string }).code, "KVFERRY_CAPACITY_TIMEOUT");
        refused++;
      }
    }
    assert.equal(accepted, chunks === 16 ? 12 : chunks);
    assert.equal(rig.counters.total("kvferry_writes_refused_total", { reason: "no_room" }), refused);
    await rig.drive(rig.storage.idle());
    assert.equal(rig.heldBy(rig.sims[0], 0, 160), accepted, "what was accepted is stored, every one");
    await rig.finish();
  });

  test(`B8: drop_oldest gives up the oldest unsent stores and says so (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ latencyMs: 1_000 }], l2: { storePressure: "drop_oldest", storeBytesInFlightMax: 1 } });
    const settlement = await rig.writeAll(0, 3 * chunks, { timeoutMs: 60_000 });
    assert.equal(settlement.storedKeys + settlement.droppedKeys, 3 * chunks);
    assert.deepEqual(settlement.reasons, settlement.droppedKeys === 0 ? {} : { "dropped:queue_full": settlement.droppedKeys });
    if (chunks === 16) assert.ok(settlement.droppedKeys > 0, "an adapter that takes one at a time cannot have got them all");
    assert.equal(rig.heldBy(rig.sims[0], 0, 3 * chunks), settlement.storedKeys);
    await rig.finish();
  });

  // LMCache: a hit in the store window, whose reader then causes B6's leak.
  test(`B9: a key in its store window is a hit from L1, whole, and leaves when both are done (L1 of ${chunks} chunks)`, async () => {
    const rig = await Rig.open({ chunks, adapters: [{ latencyMs: 50 }, { latencyMs: 200 }] });
    const write = await rig.reserve(rig.rows(0, 1));
    rig.fill(write);
    const stored = await write.commit();
    const read = await rig.read(rig.rows(0, 1), { skipL2: true });
    assert.deepEqual([read.hitCount, read.l1Cells], [1, 1]);
    await read.release();
    assert.equal(rig.usedBytes, rig.chunkBytes, "two adapters are still owed it");
    assert.equal((await rig.drive(stored.settled)).storedKeys, 1);
    const later = await rig.read(rig.rows(0, 1), { skipL2: true });
    assert.equal(later.hitCount, 0);
    await later.release();
    await rig.finish();
  });
}

const throwing = { isOn: false };
registerStorePolicy("b3-throws", (context) => {
  const policy = storePolicies.find("skip_l1", "test").create(context);
  const selectStoreTargets = policy.selectStoreTargets.bind(policy);
  policy.selectStoreTargets = (keys, adapters) => {
    if (throwing.isOn) throw new Error("this policy is broken");
    return selectStoreTargets(keys, adapters);
  };
  return policy;
});

// LMCache: 16 written, 32 MiB left, healthy.
test("B3: a write buffer without any adapter is refused before anything opens", () => {
  assert.throws(
    () => parseStorageConfig({ l1: { sizeBytes: 65536, evictionPolicy: "noop" } }),
    (error) => error instanceof ConfigError && error.field === "l2.adapters" && /at least one adapter/.test(error.message),
  );
});

// LMCache: 16 objects in one burst with fp8 over fs: 0 files, 32 MiB left, every later write refused.
test("B4: a serde, which would need a second buffer in a full L1, is refused with a sentence", () => {
  for (const adapter of [
    { type: "fs", base_path: "/nowhere", serde: "fp8" },
    { type: "mock", max_size_gb: 1, mock_bandwidth_gb: 1, serde: { type: "fp8" } },
  ])
    assert.throws(
      () => parseStorageConfig({ l1: { sizeBytes: 65536, evictionPolicy: "noop" }, l2: { adapters: [adapter] } }),
      (error) => error instanceof ConfigError && error.field === "l2.adapters[0].serde" && /serde is not supported, got .*fp8.*; leave it out/.test(error.message),
    );
});

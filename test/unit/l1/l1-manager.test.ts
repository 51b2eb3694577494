import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { KiB, MiB } from "../../../src/base/bytes.ts";
import { KeyBatch, keyRecordBytes } from "../../../src/keys/key-batch.ts";
import { AdmissionClass, CommitStatus, L1Manager, noSlot, WriteStatus, type L1Observer } from "../../../src/l1/index.ts";
import { loadBinding } from "../../../src/native/load.ts";

const binding = loadBinding();
const storeTag = 1;
const loadTag = 2;

/** Keys named by small numbers. */
function keysOf(...names: number[]): KeyBatch {
  const records = new Uint8Array(names.length * keyRecordBytes);
  const words = new Uint32Array(records.buffer);
  names.forEach((name, index) => (words[index * 12] = name + 1));
  return new KeyBatch(records);
}

function openL1(slots: number, shares = { store: 0, load: 0 }): L1Manager {
  return new L1Manager(new binding.Arena({ sizeBytes: Math.max(64 * KiB, slots * 64 * KiB) }), new binding.InternTable(32, 16), shares);
}

const objectBytes = 64 * KiB;
const reserve = (l1: L1Manager, keys: KeyBatch, more: Partial<Parameters<L1Manager["reserve"]>[0]> = {}) =>
  l1.reserve({ keys, rowSizes: [objectBytes], tag: storeTag, temporary: false, charge: AdmissionClass.store, ...more });

function write(l1: L1Manager, ...names: number[]): Uint32Array {
  const grant = reserve(l1, keysOf(...names));
  assert.equal(grant.keyIndices.length, names.length, "room for every key");
  l1.commit(grant.refs, storeTag);
  return grant.refs;
}

function slotsOf(l1: L1Manager, ...names: number[]): number[] {
  const slots = new Uint32Array(names.length);
  l1.find(keysOf(...names), [objectBytes], slots);
  return [...slots];
}

const isResident = (l1: L1Manager, name: number) => slotsOf(l1, name)[0] !== noSlot;
const leaseOf = (l1: L1Manager, ...names: number[]) => l1.lease(slotsOf(l1, ...names), "reader", 1, Infinity);

test("a staged object is invisible until its commit", () => {
  const l1 = openL1(4);
  const grant = reserve(l1, keysOf(1, 2));
  assert.deepEqual([...grant.statuses], [WriteStatus.granted, WriteStatus.granted]);
  assert.equal(isResident(l1, 1), false);
  assert.deepEqual([...l1.commit(grant.refs, storeTag)], [CommitStatus.published, CommitStatus.published]);
  assert.equal(isResident(l1, 1), true);
  assert.equal(l1.usedBytes, 2 * objectBytes);
});

test("abort frees what was staged, and its refs are stale from then on", () => {
  const l1 = openL1(4);
  const grant = reserve(l1, keysOf(1));
  l1.abort(grant.refs, storeTag);
  assert.equal(l1.usedBytes, 0);
  assert.equal(l1.keys.size, 0);
  assert.throws(() => l1.commit(grant.refs, storeTag), { code: "KVFERRY_STALE_HANDLE" });
  assert.throws(() => l1.abort(grant.refs, storeTag), { code: "KVFERRY_STALE_HANDLE" });
});

test("another writer's tag cannot commit or abort my slots", () => {
  const l1 = openL1(4);
  const grant = reserve(l1, keysOf(1));
  assert.throws(() => l1.commit(grant.refs, loadTag), { code: "KVFERRY_STALE_HANDLE" });
  assert.throws(() => l1.abort(grant.refs, loadTag), { code: "KVFERRY_STALE_HANDLE" });
  l1.commit(grant.refs, storeTag);
});

test("first commit of a key wins; the loser's copy is freed", () => {
  const l1 = openL1(4);
  const first = reserve(l1, keysOf(1));
  const second = reserve(l1, keysOf(1), { tag: loadTag, charge: AdmissionClass.load });
  assert.equal(second.keyIndices.length, 1);
  assert.deepEqual([...l1.commit(second.refs, loadTag)], [CommitStatus.published]);
  assert.deepEqual([...l1.commit(first.refs, storeTag)], [CommitStatus.lostRace]);
  assert.equal(l1.usedBytes, objectBytes);
  assert.equal(l1.residentCount, 1);
});

test("the same writer's second reservation of a key takes nothing", () => {
  const l1 = openL1(4);
  reserve(l1, keysOf(1));
  const again = reserve(l1, keysOf(1, 2));
  assert.deepEqual([...again.statuses], [WriteStatus.staged, WriteStatus.granted]);
  assert.equal(l1.usedBytes, 2 * objectBytes);
});

test("a key named twice in one call is one key (LMCache loses the first buffer, N16)", () => {
  const l1 = openL1(8);
  const grant = reserve(l1, keysOf(5, 3, 5, 3, 5));
  assert.deepEqual([...grant.statuses], [WriteStatus.granted, WriteStatus.granted, WriteStatus.staged, WriteStatus.staged, WriteStatus.staged]);
  assert.equal(l1.usedBytes, 2 * objectBytes);
  l1.commit(grant.refs, storeTag);
  assert.equal(l1.stagedBytes, 0);
  l1.clear(true);
  assert.equal(l1.keys.size, 0, "no key id is left behind");
});

test("a key named twice beside a resident one is still one key", () => {
  const l1 = openL1(8);
  write(l1, 1);
  const grant = reserve(l1, keysOf(2, 1, 2));
  assert.deepEqual([...grant.statuses], [WriteStatus.granted, WriteStatus.resident, WriteStatus.staged]);
});

test("a grant is the longest run of whole chunks that fits; the rest holds nothing", () => {
  const l1 = openL1(6);
  const grant = reserve(l1, keysOf(1, 2, 3, 4, 5, 6, 7));
  assert.equal(grant.chunks, 5, "one object's room is always left to loads");
  assert.deepEqual([...grant.keyIndices], [0, 1, 2, 3, 4]);
  assert.deepEqual([...grant.statuses.subarray(5)], [WriteStatus.noRoom, WriteStatus.noRoom]);
  assert.equal(l1.keys.size, 5);
});

test("a chunk is granted with all its groups and ranks or not at all", () => {
  const l1 = openL1(5);
  // Three chunks of two keys each: 64 KiB and 128 KiB. Five slots of 64 KiB hold one and two thirds of them.
  const grant = reserve(l1, keysOf(1, 2, 3, 4, 5, 6), { rowSizes: [objectBytes, 2 * objectBytes] });
  assert.equal(grant.chunks, 1);
  assert.deepEqual([...grant.keyIndices], [0, 1]);
  assert.equal(l1.usedBytes, 3 * objectBytes);
});

test("find asks for the exact size and inserts nothing", () => {
  const l1 = openL1(4);
  write(l1, 1);
  const slots = new Uint32Array(2);
  assert.equal(l1.find(keysOf(1, 9), [objectBytes - 1], slots), 0);
  assert.equal(l1.find(keysOf(1, 9), [objectBytes], slots), 1);
  assert.equal(l1.keys.size, 1);
});

test("a leased object is not evicted, and is free for it again afterwards", () => {
  const l1 = openL1(4);
  write(l1, 1, 2);
  const lease = leaseOf(l1, 1);
  const ids = [l1.table.keyId(slotsOf(l1, 1)[0]), l1.table.keyId(slotsOf(l1, 2)[0])];
  assert.equal(l1.evict(ids), objectBytes);
  assert.equal(isResident(l1, 1), true);
  assert.equal(isResident(l1, 2), false);
  l1.release(lease);
  assert.equal(l1.evict([ids[0]]), objectBytes);
  assert.equal(l1.usedBytes, 0);
});

test("a lease cannot be released twice, nor by accident for somebody else (LMCache's counts can)", () => {
  const l1 = openL1(4);
  write(l1, 1);
  const mine = leaseOf(l1, 1);
  const yours = leaseOf(l1, 1);
  l1.release(mine);
  assert.throws(() => l1.release(mine), { code: "KVFERRY_STATE" });
  assert.equal(l1.counts().leasedObjects, 1, "your lease stands");
  l1.release(yours);
  assert.equal(l1.counts().leasedObjects, 0);
});

test("B6: a reader at deletion delays it and does not prevent it", () => {
  const l1 = openL1(4);
  const refs = write(l1, 1);
  l1.openObligations(refs);
  const lease = leaseOf(l1, 1);
  l1.closeObligations(refs, [1]);
  assert.equal(l1.usedBytes, objectBytes, "the reader still reads");
  l1.release(lease);
  assert.equal(l1.usedBytes, 0);
});

test("an object with an open obligation is not evicted and goes when the last one ends with drop", () => {
  const l1 = openL1(4);
  const refs = write(l1, 1);
  l1.openObligations(refs);
  l1.openObligations(refs);
  assert.equal(l1.evict([l1.table.keyId(refs[0])]), 0);
  l1.closeObligations(refs, [1]);
  assert.equal(l1.usedBytes, objectBytes);
  l1.closeObligations(refs, [0]);
  assert.equal(l1.usedBytes, 0, "marked for drop by the first, free at the last");
});

test("a temporary object leaves with its last lease", () => {
  const l1 = openL1(4);
  const grant = reserve(l1, keysOf(1), { tag: loadTag, temporary: true, charge: AdmissionClass.load });
  const leases: ReturnType<typeof leaseOf>[] = [];
  const observer: L1Observer = { onUnstaged: () => leases.push(leaseOf(l1, 1), leaseOf(l1, 1)) };
  l1.observe(observer);
  l1.commitLoaded(grant.refs, loadTag);
  l1.release(leases[0]);
  assert.equal(isResident(l1, 1), true);
  l1.release(leases[1]);
  assert.equal(l1.usedBytes, 0);
});

test("a temporary object that nobody waits for leaves at once", () => {
  const l1 = openL1(4);
  const grant = reserve(l1, keysOf(1), { tag: loadTag, temporary: true, charge: AdmissionClass.load });
  l1.commitLoaded(grant.refs, loadTag);
  assert.equal(l1.usedBytes, 0);
  assert.equal(l1.keys.size, 0);
});

test("a retained load stays as cache", () => {
  const l1 = openL1(4);
  const grant = reserve(l1, keysOf(1), { tag: loadTag, temporary: false, charge: AdmissionClass.load });
  l1.commitLoaded(grant.refs, loadTag);
  assert.equal(isResident(l1, 1), true);
  assert.equal(l1.bytes.of(AdmissionClass.load), 0, "and is charged to nobody");
});

test("remove without force leaves what is held; with force it goes when it is let go", () => {
  const l1 = openL1(4);
  write(l1, 1, 2);
  const lease = leaseOf(l1, 1);
  assert.deepEqual([...l1.remove(keysOf(1, 2, 3, 2), false)], [3, 1, 0, 0]);
  assert.deepEqual([...l1.remove(keysOf(1), true)], [2]);
  assert.equal(isResident(l1, 1), true, "readers may still lease it: no second copy is loaded beside it");
  l1.release(lease);
  assert.equal(l1.usedBytes, 0);
});

test("N4: clear with force under I/O does not hand the memory to anybody", () => {
  const l1 = openL1(1);
  const refs = write(l1, 1);
  l1.arena.beginIo(refs);
  assert.deepEqual(l1.clear(true), { removed: 1, pending: 0, held: 0 });
  assert.equal(isResident(l1, 1), false);
  assert.equal(reserve(l1, keysOf(2)).keyIndices.length, 0, "the slot is still somebody's I/O");
  l1.arena.endIo(refs);
  assert.equal(reserve(l1, keysOf(2)).keyIndices.length, 1);
});

test("stores leave loads their share and loads leave stores theirs", () => {
  const l1 = openL1(16, { store: 0.25, load: 0.25 });
  assert.equal(reserve(l1, keysOf(...Array.from({ length: 16 }, (_, name) => name))).chunks, 12);
  const load = reserve(l1, keysOf(100, 101, 102, 103, 104), { tag: loadTag, charge: AdmissionClass.load });
  assert.equal(load.chunks, 4);
});

test("leases on cached objects count against the loads' share", () => {
  const l1 = openL1(16, { store: 0.25, load: 0.25 });
  for (let name = 0; name < 16; name++) write(l1, name);
  const lease = leaseOf(l1, ...Array.from({ length: 16 }, (_, name) => name));
  assert.equal(lease.slots.length, 12, "four objects must stay evictable for stores");
  l1.release(lease);
  assert.equal(l1.bytes.of(AdmissionClass.load), 0);
});

test("an L1 of two objects is one pool", () => {
  const l1 = openL1(2, { store: 0.25, load: 0.25 });
  assert.equal(reserve(l1, keysOf(1, 2)).chunks, 2);
});

test("leases end at their deadline, and only then", () => {
  const l1 = openL1(4);
  write(l1, 1, 2);
  l1.lease(slotsOf(l1, 1), "early", 1, 100);
  const late = l1.lease(slotsOf(l1, 2), "late", 1, 200);
  assert.equal(l1.expireLeases(150), 1);
  assert.equal(late.live, true);
});

test("whatever happens, bytes, counts and key ids come out even", () => {
  const command = fc.oneof(
    fc.record({ kind: fc.constant("reserve" as const), names: fc.array(fc.nat(12), { minLength: 1, maxLength: 5 }), load: fc.boolean(), temporary: fc.boolean() }),
    fc.record({ kind: fc.constant("commit" as const), pick: fc.nat() }),
    fc.record({ kind: fc.constant("abort" as const), pick: fc.nat() }),
    fc.record({ kind: fc.constant("lease" as const), names: fc.array(fc.nat(12), { minLength: 1, maxLength: 5 }) }),
    fc.record({ kind: fc.constant("release" as const), pick: fc.nat() }),
    fc.record({ kind: fc.constant("evict" as const), names: fc.array(fc.nat(12), { maxLength: 5 }) }),
    fc.record({ kind: fc.constant("clear" as const), force: fc.boolean() }),
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const l1 = openL1(8, { store: 0.25, load: 0.25 });
      const staged: { refs: Uint32Array; tag: number; load: boolean }[] = [];
      const leases: ReturnType<typeof leaseOf>[] = [];
      for (const step of commands) {
        if (step.kind === "reserve") {
          const tag = step.load ? loadTag : storeTag;
          const charge = step.load ? AdmissionClass.load : AdmissionClass.store;
          const grant = reserve(l1, keysOf(...step.names), { tag, charge, temporary: step.load && step.temporary });
          if (grant.refs.length > 0) staged.push({ refs: grant.refs.slice(), tag, load: step.load });
        } else if (step.kind === "commit" || step.kind === "abort") {
          const [entry] = staged.splice(step.pick % Math.max(1, staged.length), 1);
          if (entry === undefined) continue;
          if (step.kind === "abort") l1.abort(entry.refs, entry.tag);
          else if (entry.load) l1.commitLoaded(entry.refs, entry.tag);
          else l1.commit(entry.refs, entry.tag);
        } else if (step.kind === "lease") {
          const slots = slotsOf(l1, ...step.names).filter((slot) => slot !== noSlot);
          leases.push(l1.lease(slots, "reader", 1, Infinity));
        } else if (step.kind === "release") {
          const [lease] = leases.splice(step.pick % Math.max(1, leases.length), 1);
          if (lease !== undefined) l1.release(lease);
        } else if (step.kind === "evict") {
          l1.evict(slotsOf(l1, ...step.names).filter((slot) => slot !== noSlot).map((slot) => l1.table.keyId(slot)));
        } else {
          l1.clear(step.force);
        }
        const stats = l1.arena.stats();
        assert.equal(stats.usedBytes, (l1.residentCount + l1.stagedCount) * objectBytes);
        assert.ok(l1.bytes.of(AdmissionClass.store) <= l1.bytes.limit(AdmissionClass.store) && l1.bytes.of(AdmissionClass.load) <= l1.bytes.limit(AdmissionClass.load));
      }
      for (const { refs, tag } of staged) l1.abort(refs, tag);
      for (const lease of leases) l1.release(lease);
      l1.clear(true);
      assert.equal(l1.usedBytes, 0);
      assert.equal(l1.keys.size, 0);
      assert.deepEqual([0, 1, 2].map((charge) => l1.bytes.of(charge as AdmissionClass)), [0, 0, 0]);
      l1.arena.close();
    }),
    { numRuns: 300 },
  );
});

test("a thousand objects of mixed sizes share one L1 and come out even", () => {
  const l1 = new L1Manager(new binding.Arena({ sizeBytes: 16 * MiB }), new binding.InternTable(32, 16), { store: 0, load: 0 });
  let name = 0;
  for (let round = 0; round < 50; round++) {
    for (const size of [4 * KiB, 68 * KiB, 1, 1 * MiB + 5, 12_345]) {
      const grant = l1.reserve({ keys: keysOf(name++), rowSizes: [size], tag: storeTag, temporary: false, charge: AdmissionClass.store });
      if (grant.refs.length > 0) l1.commit(grant.refs, storeTag);
      else l1.clear(false);
    }
  }
  l1.clear(true);
  assert.equal(l1.usedBytes, 0);
});

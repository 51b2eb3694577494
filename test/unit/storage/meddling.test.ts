/** A user's policy that changes what it is shown, answers with promises or promises what nobody has: a counted error, never wrong bytes. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { DefaultPrefetchPolicy, DefaultStorePolicy, imageFingerprint, MiB, openStorage, registerPrefetchPolicy, registerStorePolicy, type Storage } from "../../../src/index.ts";
import { keyRecordBytes, packKeys, type KeyBatch } from "../../../src/keys/key-batch.ts";
import type { AdapterDescriptor, FoundRows, LoadPlan, StoreTarget } from "../../../src/policies/contract.ts";

const layout = { sizeBytes: 64 * 1024 };

async function open(context: TestContext, policies: { readonly store?: string; readonly prefetch?: string }): Promise<Storage> {
  const storage = await openStorage({
    l1: { sizeBytes: MiB, evictionPolicy: "noop" },
    l2: {
      storePolicy: policies.store ?? "skip_l1",
      ...(policies.prefetch === undefined ? {} : { prefetchPolicy: policies.prefetch }),
      adapters: [0, 1].map(() => ({ type: "mock", max_size_gb: 0.01, mock_bandwidth_gb: 20 })),
    },
  });
  context.after(() => storage.close());
  return storage;
}

function keysOf(storage: Storage, first: number, count: number): KeyBatch {
  const keys = Array.from({ length: count }, (_, index) => ({ chunkHash: new Uint8Array(32).fill(first + index + 1), modelName: "m", kvRank: 0, objectGroupId: 0, cacheSalt: "" }));
  return packKeys(keys, imageFingerprint(layout), storage.namespaces);
}

/** Chunk i holds the byte i + 1. */
async function put(storage: Storage, first: number, count: number, meddle: (keys: KeyBatch) => void = () => undefined): Promise<{ readonly storedKeys: number }> {
  const keys = keysOf(storage, first, count);
  const write = await storage.reserveWrite(keys, layout);
  write.slots.forEach((slot, position) => slot.write(new Uint8Array(layout.sizeBytes).fill(first + position + 1)));
  meddle(keys);
  meddle(write.keys);
  write.keyIndices.reverse();
  return (await write.commit()).settled;
}

async function firstBytes(storage: Storage, first: number, count: number): Promise<number[]> {
  const read = await storage.prefetch(keysOf(storage, first, count), layout);
  const bytes = read.slots.map((slot) => slot.copyOut()[0]);
  assert.ok(bytes.length >= read.hitCount, "every chunk that is counted can be read");
  await read.release();
  return bytes;
}

function swapFirstTwo({ records }: KeyBatch): void {
  const second = records.slice(keyRecordBytes, 2 * keyRecordBytes);
  records.copyWithin(keyRecordBytes, 0, keyRecordBytes);
  records.set(second, 0);
}

async function assertAtRest(storage: Storage): Promise<void> {
  await storage.idle();
  const { problems, openObligationKeys, leases } = storage.audit();
  assert.deepEqual([problems, openObligationKeys, leases, storage.usage.usedBytes], [[], 0, 0, 0]);
}

test("a store policy may change the keys it is shown", async (context) => {
  class Swapping extends DefaultStorePolicy {
    override readonly name = "swapping";
    override selectStoreTargets(keys: KeyBatch, adapters: readonly AdapterDescriptor[]): readonly StoreTarget[] {
      swapFirstTwo(keys);
      assert.throws(() => Object.assign(adapters[0], { index: 99 }), TypeError);
      return adapters.map(({ index }) => ({ adapterIndex: index, keyIndices: "all" }));
    }
    override decideL1(): "drop" {
      return "drop";
    }
  }
  registerStorePolicy("swapping", Swapping);
  const storage = await open(context, { store: "swapping" });
  assert.equal((await put(storage, 0, 2)).storedKeys, 2);
  assert.deepEqual(await firstBytes(storage, 0, 2), [1, 2]);
  await assertAtRest(storage);
});

test("a caller may use its keys again while the write is open", async (context) => {
  const storage = await open(context, {});
  assert.equal((await put(storage, 0, 2, swapFirstTwo)).storedKeys, 2);
  assert.deepEqual(await firstBytes(storage, 0, 2), [1, 2]);
  await assertAtRest(storage);
});

test("a store policy that answers with promises is counted, and the process goes on when they reject", async (context) => {
  const boom = (): Promise<never> => Promise.reject(new Error("boom"));
  class Late extends DefaultStorePolicy {
    override readonly name = "late";
    override decideL1 = boom as never;
    onStored = boom as never;
    onIdle = boom as never;
  }
  registerStorePolicy("late", Late);
  const storage = await open(context, { store: "late" });
  await put(storage, 0, 2);
  assert.deepEqual(await firstBytes(storage, 0, 2), [1, 2]);
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(storage.counters.total("kvferry_policy_errors_total", { kind: "store", policy: "late" }) >= 3);
  await assertAtRest(storage);
});

type Plan = (plan: LoadPlan, l1Found: FoundRows, l2Found: ReadonlyMap<number, FoundRows>) => LoadPlan;
const lies: Readonly<Record<string, Plan>> = {
  "claims that L1 has everything": (plan, l1Found) => {
    for (const row of l1Found) row.fill(1);
    return { ...plan, fromL1: l1Found.map((row) => row.slice()), fromL2: new Map(), hitChunks: l1Found[0].length };
  },
  "names an adapter that does not exist": (plan, l1Found) => ({ fromL1: plan.fromL1, fromL2: new Map([[99, l1Found.map((row) => row.slice().fill(1))]]), hitChunks: l1Found[0].length }),
  "names chunks that an adapter did not find": (plan, l1Found) => ({ fromL1: plan.fromL1, fromL2: new Map([[0, l1Found.map((row) => row.slice().fill(1))]]), hitChunks: l1Found[0].length }),
  "names a chunk at two adapters": (plan, _l1Found, l2Found) => (l2Found.size === 2 ? { ...plan, fromL2: new Map(l2Found) } : plan),
  "answers with a promise": () => Promise.reject(new Error("boom")) as never,
  "answers with another hit each time": (plan, l1Found) => {
    let asked = 0;
    return { fromL1: plan.fromL1, fromL2: plan.fromL2, get hitChunks() { return asked++ === 0 ? 0 : l1Found[0].length; } };
  },
};
for (const [what, lie] of Object.entries(lies))
  test(`a prefetch policy that ${what} makes no read promise what it cannot keep`, async (context) => {
    const name = `lie ${what.replaceAll(" ", "_")}`;
    class Lying extends DefaultPrefetchPolicy {
      override readonly name = name;
      override planLoad(...[rows, columns, l1Found, l2Found, fetching]: Parameters<DefaultPrefetchPolicy["planLoad"]>): LoadPlan {
        const plan = super.planLoad(rows, columns, l1Found, l2Found, fetching);
        for (const row of rows) (row as { windowChunks: number }).windowChunks = 1;
        return lie(plan, l1Found, l2Found);
      }
      override planL1Retention(keys: KeyBatch): Uint8Array {
        const flags = super.planL1Retention(keys);
        keys.records.fill(9);
        return flags;
      }
    }
    registerPrefetchPolicy(name, Lying);
    const storage = await open(context, { prefetch: name });
    assert.equal((await put(storage, 0, 2)).storedKeys, 2);
    assert.deepEqual(await firstBytes(storage, 50, 2), []);
    const bytes = await firstBytes(storage, 0, 2);
    assert.deepEqual(bytes, [1, 2].slice(0, bytes.length));
    assert.ok(bytes.length === 2 || what === "answers with another hit each time");
    await assertAtRest(storage);
  });

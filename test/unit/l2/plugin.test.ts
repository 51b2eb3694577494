/** Whatever a user's class does, the storage sees one answer per key and the trouble is counted. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { VirtualClock } from "../../../src/base/clock.ts";
import { PluginError } from "../../../src/base/errors.ts";
import { SeededRandom } from "../../../src/base/random.ts";
import { Harness } from "../../../src/l2/conformance/harness.ts";
import { type L2Adapter, LoadStatus, StoreStatus } from "../../../src/l2/contract.ts";
import { openL2Adapter, parseAdapterSpec } from "../../../src/l2/registry.ts";
import { createAdapterTestContext } from "../../../src/testing.ts";

const directory = mkdtempSync(join(tmpdir(), "kvferry-plugin-"));
after(() => rmSync(directory, { recursive: true }));
let modules = 0;

const wellBehaved = {
  constructor: "this.objects = new Map();",
  store: "return all(batch, (i) => { this.objects.set(batch.name(i), batch.copyOut(i)); return 0; });",
  lookup: "return all(batch, (i) => (this.objects.has(batch.name(i)) ? 1 : 0));",
  load: "return all(batch, (i) => (this.objects.has(batch.name(i)) ? batch.copyIn(i, this.objects.get(batch.name(i))) : 1));",
  delete: "return all(batch, (i) => (this.objects.delete(batch.name(i)) ? 1 : 0));",
};

/** An adapter whose class has the given method bodies in place of the well-behaved ones. */
async function plugin(bodies: Partial<Record<Exclude<keyof typeof wellBehaved, "constructor">, string>>): Promise<{ harness: Harness; adapter: L2Adapter; faults(kind: string): number }> {
  const methods = { ...wellBehaved, ...bodies };
  const path = join(directory, `plugin-${modules++}.mjs`);
  const code = Object.entries(methods).map(([name, body]) => `  ${name === "constructor" ? "" : "async "}${name}(batch, options) { ${body} }`);
  writeFileSync(path, `const all = (batch, each) => Array.from({ length: batch.count }, (_, i) => each(i));\nexport class P {\n${code.join("\n")}\n}\n`);
  const spec = parseAdapterSpec({ type: "plugin", module_path: path, class_name: "P", call_timeout_ms: 200 }, "plugin");
  const harness = new Harness(1, { open: (context) => openL2Adapter(spec, context) }, createAdapterTestContext());
  const adapter = await harness.open();
  return { harness, adapter, faults: (kind) => harness.context.counters.total("kvferry_l2_plugin_faults_total", { kind }) };
}

async function storeOne(harness: Harness, adapter: L2Adapter): Promise<{ status: number; keys: ReturnType<Harness["keys"]>; payload: Uint8Array }> {
  const keys = harness.keys([1000]);
  const [payload] = harness.payloads([1000]);
  const [status] = await harness.store(adapter, keys, [payload]);
  return { status, keys, payload };
}

test("a class that throws, rejects, hangs or answers nonsense fails its keys and is counted", async () => {
  const cases: [string, string][] = [
    ["throw new Error('no')", "store_threw"],
    ["return Promise.reject(new Error('no'))", "store_threw"],
    ["return new Promise(() => {})", "store_timed_out"],
    ["return undefined", "store_threw"],
    ["return [0, 0, 0]", "store_threw"],
    ["return ['stored']", "store_answer"],
    ["return [99]", "store_answer"],
    ["return [NaN]", "store_answer"],
  ];
  for (const [store, kind] of cases) {
    const { harness, adapter, faults } = await plugin({ store });
    assert.equal((await storeOne(harness, adapter)).status, StoreStatus.failed, store);
    assert.equal(faults(kind), 1, store);
    assert.equal(adapter.health().problems.length, 1, store);
    await harness.finish();
  }
});

test("a key called loaded without copyIn is not loaded", async () => {
  const { harness, adapter, faults } = await plugin({ load: "return [0]" });
  const { keys } = await storeOne(harness, adapter);
  const { statuses, batch } = await harness.load(adapter, keys, [1000]);
  assert.deepEqual([...statuses], [LoadStatus.failed]);
  assert.equal(faults("not_copied_in"), 1);
  harness.release(batch);
  await harness.finish();
});

test("work that goes on after the deadline cannot touch a slot", async () => {
  const { harness, adapter, faults } = await plugin({
    load: "const sealed = this.objects.get(batch.name(0)); await new Promise((r) => setTimeout(r, 400)); try { batch.copyIn(0, sealed); } catch (error) { globalThis.lateError = error.code; } return [0];",
  });
  const { keys } = await storeOne(harness, adapter);
  const { statuses, batch } = await harness.load(adapter, keys, [1000]);
  assert.deepEqual([...statuses], [LoadStatus.failed]);
  assert.equal(faults("load_timed_out"), 1);
  harness.watch(batch);
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.equal((globalThis as { lateError?: string }).lateError, "KVFERRY_STATE");
  harness.checkWatched();
  await harness.finish();
});

test("bytes that a store gives back changed, cut or swapped never reach a slot", async () => {
  const { harness, adapter } = await plugin({ load: "return all(batch, (i) => batch.copyIn(i, globalThis.mangle(this.objects.get(batch.name(i)), [...this.objects.values()])));" });
  const sizes = [1000, 1000];
  const keys = harness.keys(sizes);
  await harness.store(adapter, keys, harness.payloads(sizes));
  const random = new SeededRandom(3);
  type Mangle = (own: Uint8Array, all: Uint8Array[]) => Uint8Array;
  const mangles: [string, Mangle, number?][] = [
    ["cut", (own) => own.subarray(0, own.length - 1)],
    ["header only", (own) => own.subarray(0, 96)],
    ["nothing", () => new Uint8Array(0)],
    ["longer", (own) => Buffer.concat([own, Buffer.alloc(1)])],
    ["another object's", (own, all) => all.find((other) => other !== own) as Uint8Array, LoadStatus.foreign],
  ];
  for (let bit = 0; bit < 96 * 8; bit++) mangles.push([`header bit ${bit}`, (own) => flipped(own, bit)]);
  for (let round = 0; round < 300; round++) mangles.push(["payload bit", (own) => flipped(own, 96 * 8 + random.nextBelow((own.length - 96) * 8))]);
  for (const [what, mangle, expected] of mangles) {
    (globalThis as { mangle?: Mangle }).mangle = mangle;
    const { statuses, batch } = await harness.load(adapter, keys, sizes);
    for (const index of [0, 1]) {
      if (expected === undefined) assert.equal(statuses[index], LoadStatus.corrupt, what);
      else assert.equal(statuses[index], expected, what);
      assert.ok(harness.read(batch, index).every((byte) => byte === 0xa5), `${what}: bytes reached the slot`);
    }
    harness.release(batch);
  }
  await harness.finish();
});

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const changed = bytes.slice();
  changed[bit >> 3] ^= 1 << (bit & 7);
  return changed;
}

test("a module that does not load, lacks the class or a method is refused by path and name", async () => {
  const { context, close } = createAdapterTestContext({ clock: new VirtualClock() });
  const open = (fields: object): Promise<L2Adapter> => openL2Adapter(parseAdapterSpec({ type: "plugin", class_name: "P", ...fields }, "plugin"), context);
  await assert.rejects(open({ module_path: join(directory, "absent.mjs") }), (error) => error instanceof PluginError && /absent\.mjs should export an L2 adapter class, but there is no such file/.test(error.message));
  const path = join(directory, "incomplete.mjs");
  writeFileSync(path, "export class P { store() {} lookup() {} load() {} }\nexport class Q { constructor() { throw new Error('no licence'); } }\n");
  await assert.rejects(open({ module_path: path }), /P has no method delete\(\); it needs store, lookup, load, delete/);
  await assert.rejects(open({ module_path: path, class_name: "R" }), /has no export "R"/);
  await assert.rejects(open({ module_path: path, class_name: "Q" }), /could not be opened: no licence/);
  await close();
});

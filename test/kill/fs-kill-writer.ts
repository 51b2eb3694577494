/** Stores objects first, first+1, ... into the directory argv[2], telling of each batch that was stored, until it is killed. */
import { writeSync } from "node:fs";

import { MiB } from "../../src/base/bytes.ts";
import { KeyBatch } from "../../src/keys/key-batch.ts";
import { StoreStatus } from "../../src/l2/contract.ts";
import { openL2Adapter, parseAdapterSpec } from "../../src/l2/registry.ts";
import { createAdapterTestContext } from "../../src/testing.ts";
import { keyOf, payloadOf } from "./fs-kill-objects.ts";

const batchObjects = 8;
const [directory, firstText, engine] = process.argv.slice(2);
const { context } = createAdapterTestContext({ engine: { fileEngine: engine === "threads" ? "threads" : "auto" } });
const spec = parseAdapterSpec({ type: "fs", base_path: directory, min_free_gb: 0, min_free_percent: 0 }, "fs");
const adapter = await openL2Adapter(spec, context);
const arena = context.native.openArena({ sizeBytes: 32 * MiB });
writeSync(1, "ready\n");

async function storeBatch(first: number): Promise<void> {
  const numbers = Array.from({ length: batchObjects }, (_, index) => first + index);
  const payloads = numbers.map(payloadOf);
  const slots = new Uint32Array(batchObjects * 2);
  payloads.forEach((payload, index) => {
    arena.allocate(payload.byteLength, 1, slots.subarray(index * 2, index * 2 + 2));
    arena.write(slots[index * 2], slots[index * 2 + 1], 0, payload);
  });
  const records = Buffer.concat(numbers.map((number) => keyOf(number, context.namespaces).records));
  const keys = new KeyBatch(new Uint8Array(records));
  const statuses = await adapter.store({ keys, arena, slots, sizes: Uint32Array.from(payloads, (payload) => payload.byteLength) });
  arena.free(slots);
  const stored = numbers.filter((_, index) => statuses[index] === StoreStatus.stored || statuses[index] === StoreStatus.alreadyPresent);
  // One write call is one line in the pipe: a kill cannot cut it.
  writeSync(1, `stored ${stored.join(" ")}\n`);
}

let next = Number(firstText);
async function lane(): Promise<void> {
  for (;;) {
    const first = next;
    next += batchObjects;
    await storeBatch(first);
  }
}
await Promise.all([lane(), lane(), lane()]);

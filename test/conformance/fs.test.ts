import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import type { EngineOptions } from "../../src/native/binding.ts";
import { type AdapterPlace, openL2Adapter, parseAdapterSpec, testL2Adapter } from "../../src/testing.ts";

async function createPlace(fields: object): Promise<AdapterPlace> {
  const base_path = await mkdtemp(join(tmpdir(), "kvferry-fs-"));
  const spec = parseAdapterSpec({ type: "fs", base_path, min_free_gb: 0, min_free_percent: 0, ...fields }, "fs");
  return { open: (context) => openL2Adapter(spec, context), destroy: () => rm(base_path, { recursive: true }) };
}

const engines: [string, EngineOptions][] = [
  ["io_uring where allowed", { fileEngine: "auto" }],
  ["thread pool", { fileEngine: "threads" }],
];
for (const [engineName, engine] of engines)
  for (const [fileName, fields] of [["direct where allowed", {}], ["buffered", { use_odirect: false }], ["limited", { max_size_gb: 1, max_objects: 100_000 }]] as const)
    testL2Adapter({ test, name: `fs (${engineName}, ${fileName})`, engine, createPlace: () => createPlace(fields) });

testL2Adapter({ test, name: "fs (fsync)", createPlace: () => createPlace({ fsync: true }) });

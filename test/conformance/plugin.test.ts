import { test } from "node:test";
import { join } from "node:path";

import { packageRoot } from "../../src/native/load.ts";
import { openL2Adapter, parseAdapterSpec, testL2Adapter } from "../../src/testing.ts";

// The example of docs/adapters.md: what a reader copies must itself keep the contract.
const module_path = join(packageRoot(), "examples/l2-plugin/memory-adapter.mjs");
const spec = parseAdapterSpec({ type: "plugin", module_path, class_name: "MemoryAdapter", adapter_params: {} }, "plugin");
testL2Adapter({ test, name: "plugin", createPlace: () => Promise.resolve({ open: (context) => openL2Adapter(spec, context) }) });

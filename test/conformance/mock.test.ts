import { test } from "node:test";

import { openL2Adapter, parseAdapterSpec, testL2Adapter } from "../../src/testing.ts";

const plain = parseAdapterSpec({ type: "mock", max_size_gb: 0.125, mock_bandwidth_gb: 20 }, "mock");
testL2Adapter({ test, name: "mock", createPlace: () => Promise.resolve({ open: (context) => openL2Adapter(plain, context) }) });

const evicting = parseAdapterSpec({ type: "mock", max_size_gb: 0.125, mock_bandwidth_gb: 20, eviction: { eviction_policy: "LRU" } }, "mock");
testL2Adapter({ test, name: "mock with LRU", createPlace: () => Promise.resolve({ open: (context) => openL2Adapter(evicting, context) }) });

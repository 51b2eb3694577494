import { test } from "node:test";

import { openL2Adapter, parseAdapterSpec, testL2Adapter } from "../../src/testing.ts";

// Without a fault switched on, the wrapper must not be noticed.
const transparent = parseAdapterSpec({ type: "fault_inject", inner: { type: "mock", max_size_gb: 0.125, mock_bandwidth_gb: 20 } }, "fault_inject");
testL2Adapter({ test, name: "fault_inject", createPlace: () => Promise.resolve({ open: (context) => openL2Adapter(transparent, context) }) });

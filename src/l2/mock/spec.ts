import { evictionSchema, defineAdapterType, positiveNumber } from "../spec.ts";
import { openMockAdapter } from "./mock-adapter.ts";

/** LMCache's `mock`, with shared bandwidth, per-key answers and, with an `eviction` block, eviction. */
export const mockAdapter = defineAdapterType({
  type: "mock",
  summary: "a second memory of limited size and bandwidth: for measurements and tests",
  fields: {
    max_size_gb: positiveNumber("Capacity in GiB"),
    mock_bandwidth_gb: positiveNumber("Bandwidth in GiB per second, shared by all stores and loads"),
    eviction: evictionSchema.optional(),
  },
  check(spec, refuse) {
    if (spec.max_size_gb * 2 ** 30 < 64 * 1024) refuse("max_size_gb", `must be at least 0.0000611 (64 KiB), got ${spec.max_size_gb}`);
    if (spec.shared) refuse("shared", "must be false, got true: a mock lies in this process's memory");
    return spec;
  },
  open: openMockAdapter,
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { ConfigError } from "../../../src/base/errors.ts";
import { l2AdapterTypes, parseAdapterFlag, parseAdapterSpec, registerL2Adapter } from "../../../src/l2/registry.ts";

function refusal(spec: unknown, path = "--l2-adapter #1"): ConfigError {
  try {
    parseAdapterSpec(spec, path);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error;
  }
  return assert.fail(`accepted: ${JSON.stringify(spec)}`);
}

const mock = { type: "mock", max_size_gb: 1, mock_bandwidth_gb: 20 };
const fs = { type: "fs", base_path: "/tmp/x" };

test("the seed's adapter is accepted and gets its defaults", () => {
  const spec = parseAdapterFlag('{"type":"mock","max_size_gb":1.0,"mock_bandwidth_gb":20.0}', 1);
  assert.deepEqual(spec, { ...mock, affinity_tag: "_default", shared: false, persist_enabled: true });
});

test("an eviction block gets LMCache's defaults", () => {
  const spec = parseAdapterSpec({ ...mock, eviction: {} }, "l2.adapters[0]");
  assert.deepEqual(spec.eviction, { eviction_policy: "LRU", trigger_watermark: 0.8, eviction_ratio: 0.2 });
});

test("what LMCache says about a broken --l2-adapter is said in its words", () => {
  assert.throws(() => parseAdapterFlag("{", 1), /^ConfigError: Invalid JSON for --l2-adapter #1: /);
  assert.equal(refusal([]).message, "--l2-adapter #1: expected a JSON object, got list");
  assert.match(refusal({}).message, /^--l2-adapter #1: missing 'type' field/);
  assert.match(refusal({ type: "mok" }).message, /^--l2-adapter #1: unknown adapter type 'mok'\. Known: fault_inject, fs, mock, plugin; did you mean "mock"\?$/);
  assert.match(refusal({ ...mock, max_size_gb: "1" }).message, /^--l2-adapter #1 \('mock'\): max_size_gb must be a positive number, got "1"$/);
});

test("every refusal names the field, what came and what is allowed", () => {
  const cases: [object, string, RegExp][] = [
    [{ type: "mock", mock_bandwidth_gb: 1 }, "max_size_gb", /max_size_gb must be a positive number, it is missing/],
    [{ ...mock, max_size_gb: 0 }, "max_size_gb", /positive number, got 0/],
    [{ ...mock, max_size_gb: 1e-6 }, "max_size_gb", /at least 0\.0000611/],
    [{ ...mock, max_size: 1 }, "max_size", /unknown field max_size; known: .*did you mean "max_size_gb"/],
    [{ ...mock, eviction: { trigger_watermark: 7 } }, "eviction.trigger_watermark", /number from 0 to 1, got 7/],
    [{ ...mock, eviction: { triger_watermark: 0.7 } }, "eviction.triger_watermark", /unknown field eviction\.triger_watermark.*did you mean "trigger_watermark"/],
    [{ ...mock, eviction: { eviction_policy: "LRRU" } }, "eviction.eviction_policy", /must be one of LRU, .*got "LRRU"; did you mean "LRU"/],
    [{ ...mock, eviction: "LRU" }, "eviction", /must be an object with eviction_policy.*got "LRU"/],
    [{ ...mock, affinity_tag: "x" }, "affinity_tag", /Unknown L1 affinity_tag: 'x'/],
    [{ ...mock, serde: { type: "fp8" } }, "serde", /serde is not supported, got \{"type":"fp8"\}/],
    [{ ...mock, shared: true }, "shared", /must be false/],
    [{ type: "fs" }, "base_path", /base_path must be a non-empty text, it is missing/],
    [{ type: "fs", path: "/tmp/x" }, "path", /unknown field path; .*did you mean "base_path"\?$/],
    [{ ...fs, base_path: "" }, "base_path", /non-empty text, got ""/],
    [{ ...fs, max_objects: 1.5 }, "max_objects", /integer of at least 1, got 1\.5/],
    [{ ...fs, min_free_percent: 101 }, "min_free_percent", /from 0 to 100, got 101/],
    [{ ...fs, relative_tmp_dir: "../x" }, "relative_tmp_dir", /relative path without "\.\."/],
    [{ ...fs, shared: true }, "shared", /one owner at a time/],
    [{ ...fs, persist_enabled: false }, "persist_enabled", /must be true, got false/],
    [{ ...fs, max_size_gb: 1, max_capacity_gb: 2 }, "max_capacity_gb", /must equal max_size_gb \(1\)/],
    [{ ...fs, use_odirect: "yes" }, "use_odirect", /must be true or false, got "yes"/],
    [{ type: "fault_inject" }, "inner", /inner must be the JSON object of another adapter, it is missing/],
    [{ type: "fault_inject", inner: { type: "mok" } }, "inner.type", /#1\.inner: unknown adapter type 'mok'/],
    [{ type: "fault_inject", inner: mock, store: { fial: 1 } }, "store.fial", /did you mean "fail"/],
    [{ type: "fault_inject", inner: mock, load: { corrupt: 2 } }, "load.corrupt", /from 0 to 1, got 2/],
    [{ type: "plugin", module_path: "./x.mjs" }, "class_name", /class_name must be a non-empty text, it is missing/],
  ];
  for (const [spec, field, message] of cases) {
    const error = refusal(spec);
    assert.equal(error.code, "KVFERRY_CONFIG");
    assert.equal(error.field, `--l2-adapter #1.${field}`, JSON.stringify(spec));
    assert.match(error.message, message);
  }
});

test("LMCache's other adapters are refused by name, each with what to use instead", () => {
  for (const type of ["fs_native", "resp", "s3", "raw_block", "dax", "valkey", "hf3fs", "native_plugin", "p2p", "mooncake_store", "aerospike", "bigtable", "hfbucket", "nixl_native", "nixl_store", "nixl_store_dynamic", "sagemaker-hyperpod"])
    assert.match(refusal({ type }).message, new RegExp(`adapter type '${type}' is LMCache's and not kvferry's: .*'(fs|plugin)'`));
});

test("names that objects inherit are not adapter types", () => {
  assert.match(refusal({ type: "constructor" }).message, /unknown adapter type 'constructor'/);
});

test("each type prints a JSON Schema that names its fields", () => {
  for (const type of l2AdapterTypes()) {
    const schema = type.jsonSchema as { type: string; properties: Record<string, unknown>; additionalProperties: boolean };
    assert.equal(schema.type, "object");
    assert.equal(schema.additionalProperties, false);
    assert.ok("type" in schema.properties && "serde" in schema.properties);
  }
});

test("a type can be registered once and is then known", () => {
  const type = { ...l2AdapterTypes()[0], type: "test-only" };
  registerL2Adapter(type);
  assert.throws(() => registerL2Adapter(type), /'test-only' is already registered/);
  assert.throws(() => registerL2Adapter({ ...type, type: "" }), TypeError);
  assert.ok(l2AdapterTypes().includes(type));
});

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { ConfigError, PluginError } from "../../../src/base/errors.ts";
import { NamespaceTable } from "../../../src/keys/namespace.ts";
import { packageRoot } from "../../../src/native/load.ts";
import type { EvictionContext, EvictionPolicy, PolicyContext, StorePolicy } from "../../../src/policies/contract.ts";
import { PolicyRegistry } from "../../../src/policies/policy-registry.ts";
import { evictionPolicies, prefetchPolicies, registerEvictionPolicy, registerPrefetchPolicy, registerStorePolicy, storePolicies } from "../../../src/policies/registry.ts";
import { DefaultStorePolicy } from "../../../src/policies/store/default.ts";
import { ids, keysOf, plainContext } from "./support.ts";

const fixtures = join(packageRoot(), "test/fixtures/policies");
const storeContext: PolicyContext = { namespaces: new NamespaceTable() };

test("every built-in policy is there under LMCache's spelling and bears its own name", () => {
  assert.deepEqual(storePolicies.names(), ["default", "skip_l1"]);
  assert.deepEqual(prefetchPolicies.names(), ["default", "retain"]);
  assert.deepEqual(evictionPolicies.names(), ["ARC", "FIFO", "IsolatedLRU", "LRU", "noop"]);
  for (const name of storePolicies.names()) assert.equal(storePolicies.find(name, "f").create(storeContext).name, name);
  for (const name of prefetchPolicies.names()) assert.equal(prefetchPolicies.find(name, "f").create(storeContext).name, name);
  for (const name of evictionPolicies.names()) assert.equal(evictionPolicies.find(name, "f").create(plainContext).name, name);
});

test("an unknown name lists the known ones and the nearest, and names the field", () => {
  const refused = (name: string): ConfigError => {
    try {
      storePolicies.find(name, "--l2-store-policy");
    } catch (error) {
      assert.ok(error instanceof ConfigError);
      return error;
    }
    return assert.fail(`${name} was accepted`);
  };
  assert.equal(refused("skipl1").message, `Unknown store policy 'skipl1'. Known: default, skip_l1; did you mean "skip_l1"?`);
  assert.equal(refused("SKIP_L1").message, `Unknown store policy 'SKIP_L1'. Known: default, skip_l1; did you mean "skip_l1"?`);
  assert.equal(refused("zzzzzzzzzz").message, "Unknown store policy 'zzzzzzzzzz'. Known: default, skip_l1");
  assert.equal(refused("x").field, "--l2-store-policy");
  assert.equal(refused("x").code, "KVFERRY_CONFIG");
});

test("names that every object inherits are unknown like any other, and get no advice", () => {
  for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"])
    assert.throws(
      () => evictionPolicies.find(name, "l1.evictionPolicy"),
      (error) => error instanceof ConfigError && new RegExp(`^Unknown eviction policy '${name}'\\. Known: [A-Za-z, ]+$`).test(error.message),
      name,
    );
});

test("names are case-sensitive, suggestions are not", () => {
  assert.throws(() => evictionPolicies.find("lru", "f"), { message: `Unknown eviction policy 'lru'. Known: ARC, FIFO, IsolatedLRU, LRU, noop; did you mean "LRU"?` });
});

test("noop as a store policy names skip_l1, and skip_l1 as an eviction policy names noop", () => {
  assert.throws(() => storePolicies.find("noop", "f"), /'noop' is an eviction policy: .* name the store policy 'skip_l1'/);
  assert.throws(() => evictionPolicies.find("skip_l1", "f"), /'skip_l1' is a store policy: the eviction policy that goes with it is 'noop'/);
});

test("a name is taken once", () => {
  registerStorePolicy("test-once", DefaultStorePolicy);
  assert.throws(() => registerStorePolicy("test-once", DefaultStorePolicy), /store policy 'test-once' is already registered/);
  assert.throws(() => registerEvictionPolicy("LRU", () => assert.fail()), RangeError);
  assert.throws(() => registerPrefetchPolicy("default", () => assert.fail()), RangeError);
});

test("a name that could be a path, or a source that is no function, is refused", () => {
  for (const name of ["", "./x", "/x", "file:x"]) assert.throws(() => registerStorePolicy(name, DefaultStorePolicy), RangeError, name);
  assert.throws(() => registerStorePolicy("obj", {} as never), TypeError);
});

test("a factory function is called, a class is constructed, both with the context", () => {
  const registry = new PolicyRegistry<{ context: unknown }, string>({ word: "toy", methods: [], fields: {} });
  registry.register("function", (context: string) => ({ context }));
  registry.register(
    "class",
    class {
      readonly context: unknown;
      constructor(context: string) {
        this.context = context;
      }
    },
  );
  for (const name of ["function", "class"]) assert.equal(registry.find(name, "f").create("hello").context, "hello");
});

test("an object that lacks a method or a field is refused when it is made", () => {
  registerStorePolicy("test-half", () => ({ name: "half", decideL1: () => "keep" }) as never);
  assert.throws(() => storePolicies.find("test-half", "f").create(storeContext), (error) => error instanceof PluginError && /test-half has no method selectStoreTargets\(\); it needs selectStoreTargets, decideL1/.test(error.message));
  registerStorePolicy("test-null", () => null as never);
  assert.throws(() => storePolicies.find("test-null", "f").create(storeContext), /should be an object, got null/);
  registerStorePolicy("test-throws", () => {
    throw new Error("no licence");
  });
  assert.throws(() => storePolicies.find("test-throws", "f").create(storeContext), (error) => error instanceof PluginError && /could not be made: no licence/.test(error.message));
});

test("a store policy is loaded by path: second-hit stores a key at its second commit", async () => {
  const factory = await storePolicies.resolve(join(fixtures, "second-hit-store-policy.mjs"), "--l2-store-policy");
  const policy: StorePolicy = factory.create(storeContext);
  const adapters = [0, 2].map((index) => ({ index, name: `mock#${index}`, type: "mock" }));
  const targets = (...keys: number[]): [number, number[]][] =>
    policy.selectStoreTargets(keysOf(keys), adapters).map(({ adapterIndex, keyIndices }) => [adapterIndex, [...(keyIndices as Uint32Array)]]);
  assert.deepEqual(targets(1, 2), []);
  assert.deepEqual(targets(3, 2, 1), [[0, [1, 2]], [2, [1, 2]]]);
  assert.deepEqual(targets(3), [[0, [0]], [2, [0]]]);
});

test("an eviction policy is loaded by relative path and export name: CLOCK spares what was touched", async () => {
  const factory = await evictionPolicies.resolve("./clock-eviction-policy.mjs#ClockPolicy", "--eviction-policy", fixtures);
  const policy: EvictionPolicy = factory.create({ ...plainContext, sizeBytes: () => 10 } satisfies EvictionContext);
  policy.onKeysCreated(ids(1, 2, 3, 4));
  policy.onKeysTouched(ids(1, 99));
  assert.deepEqual([...policy.getEvictionVictims(0.5)], [2, 3]);
  policy.onKeysRemoved(ids(2, 3));
  assert.deepEqual([...policy.getVictimsForBytes(11, (id) => id !== 9)], [4, 1], "the second chance is used up");
  assert.equal(policy.trackedCount, 2);
});

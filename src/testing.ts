/// <reference types="node" preserve="true" />
/// <reference lib="esnext.disposable" preserve="true" />
/**
 * `kvferry/testing`: the conformance suite that every L2 adapter of kvferry runs, for yours (docs/adapters.md).
 *
 * @example
 * import { test } from "node:test";
 * import { testL2Adapter } from "kvferry/testing";
 * testL2Adapter({ test, name: "mine", createPlace: async () => ({ open: (context) => openMyAdapter(context) }) });
 */
import { systemClock } from "./base/clock.ts";
import { Counters } from "./base/counters.ts";
import { silentLogger } from "./base/log.ts";
import { SeededRandom } from "./base/random.ts";
import { NamespaceTable } from "./keys/namespace.ts";
import type { AdapterContext } from "./l2/contract.ts";
import type { AdapterPlace } from "./l2/conformance/harness.ts";
import { runL2Conformance } from "./l2/conformance/suite.ts";
import { adapterContext } from "./l2/registry.ts";
import type { EngineOptions } from "./native/binding.ts";
import { NativeRuntime } from "./native/runtime.ts";
import { evictionPolicies } from "./policies/registry.ts";

export type * from "./l2/contract.ts";
export { LoadStatus, StoreStatus } from "./l2/contract.ts";
export type { AdapterPlace } from "./l2/conformance/harness.ts";
export { openL2Adapter, parseAdapterSpec } from "./l2/registry.ts";

export interface TestL2AdapterOptions {
  /** node:test's `test`, or anything that takes a name and an async body. */
  readonly test: (name: string, body: () => Promise<void>) => unknown;
  /** In front of every test's name. */
  readonly name: string;
  /** An empty store; called once per test. */
  createPlace(): Promise<AdapterPlace>;
  /** How files are moved, where that matters: `{ fileEngine: "threads" }`. */
  readonly engine?: EngineOptions;
  /** Fixes sizes and bytes. */
  readonly seed?: number;
}

/** Registers one test per promise of the adapter contract. */
export function testL2Adapter(options: TestL2AdapterOptions): void {
  const { engine, ...suite } = options;
  runL2Conformance({ ...suite, createContext: () => createAdapterTestContext({ engine }) });
}

export interface AdapterTestContextOptions extends Partial<Omit<AdapterContext, "open" | "native">> {
  readonly engine?: EngineOptions;
}

/** A context to open an adapter with, outside a storage: its own native runtime, a quiet logger, the system's clock. */
export function createAdapterTestContext(options: AdapterTestContextOptions = {}): { readonly context: AdapterContext; close(): Promise<void> } {
  const { engine, ...overrides } = options;
  const native = new NativeRuntime(engine);
  const context = adapterContext({
    name: "adapter",
    clock: systemClock,
    random: new SeededRandom(1),
    logger: silentLogger,
    counters: new Counters(),
    namespaces: new NamespaceTable(),
    native,
    createEvictionPolicy: (name, policyContext) => evictionPolicies.find(name, "eviction_policy").create({ ...policyContext }),
    ...overrides,
  });
  return { context, close: () => native.close() };
}

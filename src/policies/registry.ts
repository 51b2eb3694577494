/** The three registries with kvferry's own policies in them, and the functions that add a user's. */
import type { EvictionContext, EvictionPolicy, PolicyContext, PrefetchPolicy, StorePolicy } from "./contract.ts";
import { ArcPolicy } from "./eviction/arc.ts";
import { FifoPolicy } from "./eviction/fifo.ts";
import { IsolatedLruPolicy } from "./eviction/isolated-lru.ts";
import { LruPolicy } from "./eviction/lru.ts";
import { NoopPolicy } from "./eviction/noop.ts";
import { PolicyRegistry, type PolicySource } from "./policy-registry.ts";
import { DefaultPrefetchPolicy } from "./prefetch/default.ts";
import { RetainPrefetchPolicy } from "./prefetch/retain.ts";
import { DefaultStorePolicy } from "./store/default.ts";
import { SkipL1StorePolicy } from "./store/skip-l1.ts";

export const storePolicies = new PolicyRegistry<StorePolicy, PolicyContext>({
  word: "store",
  methods: ["selectStoreTargets", "decideL1"],
  fields: { name: "string" },
  advice: {
    noop: "; 'noop' is an eviction policy: for an L1 that is only a write buffer, name the store policy 'skip_l1'",
    retain: "; 'retain' is a prefetch policy",
  },
});

export const prefetchPolicies = new PolicyRegistry<PrefetchPolicy, PolicyContext>({
  word: "prefetch",
  methods: ["planLoad", "planL1Retention"],
  fields: { name: "string" },
  advice: { skip_l1: "; 'skip_l1' is a store policy" },
});

export const evictionPolicies = new PolicyRegistry<EvictionPolicy, EvictionContext>({
  word: "eviction",
  methods: ["onKeysCreated", "onKeysReserved", "onKeysTouched", "onKeysRemoved", "getEvictionVictims", "getVictimsForBytes", "saltIds"],
  fields: { name: "string", isolatesSalts: "boolean", evicts: "boolean", trackedCount: "number" },
  advice: { skip_l1: "; 'skip_l1' is a store policy: the eviction policy that goes with it is 'noop'" },
});

storePolicies.register("default", DefaultStorePolicy);
storePolicies.register("skip_l1", SkipL1StorePolicy);
prefetchPolicies.register("default", DefaultPrefetchPolicy);
prefetchPolicies.register("retain", RetainPrefetchPolicy);
evictionPolicies.register("LRU", LruPolicy);
evictionPolicies.register("noop", NoopPolicy);
evictionPolicies.register("ARC", ArcPolicy);
evictionPolicies.register("FIFO", FifoPolicy);
evictionPolicies.register("IsolatedLRU", IsolatedLruPolicy);

/** Makes a store policy known by name. Throws RangeError when the name is taken. */
export function registerStorePolicy(name: string, policy: PolicySource<StorePolicy, PolicyContext>): void {
  storePolicies.register(name, policy);
}

/** Makes a prefetch policy known by name. Throws RangeError when the name is taken. */
export function registerPrefetchPolicy(name: string, policy: PolicySource<PrefetchPolicy, PolicyContext>): void {
  prefetchPolicies.register(name, policy);
}

/** Makes an eviction policy known by name. Throws RangeError when the name is taken. */
export function registerEvictionPolicy(name: string, policy: PolicySource<EvictionPolicy, EvictionContext>): void {
  evictionPolicies.register(name, policy);
}

/**
 * Policies: what goes to which L2, what is loaded for a lookup, what leaves a full tier. Pure decisions over ids and key batches
 * (law 8): no I/O, no clock, no payload bytes. This file is the room's public face.
 */
export type * from "./contract.ts";
export { defaultEvictionTrigger, planL1Eviction, type EvictionTrigger, type SaltInTier, type TierState } from "./eviction/plan.ts";
export { LruPolicy } from "./eviction/lru.ts";
export { DefaultPrefetchPolicy } from "./prefetch/default.ts";
export { DefaultStorePolicy } from "./store/default.ts";
export type { PolicyFactory, PolicySource } from "./policy-registry.ts";
export { QuotaTable, type Quota, type QuotaOptions, type QuotaStore } from "./quotas.ts";
export { evictionPolicies, prefetchPolicies, registerEvictionPolicy, registerPrefetchPolicy, registerStorePolicy, storePolicies } from "./registry.ts";

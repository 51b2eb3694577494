/**
 * Controllers carry out what policies decide: supervised, event-driven loops over batches, on an injected clock (law 8). This file is
 * the room's public face.
 */
export { EvictionController, type EvictionOptions } from "./eviction-controller.ts";
export { KeyGrid, type GridRow } from "./key-grid.ts";
export { Obligation, type Ending, type Settlement } from "./obligation.ts";
export { loadTag } from "./loader.ts";
export { PrefetchController, type PrefetchAnswer, type PrefetchCall, type PrefetchOptions } from "./prefetch-controller.ts";
export { StoreController } from "./store-controller.ts";
export type { StoreOptions } from "./store-options.ts";

/** L2: the adapter contract and the registry of adapter types. This file is the room's public face. */
export * from "./contract.ts";
export { adapterContext, l2AdapterTypes, openL2Adapter, parseAdapterFlag, parseAdapterSpec, registerL2Adapter } from "./registry.ts";
export { defineAdapterType } from "./spec.ts";
export { inspectPath, type InspectReport } from "./inspect.ts";
export type * from "./plugin/contract.ts";

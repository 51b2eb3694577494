/**
 * The storage: wires L1, L2, policies and controllers together and checks the configuration. This file is the room's public face.
 */
export { parseStorageConfig, storageJsonSchema, type StorageConfig, type StorageConfigInput } from "./config.ts";
export { largestL1Bytes, memoryLimitBytes } from "./memory-limit.ts";
export { ReadHandle } from "./read-handle.ts";
export { ReadSlot, WriteSlot } from "./slot-handle.ts";
export type { CloseOptions, CloseReport, KeyRow, PrefetchOptions, StorageAudit, StorageDependencies, StorageStatus, WriteOptions } from "./options.ts";
export { openStorage, Storage } from "./storage.ts";
export { StoredWrite, WriteHandle } from "./write-handle.ts";

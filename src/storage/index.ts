/**
 * The storage: wires L1, L2, policies and controllers together and checks the configuration. This file is the room's public face.
 */
export { parseStorageConfig, storageJsonSchema, type StorageConfig, type StorageConfigInput } from "./config.ts";
export { checkMemoryLimit, memoryLimitBytes } from "./memory-limit.ts";
export { ReadHandle } from "./read-handle.ts";
export { ReadSlot, WriteSlot } from "./slot-handle.ts";
export {
  openStorage,
  Storage,
  type CloseOptions,
  type CloseReport,
  type KeyRow,
  type PrefetchOptions,
  type StorageDependencies,
  type StorageStatus,
  type WriteOptions,
} from "./storage.ts";
export { StoredWrite, WriteHandle } from "./write-handle.ts";

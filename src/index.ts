/// <reference types="node" preserve="true" />
/// <reference lib="esnext.disposable" preserve="true" />
/** kvferry's public face; what is not exported here is not for users. Test suites for adapters are in kvferry/testing. */
export * from "./base/errors.ts";
export { formatBytes, GiB, KiB, MiB } from "./base/bytes.ts";
export { systemClock, VirtualClock, type Clock, type Timer } from "./base/clock.ts";
export { Counters, type Counter } from "./base/counters.ts";
export { createLogger, silentLogger, type Logger, type LogLevel } from "./base/log.ts";
export type { Settlement } from "./controllers/index.ts";
export {
  engineKvFormats,
  engineLayout,
  nullBlock,
  openDevice,
  type CopyOptions,
  type Device,
  type DeviceLayout,
  type DeviceLayoutSpec,
  type EngineKvFormat,
  type EngineKvShape,
  type MemoryRegion,
  type OpenDeviceOptions,
  type ScatterOptions,
} from "./device/index.ts";
export { KeyBatch } from "./keys/key-batch.ts";
export { imageFingerprint, type ImageDescription, type ObjectLayout } from "./keys/layout.ts";
export type { ObjectKey } from "./keys/object-key.ts";
export { tokenKeys, type TokenKeyOptions } from "./keys/token-keys.ts";
export { WriteStatus } from "./l1/index.ts";
export {
  LoadStatus,
  registerL2Adapter,
  StoreStatus,
  type AdapterContext,
  type AdapterSpec,
  type AdapterType,
  type L2Adapter,
  type L2Capabilities,
  type L2Usage,
  type ObjectBatch,
} from "./l2/index.ts";
export type * from "./policies/contract.ts";
export {
  DefaultPrefetchPolicy,
  DefaultStorePolicy,
  LruPolicy,
  registerEvictionPolicy,
  registerPrefetchPolicy,
  registerStorePolicy,
  type Quota,
} from "./policies/index.ts";
export * from "./storage/index.ts";

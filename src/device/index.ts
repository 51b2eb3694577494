import { didYouMean } from "../base/nearest.ts";
import type { NativeRuntime } from "../native/runtime.ts";
import type { Device } from "./contract.ts";
import { CpuDevice } from "./cpu-device.ts";

export { nullBlock, type Device, type DeviceLayout, type DeviceLayoutSpec, type MemoryRegion, type ScatterOptions, type CopyOptions } from "./contract.ts";
export { engineKvFormats, engineLayout, type EngineKvFormat, type EngineKvShape } from "./layouts.ts";

const kinds: readonly string[] = ["cpu"];

export interface OpenDeviceOptions {
  readonly kind: "cpu";
  /** A storage's runtime: copies and file work share its engine, its ring and its wake-up. */
  readonly runtime: NativeRuntime;
}

/** Opens a device. Close it before the storage whose runtime it uses. */
export function openDevice({ kind, runtime }: OpenDeviceOptions): Device {
  if (!kinds.includes(kind)) throw new RangeError(`kind must be one of ${kinds.join(", ")}, got ${JSON.stringify(kind)}${didYouMean(String(kind), kinds)}`);
  return new CpuDevice(runtime);
}

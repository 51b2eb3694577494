import { AbortError, ClosedError, NativeError } from "../base/errors.ts";
import { ItemStatus, type NativeArena, type NativeCpuDevice, type SlotRefs } from "../native/binding.ts";
import type { NativeRuntime } from "../native/runtime.ts";
import type { CopyOptions, Device, DeviceLayout, DeviceLayoutSpec, ScatterOptions } from "./contract.ts";

/** How regions are chosen by (plane, layer); the native layer's pointerMode. */
const oneRegion = 0;
const regionPerLayer = 1;
const regionPerPlaneAndLayer = 2;

/** Host memory (of SharedArrayBuffers) as a device: what laptops, CI and CPU engines run on, with the copy plan that a GPU uses. */
export class CpuDevice implements Device {
  readonly kind = "cpu";
  readonly #runtime: NativeRuntime;
  readonly #native: NativeCpuDevice;
  /** Regions of each live layout, to be let go with it. */
  readonly #regions = new Map<DeviceLayout, readonly number[]>();
  readonly #running = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor(runtime: NativeRuntime) {
    this.#runtime = runtime;
    this.#native = new runtime.binding.CpuDevice(runtime.engine);
  }

  registerLayout(spec: DeviceLayoutSpec): DeviceLayout {
    this.#requireOpen();
    const { regions, ...shape } = spec;
    const pointerMode = pointerModeOf(spec);
    const regionIds: number[] = [];
    try {
      for (const { memory } of regions) regionIds.push(this.#native.registerMemory(memory));
      const regionOffsets = Float64Array.from(regions, ({ offset = 0 }) => offset);
      const id = this.#native.registerLayout({ ...shape, pointerMode, regionIds: Uint32Array.from(regionIds), regionOffsets });
      const layout: DeviceLayout = { id, imageBytes: this.#native.imageBytes(id), blocksPerObject: shape.chunkTokens / shape.blockTokens };
      this.#regions.set(layout, regionIds);
      return layout;
    } catch (error) {
      for (const regionId of regionIds) this.#native.unregisterMemory(regionId);
      throw error;
    }
  }

  unregisterLayout(layout: DeviceLayout): void {
    const regionIds = this.#regionsOf(layout);
    this.#native.unregisterLayout(layout.id);
    this.#regions.delete(layout);
    for (const regionId of regionIds) this.#native.unregisterMemory(regionId);
  }

  gather(layout: DeviceLayout, arena: NativeArena, refs: SlotRefs, blockIds: Int32Array, options: CopyOptions = {}): Promise<void> {
    return this.#copy("gather", layout, refs, blockIds, options, (opId) => this.#native.gather(opId, layout.id, arena, refs, blockIds));
  }

  scatter(layout: DeviceLayout, arena: NativeArena, refs: SlotRefs, blockIds: Int32Array, options: ScatterOptions = {}): Promise<void> {
    return this.#copy("scatter", layout, refs, blockIds, options, (opId) => this.#native.scatter(opId, layout.id, arena, refs, blockIds, options.skipTokens ?? 0));
  }

  close(): Promise<void> {
    this.#closing ??= this.#drain();
    return this.#closing;
  }

  async #drain(): Promise<void> {
    await Promise.allSettled(this.#running);
    for (const layout of [...this.#regions.keys()]) this.unregisterLayout(layout);
    this.#native.close();
  }

  async #copy(what: string, layout: DeviceLayout, refs: SlotRefs, blockIds: Int32Array, { signal }: CopyOptions, submit: (opId: number) => void): Promise<void> {
    if (signal?.aborted) throw new AbortError(signal.reason);
    this.#requireOpen();
    this.#regionsOf(layout);
    const objects = refs.length / 2;
    if (blockIds.length !== objects * layout.blocksPerObject)
      throw new RangeError(`${what} of ${objects} objects takes ${layout.blocksPerObject} block ids each, ${objects * layout.blocksPerObject} in all, got ${blockIds.length}`);
    if (objects === 0) return;
    const operation = this.#runtime.run(submit);
    this.#running.add(operation);
    try {
      const statuses = await operation;
      const failed = statuses.findIndex((status) => status !== ItemStatus.ok);
      if (failed >= 0) throw new NativeError("KVFERRY_NATIVE", `${what}: object ${failed} of ${objects} was not copied (status ${statuses[failed]})`);
    } finally {
      this.#running.delete(operation);
    }
  }

  #regionsOf(layout: DeviceLayout): readonly number[] {
    const regionIds = this.#regions.get(layout);
    if (regionIds === undefined) throw new RangeError("this layout is not registered with this device");
    return regionIds;
  }

  #requireOpen(): void {
    if (this.#closing !== undefined) throw new ClosedError("the device");
  }
}

function pointerModeOf({ regions, layers, planes }: DeviceLayoutSpec): number {
  if (regions.length === 1) return oneRegion;
  if (regions.length === layers) return regionPerLayer;
  if (regions.length === layers * planes) return regionPerPlaneAndLayer;
  throw new RangeError(`regions must be 1, one per layer (${layers}), or one per plane and layer (${layers * planes}), got ${regions.length}`);
}

import { KvferryError } from "../../base/errors.ts";
import { ItemStatus, type NativeCpuDevice } from "../../native/binding.ts";
import type { NativeRuntime } from "../../native/runtime.ts";
import type { Arena, EngineMemory } from "../../workload/engine-memory.ts";

/**
 * Engine memory on the CPU device: plain host memory laid out as paged KV with one block per chunk (one layer, one plane), which is
 * what the copy plan makes of any cross-layer layout.
 */
export class CpuEngine implements EngineMemory {
  readonly blockBytes: number;
  readonly blockCount: number;
  readonly #runtime: NativeRuntime;
  readonly #device: NativeCpuDevice;
  readonly #memory: Uint8Array;
  readonly #regionId: number;
  readonly #layoutId: number;

  constructor(runtime: NativeRuntime, blockBytes: number, blockCount: number) {
    this.blockBytes = blockBytes;
    this.blockCount = blockCount;
    this.#runtime = runtime;
    this.#memory = new Uint8Array(blockBytes * blockCount);
    this.#device = new runtime.binding.CpuDevice(runtime.engine);
    this.#regionId = this.#device.registerMemory(this.#memory);
    this.#layoutId = this.#device.registerLayout({
      regionIds: Uint32Array.of(this.#regionId),
      regionOffsets: Float64Array.of(0),
      layers: 1,
      planes: 1,
      heads: 1,
      headBytes: blockBytes,
      blockTokens: 1,
      chunkTokens: 1,
      blockCount,
      blockStride: blockBytes,
      planeStride: blockBytes,
      layerStride: blockBytes,
      tokenStride: blockBytes,
      headStride: blockBytes,
      pointerMode: 0,
    });
  }

  words(block: number): Uint32Array {
    return new Uint32Array(this.#memory.buffer, this.#memory.byteOffset + block * this.blockBytes, this.blockBytes / 4);
  }

  async gather(arena: Arena, refs: Uint32Array, blocks: Int32Array): Promise<void> {
    requireOk("gather", await this.#runtime.run((opId) => this.#device.gather(opId, this.#layoutId, arena, refs, blocks)));
  }

  async scatter(arena: Arena, refs: Uint32Array, blocks: Int32Array): Promise<void> {
    requireOk("scatter", await this.#runtime.run((opId) => this.#device.scatter(opId, this.#layoutId, arena, refs, blocks, 0)));
  }

  close(): void {
    this.#device.unregisterLayout(this.#layoutId);
    this.#device.unregisterMemory(this.#regionId);
    this.#device.close();
  }
}

function requireOk(what: string, statuses: Int32Array): void {
  const failed = statuses.find((status) => status !== ItemStatus.ok);
  if (failed !== undefined) throw new KvferryError("KVFERRY_NATIVE", `${what} failed with status ${failed}`);
}

import { openDevice, type Device, type DeviceLayout } from "../../device/index.ts";
import type { NativeRuntime } from "../../native/runtime.ts";
import type { Arena, EngineMemory } from "../../workload/engine-memory.ts";

/**
 * Engine memory on the CPU device: host memory laid out as paged KV with one block per chunk (one layer, one plane), which is what the
 * copy plan makes of any cross-layer layout.
 */
export class DeviceEngine implements EngineMemory {
  readonly blockBytes: number;
  readonly blockCount: number;
  /** All blocks, one after the other. */
  readonly memory: Uint8Array;
  readonly #device: Device;
  readonly #layout: DeviceLayout;

  constructor(runtime: NativeRuntime, blockBytes: number, blockCount: number) {
    this.blockBytes = blockBytes;
    this.blockCount = blockCount;
    this.memory = new Uint8Array(new SharedArrayBuffer(blockBytes * blockCount));
    this.#device = openDevice({ kind: "cpu", runtime });
    this.#layout = this.#device.registerLayout({
      regions: [{ memory: this.memory }],
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
    });
  }

  words(block: number): Uint32Array {
    return new Uint32Array(this.memory.buffer, this.memory.byteOffset + block * this.blockBytes, this.blockBytes / 4);
  }

  gather(arena: Arena, refs: Uint32Array, blocks: Int32Array): Promise<void> {
    return this.#device.gather(this.#layout, arena, refs, blocks);
  }

  scatter(arena: Arena, refs: Uint32Array, blocks: Int32Array): Promise<void> {
    return this.#device.scatter(this.#layout, arena, refs, blocks);
  }

  close(): Promise<void> {
    return this.#device.close();
  }
}

/**
 * Ends its process, or a worker of it, while object files are written or blocks are copied; object-files.test.ts looks at how it ends and at
 * what lies on the disk. Runs as `node object-files-child.js <stage> <directory> <number>`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isMainThread, Worker, workerData } from "node:worker_threads";

import { NativeRuntime } from "../../../src/native/runtime.ts";
import { allocate, KiB, MiB } from "./support.ts";

interface Job {
  readonly stage: string;
  readonly directory: string;
  readonly number: number;
}

/** Stores `count` objects of 1 MiB under keys of its own. */
function storing(directory: string, first: number, count: number): Promise<Int32Array> {
  const runtime = new NativeRuntime();
  const arena = runtime.openArena({ sizeBytes: 4 * MiB });
  const slot = allocate(arena, MiB, 1);
  arena.write(slot[0], slot[1], 0, new Uint8Array(MiB).fill(first));
  const files = new runtime.binding.ObjectFiles(runtime.engine, { basePath: directory, directIo: "auto", fsync: false });
  files.registerNamespace(0, new Uint8Array(32), new Uint8Array(0));
  const refs = new Uint32Array(2 * count);
  const records = new Uint32Array(12 * count);
  for (let index = 0; index < count; index++) {
    refs.set(slot, 2 * index);
    records[12 * index] = first;
    records[12 * index + 1] = index;
  }
  return runtime.run((opId) => files.store(opId, arena, refs, new Uint8Array(records.buffer)));
}

/** Copies with a device that nobody holds on to. */
function gatheringUnheld(rounds: number): Promise<unknown> {
  const runtime = new NativeRuntime({ copyThreads: 1 });
  const arena = runtime.openArena({ sizeBytes: 64 * MiB });
  const operations: Promise<unknown>[] = [];
  for (let round = 0; round < rounds; round++) {
    const device = new runtime.binding.CpuDevice(runtime.engine);
    const region = device.registerMemory(new Uint8Array(new SharedArrayBuffer(MiB)).fill(round));
    const layout = device.registerLayout({
      regionIds: Uint32Array.of(region),
      regionOffsets: Float64Array.of(0),
      layers: 1,
      planes: 1,
      heads: 1,
      headBytes: KiB,
      blockTokens: 64,
      chunkTokens: 1024,
      blockCount: 16,
      blockStride: 64 * KiB,
      planeStride: 0,
      layerStride: 0,
      tokenStride: KiB,
      headStride: KiB,
      pointerMode: 0,
    });
    const refs = allocate(arena, MiB, 1);
    operations.push(
      runtime
        .run((opId) => device.gather(opId, layout, arena, refs, Int32Array.from({ length: 16 }, (_, block) => block)))
        .then(() => {
          const out = new Uint8Array(MiB);
          arena.read(refs[0], refs[1], 0, out);
          if (!out.every((byte) => byte === round)) throw new Error(`round ${round} read memory that was not its own any more`);
          arena.free(refs);
        }),
    );
  }
  return Promise.all(operations);
}

const stages: Record<string, (job: Job) => unknown> = {
  finishes: async ({ directory, number }) => console.log((await storing(directory, number, 16)).join("")),
  "exit-in-the-middle": async ({ directory, number }) => {
    void storing(directory, number, 300);
    await sleep(number);
    process.exit(0);
  },
  worker: ({ directory, number }) => {
    new Worker(new URL(import.meta.url), { workerData: { stage: "finishes", directory, number } satisfies Job });
    new Worker(new URL(import.meta.url), { workerData: { stage: "finishes", directory, number: number + 100 } satisfies Job });
  },
  "worker-terminated": async ({ directory, number }) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { stage: "exit-later", directory, number } satisfies Job });
    await new Promise((resolve) => worker.once("online", resolve));
    await sleep(number * 2);
    await worker.terminate();
  },
  "exit-later": ({ directory, number }) => void storing(directory, number, 300),
  "collected-device": async () => {
    const settled = gatheringUnheld(40);
    for (let turn = 0; turn < 20; turn++) {
      globalThis.gc?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await settled;
    console.log("settled");
  },
};

const job = isMainThread ? { stage: process.argv[2], directory: process.argv[3], number: Number(process.argv[4]) } : (workerData as Job);
await stages[job.stage](job);

/**
 * Ends its process, or a worker of it, at one stage of an engine's life; lifecycle.test.ts looks at how it ends. Runs as
 * `node lifecycle-child.js <stage> <number>`, and the worker of a stage as the same file with the stage in workerData.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isMainThread, Worker, workerData } from "node:worker_threads";

import { NativeRuntime } from "../../../src/native/runtime.ts";
import { allocate, MiB, openArena } from "./support.ts";

/** A runtime in which `operations` operations over 32 MiB run. */
function busyRuntime(operations: number): { runtime: NativeRuntime; settled: Promise<unknown> } {
  const runtime = new NativeRuntime();
  const source = runtime.openArena({ sizeBytes: 32 * MiB });
  const target = runtime.openArena({ sizeBytes: 32 * MiB });
  const from = allocate(source, MiB, 32);
  const to = allocate(target, MiB, 32);
  const settled = Promise.all(
    Array.from({ length: operations }, () => runtime.run((opId) => runtime.engine.copySlots(opId, source, from, target, to, true))),
  );
  return { runtime, settled };
}

function startWorker(stage: string): Worker {
  return new Worker(new URL(import.meta.url), { workerData: { stage } });
}

const stages: Record<string, (number: number) => unknown> = {
  idle: () => void new NativeRuntime().openArena({ sizeBytes: 16 * MiB }),
  "finishes-by-itself": () => {
    void busyRuntime(20).settled.then(() => console.log("settled"));
  },
  "exit-at-once": () => {
    busyRuntime(200);
    process.exit(0);
  },
  "exit-in-wake": () => {
    void busyRuntime(1).settled.then(() => process.exit(0));
    busyRuntime(200);
  },
  "exit-later": async (number) => {
    busyRuntime(500);
    await sleep(number % 40);
    process.exit(0);
  },
  "exit-after-close": async () => {
    const { runtime } = busyRuntime(3);
    await runtime.close();
    process.exit(0);
  },
  "throw-in-wake": () => {
    void busyRuntime(1).settled.then(() => {
      throw new Error("thrown after a wake-up");
    });
    busyRuntime(100);
  },
  "sigterm-itself": () => {
    busyRuntime(200);
    process.kill(process.pid, "SIGTERM");
  },
  collected: async () => {
    const collect = (globalThis as { gc?: () => void }).gc;
    for (let round = 0; round < 20; round += 1) {
      for (let i = 0; i < 10; i += 1) void new NativeRuntime().openArena({ sizeBytes: 16 * MiB });
      void busyRuntime(2);
      collect?.();
      await sleep(1);
    }
    console.log("settled");
  },
  "worker-ends": () => {
    for (let i = 0; i < 4; i += 1) startWorker("finishes-by-itself");
  },
  "worker-exits": () => {
    for (let i = 0; i < 4; i += 1) startWorker("exit-later");
  },
  "worker-terminated": async (number) => {
    for (let round = 0; round < 3; round += 1) {
      const workers = Array.from({ length: 3 }, () => startWorker("busy"));
      await sleep(40 + ((number * 7 + round * 13) % 60));
      await Promise.all(workers.map((worker) => worker.terminate()));
    }
    // The main thread's own engine still works.
    await busyRuntime(5).settled;
    console.log("settled");
  },
  "exit-under-workers": async (number) => {
    for (let i = 0; i < 3; i += 1) startWorker("busy");
    busyRuntime(100);
    await sleep(30 + (number % 60));
    process.exit(0);
  },
  busy: () => void busyRuntime(2000),
  // Here the second argument is a name, not a number.
  shared: () => {
    const arena = openArena({ sizeBytes: MiB, sharedName: process.argv[3] });
    process.stdin.once("end", () => process.exit(arena.capacityBytes === MiB ? 0 : 1));
    process.stdin.resume();
    console.log("open");
  },
};

const stage = isMainThread ? process.argv[2] : (workerData as { stage: string }).stage;
await stages[stage](Number(process.argv[3] ?? 0));

/**
 * Object files against fio in the same shape: one file per object, created when opened, no preallocation, as many in flight, O_DIRECT on
 * both sides or on neither. Rounds alternate, and fio runs against itself beside it: what a disk does twice in a row differs, and a ratio
 * means nothing without knowing by how much. Ours also writes a header, publishes each file under its name and verifies what it reads.
 */
import { execFile } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { KiB, MiB } from "../../base/bytes.ts";
import { keyRecordBytes } from "../../keys/key-batch.ts";
import type { FileEngineChoice, NativeArena, NativeObjectFiles } from "../../native/binding.ts";
import { NativeRuntime } from "../../native/runtime.ts";
import { makeTemporaryDirectory } from "../temporary.ts";
import type { BenchOptions, BenchReport } from "./contract.ts";
import { quartiles } from "./quartiles.ts";

export const summary = "the fs adapter's file paths against plain file I/O";

const inFlight = 16;
const directions = ["write", "read"] as const;
type Direction = (typeof directions)[number];
type Rates = Record<Direction, number>;

interface Shape {
  readonly engine: FileEngineChoice;
  readonly objectBytes: number;
  readonly objects: number;
}

export async function run(options: BenchOptions): Promise<BenchReport> {
  const base = makeTemporaryDirectory("kvferry-bench-fs-", { KVFERRY_BENCH_DIR: process.env.KVFERRY_BENCH_DIR });
  const pairs = options.quick ? 2 : 9;
  const totalBytes = (options.quick ? 64 : 512) * MiB;
  const figures: Record<string, unknown> = {};
  const ratios: Record<string, number> = {};
  const conditions: Record<string, unknown> = { directory: base, pairs, bytesPerRun: totalBytes, inFlight, fio: await fioVersion() };
  let ok = true;
  try {
    for (const engine of ["io_uring", "threads"] as const) {
      for (const objectBytes of options.quick ? [2 * MiB] : [1 * MiB, 2 * MiB, 8 * MiB]) {
        const shape = { engine, objectBytes, objects: totalBytes / objectBytes };
        const name = `${engine}.${objectBytes / MiB}MiB`;
        const refusal = await refusalOf(engine, base);
        if (refusal !== undefined) {
          conditions[`${engine}Refused`] = refusal;
          continue;
        }
        const measured = await measure(shape, base, pairs, conditions.fio !== "not installed", conditions, (round) => options.progress(`${name}: pair ${round + 1} of ${pairs}`));
        ok &&= measured.ok;
        for (const direction of directions) {
          const { ours, fio, fioAgain } = measured[direction];
          figures[`${name}.${direction}`] = {
            bytesPerSecond: quartiles(ours),
            ...(fio.length > 0 && {
              fioBytesPerSecond: quartiles(fio),
              toFio: quartiles(ours.map((rate, round) => rate / fio[round])),
              fioToFio: quartiles(fioAgain.map((rate, round) => rate / fio[round])),
            }),
          };
          if (fio.length > 0) ratios[`${name}.${direction}ToFio`] = quartiles(ours.map((rate, round) => rate / fio[round])).median;
        }
      }
    }
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
  return {
    figures,
    ratios,
    conditions: {
      ...conditions,
      fsync: false,
      store: "temporary file, header and checksummed payload, published by rename; checksums of the slots known before, as after a gather",
      load: "opened, length checked, read into the slot, header and payload verified by crc32c",
      fioShape: "one file per object, bs = filesize, create_on_open, fallocate=none; io_uring with iodepth, or psync with as many threads",
      targets: { io_uring: 0.9, threads: 0.8 },
    },
    ok,
  };
}

interface Series {
  readonly ours: number[];
  readonly fio: number[];
  readonly fioAgain: number[];
}

async function measure(shape: Shape, base: string, pairs: number, withFio: boolean, conditions: Record<string, unknown>, progress: (round: number) => void): Promise<Record<Direction, Series> & { ok: boolean }> {
  const result = { write: { ours: [], fio: [], fioAgain: [] } as Series, read: { ours: [], fio: [], fioAgain: [] } as Series, ok: true };
  const runtime = new NativeRuntime({ fileEngine: shape.engine, fileThreads: inFlight, fileBytesInFlight: inFlight * (shape.objectBytes + 4 * KiB) });
  const arena = runtime.openArena({ sizeBytes: shape.objects * shape.objectBytes, hugePages: true });
  try {
    const refs = new Uint32Array(2 * shape.objects);
    if (arena.allocate(shape.objectBytes, shape.objects, refs) !== shape.objects) throw new Error("the arena is too small for its own objects");
    await fill(runtime, arena, refs, shape);
    for (let round = 0; round < pairs; round++) {
      progress(round);
      const folder = (name: string): string => {
        const path = join(base, `${name}-${round}`);
        mkdirSync(path);
        return path;
      };
      let direct = true;
      const ours = async (): Promise<void> => {
        const measured = await storeAndLoad(runtime, arena, refs, folder("ours"), shape);
        result.ok &&= measured.ok;
        direct = measured.direct;
        conditions.directIo = measured.directReason;
        for (const direction of directions) result[direction].ours.push(measured.rates[direction]);
      };
      const fio = async (name: "fio" | "fioAgain"): Promise<void> => {
        const rates = await runFio(folder(name), shape, direct);
        for (const direction of directions) result[direction][name].push(rates[direction]);
      };
      // Who goes first changes from round to round; the first round of all goes to ours, which finds out about O_DIRECT.
      if (!withFio) await ours();
      else if (round % 2 === 0) {
        await ours();
        await fio("fio");
        await fio("fioAgain");
      } else {
        await fio("fio");
        await ours();
        await fio("fioAgain");
      }
      for (const name of ["ours", "fio", "fioAgain"]) rmSync(join(base, `${name}-${round}`), { recursive: true, force: true });
    }
  } finally {
    await runtime.close();
    arena.close();
  }
  return result;
}

/** Incompressible bytes, and the checksums that a gather would have left. */
async function fill(runtime: NativeRuntime, arena: NativeArena, refs: Uint32Array, shape: Shape): Promise<void> {
  const bytes = new Uint8Array(shape.objectBytes);
  const words = new Uint32Array(bytes.buffer);
  let word = 1;
  for (let index = 0; index < words.length; index++) {
    word = Math.imul(word, 1664525) + 1013904223;
    words[index] = word ^ (word >>> 15);
  }
  for (let object = 0; object < shape.objects; object++) {
    words[0] = object;
    arena.write(refs[2 * object], refs[2 * object + 1], 0, bytes);
  }
  await runtime.run((opId) => runtime.engine.checksumSlots(opId, arena, refs));
}

async function storeAndLoad(runtime: NativeRuntime, arena: NativeArena, refs: Uint32Array, basePath: string, shape: Shape): Promise<{ rates: Rates; ok: boolean; direct: boolean; directReason: string }> {
  const files: NativeObjectFiles = new runtime.binding.ObjectFiles(runtime.engine, { basePath, directIo: "auto", fsync: false });
  try {
    files.registerNamespace(0, new Uint8Array(32), new Uint8Array(0));
    const records = new Uint8Array(shape.objects * keyRecordBytes);
    const words = new Uint32Array(records.buffer);
    for (let object = 0; object < shape.objects; object++) words[(object * keyRecordBytes) / 4] = object + 1;
    const timed = async (submit: (opId: number) => void): Promise<{ rate: number; ok: boolean }> => {
      const start = performance.now();
      const statuses = await runtime.run(submit);
      const seconds = (performance.now() - start) / 1000;
      return { rate: (shape.objects * shape.objectBytes) / seconds, ok: statuses.every((status) => status === 0) };
    };
    const write = await timed((opId) => files.store(opId, arena, refs, records));
    const read = await timed((opId) => files.load(opId, arena, refs, records));
    const { used, reason } = files.directIoState();
    return { rates: { write: write.rate, read: read.rate }, ok: write.ok && read.ok, direct: used, directReason: reason };
  } finally {
    files.close();
  }
}

async function runFio(directory: string, shape: Shape, direct: boolean): Promise<Rates> {
  const threads = shape.engine === "threads";
  const size = String(shape.objectBytes);
  const args = (direction: Direction): string[] => [
    "--name=object",
    `--directory=${directory}`,
    `--rw=${direction}`,
    `--filesize=${size}`,
    `--bs=${size}`,
    `--nrfiles=${threads ? shape.objects / inFlight : shape.objects}`,
    `--direct=${direct ? 1 : 0}`,
    "--create_on_open=1",
    "--fallocate=none",
    "--file_service_type=sequential",
    "--openfiles=64",
    "--group_reporting",
    "--output-format=json",
    ...(threads ? ["--ioengine=psync", "--thread", `--numjobs=${inFlight}`] : ["--ioengine=io_uring", `--iodepth=${inFlight}`]),
  ];
  const rates: Rates = { write: 0, read: 0 };
  for (const direction of directions) {
    const { stdout } = await promisify(execFile)("fio", args(direction), { maxBuffer: 16 * MiB });
    const job = (JSON.parse(stdout.slice(stdout.indexOf("{"))) as { jobs: Record<Direction, { bw_bytes: number; io_bytes: number }>[] }).jobs[0][direction];
    if (job.io_bytes !== shape.objects * shape.objectBytes) throw new Error(`fio moved ${job.io_bytes} bytes, expected ${shape.objects * shape.objectBytes}`);
    rates[direction] = job.bw_bytes;
  }
  return rates;
}

async function fioVersion(): Promise<string> {
  try {
    return (await promisify(execFile)("fio", ["--version"])).stdout.trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "not installed";
    throw error;
  }
}

/** Why this host does not give the engine, in words; undefined when it does. */
async function refusalOf(engine: FileEngineChoice, basePath: string): Promise<string | undefined> {
  const runtime = new NativeRuntime({ fileEngine: engine });
  try {
    new runtime.binding.ObjectFiles(runtime.engine, { basePath, directIo: "auto", fsync: false }).close();
    return undefined;
  } catch (error) {
    if (error instanceof RangeError) return error.message;
    throw error;
  } finally {
    await runtime.close();
  }
}

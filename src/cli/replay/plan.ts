/** What a replay's flags mean: the storage to open, the size of a chunk, and the refusals that belong to them. */
import { availableParallelism } from "node:os";

import { formatBytes, GiB } from "../../base/bytes.ts";
import { AdapterError, ConfigError, PluginError } from "../../base/errors.ts";
import { largestL1Bytes, memoryLimitBytes, type Storage, type StorageConfigInput } from "../../storage/index.ts";
import type { ReplayFlags } from "../commands/replay.ts";
import { UsageError } from "../usage.ts";

const defaults = { payloadBytes: 16 * 1024, l1SizeGb: 0.25, seed: 1, drainSeconds: 60 };
/** Smallest arena. */
const l1BytesMin = 64 * 1024;

export function payloadBytesOf(flags: ReplayFlags): number {
  return flags.payloadBytesPerBlock ?? defaults.payloadBytes;
}

export function seedOf(flags: ReplayFlags): number {
  return flags.seed ?? defaults.seed;
}

export function drainSecondsOf(flags: ReplayFlags): number {
  return flags.drainSeconds ?? defaults.drainSeconds;
}

/** With neither policy nor adapter named the replay shows the project's own mode, and needs a place for L2. */
export function wantsTemporaryDirectory(flags: ReplayFlags): boolean {
  return flags.evictionPolicy === undefined && flags.l2StorePolicy === undefined && flags.l2Adapter === undefined;
}

export function storageConfig(flags: ReplayFlags, temporary: string | undefined): StorageConfigInput {
  const sizeGb = flags.l1SizeGb ?? defaults.l1SizeGb;
  const sizeBytes = Math.floor(sizeGb * GiB);
  if (sizeBytes < l1BytesMin) throw new UsageError(`--l1-size-gb must be at least ${l1BytesMin / GiB} (${formatBytes(l1BytesMin)}), got ${sizeGb} (${formatBytes(sizeBytes)})`);
  const limitBytes = memoryLimitBytes();
  const largestGb = Math.floor((100 * largestL1Bytes(limitBytes)) / GiB) / 100;
  if (sizeBytes > largestL1Bytes(limitBytes)) throw new UsageError(`--l1-size-gb must be at most ${largestGb} here (memory limit ${formatBytes(limitBytes)}, of which the rest of the process needs a part), got ${sizeGb}`);
  const otherProcessors = Math.max(1, availableParallelism() - 1);
  // The temporary directory goes away in a moment: it may use what a store that stays must leave free.
  const adapters = temporary === undefined ? (flags.l2Adapter ?? []) : [{ type: "fs", base_path: temporary, min_free_gb: 0.25, min_free_percent: 0, min_free_inodes_percent: 1 }];
  return {
    l1: { sizeBytes, evictionPolicy: flags.evictionPolicy ?? (temporary === undefined ? "LRU" : "noop"), queueMax: 1024 },
    l2: {
      ...(flags.l2StorePolicy === undefined ? {} : { storePolicy: flags.l2StorePolicy }),
      ...(flags.l2PrefetchPolicy === undefined ? {} : { prefetchPolicy: flags.l2PrefetchPolicy }),
      // A replay waits for a slow store instead of giving chunks up: an L1 of many GiB before a slow disk queues for minutes.
      storeDeadlineMs: 600_000,
      storePressure: "wait",
      adapters: adapters as NonNullable<StorageConfigInput["l2"]>["adapters"],
    },
    // One processor is left to JavaScript, which fills and compares payload: else it waits for copies and files, and they for it.
    engine: { copyThreads: Math.min(2, otherProcessors), fileThreads: Math.min(8, otherProcessors) },
  };
}

const flagOfField: Readonly<Record<string, string>> = {
  "l1.sizeBytes": "--l1-size-gb",
  "l1.evictionPolicy": "--eviction-policy",
  "l2.storePolicy": "--l2-store-policy",
  "l2.prefetchPolicy": "--l2-prefetch-policy",
};

/** A refusal of the configuration speaks of its fields; the person who typed flags gets their names. */
export async function inWordsOfFlags<Result>(open: () => Promise<Result>): Promise<Result> {
  try {
    return await open();
  } catch (error) {
    // A directory that cannot be used, a module that is not there: the command line asks for what cannot be had.
    if (error instanceof AdapterError || error instanceof PluginError) throw new UsageError(error.message);
    if (!(error instanceof ConfigError)) throw error;
    const adapter = /^l2\.adapters\[\d+\]/.exec(error.field)?.[0];
    const named = [error.field, adapter ?? error.field.replace(/\.[^.]*$/, "")].some((field) => error.message.includes(field));
    let sentence = named ? error.message : `${error.field}: ${error.message}`;
    for (const [field, flag] of Object.entries(flagOfField)) sentence = sentence.replaceAll(field, flag);
    throw new UsageError(sentence.replaceAll(/\bl2\.adapters\[(\d+)\]/g, (_, index: string) => `--l2-adapter #${Number(index) + 1}`).replace("l2.adapters must name", "--l2-adapter must name"));
  }
}

/** Refuses a chunk that no admission could ever grant. */
export function checkPayloadFits(storage: Storage, flags: ReplayFlags): void {
  const payloadBytes = payloadBytesOf(flags);
  const largest = storage.largestObjectBytes();
  if (payloadBytes > largest)
    throw new UsageError(
      `--payload-bytes-per-block must be at most ${largest} (${formatBytes(largest)}), the largest object of an L1 of ${formatBytes(storage.arena.capacityBytes)}, got ${payloadBytes} (${formatBytes(payloadBytes)})`,
    );
}

const pageBytes = 4096;

/** Refuses a store whose own limit is below one object, before anything is opened. */
export function checkStoresHoldOne(flags: ReplayFlags): void {
  const payloadBytes = payloadBytesOf(flags);
  const padded = Math.ceil(payloadBytes / pageBytes) * pageBytes;
  for (const [index, given] of (flags.l2Adapter ?? []).entries()) {
    let spec: unknown = given;
    for (let place = `--l2-adapter #${index + 1}`; typeof spec === "object" && spec !== null; place += ".inner") {
      const { type, inner, ...fields } = spec as Record<string, unknown>;
      // A file has a page of header before its payload.
      const objectBytes = type === "fs" ? pageBytes + padded : padded;
      for (const field of ["max_size_gb", "max_capacity_gb"]) {
        const size = fields[field];
        if ((type !== "fs" && type !== "mock") || typeof size !== "number" || !(size > 0) || size * GiB >= objectBytes) continue;
        throw new UsageError(`${place} ('${type}'): ${field} must be at least ${leastGb(objectBytes)}, one object of ${formatBytes(objectBytes)} (--payload-bytes-per-block ${payloadBytes}), got ${size}`);
      }
      spec = inner;
    }
  }
}

/** GiB with three digits, never less than `bytes`. */
function leastGb(bytes: number): string {
  const gb = bytes / GiB;
  const step = 10 ** (Math.floor(Math.log10(gb)) - 2);
  return String(Number((Math.ceil(gb / step) * step).toPrecision(3)));
}

/** One sentence per store that has no room for a single object now. */
export function emptyStores(storage: Storage, flags: ReplayFlags): string[] {
  const payloadBytes = payloadBytesOf(flags);
  return storage.adapters
    .filter((adapter) => adapter.capabilities.accountsBytes && adapter.usage().capacityBytes < payloadBytes)
    .map((adapter) => `${adapter.name} can hold nothing, so every store to it will fail: ${adapter.describe()}`);
}

/**
 * Configuration of a storage: one typed schema. parseStorageConfig refuses a configuration as a whole, before anything is opened, with a
 * ConfigError that names the field, what came, what is allowed and the nearest known name.
 */
import { resolve } from "node:path";

import { z } from "zod";

import { formatBytes, GiB, KiB } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";
import { didYouMean } from "../base/nearest.ts";
import { show } from "../base/show.ts";
import { parseAdapterSpec, type AdapterSpec, type L2Adapter } from "../l2/index.ts";
import { evictionPolicies, type PressureAnswer } from "../policies/index.ts";
import { checkMemoryLimit, largestL1Bytes, memoryLimitBytes } from "./memory-limit.ts";

const arenaBytesMin = 64 * KiB;
/** The native core's limits, said here so that a value beyond them is refused before anything is opened. */
const alignBytesMax = GiB;
const threadsMax = 256;
/** More than this for one class of requests, and the other could never take anything. */
const shareMax = 0.9;

const whole = (min: number, what: string) => z.int({ error: `must be a whole number of at least ${min}` }).min(min, { error: `must be a whole number of at least ${min}` }).describe(what);
const wholeUpTo = (min: number, max: number, what: string) => {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error }).describe(what);
};
const share = (what: string) => {
  const error = `must be a number from 0 to ${shareMax}`;
  return z.number({ error }).min(0, { error }).max(shareMax, { error }).describe(what);
};
const fraction = (what: string) => z.number({ error: "must be a number from 0 to 1" }).min(0, { error: "must be a number from 0 to 1" }).max(1, { error: "must be a number from 0 to 1" }).describe(what);
const name = (what: string) => z.string({ error: "must be a name or the path of a module" }).min(1, { error: "must be a name or the path of a module" }).describe(what);
const flag = (what: string) => z.boolean({ error: "must be true or false" }).describe(what);
const milliseconds = (what: string) => z.number({ error: "must be a number of milliseconds, 0 or more" }).min(0, { error: "must be a number of milliseconds, 0 or more" }).describe(what);

const sharedNameRule = "must be empty or a name of 1 to 250 characters without '/'";

const l1Schema = z.strictObject({
  sizeBytes: whole(arenaBytesMin, "Capacity of L1 (--l1-size-gb, where GB is GiB)"),
  alignBytes: wholeUpTo(4096, alignBytesMax, "Alignment and rounding of objects, a power of two (--l1-align-bytes)").default(4096),
  hugePages: flag("Ask the kernel for huge pages (--l1-use-hugepages)").default(true),
  sharedName: z
    .string({ error: sharedNameRule })
    .regex(/^(?!\.{1,2}$)[^/\0]{0,250}$/, { error: sharedNameRule })
    .default("")
    .describe("POSIX shared memory segment to use as L1; empty = private memory (--shm-name)"),
  evictionPolicy: name("What leaves a full L1: LRU, ARC, FIFO, IsolatedLRU, noop, or a module (--eviction-policy)").default("LRU"),
  evictionTriggerWatermark: fraction("Part of L1 in use from which passes evict (--eviction-trigger-watermark)").default(0.8),
  evictionRatio: fraction("Part of the known keys that one pass evicts (--eviction-ratio)").default(0.2),
  writeTtlSeconds: whole(1, "A write that is neither committed nor aborted by then is aborted (--l1-write-ttl-seconds)").default(600),
  readTtlSeconds: whole(1, "A lease that nobody releases ends then; its I/O never does (--l1-read-ttl-seconds)").default(300),
  storeWaitMs: milliseconds("How long a write waits for room (--store-wait-ms)").default(10_000),
  storeShare: share("Part of L1 that loads leave to stores").default(0.25),
  loadShare: share("Part of L1 that stores leave to loads").default(0.25),
  queueMax: whole(1, "Requests of one class that may wait for room").default(1024),
});

const l2Schema = z.strictObject({
  storePolicy: name("What goes to L2 and what stays in L1: default, skip_l1, or a module (--l2-store-policy)").optional(),
  prefetchPolicy: name("What loaded objects do in L1: default, retain, or a module (--l2-prefetch-policy)").default("default"),
  prefetchMaxInFlight: whole(1, "Lookups that load from L2 at a time (--l2-prefetch-max-in-flight)").default(8),
  loadDeadlineMs: milliseconds("After this the prefix in hand is a lookup's answer (--l2-load-deadline-ms)").default(1_500),
  loadTimeoutMs: milliseconds("An adapter's load that takes longer is given up").default(30_000),
  storeDeadlineMs: milliseconds("A store that no adapter answers by then ends failed(deadline)").default(30_000),
  storeAttemptsMax: whole(1, "Tries per key and adapter").default(3),
  storeRetryDelayMs: milliseconds("Pause before the second try; doubles, with jitter").default(100),
  storeRetryKeysPerSecond: whole(0, "Keys that may be tried again per second").default(1_000),
  storeBytesInFlightMax: whole(1, "Bytes sent to one adapter and not answered; default: the smaller of 256 MiB and half of L1").optional(),
  storePressure: z
    .enum(["wait", "drop_newest", "drop_oldest"], { error: 'must be "wait", "drop_newest" or "drop_oldest"' })
    .default("wait")
    .describe("What a write does when L1 is full and eviction cannot help"),
  adapters: z.array(z.unknown(), { error: "must be a list of adapter specs" }).default([]).describe("L2 adapters, in order (--l2-adapter)"),
});

const quotaSchema = z.strictObject({
  path: z.string({ error: "must be a file path" }).default("").describe("File in which quotas survive a restart; empty = they live as long as the process"),
  defaultBytes: whole(0, "Quota of a salt that has none of its own; left out = the tier's size is its only limit").optional(),
});

const engineSchema = z.strictObject({
  copyThreads: wholeUpTo(1, threadsMax, "Threads for gather, scatter and checksums").optional(),
  fileThreads: wholeUpTo(1, threadsMax, "Threads for files").optional(),
  fileEngine: z.enum(["auto", "io_uring", "threads"], { error: 'must be "auto", "io_uring" or "threads"' }).default("auto").describe("How files are read and written"),
});

const storageSchema = z.strictObject({
  l1: l1Schema,
  l2: l2Schema.prefault({}),
  quotas: quotaSchema.prefault({}),
  engine: engineSchema.prefault({}),
});

/** What a user writes; everything but l1.sizeBytes has a default. */
export type StorageConfigInput = Omit<z.input<typeof storageSchema>, "l2"> & {
  readonly l2?: Omit<z.input<typeof l2Schema>, "adapters"> & { readonly adapters?: readonly (AdapterSpec | L2Adapter)[] };
};

export interface StorageConfig {
  readonly l1: z.output<typeof l1Schema>;
  readonly l2: Omit<z.output<typeof l2Schema>, "adapters" | "storePolicy" | "storeBytesInFlightMax" | "storePressure"> & {
    readonly storePolicy: string;
    readonly storeBytesInFlightMax: number;
    readonly storePressure: PressureAnswer["action"];
    readonly adapters: readonly (AdapterSpec | L2Adapter)[];
  };
  readonly quotas: z.output<typeof quotaSchema>;
  readonly engine: z.output<typeof engineSchema>;
  /** Combinations that work but surprise; for the banner and the log. */
  readonly warnings: readonly string[];
}

/** JSON Schema of the configuration, adapters left open (each type has its own). */
export function storageJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(storageSchema, { io: "input" }) as Record<string, unknown>;
}

/** Checks types, ranges, names, combinations and what `limitBytes` of memory can hold; fills in defaults. Opens nothing. */
export function parseStorageConfig(input: StorageConfigInput, limitBytes: number = memoryLimitBytes()): StorageConfig {
  const result = storageSchema.safeParse(input);
  if (!result.success) throw explain(weightiest(result.error.issues), input);
  const { l1, l2, quotas, engine } = result.data;
  if ((l1.alignBytes & (l1.alignBytes - 1)) !== 0) throw new ConfigError("l1.alignBytes", `l1.alignBytes must be a power of two from 4096 to ${alignBytesMax}, got ${l1.alignBytes}`);
  if (l1.alignBytes > l1.sizeBytes) throw new ConfigError("l1.alignBytes", `l1.alignBytes must be at most l1.sizeBytes (${l1.sizeBytes}), got ${l1.alignBytes}`);
  if (l1.storeShare + l1.loadShare > 1)
    throw new ConfigError("l1.storeShare", `l1.storeShare + l1.loadShare must be at most 1, got ${l1.storeShare} + ${l1.loadShare}`);
  checkMemoryLimit(l1.sizeBytes, limitBytes);
  const adapters = l2.adapters.map((adapter, index) => (isAdapter(adapter) ? adapter : parseAdapterSpec(adapter, `l2.adapters[${index}]`, { evictionPolicies: evictionPolicies.names() })));
  const places = [...specPlaces(adapters)];
  refuseTwins(places);
  refuseHugeMocks(places, limitBytes);
  const storePolicy = l2.storePolicy ?? (l1.evictionPolicy === "noop" ? "skip_l1" : "default");
  const warnings = checkCombination(l1.evictionPolicy, storePolicy, l2.prefetchPolicy, adapters.length, l1.sizeBytes);
  const storeBytesInFlightMax = l2.storeBytesInFlightMax ?? Math.min(0.25 * GiB, Math.max(arenaBytesMin, Math.floor(l1.sizeBytes / 2)));
  return { l1, l2: { ...l2, storePolicy, storeBytesInFlightMax, adapters }, quotas, engine, warnings };
}

/** True for an adapter that the caller made, as opposed to a spec of one to be opened. */
export function isAdapter(value: unknown): value is L2Adapter {
  return typeof value === "object" && value !== null && typeof (value as L2Adapter).store === "function" && typeof (value as L2Adapter).load === "function";
}

function checkCombination(evictionPolicy: string, storePolicy: string, prefetchPolicy: string, adapterCount: number, sizeBytes: number): string[] {
  if (storePolicy === "skip_l1" && adapterCount === 0)
    throw new ConfigError(
      "l2.adapters",
      evictionPolicy === "noop"
        ? "l2.adapters must name at least one adapter: with evictionPolicy noop (store policy skip_l1) L1 is only a write buffer, and nothing would keep the objects"
        : "l2.adapters must name at least one adapter: store policy skip_l1 drops every object from L1, and nothing would keep it",
    );
  const warnings: string[] = [];
  if (evictionPolicy === "noop" && storePolicy === "skip_l1" && prefetchPolicy === "retain")
    throw new ConfigError("l2.prefetchPolicy", "l2.prefetchPolicy retain cannot work with evictionPolicy noop and store policy skip_l1: loaded objects would fill L1 for good; use default");
  if (evictionPolicy === "noop" && storePolicy !== "skip_l1")
    warnings.push(
      `evictionPolicy noop with store policy ${storePolicy}: nothing ever leaves L1; after ${formatBytes(sizeBytes)} of objects it is full and every further store is refused (name skip_l1 for a write buffer)`,
    );
  return warnings;
}

interface SpecPlace {
  readonly spec: AdapterSpec;
  /** As the user knows it: `l2.adapters[0].inner`. */
  readonly field: string;
}

/** Every spec, those that another one wraps included. */
function* specPlaces(adapters: readonly (AdapterSpec | L2Adapter)[]): Generator<SpecPlace> {
  for (const [index, adapter] of adapters.entries()) {
    let spec: unknown = isAdapter(adapter) ? undefined : adapter;
    for (let field = `l2.adapters[${index}]`; typeof spec === "object" && spec !== null; field += ".inner") {
      yield { spec: spec as AdapterSpec, field };
      spec = (spec as { readonly inner?: unknown }).inner;
    }
  }
}

/** Two adapters on one directory would evict each other's files. */
function refuseTwins(places: readonly SpecPlace[]): void {
  const seen = new Map<string, string>();
  for (const { spec, field } of places) {
    if (typeof spec.base_path !== "string") continue;
    const path = resolve(spec.base_path);
    const other = seen.get(path);
    if (other !== undefined) throw new ConfigError(`${field}.base_path`, `${field}.base_path must differ from that of ${other}, got ${JSON.stringify(path)} for both`);
    seen.set(path, field);
  }
}

/** A mock lies in this process's memory; one that could not would end the process when it fills. */
function refuseHugeMocks(places: readonly SpecPlace[], limitBytes: number): void {
  const largestGb = largestL1Bytes(limitBytes) / GiB;
  for (const { spec, field } of places)
    if (spec.type === "mock" && typeof spec.max_size_gb === "number" && spec.max_size_gb > largestGb)
      throw new ConfigError(`${field}.max_size_gb`, `${field}.max_size_gb must be at most ${largestGb.toFixed(2)} here (memory limit ${formatBytes(limitBytes)}), got ${spec.max_size_gb}`);
}

/** A misspelled field first: that another is missing often only follows from it. */
function weightiest(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue {
  return issues.find((issue) => issue.code === "unrecognized_keys") ?? issues[0];
}

function explain(issue: z.core.$ZodIssue, input: unknown): ConfigError {
  const field = issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    const unknown = issue.keys[0];
    const known = knownFields(issue.path);
    const where = field === "" ? unknown : `${field}.${unknown}`;
    return new ConfigError(where, `unknown field ${where}; known: ${known.join(", ")}${didYouMean(unknown, known)}`);
  }
  const value = issue.path.reduce<unknown>((inner, step) => (inner as Record<PropertyKey, unknown> | undefined)?.[step], input);
  const got = value === undefined ? "it is missing" : `got ${show(value)}`;
  return new ConfigError(field === "" ? "config" : field, `${field === "" ? "the configuration" : field} ${issue.code === "invalid_type" && value === undefined ? "is required" : issue.message}, ${got}`);
}

function knownFields(path: readonly PropertyKey[]): string[] {
  const sections: Record<string, z.ZodObject> = { l1: l1Schema, l2: l2Schema, quotas: quotaSchema, engine: engineSchema };
  const section = path.length === 0 ? storageSchema : sections[String(path[0])];
  return Object.keys(section?.shape ?? {});
}

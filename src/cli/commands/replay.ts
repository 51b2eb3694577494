import { basename } from "node:path";

import { Command } from "commander";

import type { TraceError } from "../../base/errors.ts";
import { touchOrders } from "../../workload/index-only.ts";
import { readTrace, type TraceRequest } from "../../workload/trace.ts";
import { runIndexOnly } from "../replay/index-only.ts";
import { runPayloadReplay } from "../replay/payload.ts";
import type { Terminal } from "../terminal.ts";
import { checkChoice, collectJsonObjects, integerFlag, positiveNumberFlag, refuseFlags, UsageError } from "../usage.ts";

/** Flags of `kvferry replay` as parsed; undefined = not given. */
export interface ReplayFlags extends Readonly<Record<string, unknown>> {
  readonly limit?: number;
  readonly payloadBytesPerBlock?: number;
  readonly l1SizeGb?: number;
  readonly evictionPolicy?: string;
  readonly l2StorePolicy?: string;
  readonly l2PrefetchPolicy?: string;
  readonly l2Adapter?: readonly Record<string, unknown>[];
  readonly speed?: number;
  readonly seed?: number;
  readonly json?: boolean;
  readonly report?: string;
  readonly skipBrokenLines?: boolean;
  readonly drainSeconds?: number;
  readonly indexOnly?: boolean;
  readonly capacityBlocks?: number;
  readonly touchOrder?: string;
}

/** A trace in memory, as the command got it. */
export interface LoadedTrace {
  readonly path: string;
  /** File name without .jsonl and .gz. */
  readonly name: string;
  readonly requests: readonly TraceRequest[];
  readonly brokenLines: number;
}

const payloadFlags = {
  payloadBytesPerBlock: "--payload-bytes-per-block",
  l1SizeGb: "--l1-size-gb",
  l2StorePolicy: "--l2-store-policy",
  l2PrefetchPolicy: "--l2-prefetch-policy",
  l2Adapter: "--l2-adapter",
  speed: "--speed",
  seed: "--seed",
  report: "--report",
  drainSeconds: "--drain-seconds",
};

/** What a timer can wait: 2^31 - 1 ms. */
const drainSecondsMax = 2_147_483;

const helpText = `
TRACE is JSON lines, plain or gzip: {"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [...]}, with or without
"session". Each hash id is one chunk of KV. For each request: look up its chunks, load the leading ones that are there and check
every byte, store the rest. With no policy and no adapter named, the replay runs in buffer-only mode (--eviction-policy noop,
--l2-store-policy skip_l1) over a temporary directory that it removes afterwards.

Exit code: 0 when every loaded byte was right, nothing was lost unsaid and L1 came to rest; 1 when not, or when TRACE is broken;
2 for a command line that cannot be carried out (a flag, a directory or module that cannot be used, a TRACE that is missing or empty);
143, 130 or 129 after SIGTERM, SIGINT or SIGHUP, which drain what is in flight and print the summary so far.

Examples:
  kvferry replay examples/traces/chat.jsonl
  kvferry replay trace.jsonl.gz --limit 1000 --l1-size-gb 0.03 --l2-adapter '{"type":"fs","base_path":"/mnt/nvme/kv"}' --report run.html
  kvferry replay trace.jsonl.gz --index-only --capacity-blocks 10000 --eviction-policy LRU --touch-order tail-first --json`;

export function replayCommand(terminal: Terminal, finish: (exitCode: number) => void): Command {
  return new Command("replay")
    .summary("replay a request trace through the real storage, every byte checked")
    .description("Replay a request trace through the real storage, with payloads that are checked byte by byte.")
    .argument("<trace>", "Mooncake-format trace: .jsonl or .jsonl.gz")
    .option("--limit <n>", "replay only the first n requests", integerFlag("--limit", 1))
    .option("--payload-bytes-per-block <n>", "bytes of KV per hash id, a multiple of 4 (default 16384)", integerFlag("--payload-bytes-per-block", 4, 0xfffffffc))
    .option("--l1-size-gb <x>", "L1 size in GiB (default 0.25)", positiveNumberFlag("--l1-size-gb"))
    .option("--eviction-policy <name>", "L1 eviction policy: LRU, ARC, FIFO, IsolatedLRU, noop")
    .option("--l2-store-policy <name>", "what is stored to L2: default, skip_l1 (noop alone means skip_l1)")
    .option("--l2-prefetch-policy <name>", "whether loaded chunks stay in L1: default, retain")
    .option("--l2-adapter <json>", "an L2 store, repeatable, in order: '{\"type\":\"fs\",\"base_path\":\"...\"}'", collectJsonObjects("--l2-adapter"))
    .option("--speed <max|trace|factor>", "as fast as possible, by the trace's clock, or that many times faster (default max)", parseSpeed)
    .option("--seed <n>", "seed of the payload bytes (default 1); another seed shares nothing in a persistent store", integerFlag("--seed", 0))
    .option("--drain-seconds <n>", "at the end and after a signal, wait at most this long for stores in flight (default 60)", positiveNumberFlag("--drain-seconds", drainSecondsMax))
    .option("--skip-broken-lines", "go on over broken lines of the trace, and count them")
    .option("--json", "print the result as one JSON object on stdout")
    .option("--report <file>", "write a self-contained HTML page with curves over the run")
    .option("--index-only", "simulate keys alone, no payload: hit ratio at --capacity-blocks")
    .option("--capacity-blocks <n>", "with --index-only: capacity in chunks", integerFlag("--capacity-blocks", 1))
    .option("--touch-order <order>", "with --index-only: head-first or tail-first (default head-first)")
    .addHelpText("after", helpText)
    .action(async (path: string, flags: ReplayFlags) => {
      checkCombination(flags);
      const trace = await loadTrace(path, flags, terminal);
      if (flags.indexOnly === true) finish(await runIndexOnly(trace, flags, terminal));
      else finish(await runPayloadReplay(trace, flags, terminal));
    });
}

function checkCombination(flags: ReplayFlags): void {
  if (flags.indexOnly === true) {
    if (flags.capacityBlocks === undefined) throw new UsageError("--index-only needs --capacity-blocks, the number of chunks that fit");
    refuseFlags(flags, payloadFlags, "moves payload and has no meaning with --index-only");
    if (flags.touchOrder !== undefined) checkChoice("--touch-order", flags.touchOrder, touchOrders);
    return;
  }
  refuseFlags(flags, { capacityBlocks: "--capacity-blocks", touchOrder: "--touch-order" }, "is for --index-only; a replay with payload takes --l1-size-gb and the adapters' limits");
  if (flags.payloadBytesPerBlock !== undefined && flags.payloadBytesPerBlock % 4 !== 0)
    throw new UsageError(`--payload-bytes-per-block must be a multiple of 4, got ${flags.payloadBytesPerBlock}`);
}

/** The whole trace, or its first --limit requests, before anything is opened: a broken line must not end a run half-way. */
async function loadTrace(path: string, flags: ReplayFlags, terminal: Terminal): Promise<LoadedTrace> {
  const requests: TraceRequest[] = [];
  const broken: TraceError[] = [];
  const onBrokenLine = flags.skipBrokenLines === true ? (error: TraceError) => void broken.push(error) : undefined;
  for await (const request of readTrace(path, { limit: flags.limit, onBrokenLine })) requests.push(request);
  if (broken.length > 0) terminal.err(`${broken.length} broken line${broken.length === 1 ? "" : "s"} left out; the first: ${broken[0].message}\n`);
  if (requests.length === 0) throw new UsageError(`${path} holds no request`);
  return { path, name: basename(path).replace(/\.gz$/, "").replace(/\.jsonl$/, ""), requests, brokenLines: broken.length };
}

/** Trace milliseconds per real millisecond; Infinity = as fast as possible. */
function parseSpeed(text: string): number {
  if (text === "max") return Infinity;
  if (text === "trace") return 1;
  const factor = Number(text);
  if (text.trim() === "" || !Number.isFinite(factor) || factor <= 0) throw new UsageError(`--speed must be max, trace or a factor above 0 such as 10, got "${text}"`);
  return factor;
}

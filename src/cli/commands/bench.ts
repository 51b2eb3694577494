import { cpus, totalmem } from "node:os";

import { Command } from "commander";

import { formatBytes } from "../../base/bytes.ts";
import { didYouMean } from "../../base/nearest.ts";
import type { BenchModule, BenchReport } from "../bench/contract.ts";
import type { Terminal } from "../terminal.ts";
import { exitCodes, UsageError } from "../usage.ts";

/** Loaded only when asked for: some benchmarks bring their own dependencies. */
const benches: Readonly<Record<string, { readonly summary: string; load(): Promise<BenchModule> }>> = {
  l1: { summary: "control plane: object life cycles, store controller, memory per key", load: () => import("../bench/l1.ts") },
  copy: { summary: "gather, scatter and crc32c against memcpy", load: () => import("../bench/copy.ts") },
  fs: { summary: "the fs adapter's file paths against plain file I/O", load: () => import("../bench/fs.ts") },
  open: { summary: "openStorage, and the first second of a new storage", load: () => import("../bench/open.ts") },
  "buffer-only": { summary: "a 1 GiB L1 as pure write buffer in front of a 20 GB/s store", load: () => import("../bench/buffer-only.ts") },
};

interface BenchFlags {
  readonly json?: boolean;
  readonly quick?: boolean;
}

export function benchCommand(terminal: Terminal, finish: (exitCode: number) => void): Command {
  const list = Object.entries(benches).map(([name, { summary }]) => `  ${name.padEnd(12)} ${summary}`);
  return new Command("bench")
    .summary("measure one part of kvferry on this machine")
    .description("Measure one part of kvferry on this machine. Figures of one run compare with each other; ratios are what targets are stated in.")
    .argument("<name>", "which benchmark")
    .option("--json", "print one JSON object with figures, ratios and conditions")
    .option("--quick", "a short run, to see that it works")
    .addHelpText("after", `\nBenchmarks:\n${list.join("\n")}`)
    .action(async (name: string, flags: BenchFlags) => {
      const known = Object.hasOwn(benches, name) ? benches[name] : undefined;
      if (known === undefined) throw new UsageError(`unknown benchmark "${name}"; known: ${Object.keys(benches).join(", ")}${didYouMean(name, Object.keys(benches))}`);
      const bench = await known.load();
      const report = await bench.run({ quick: flags.quick === true, progress: (line) => terminal.progress(`${name}: ${line}`) });
      terminal.progress("");
      const full = { bench: name, ...report, conditions: { ...hostConditions(flags.quick === true), ...report.conditions } };
      terminal.out(flags.json === true ? `${JSON.stringify(full, undefined, 2)}\n` : readable(name, full));
      finish(report.ok ? exitCodes.ok : exitCodes.failed);
    });
}

function hostConditions(quick: boolean): Record<string, unknown> {
  const processors = cpus();
  return {
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    processor: processors[0]?.model ?? "unknown",
    processors: processors.length,
    memory: formatBytes(totalmem()),
    quick,
  };
}

function readable(name: string, report: BenchReport): string {
  const lines = [`kvferry bench ${name}`];
  for (const section of ["figures", "ratios", "conditions"] as const) {
    lines.push(`  ${section}`);
    for (const [key, value] of flatten(report[section])) lines.push(`    ${key}: ${typeof value === "number" ? readableNumber(value) : String(value)}`);
  }
  if (!report.ok) lines.push("  A promise besides speed did not hold: see the figures.");
  return `${lines.join("\n")}\n`;
}

function* flatten(value: unknown, path = ""): Generator<[string, unknown]> {
  if (typeof value !== "object" || value === null) {
    yield [path, value];
    return;
  }
  for (const [key, inner] of Object.entries(value)) yield* flatten(inner, path === "" ? key : `${path}.${key}`);
}

function readableNumber(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
}

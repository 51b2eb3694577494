import { rmSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";

import { systemClock } from "../../base/clock.ts";
import { createLogger, type Logger } from "../../base/log.ts";
import { packageRoot } from "../../native/load.ts";
import { openStorage } from "../../storage/index.ts";
import { renderReport } from "../../workload/report/page.ts";
import type { LoadedTrace, ReplayFlags } from "../commands/replay.ts";
import { makeTemporaryDirectory } from "../temporary.ts";
import { signalExitCodes, type Terminal } from "../terminal.ts";
import { exitCodes } from "../usage.ts";
import { checkPayloadFits, checkStoresHoldOne, emptyStores, inWordsOfFlags, storageConfig, wantsTemporaryDirectory } from "./plan.ts";
import { reportFile, type ReportFile } from "./report-file.ts";
import { replayOver, StopSignals, type FinishedRun } from "./run.ts";
import { commandLineOf, summaryOf } from "./summary.ts";

/** Replays with real payload and returns the exit code. */
export async function runPayloadReplay(trace: LoadedTrace, flags: ReplayFlags, terminal: Terminal): Promise<number> {
  const report = flags.report === undefined ? undefined : await reportFile(flags.report, trace.path);
  // From before the first thing that must be undone.
  const stop = new StopSignals(terminal);
  const temporary = wantsTemporaryDirectory(flags) ? new TemporaryDirectory(makeTemporaryDirectory("kvferry-replay-")) : undefined;
  try {
    checkStoresHoldOne(flags);
    const logger = replayLogger(flags, terminal);
    const storage = await inWordsOfFlags(() => openStorage(storageConfig(flags, temporary?.path), { logger }));
    let run: FinishedRun;
    try {
      checkPayloadFits(storage, flags);
      if (flags.json !== true) for (const line of storage.banner()) terminal.err(`${line}\n`);
      for (const warning of emptyStores(storage, flags)) terminal.err(`warning: ${warning}\n`);
      run = await replayOver(storage, trace, flags, terminal, stop);
    } finally {
      await storage.close({ deadlineMs: 1_000 });
    }
    return await finish(run, trace, flags, terminal, report);
  } finally {
    await temporary?.remove();
    stop.forget();
  }
}

/** The storage's warnings, without what this command says in its own place: the banner has the configuration's, the summary counts losses. */
function replayLogger(flags: ReplayFlags, terminal: Terminal): Logger {
  const logger = createLogger("warn", systemClock, (line) => {
    terminal.progress("");
    terminal.err(`${line}\n`);
  });
  const begun = new Set<string>();
  return {
    ...logger,
    warn(kind, message) {
      if (kind === "config" && flags.json !== true) return;
      if (!/^store_(failed|dropped)_/.test(kind)) return logger.warn(kind, message);
      // A line has the keys of one batch; a total that grows while one reads is told once, at the end.
      if (begun.has(kind)) return;
      begun.add(kind);
      logger.warn(kind, `${message} (the first of this kind; the summary counts all)`);
    },
  };
}

/** Goes away with the run, also when a second signal ends the process at once. */
class TemporaryDirectory {
  readonly path: string;
  readonly #onExit: () => void;

  constructor(path: string) {
    this.path = path;
    this.#onExit = () => rmSync(path, { recursive: true, force: true });
    process.on("exit", this.#onExit);
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
    process.off("exit", this.#onExit);
  }
}

async function finish({ result, samples }: FinishedRun, trace: LoadedTrace, flags: ReplayFlags, terminal: Terminal, report: ReportFile | undefined): Promise<number> {
  if (report !== undefined) {
    const version = (JSON.parse(await readFile(join(packageRoot(), "package.json"), "utf8")) as { version: string }).version;
    await report.write(renderReport(result, samples, { title: trace.name, command: commandLineOf(trace.path, flags), version, madeAt: new Date() }));
    terminal.err(`report: ${flags.report}\n`);
  }
  terminal.out(flags.json === true ? `${JSON.stringify(result, undefined, 2)}\n` : summaryOf(result));
  for (const warning of result.warnings) terminal.err(`warning: ${warning}\n`);
  if (result.problems.length > 0) {
    if (flags.json === true) for (const problem of result.problems) terminal.err(`kvferry replay: ${problem}\n`);
    return exitCodes.failed;
  }
  return result.interruptedBy === null ? exitCodes.ok : signalExitCodes[result.interruptedBy];
}

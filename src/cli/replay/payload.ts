import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { systemClock } from "../../base/clock.ts";
import { errorText } from "../../base/errors.ts";
import { createLogger } from "../../base/log.ts";
import { packageRoot } from "../../native/load.ts";
import { openStorage } from "../../storage/index.ts";
import { renderReport } from "../../workload/report/page.ts";
import type { LoadedTrace, ReplayFlags } from "../commands/replay.ts";
import type { Terminal } from "../terminal.ts";
import { exitCodes, UsageError } from "../usage.ts";
import { checkPayloadFits, inWordsOfFlags, storageConfig, wantsTemporaryDirectory } from "./plan.ts";
import { replayOver, signalExitCodes, type FinishedRun } from "./run.ts";
import { commandLineOf, summaryOf } from "./summary.ts";

/** Replays with real payload and returns the exit code. */
export async function runPayloadReplay(trace: LoadedTrace, flags: ReplayFlags, terminal: Terminal): Promise<number> {
  if (flags.report !== undefined) await checkWritable(flags.report);
  const temporary = wantsTemporaryDirectory(flags) ? await mkdtemp(join(tmpdir(), "kvferry-replay-")) : undefined;
  try {
    const logger = createLogger("warn", systemClock, (line) => {
      terminal.progress("");
      terminal.err(`${line}\n`);
    });
    const storage = await inWordsOfFlags(() => openStorage(storageConfig(flags, temporary), { logger }));
    let run: FinishedRun;
    try {
      checkPayloadFits(storage, flags);
      if (flags.json !== true) for (const line of storage.banner()) terminal.err(`${line}\n`);
      run = await replayOver(storage, trace, flags, terminal);
    } finally {
      await storage.close({ deadlineMs: 1_000 });
    }
    return await finish(run, trace, flags, terminal);
  } finally {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
  }
}

async function finish({ result, samples }: FinishedRun, trace: LoadedTrace, flags: ReplayFlags, terminal: Terminal): Promise<number> {
  if (flags.report !== undefined) {
    const version = (JSON.parse(await readFile(join(packageRoot(), "package.json"), "utf8")) as { version: string }).version;
    await writeFile(flags.report, renderReport(result, samples, { title: trace.name, command: commandLineOf(trace.path, flags), version, madeAt: new Date() }));
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

/** An hour's run must not end with a page that cannot be written. */
async function checkWritable(path: string): Promise<void> {
  try {
    await writeFile(path, "");
  } catch (error) {
    throw new UsageError(`--report must be a file that can be written, got "${path}" (${errorText(error)})`);
  }
}

import { join } from "node:path";

import { Command } from "commander";

import { errorText } from "../../base/errors.ts";
import { packageRoot } from "../../native/load.ts";
import { signalExitCodes, type StopSignal, type Terminal } from "../terminal.ts";
import { exitCodes, UsageError } from "../usage.ts";
import { replayCommand } from "./replay.ts";

/**
 * The main job in two acts: a trace through a small L1 to files and back, and a model that is killed in the middle of a sentence and
 * goes on from disk. Each act is what a user's own command would do; the demo has no code path of its own.
 */
export function demoCommand(terminal: Terminal, finish: (exitCode: number) => void): Command {
  return new Command("demo")
    .summary("the main job in a minute: a small trace to disk and back, then a story that survives SIGKILL")
    .description("Run the shipped trace in buffer-only mode over files, check every byte, then let a small model go on after SIGKILL.")
    .option("--model <file>", "a llama2.c checkpoint for the story, for example stories260K.bin (default: the small model that is shipped)")
    .option("--tokenizer <file>", "its tokenizer file, for example tok512.bin")
    .action(async (flags: { readonly model?: string; readonly tokenizer?: string }) => {
      const { findModel, openModel } = await import("../../demo/model-files.ts");
      try {
        // Before act 1: a story that cannot begin is not worth the wait for it.
        openModel(findModel(flags.model, flags.tokenizer));
      } catch (error) {
        throw new UsageError(errorText(error));
      }
      terminal.out("Act 1: a trace of chat requests through an 8 MiB L1 to files, and back\n\n");
      let exitCode: number = exitCodes.ok;
      const replay = replayCommand(terminal, (code) => (exitCode = code));
      await replay.parseAsync([join(packageRoot(), "examples/traces/chat.jsonl"), "--payload-bytes-per-block", "65536", "--l1-size-gb", String(8 / 1024)], { from: "user" });
      if (exitCode !== exitCodes.ok) return finish(exitCode);
      terminal.out("\nAct 2: a small model writes, is killed with SIGKILL, and goes on from disk\n\n");
      const { runStoryDemo } = await import("../../demo/story.ts");
      const view = { write: (text: string) => terminal.out(text), columns: terminal.interactive ? terminal.columns : undefined, color: terminal.interactive };
      const stop = new AbortController();
      const forgetSignals = terminal.onSignal((signal) => {
        if (stop.signal.aborted) process.exit(signalExitCodes[signal]);
        stop.abort(signal);
      });
      try {
        const report = await runStoryDemo({ modelPath: flags.model, tokenizerPath: flags.tokenizer, view, signal: stop.signal });
        finish(report.ok ? exitCodes.ok : exitCodes.failed);
      } catch (error) {
        if (!stop.signal.aborted) throw error;
        terminal.out("\n");
        finish(signalExitCodes[stop.signal.reason as StopSignal]);
      } finally {
        forgetSignals();
      }
    });
}

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { Command, CommanderError } from "commander";

import { ConfigError, errorText, KvferryError, TraceError } from "../base/errors.ts";
import { packageRoot } from "../native/load.ts";
import { benchCommand } from "./commands/bench.ts";
import { registerBuildNative } from "./commands/build-native.ts";
import { demoCommand } from "./commands/demo.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { replayCommand } from "./commands/replay.ts";
import type { Terminal } from "./terminal.ts";
import { exitCodes, UsageError, usageErrorOf } from "./usage.ts";

/** Runs one command line and returns its exit code; never throws for something a person typed or a disk did. */
export async function runCli(args: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode: number = exitCodes.ok;
  const program = new Command("kvferry")
    .description("Moves the KV caches of large language models between an engine's memory, host memory and storage.")
    .version(packageVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command");
  const finish = (code: number): void => {
    exitCode = code;
  };
  for (const command of [replayCommand(terminal, finish), benchCommand(terminal, finish), inspectCommand(terminal, finish), demoCommand(terminal, finish)])
    program.addCommand(command.helpOption("-h, --help", "print this help"));
  registerBuildNative(program, finish);
  for (const command of [program, ...program.commands]) {
    command.configureOutput({ writeOut: (text) => terminal.out(text), writeErr: (text) => terminal.err(text), outputError: () => {} });
    command.exitOverride((error) => {
      throw error.exitCode === 0 || error.code === "commander.help" ? error : usageErrorOf(error, command);
    });
  }
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    terminal.progress("");
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    return report(error, terminal, program.args[0]);
  }
}

function report(error: unknown, terminal: Terminal, commandName: string | undefined): number {
  const prefix = commandName === undefined ? "kvferry" : `kvferry ${commandName}`;
  // What a person can mend gets a sentence; anything else is a bug of ours and needs its stack.
  if (error instanceof UsageError || error instanceof ConfigError || (error instanceof TraceError && error.line === 0)) {
    // A configuration error names its field; most do so in their sentence already.
    const field = error instanceof ConfigError && !error.message.includes(error.field) ? `${error.field}: ` : "";
    terminal.err(`${prefix}: ${field}${error.message}\n`);
    return exitCodes.usage;
  }
  terminal.err(`${prefix}: ${error instanceof KvferryError ? `${error.message} [${error.code}]` : stackOf(error)}\n`);
  return exitCodes.failed;
}

function stackOf(error: unknown): string {
  return error instanceof Error && error.stack !== undefined ? error.stack : errorText(error);
}

function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as { version: string }).version;
}

#!/usr/bin/env node
import { runCli } from "./program.ts";
import { systemTerminal } from "./terminal.ts";

// A reader that went away (`kvferry replay ... | head`) is not an error worth a stack trace.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await runCli(process.argv.slice(2), systemTerminal);

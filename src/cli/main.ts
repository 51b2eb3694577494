#!/usr/bin/env node
import { runCli } from "./program.ts";
import { systemTerminal } from "./terminal.ts";

// A reader that went away (`kvferry replay ... | head`) is not an error worth a stack trace.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  if (error.code !== "EIO") throw error;
});
// A terminal that hung up (EIO) reads nothing more; what was begun is still ended in order.
process.stderr.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
});

process.exitCode = await runCli(process.argv.slice(2), systemTerminal);

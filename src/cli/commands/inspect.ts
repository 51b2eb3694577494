import { Command } from "commander";

import type { Terminal } from "../terminal.ts";

export function inspectCommand(_terminal: Terminal, _finish: (exitCode: number) => void): Command {
  return new Command("inspect")
    .summary("what lies in an L2 directory or object file, and whether it is intact")
    .description("Read an fs adapter's directory, or one object file, and verify every checksum. Changes nothing. Exit code 1 when anything is damaged.")
    .argument("<path>", "directory given as base_path, or one object file")
    .option("--json", "print one JSON object");
}

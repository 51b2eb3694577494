import { runCli } from "../../../src/cli/program.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";

export interface CliRun {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line inside this process, as a pipe would see it. */
export async function kvferry(...args: string[]): Promise<CliRun> {
  let out = "";
  let err = "";
  const terminal: Terminal = {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    progress() {},
    interactive: false,
    columns: 80,
    onSignal: () => () => {},
  };
  const code = await runCli(args, terminal);
  return { code, out, err };
}

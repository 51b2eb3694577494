import { spawn } from "node:child_process";
import { join } from "node:path";

import type { Command } from "commander";

import { packageRoot } from "../../native/load.ts";
import { checkChoice } from "../usage.ts";

const ways = ["cmake", "node-gyp", "compiler"] as const;

interface BuildNativeOptions {
  readonly with?: string;
  readonly quiet?: boolean;
}

/**
 * `kvferry build-native`: makes the addon on a host that no prebuilt binary fits. The work is in scripts/build-native.mjs, which
 * needs nothing but Node: this command must run where the rest of the package cannot.
 */
export function registerBuildNative(program: Command, finish: (exitCode: number) => void = setExitCode): void {
  program
    .command("build-native")
    .helpOption("-h, --help", "print this help")
    .description("build the native addon on this machine (CMake, else node-gyp, else a C++17 compiler alone)")
    .option("--with <way>", `use this way and no other: ${ways.join(", ")}`)
    .option("--quiet", "print nothing unless the build fails")
    .action(async (options: BuildNativeOptions) => {
      finish(await buildNative(options));
    });
}

/** Runs the build in this terminal and returns its exit code. */
async function buildNative(options: BuildNativeOptions): Promise<number> {
  const args = [join(packageRoot(), "scripts", "build-native.mjs")];
  if (options.with !== undefined) args.push("--with", checkChoice("--with", options.with, ways));
  if (options.quiet === true) args.push("--quiet");
  const child = spawn(process.execPath, args, { stdio: "inherit" });
  return await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}

function setExitCode(exitCode: number): void {
  process.exitCode = exitCode;
}

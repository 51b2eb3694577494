// Child processes for the scripts: one place that decides what is shown and what counts as failure.
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/**
 * Runs a command to its end. `show: true` passes its output through; otherwise the output comes back as text, and is part of
 * the error when `check` is on (the default) and the exit code is not 0.
 */
export async function run(command, args, { cwd = root, env = process.env, show = false, check = true, timeoutMs } = {}) {
  const child = spawn(command, args, { cwd, env, stdio: show ? ["ignore", "inherit", "inherit"] : ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text) => { stdout += text; });
  child.stderr?.setEncoding("utf8").on("data", (text) => { stderr += text; });
  let timedOut = false;
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => { timedOut = true; child.kill("SIGKILL"); }, timeoutMs);
  const code = await new Promise((resolve) => {
    child.on("error", (error) => { stderr += String(error.message); resolve(127); });
    child.on("close", (exit, signal) => resolve(exit ?? (signal ? 128 : 1)));
  });
  clearTimeout(timer);
  if (timedOut) stderr += `\nstopped after ${timeoutMs} ms`;
  if (check && code !== 0) {
    throw new Error(`${command} ${args.join(" ")} ended with exit code ${code}${show ? "" : `\n${stdout}${stderr}`}`);
  }
  return { code, stdout, stderr };
}

/** True when `command` starts and ends with exit code 0. */
export async function works(command, args) {
  return (await run(command, args, { check: false })).code === 0;
}

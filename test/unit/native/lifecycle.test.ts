import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const child = fileURLToPath(new URL("lifecycle-child.js", import.meta.url));

/** Runs a stage to its end: exit code or signal, and what it printed. Hangs are killed and show as SIGKILL. */
function runStage(stage: string, number: number): Promise<{ ending: string; output: string }> {
  return new Promise((resolve) => {
    const running = spawn(process.execPath, ["--expose-gc", child, stage, String(number)], { stdio: ["ignore", "pipe", "pipe"], timeout: 60_000, killSignal: "SIGKILL" });
    let output = "";
    running.stdout.on("data", (data: Buffer) => (output += data.toString()));
    running.stderr.on("data", (data: Buffer) => (output += data.toString()));
    running.on("close", (code, signal) => resolve({ ending: signal ?? `exit ${code}`, output }));
  });
}

const expectations: [stage: string, runs: number, ending: string, output: RegExp][] = [
  ["idle", 1, "exit 0", /^$/],
  ["finishes-by-itself", 1, "exit 0", /^settled\n$/],
  ["exit-at-once", 4, "exit 0", /^$/],
  ["exit-in-wake", 3, "exit 0", /^$/],
  ["exit-later", 6, "exit 0", /^$/],
  ["exit-after-close", 1, "exit 0", /^$/],
  ["throw-in-wake", 1, "exit 1", /thrown after a wake-up/],
  ["sigterm-itself", 2, "SIGTERM", /^$/],
  ["collected", 1, "exit 0", /^settled\n$/],
  ["worker-ends", 1, "exit 0", /^(settled\n){4}$/],
  ["worker-exits", 3, "exit 0", /^$/],
  ["worker-terminated", 3, "exit 0", /^settled\n$/],
  ["exit-under-workers", 4, "exit 0", /^$/],
];

for (const [stage, runs, ending, output] of expectations) {
  test(`${stage}: ends as it should, wherever its threads are`, async () => {
    for (let number = 0; number < runs; number += 1) {
      const result = await runStage(stage, number * 7);
      assert.equal(result.ending, ending, `run ${number}: ${result.output}`);
      assert.match(result.output, output);
    }
  });
}

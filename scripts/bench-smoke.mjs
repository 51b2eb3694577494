// Runs each benchmark briefly: it must end well and print one JSON object with figures, ratios and conditions. No figure is judged
// here; a shared machine is no place for that.
import { join } from "node:path";

import { root, run } from "./lib/run.mjs";

const names = process.argv.length > 2 ? process.argv.slice(2) : ["l1", "copy", "fs", "open", "buffer-only"];
const counts = { passed: 0, failed: 0 };
for (const name of names) {
  const { code, stdout, stderr } = await run(process.execPath, [join(root, "dist", "cli", "main.js"), "bench", name, "--quick", "--json"], { check: false, timeoutMs: 240_000 });
  let fault = code === 0 ? "" : `exit code ${code}\n${stdout}${stderr}`;
  if (fault === "") {
    try {
      const report = JSON.parse(stdout);
      for (const section of ["figures", "ratios", "conditions"]) if (typeof report[section] !== "object" || report[section] === null) fault = `no "${section}" in ${stdout}`;
      if (fault === "") console.log(`bench ${name}: ${JSON.stringify(report.ratios)}`);
    } catch (error) {
      fault = `${error.message} in ${stdout}`;
    }
  }
  counts[fault === "" ? "passed" : "failed"] += 1;
  if (fault !== "") console.log(`bench ${name} FAILED: ${fault}`);
}
console.log(`${counts.passed} passed, ${counts.failed} failed, 0 skipped`);
process.exitCode = counts.failed > 0 ? 1 : 0;

// npm run test:sim -- [--seeds N] [--from S]: seeded runs of the whole control plane (test/sim). A failing seed prints the one
// command that replays it.
import { existsSync } from "node:fs";
import { join } from "node:path";

import { root, run } from "./lib/run.mjs";

const main = join(root, ".build", "test", "sim", "main.js");
if (!existsSync(main)) {
  const { code } = await run(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.dev.json"], { show: true, check: false });
  if (!existsSync(main)) {
    console.error(`test/sim/main.ts did not compile (tsc ended with exit code ${code})`);
    process.exit(1);
  }
}
const { code } = await run(process.execPath, ["--enable-source-maps", main, ...process.argv.slice(2)], { show: true, check: false });
process.exitCode = code;

// npm run build:ts: dist/ from src/, without files whose source is gone.
import { chmodSync, existsSync } from "node:fs";
import { join } from "node:path";

import { root, run } from "./lib/run.mjs";
import { removeStale } from "./lib/stale.mjs";

removeStale(join(root, "dist"), join(root, "src"));
const { code } = await run(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.json"], { show: true, check: false });
const main = join(root, "dist", "cli", "main.js");
if (existsSync(main)) chmodSync(main, 0o755);
process.exitCode = code;

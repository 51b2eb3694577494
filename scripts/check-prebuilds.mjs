// Fails unless every prebuild that a release must hold is in prebuilds/ and may ship.
import { existsSync } from "node:fs";
import { join } from "node:path";

import { prebuildFaults } from "./lib/elf.mjs";
import { root } from "./lib/run.mjs";
import { targets } from "./lib/targets.mjs";

for (const [name, { arch, libc }] of Object.entries(targets)) {
  const file = join(root, "prebuilds", `linux-${arch}`, `kvferry.${libc}.node`);
  const faults = existsSync(file) ? prebuildFaults(file, { arch, libc }) : ["is missing"];
  for (const fault of faults) console.error(`${name}: ${fault}`);
  if (faults.length > 0) process.exitCode = 1;
  else console.log(`${name}: ok`);
}

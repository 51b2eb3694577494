// Compiled files outlive their source when a file is deleted or renamed; a stale test must not run, a stale module not ship.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/** Removes outputs under `output` whose `.ts` source under `sources` is gone. */
export function removeStale(output, sources) {
  if (!existsSync(output)) return;
  for (const name of readdirSync(output, { recursive: true, encoding: "utf8" })) {
    const stem = /^(.*?)(\.d\.ts|\.js|\.js\.map)$/.exec(name)?.[1];
    if (stem !== undefined && !existsSync(join(sources, `${stem}.ts`))) rmSync(join(output, name));
  }
}

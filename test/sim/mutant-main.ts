/** Plants one bug of mutants.ts in this process and prints the first seed that finds it, as JSON: `node mutant-main.js INDEX SEEDS`. */
import { bugs } from "./mutants.ts";
import { runSeed } from "./run-seed.ts";

const [bug, seedsMax] = process.argv.slice(2).map(Number);
const binding = bugs[bug].plant() ?? undefined;
let found: { seed: number; event: number; message: string } | undefined;
for (let seed = 1; seed <= seedsMax && found === undefined; seed++) {
  // A changed arena cannot be given to the addon, as a mock adapter would.
  const { failure, events } = await runSeed(seed, { binding, adjust: binding === undefined ? undefined : (plan) => ({ ...plan, withMock: false }) });
  if (failure !== undefined) found = { seed, event: events, message: failure.message.split("\n")[0] };
}
console.log(JSON.stringify(found ?? null));
process.exit(0);

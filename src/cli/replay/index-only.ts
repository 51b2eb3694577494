import { evictionPolicies } from "../../policies/index.ts";
import { indexPolicyContext, IndexOnlySimulation, type TouchOrder } from "../../workload/index-only.ts";
import type { LoadedTrace, ReplayFlags } from "../commands/replay.ts";
import { formatCount, formatPercent, table } from "../format.ts";
import type { Terminal } from "../terminal.ts";
import { exitCodes, UsageError } from "../usage.ts";
import { inWordsOfFlags } from "./plan.ts";

export async function runIndexOnly(trace: LoadedTrace, flags: ReplayFlags, terminal: Terminal): Promise<number> {
  const policyName = flags.evictionPolicy ?? "LRU";
  const policy = await inWordsOfFlags(async () => (await evictionPolicies.resolve(policyName, "--eviction-policy", process.cwd())).create(indexPolicyContext));
  if (!policy.evicts) throw new UsageError(`--eviction-policy ${policyName} evicts nothing, so there is nothing to simulate with --index-only; name LRU, FIFO or ARC`);
  const touchOrder = (flags.touchOrder ?? "head-first") as TouchOrder;
  const capacityBlocks = flags.capacityBlocks as number;
  const simulation = new IndexOnlySimulation(policy, capacityBlocks, touchOrder);
  for (const request of trace.requests) simulation.add(request);
  const result = simulation.result();
  if (flags.json === true) {
    terminal.out(`${JSON.stringify({ trace: trace.path, policy: policyName, touchOrder, capacityBlocks, ...result, brokenLines: trace.brokenLines }, undefined, 2)}\n`);
    return exitCodes.ok;
  }
  const { requested, hit, unique } = result.chunks;
  terminal.out(
    table(`${trace.name}: keys only, ${policyName}, ${capacityBlocks} chunks, ${touchOrder}`, [
      ["requests", formatCount(result.requests)],
      ["chunks", `${formatCount(requested)} requested, ${formatCount(unique)} different`],
      ["prefix hits", `${formatCount(hit)} = ${formatPercent(result.prefixHitRatio)}`],
      ["best possible", `${formatPercent(result.infinitePrefixHitRatio)} in a cache that never evicts`],
      ["evictions", formatCount(result.evictions)],
    ]),
  );
  return exitCodes.ok;
}

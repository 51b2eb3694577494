import { readFileSync } from "node:fs";
import { totalmem } from "node:os";

import { formatBytes, GiB } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";

/** Where the kernel says what this process may use; v2 first. */
const cgroupFiles = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/** Bytes this process may use: the smaller of its cgroup's limit and the machine's memory. */
export function memoryLimitBytes(): number {
  const machineBytes = totalmem();
  for (const file of cgroupFiles) {
    let text: string;
    try {
      text = readFileSync(file, "utf8").trim();
    } catch {
      // The other cgroup version, or no cgroup at all: the machine is the limit.
      continue;
    }
    const limit = Number(text);
    return Number.isFinite(limit) && limit > 0 ? Math.min(limit, machineBytes) : machineBytes;
  }
  return machineBytes;
}

/** Refuses an L1 that would leave the rest of the process too little: less than the larger of 2 GiB and 10 %. */
export function checkMemoryLimit(sizeBytes: number, limitBytes: number): void {
  // A host with hardly any memory still runs a small L1: the 2 GiB are for hosts that have them.
  const reserveBytes = limitBytes >= 4 * GiB ? Math.max(2 * GiB, 0.1 * limitBytes) : 0.5 * limitBytes;
  const largestBytes = limitBytes - reserveBytes;
  if (sizeBytes > largestBytes)
    throw new ConfigError(
      "l1.sizeBytes",
      `l1.sizeBytes must be at most ${formatBytes(largestBytes)} here (memory limit ${formatBytes(limitBytes)} less ${formatBytes(reserveBytes)} for everything else), got ${formatBytes(sizeBytes)}`,
    );
}
